"""MessagePack sockets: the same frames as binary messages, beside JSON sockets in one channel."""

import asyncio
import json

import msgpack
import pytest
import websockets

from conftest import DEADLINE, receive, send, token

pytestmark = pytest.mark.asyncio


async def connect(server, user, *subprotocols):
    return await websockets.connect(server.chat, subprotocols=[*subprotocols, f"bearer.{token(user)}"])


async def packed(socket, *kinds):
    """The next frame of each of these types, in whatever order they come; every message must be binary."""
    found = {}
    async with asyncio.timeout(DEADLINE):
        while len(found) < len(kinds):
            message = await socket.recv()
            assert isinstance(message, bytes), message
            frame = msgpack.unpackb(message)
            if frame["type"] in kinds:
                found[frame["type"]] = frame
    return found[kinds[0]] if len(kinds) == 1 else [found[kind] for kind in kinds]


async def test_both_encodings_chat_in_one_channel_and_say_the_same(server):
    binary = await connect(server, "driver-1", "safeshipper.v1.msgpack")
    text = await connect(server, "dispatcher-1", "safeshipper.v1.json")
    assert binary.subprotocol == "safeshipper.v1.msgpack"
    first = await packed(binary, "connection_established")
    await receive(text, "connection_established")
    assert first["user_id"] == "driver-1" and first["heartbeat_ms"] == 25000

    metadata = {"drums": 18, "weight": 12.5, "seal": None, "classes": [3, "1203"], "name": "Fässer"}
    message = {"type": "send_message", "channel_id": "general", "content": "packed", "ref": "r", "metadata": metadata}
    await binary.send(msgpack.packb(message))
    ack, live = await packed(binary, "ack", "chat_message")
    heard = await receive(text, "chat_message")
    assert ack["ref"] == "r" and heard["seq"] == ack["seq"] and heard["message"]["metadata"] == metadata
    assert live == heard

    await send(text, type="send_message", channel_id="general", content="as text")
    assert (await packed(binary, "chat_message"))["message"]["content"] == "as text"

    await binary.send(msgpack.packb({"type": "fetch_history", "channel_id": "general", "limit": 2}))
    page = await packed(binary, "history")
    assert [message["content"] for message in page["messages"]] == ["packed", "as text"]
    position = {"channel_id": "general", "epoch": ack["epoch"], "seq": ack["seq"]}
    await binary.send(msgpack.packb({"type": "resume", "channels": [position]}))
    resumed = await packed(binary, "resumed")
    assert [event["message"]["content"] for event in resumed["events"]] == ["as text"]
    await binary.close()
    await text.close()


async def test_bad_messagepack_is_answered_and_the_socket_stays(server):
    socket = await connect(server, "driver-1", "safeshipper.v1.msgpack")
    await packed(socket, "connection_established")
    good = {"type": "send_message", "channel_id": "general", "content": "x"}
    whole = msgpack.packb(good)
    odd = [msgpack.packb(value) for value in ({1: 2}, {"type": b"raw"}, [1])]
    for bad in [b"", b"\xc1", whole[:-1], whole + b"\x00", *odd]:
        await socket.send(bad)
        error = await packed(socket, "error")
        assert error["code"] == "invalid_frame", (bad, error)
    await socket.send(msgpack.packb({"type": "ping", "ref": "still here"}))
    assert (await packed(socket, "pong"))["ref"] == "still here"
    await socket.close()


@pytest.mark.parametrize(
    ("subprotocol", "message"),
    [("safeshipper.v1.msgpack", json.dumps({"type": "ping"})), ("safeshipper.v1.json", msgpack.packb({"type": "ping"}))],
)
async def test_the_other_kind_of_message_closes_with_1003(server, subprotocol, message):
    socket = await connect(server, "driver-1", subprotocol)
    await socket.send(message)
    with pytest.raises(websockets.ConnectionClosed):
        while True:
            await socket.recv()
    assert socket.close_code == 1003
