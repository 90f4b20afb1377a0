"""Limits that honest clients meet: bursts, and how many sockets a user may have."""

import asyncio
import json

import pytest
import websockets

from conftest import DEADLINE, Server, receive, send, token

pytestmark = pytest.mark.asyncio

# Together more than an outbox takes, and less than an outbox and the kernel's buffers: also a test that is slow to read
# keeps up.
CONTENT = "x" * 8_000
WRITERS = 40
# Not every burst comes in one turn of the server.
ROUNDS = 5


async def connect(server, user, *subprotocols):
    # Whatever comes is read at once: these sockets keep up.
    return await websockets.connect(
        f"{server.chat}?token={token(user)}", subprotocols=list(subprotocols) or None, max_queue=None
    )


async def test_a_burst_above_an_outbox_closes_nobody_who_keeps_up(own_server):
    v1 = await connect(own_server, "safety-1", "safeshipper.v1.json")
    old = await connect(own_server, "driver-2")
    writers = [await connect(own_server, "driver-1", "safeshipper.v1.json") for _ in range(WRITERS)]
    for socket in (v1, old):
        await receive(socket, "connection_established")
    for writer in writers:
        # Who writes does not listen: the test must keep up, too.
        await send(writer, type="leave_channel", channel_id="general")
        await receive(writer, "channel_left")
    text = json.dumps({"type": "send_message", "channel_id": "general", "content": CONTENT})

    async def heard(socket):
        # One that was too slow is told `lagging`, or closed with 4009.
        frames = []
        while len(frames) < WRITERS:
            frame = await receive(socket)
            assert frame["type"] in ("chat_message", "user_left"), frame
            frames += [frame] if frame["type"] == "chat_message" else []
        return frames

    for _ in range(ROUNDS):
        listening = [asyncio.create_task(heard(socket)) for socket in (v1, old)]
        await asyncio.gather(*[writer.send(text) for writer in writers])
        for frames in await asyncio.wait_for(asyncio.gather(*listening), 3 * DEADLINE):
            assert all(frame["message"]["content"] == CONTENT for frame in frames)
            assert len({frame["message"]["id"] for frame in frames}) == WRITERS
    for socket in (v1, old, *writers):
        await socket.close()


async def test_the_longest_idle_of_a_users_sockets_gives_way_to_a_new_one(tmp_path):
    server = Server(
        tmp_path, DEBUG="false", BROKER="embedded", SAFESHIPPER__GATEWAY__CONNECTIONS_PER_USER_MAX="2"
    )
    server.start()

    async def opened(user):
        socket = await connect(server, user, "safeshipper.v1.json")
        await receive(socket, "connection_established")
        return socket

    async def is_open(socket):
        await send(socket, type="ping")
        return await receive(socket, "pong") and socket.close_code is None

    try:
        used, idle, other = [await opened(user) for user in ("one", "one", "other")]
        await asyncio.sleep(0.01)  # the clock of idleness counts milliseconds
        await send(used, type="fetch_history", channel_id="elsewhere")
        await receive(used, "error")
        late = await opened("one")
        with pytest.raises(websockets.ConnectionClosed):
            await receive(idle, "nothing")
        assert idle.close_code == 4505
        for socket in (used, late, other):
            assert await is_open(socket)
            await socket.close()
    finally:
        assert server.stop() == 0
