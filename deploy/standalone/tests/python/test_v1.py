"""v1 sockets: acknowledgements, positions, resume, history, errors with codes."""

import asyncio
import json
import uuid

import pytest
import websockets

from conftest import receive, send, silence, token

pytestmark = pytest.mark.asyncio


async def connect(server, user="driver-1", query=""):
    socket = await websockets.connect(
        f"{server.chat}{query}", subprotocols=["safeshipper.v1.json", f"bearer.{token(user)}"]
    )
    assert socket.subprotocol == "safeshipper.v1.json"
    return socket, await receive(socket, "connection_established")


def positions(established):
    return {entry["channel_id"]: (entry["epoch"], entry["seq"]) for entry in established["channels"]}


async def say(socket, text, channel="general", **fields):
    message_id = str(uuid.uuid4())
    await send(socket, type="send_message", channel_id=channel, content=text, client_msg_id=message_id, **fields)
    return message_id


async def acknowledged(socket, text, channel="general", **fields):
    message_id = await say(socket, text, channel, **fields)
    ack = await receive(socket, "ack")
    assert ack["client_msg_id"] == message_id
    return ack


async def test_the_first_frame_says_who_and_where(server):
    socket, first = await connect(server)
    assert first["user_id"] == "driver-1" and first["channels_subscribed"] == 2
    assert first["heartbeat_ms"] == 25000 and first["max_frame_bytes"] == 65536
    assert [entry["channel_id"] for entry in first["channels"]] == ["emergency", "general"]
    entry = first["channels"][1]
    assert set(entry) == {"channel_id", "name", "channel_type", "role", "epoch", "seq", "read", "unread"}
    assert entry["channel_type"] == "GENERAL" and entry["role"] == "MEMBER" and entry["seq"] > 0
    await socket.close()


async def test_an_acknowledged_message_is_live_and_in_history_with_one_position(server):
    socket, _ = await connect(server)
    await send(socket, type="send_message", channel_id="general", content="hello", client_msg_id="a-1", ref="r1")
    frames = [await receive(socket), await receive(socket)]
    ack = next(frame for frame in frames if frame["type"] == "ack")
    live = next(frame for frame in frames if frame["type"] == "chat_message")
    assert ack["ref"] == "r1" and ack["durability"] == "logged" and ack["duplicate"] is False
    assert (live["epoch"], live["seq"]) == (ack["epoch"], ack["seq"]) and live["prev"] < live["seq"]
    assert live["message"]["id"] == ack["message_id"] and "ref" not in live
    await send(socket, type="fetch_history", channel_id="general", limit=1, ref="h")
    history = await receive(socket, "history")
    assert history["ref"] == "h" and history["more"] is True
    assert [(m["id"], m["seq"]) for m in history["messages"]] == [(ack["message_id"], ack["seq"])]
    await socket.close()


async def test_a_resend_is_recognised_with_and_without_retry(server):
    socket, _ = await connect(server)
    first = await acknowledged(socket, "once")
    client_msg_id = first["client_msg_id"]
    for fields in ({}, {"retry": True}):
        frame = {"type": "send_message", "channel_id": "general", "content": "once"}
        await send(socket, **frame, client_msg_id=client_msg_id, **fields)
        again = await receive(socket, "ack")
        assert (again["seq"], again["message_id"], again["duplicate"]) == (first["seq"], first["message_id"], True)
        await send(socket, **{**frame, "content": "other"}, client_msg_id=client_msg_id, **fields)
        assert (await receive(socket, "error"))["code"] == "conflict"
    await socket.close()


async def test_resume_gives_exactly_what_was_missed(server):
    writer, _ = await connect(server, "dispatcher-1")
    reader, first = await connect(server)
    epoch, seq = positions(first)["general"]
    await reader.close()
    sent = [(await acknowledged(writer, f"missed {n}"))["message_id"] for n in range(30)]
    reader, _ = await connect(server, query="?resume=1")
    late = await acknowledged(writer, "while held")
    assert await silence(reader) == [], "nothing is pushed before the resume"
    await send(reader, type="resume", ref="r", last=True, channels=[{"channel_id": "general", "epoch": epoch, "seq": seq}])
    resumed = await receive(reader)
    assert resumed["type"] == "resumed" and resumed["more"] is False and resumed["reset"] is False
    assert [event["message"]["id"] for event in resumed["events"]] == [*sent, late["message_id"]]
    chain = [seq, *[event["seq"] for event in resumed["events"]]]
    assert [event["prev"] for event in resumed["events"]] == chain[:-1]
    assert resumed["seq"] == late["seq"]
    assert (await receive(reader)) == {"type": "resume_done", "ref": "r"}
    live = await acknowledged(writer, "live again")
    pushed = await receive(reader)
    assert (pushed["seq"], pushed["prev"]) == (live["seq"], late["seq"])
    await reader.close()
    await writer.close()


async def test_a_long_absence_comes_in_pages(server):
    writer, _ = await connect(server, "dispatcher-1")
    reader, first = await connect(server)
    epoch, seq = positions(first)["emergency"]
    await reader.close()
    sent = [(await acknowledged(writer, f"{n} " + "x" * 7000, "emergency"))["message_id"] for n in range(60)]
    reader, _ = await connect(server, query="?resume=1")
    seen, pages, more, prev = [], 0, True, seq
    while more:
        point = {"channel_id": "emergency", "epoch": epoch, "seq": prev}
        await send(reader, type="resume", last=True, channels=[point])
        page = await receive(reader, "resumed")
        assert len(json.dumps(page)) < 160_000
        for event in page["events"]:
            assert event["prev"] == prev
            prev = event["seq"]
            seen.append(event["message"]["id"])
        more, pages = page["more"], pages + 1
        assert page["seq"] >= prev
        await receive(reader, "resume_done")
    assert seen == sent and pages >= 3
    await reader.close()
    await writer.close()


async def test_an_unknown_epoch_is_reset(server):
    socket, first = await connect(server, query="?resume=1")
    point = {"channel_id": "general", "epoch": "another-life", "seq": 3}
    await send(socket, type="resume", last=True, channels=[point])
    resumed = await receive(socket, "resumed")
    assert resumed["reset"] is True and resumed["events"] == [] and resumed["seq"] >= positions(first)["general"][1]
    await socket.close()


async def test_authenticate_as_first_frame(server):
    socket = await websockets.connect(server.chat, subprotocols=["safeshipper.v1.json"])
    await send(socket, type="send_message", channel_id="general", content="too early", ref="e")
    refused = await receive(socket)
    assert (refused["code"], refused["ref"]) == ("not_authenticated", "e")
    await send(socket, type="authenticate", token=token())
    assert (await receive(socket))["type"] == "connection_established"
    await socket.close()


@pytest.mark.parametrize(("bad", "code"), [({"key": "another-key-of-32-bytes-at-least!"}, 4500), ({"lifetime": -60}, 4001)])
async def test_a_bad_token_is_told_by_the_close_code(server, bad, code):
    socket = await websockets.connect(
        server.chat, subprotocols=["safeshipper.v1.json", f"bearer.{token(**bad)}"]
    )
    with pytest.raises(websockets.ConnectionClosed):
        await asyncio.wait_for(socket.recv(), 5)
    assert socket.close_code == code


async def test_ping_is_answered_with_the_time(server):
    socket, _ = await connect(server)
    await send(socket, type="ping", ref="p")
    pong = await receive(socket, "pong")
    assert pong["ref"] == "p" and pong["server_time"].endswith("Z")
    await socket.close()


async def test_history_reads_both_ways_around_and_by_thread(server):
    socket, _ = await connect(server)
    acks = [await acknowledged(socket, f"page {n}") for n in range(7)]
    ids = [ack["message_id"] for ack in acks]
    at = lambda n: {"epoch": acks[n]["epoch"], "seq": acks[n]["seq"]}

    async def page(**fields):
        await send(socket, type="fetch_history", channel_id="general", **fields)
        answer = await receive(socket, "history")
        return [message["id"] for message in answer["messages"]], answer["more"]

    assert await page(before=at(5), limit=3) == (ids[2:5], True)
    assert await page(after=at(3), limit=2) == (ids[4:6], True)
    assert await page(after=at(3), limit=50) == (ids[4:], False)
    around, _ = await page(around=ids[3], limit=5)
    assert ids[3] in around and around == [i for i in ids if i in around] and len(around) == 5
    reply = await acknowledged(socket, "an answer", reply_to=ids[2])
    assert await page(thread_id=ids[2]) == ([ids[2], reply["message_id"]], False)
    await socket.close()


@pytest.mark.parametrize("code", [1000, 4000])
async def test_a_close_is_answered_with_its_own_code(server, code):
    socket, _ = await connect(server)
    await socket.close(code)
    assert socket.protocol.close_rcvd.code == code


async def test_a_resume_of_quiet_channels_is_done_at_once(server):
    socket, first = await connect(server, "driver-2", "?resume=1")
    channels = [{key: entry[key] for key in ("channel_id", "epoch", "seq")} for entry in first["channels"]]
    await send(socket, type="resume", channels=channels, last=True, ref="r")
    # It once hung on the sweep, a second for each channel.
    done = await receive(socket, timeout=0.8)
    assert done == {"type": "resume_done", "ref": "r"}
    await socket.close()
