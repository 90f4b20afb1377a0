"""Classic sockets get the old consumer's shapes exactly: no more fields, no other frames."""

import asyncio

import pytest
import websockets

from conftest import receive, send, silence, token

pytestmark = pytest.mark.asyncio

MESSAGE_KEYS = [
    "id",
    "channel_id",
    "sender",
    "content",
    "message_type",
    "created_at",
    "reply_to",
    "thread_id",
    "is_emergency",
    "priority",
    "metadata",
]


async def connect(server, user="driver-1"):
    socket = await websockets.connect(f"{server.chat}?token={token(user)}")
    first = await receive(socket)
    assert first == {"type": "connection_established", "user_id": user, "channels_subscribed": 2}
    assert socket.subprotocol is None
    return socket


async def test_a_message_has_the_old_shape_and_reaches_the_sender_too(server):
    async with await connect(server) as writer, await connect(server, "dispatcher-1") as reader:
        await send(writer, type="send_message", channel_id="general", content="  Left the depot.  ")
        for socket in (writer, reader):
            frame = await receive(socket)
            assert list(frame) == ["type", "message"]
            message = frame["message"]
            assert frame["type"] == "chat_message" and list(message) == MESSAGE_KEYS
            assert message["content"] == "Left the depot."
            assert message["sender"] == {"id": "driver-1", "name": message["sender"]["name"], "email": ""}
            assert message["channel_id"] == "general" and message["message_type"] == "TEXT"
            assert message["priority"] == "NORMAL" and message["metadata"] == {}
            assert message["reply_to"] is None and message["thread_id"] is None
            assert message["is_emergency"] is False
        assert await silence(writer) == [], "no acknowledgement and nothing twice"


async def test_a_reply_carries_its_parent_and_thread(server):
    async with await connect(server) as writer:
        await send(writer, type="send_message", channel_id="general", content="Who is near?")
        parent = (await receive(writer))["message"]["id"]
        await send(writer, type="send_message", channel_id="general", content="I am.", reply_to=parent)
        first = (await receive(writer))["message"]
        assert (first["reply_to"], first["thread_id"]) == (parent, parent)
        await send(writer, type="send_message", channel_id="general", content="Thanks", reply_to=first["id"])
        second = (await receive(writer))["message"]
        assert (second["reply_to"], second["thread_id"]) == (first["id"], parent)
        missing = "00000000-0000-4000-8000-000000000000"
        await send(writer, type="send_message", channel_id="general", content="?", reply_to=missing)
        assert await receive(writer) == {"type": "error", "message": "Failed to send message"}


async def test_typing_reaches_the_others_only_and_expires(server):
    async with await connect(server) as writer, await connect(server, "dispatcher-1") as reader:
        await send(writer, type="typing_start", channel_id="general")
        expected = {"type": "typing_indicator", "user_id": "driver-1", "channel_id": "general"}
        assert await receive(reader) == {**expected, "is_typing": True}
        assert await receive(reader) == {**expected, "is_typing": False}, "it expires by itself"
        await send(writer, type="typing_start", channel_id="general")
        assert await receive(reader) == {**expected, "is_typing": True}  # unread, the newer would take its place
        await send(writer, type="typing_stop", channel_id="general")
        assert await receive(reader) == {**expected, "is_typing": False}
        assert await silence(writer) == []


async def test_joining_and_leaving_are_this_sockets_own(server):
    async with await connect(server) as socket, await connect(server, "dispatcher-1") as other:
        await send(socket, type="leave_channel", channel_id="general")
        assert await receive(socket) == {"type": "channel_left", "channel_id": "general"}
        left = {"type": "user_left", "user_id": "driver-1", "channel_id": "general"}
        assert await receive(other) == left
        await send(other, type="send_message", channel_id="general", content="unheard")
        await receive(other, "chat_message")
        assert await silence(socket) == []
        await send(socket, type="join_channel", channel_id="general")
        assert await receive(socket) == {"type": "channel_joined", "channel_id": "general"}
        assert await receive(other) == {**left, "type": "user_joined"}
        await send(other, type="send_message", channel_id="general", content="heard")
        assert (await receive(socket))["message"]["content"] == "heard"


async def test_typing_without_a_channel_is_ignored_in_silence(server):
    async with await connect(server) as socket:
        await send(socket, type="typing_start")
        await send(socket, type="typing_start", channel_id="elsewhere")
        assert await silence(socket) == []


@pytest.mark.parametrize("query", ["", "?token=nonsense", f"?token={token(key='another-key-of-32-bytes-at-least!')}"])
async def test_a_bad_credential_is_refused_before_the_upgrade(server, query):
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(server.chat + query)
    assert refused.value.response.status_code == 403


async def test_two_hundred_messages_arrive_in_order_on_both_forms(server):
    async with await connect(server) as writer:
        v1 = await websockets.connect(
            f"{server.chat}?token={token('safety-1')}", subprotocols=["safeshipper.v1.json"]
        )
        await receive(v1, "connection_established")  # events count from here on
        texts = [f"n{number}" for number in range(200)]

        async def write():
            # A socket may have 32 durable frames waiting; the live copy says that one was taken.
            for start in range(0, len(texts), 20):
                for text in texts[start : start + 20]:
                    await send(writer, type="send_message", channel_id="emergency", content=text)
                for _ in range(20):
                    heard.append((await receive(writer, "chat_message"))["message"]["content"])

        heard = []
        await asyncio.wait_for(write(), 30)
        assert heard == texts
        seen = [(await receive(v1, "chat_message"))["message"]["content"] for _ in texts]
        assert seen == texts
        await v1.close()
