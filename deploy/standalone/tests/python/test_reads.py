"""How far people have read: three ways to say it, what others hear, and what counts as unread."""

import asyncio

import pytest
import websockets

from conftest import receive, send, silence, token
from test_v1 import acknowledged, connect

pytestmark = pytest.mark.asyncio


async def entry(server, user):
    socket, first = await connect(server, user)
    await socket.close()
    return next(channel for channel in first["channels"] if channel["channel_id"] == "general")


async def marked(socket, **fields):
    await send(socket, type="mark_read", channel_id="general", ref="m", **fields)
    while True:
        frame = await receive(socket)
        if frame.get("ref") == "m":
            return frame


async def until(condition):
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.1)


async def test_three_ways_to_say_how_far(server):
    (writer, _), (reader, _) = await connect(server), await connect(server, "driver-2")
    acks = [await acknowledged(writer, f"n{n}") for n in range(5)]
    answer = await marked(reader, message_id=acks[1]["message_id"])
    assert answer["type"] == "messages_marked_read" and answer["user_id"] == "driver-2"
    assert answer["message_id"] == acks[1]["message_id"]
    assert answer["read_up_to"] == {"epoch": acks[1]["epoch"], "seq": acks[1]["seq"]}

    # The store counts what it has; the last message may be on its way still.
    async def three_are_unread():
        return (await entry(server, "driver-2"))["unread"] == 3

    await until(three_are_unread)
    position = {"epoch": acks[3]["epoch"], "seq": acks[3]["seq"]}
    assert (await marked(reader, read_up_to=position))["read_up_to"] == position
    assert (await marked(reader, message_id=acks[0]["message_id"]))["read_up_to"] == position, "nobody reads back"
    now = await entry(server, "driver-2")
    assert (now["read"], now["unread"]) == (position, 1)
    everything = await marked(reader)
    assert everything["message_id"] is None and everything["read_up_to"]["seq"] >= acks[4]["seq"]
    assert (await entry(server, "driver-2"))["unread"] == 0
    far = {"epoch": acks[4]["epoch"], "seq": acks[4]["seq"] + 1_000_000}
    assert (await marked(reader, read_up_to=far))["read_up_to"]["seq"] < far["seq"], "nobody reads ahead"
    for socket in (writer, reader):
        await socket.close()


async def test_others_and_other_devices_hear_of_it_within_a_second_or_two(server):
    (writer, _), (reader, _), (device, _) = [await connect(server, u) for u in ("driver-1", "driver-2", "driver-2")]
    ack = await acknowledged(writer, "read me")
    for _ in range(5):
        await marked(reader)
    for socket in (writer, device):
        async with asyncio.timeout(5):
            while True:
                told = await receive(socket, "messages_marked_read")
                if told["user_id"] == "driver-2" and told["read_up_to"]["seq"] >= ack["seq"]:
                    break
        assert "ref" not in told and told["message_id"] is None
    again = [frame for frame in await silence(writer, 2) if frame["type"] == "messages_marked_read"]
    assert again == [], "what is no news is not told"
    for socket in (writer, reader, device):
        await socket.close()


async def test_a_classic_socket_is_answered_and_hears_nothing_of_others(server):
    writer, _ = await connect(server, "driver-2")
    ack = await acknowledged(writer, "read me")
    async with websockets.connect(f"{server.chat}?token={token()}") as classic:
        await receive(classic, "connection_established")
        await send(classic, type="mark_read", channel_id="general")
        answer = await receive(classic, "messages_marked_read")
        assert answer == {"type": "messages_marked_read", "channel_id": "general", "message_id": None}
        await send(classic, type="mark_read", channel_id="general", message_id=ack["message_id"])
        assert (await receive(classic, "messages_marked_read"))["message_id"] == ack["message_id"]
        await send(classic, type="mark_read")
        assert (await receive(classic, "error"))["message"] == "Channel ID is required"
        await marked(writer)
        heard = [frame for frame in await silence(classic, 2.5) if frame["type"] == "messages_marked_read"]
        assert heard == []
    await writer.close()


async def test_what_is_not_there_cannot_be_read(server):
    socket, _ = await connect(server)
    assert (await marked(socket, message_id="nobody"))["code"] == "unknown_message"
    await send(socket, type="mark_read", channel_id="secret", ref="s")
    assert (await receive(socket, "error"))["code"] == "unknown_channel"
    await socket.close()
