"""What becomes of messages: edits, pins, deletion, reactions - on v1 and classic sockets, live, in resume and history."""

import asyncio
import uuid

import pytest
import websockets

from conftest import receive, send, silence, token
from test_v1 import acknowledged, connect

pytestmark = pytest.mark.asyncio


async def change(socket, kind, message_id, ref="c", **fields):
    """Sends a change and returns its answer."""
    await send(socket, type=kind, message_id=message_id, ref=ref, **fields)
    while True:
        frame = await receive(socket)
        if frame.get("ref") == ref:
            return frame


async def done(socket, kind, message_id, **fields):
    answer = await change(socket, kind, message_id, **fields)
    assert answer["type"] == "ack" and answer["message_id"] == message_id, answer
    return answer


async def refused(socket, kind, message_id, code, **fields):
    answer = await change(socket, kind, message_id, **fields)
    assert (answer["type"], answer["code"]) == ("error", code), answer


async def shown(socket, message_id, channel="general"):
    await send(socket, type="fetch_history", channel_id=channel, around=message_id, limit=1, ref="h")
    page = await receive(socket, "history")
    assert [message["id"] for message in page["messages"]] == [message_id]
    return page["messages"][0]


async def of(socket, kind, message_id):
    """The next frame of this type about a message."""
    while True:
        frame = await receive(socket, kind)
        if message_id in (frame.get("message_id"), frame.get("message", {}).get("id")):
            return frame


async def test_an_edit_reaches_everybody_with_a_position(server):
    (author, _), (other, _) = await connect(server), await connect(server, "driver-2")
    first = await acknowledged(author, "a typo")
    ack = await done(author, "edit_message", first["message_id"], content="no typo", channel_id="general")
    live = await of(other, "message_updated", first["message_id"])
    assert (live["channel_id"], live["epoch"], live["seq"]) == ("general", ack["epoch"], ack["seq"])
    assert live["changed"] == "content" and live["user_id"] == "driver-1" and live["prev"] < live["seq"]
    assert live["message"]["content"] == "no typo" and live["message"]["edited_at"]
    now = await shown(other, first["message_id"])
    assert (now["content"], now["seq"]) == ("no typo", first["seq"])
    await refused(other, "edit_message", first["message_id"], "permission_denied", content="mine", channel_id="general")
    for socket in (author, other):
        await socket.close()


async def test_roles_decide_who_pins_and_deletes(server):
    (author, _), (other, _), (moderator, _) = [
        await connect(server, user) for user in ("driver-1", "driver-2", "safety-1")
    ]
    first = await acknowledged(author, "the dock's number")
    message = first["message_id"]
    for kind in ("pin_message", "delete_message"):
        await refused(other, kind, message, "permission_denied", channel_id="general")
    await refused(author, "pin_message", message, "permission_denied", channel_id="general")
    await done(moderator, "pin_message", message, channel_id="general", pinned=True)
    assert (await of(author, "message_updated", message))["message"]["is_pinned"] is True
    assert (await shown(other, message))["is_pinned"] is True
    await done(moderator, "delete_message", message, channel_id="general")
    gone = await of(author, "message_deleted", message)
    assert gone["user_id"] == "safety-1" and gone["deleted_at"]
    tombstone = await shown(other, message)
    assert tombstone["content"] == "" and tombstone["deleted_at"] and "is_pinned" not in tombstone
    await refused(author, "edit_message", message, "unknown_message", content="still here", channel_id="general")
    for socket in (author, other, moderator):
        await socket.close()


async def test_a_toggle_is_done_once_however_often_it_is_sent(server):
    (author, _), (other, _) = await connect(server), await connect(server, "driver-2")
    message = (await acknowledged(author, "on my way"))["message_id"]
    named = str(uuid.uuid4())
    first = await done(other, "react_to_message", message, reaction="👍", client_msg_id=named)
    again = await done(other, "react_to_message", message, reaction="👍", client_msg_id=named, retry=True)
    assert (first["duplicate"], again["duplicate"], again["seq"]) == (False, True, first["seq"])
    live = await of(author, "reaction_update", message)
    assert (live["reaction"], live["user_id"], live["action"], live["counts"]) == ("👍", "driver-2", "added", {"👍": 1})
    assert (await shown(author, message))["reactions"] == [{"reaction": "👍", "count": 1, "users": ["driver-2"]}]
    await done(other, "react_to_message", message, reaction="👍")
    live = await of(author, "reaction_update", message)
    assert (live["action"], live["counts"]) == ("removed", {})
    assert "reactions" not in await shown(author, message)
    for socket in (author, other):
        await socket.close()


async def test_a_classic_client_reacts_without_a_channel(server):
    writer, _ = await connect(server, "driver-2")
    message = (await acknowledged(writer, "anybody?"))["message_id"]
    async with websockets.connect(f"{server.chat}?token={token()}") as classic:
        await receive(classic, "connection_established")
        await send(classic, type="react_to_message", message_id=message, reaction="👍")
        frame = await receive(classic, "reaction_update")
        assert frame == {
            "type": "reaction_update",
            "message_id": message,
            "reaction": "👍",
            "user_id": "driver-1",
            "action": "added",
        }
        await send(classic, type="react_to_message", message_id=str(uuid.uuid4()), reaction="👍")
        # It may be written this moment, so that the answer takes a while; there is none.
        assert [frame for frame in await silence(classic, 3) if frame["type"] == "error"] == []
        await send(classic, type="react_to_message", message_id=message)
        error = await receive(classic, "error")
        assert error == {"type": "error", "message": "Message ID and reaction are required"}
        await send(classic, type="edit_message", message_id=message, content="x")
        assert (await receive(classic, "error"))["message"] == "Unknown message type: edit_message"
    await writer.close()


async def test_what_was_deleted_is_not_replayed(server):
    author, first = await connect(server)
    before = next(entry for entry in first["channels"] if entry["channel_id"] == "general")
    secret = await acknowledged(author, "the secret")
    await done(author, "edit_message", secret["message_id"], content="the other secret", channel_id="general")
    # More than one page stands between the message and its deletion.
    filler = "x" * 7_000
    for _ in range(40):
        await acknowledged(author, filler)
    await done(author, "delete_message", secret["message_id"], channel_id="general")
    late, _ = await connect(server, "driver-2", "?resume=1")
    position = {"epoch": before["epoch"], "seq": before["seq"]}
    pages, deleted = 0, False
    while not deleted:
        await send(late, type="resume", channels=[{"channel_id": "general", **position}], last=True, ref="r")
        page = await receive(late, "resumed")
        assert "secret" not in str(page["events"])
        pages += 1
        position = {"epoch": page["epoch"], "seq": page["seq"]}
        deleted = any(event["type"] == "message_deleted" for event in page["events"])
        buried = [event for event in page["events"] if event.get("message", {}).get("id") == secret["message_id"]]
        assert all(event["message"]["deleted_at"] and event["message"]["content"] == "" for event in buried)
        assert page["more"] or deleted
        await receive(late, "resume_done")
    assert pages > 1
    for socket in (author, late):
        await socket.close()


async def test_a_change_waits_for_the_message_before_it(server):
    socket, _ = await connect(server)
    message = (await acknowledged(socket, "hello"))["message_id"]
    for n in range(5):
        await send(socket, type="send_message", channel_id="general", content=f"n{n}", ref=f"s{n}")
        await send(socket, type="react_to_message", message_id=message, reaction=f"r{n}", ref=f"r{n}")
    acks = []
    async with asyncio.timeout(10):
        while len(acks) < 10:
            frame = await receive(socket)
            if frame["type"] == "ack":
                acks.append((frame["ref"], frame["seq"]))
    assert [ref for ref, _ in acks] == [name for n in range(5) for name in (f"s{n}", f"r{n}")]
    assert [seq for _, seq in acks] == sorted(seq for _, seq in acks)
    await socket.close()
