"""Each kind of bad input gets its answer and changes nothing, while an honest pair goes on chatting beside it."""

import asyncio
import json
import threading
import time

import pytest
import websockets

from conftest import DEADLINE, receive, send, silence, token

pytestmark = pytest.mark.asyncio

POINT = {"channel_id": "elsewhere", "epoch": "e", "seq": 1}

V1 = [
    ("no json", "invalid_json"),
    ("[1]", "invalid_frame"),
    ('{"type":"nonsense","ref":"r"}', "unknown_type"),
    ('{"type":"presence_query","ref":"r"}', "unsupported"),
    ('{"type":"send_message","ref":"r","channel_id":"general"}', "missing_field"),
    ('{"type":"send_message","ref":"r","channel_id":7,"content":"x"}', "invalid_frame"),
    ('{"type":"send_message","ref":"r","channel_id":"general","content":"x","priority":"SOON"}', "invalid_frame"),
    ('{"type":"send_message","ref":"r","channel_id":"general","content":"%s"}' % ("x" * 8001), "too_large"),
    ('{"type":"send_message","ref":"r","channel_id":"elsewhere","content":"x"}', "permission_denied"),
    ('{"type":"join_channel","ref":"r"}', "missing_field"),
    ('{"type":"join_channel","ref":"r","channel_id":"elsewhere"}', "permission_denied"),
    ('{"type":"leave_channel","ref":"r","channel_id":"elsewhere"}', "unknown_channel"),
    ('{"type":"typing_start","ref":"r"}', "missing_field"),
    ('{"type":"typing_start","ref":"r","channel_id":"elsewhere"}', "unknown_channel"),
    ('{"type":"fetch_history","ref":"r","channel_id":"elsewhere"}', "unknown_channel"),
    ('{"type":"fetch_history","ref":"r","channel_id":"general","limit":201}', "invalid_frame"),
    ('{"type":"resume","ref":"r"}', "missing_field"),
    ('{"type":"resume","ref":"r","channels":[{"channel_id":"general"}]}', "invalid_frame"),
    ('{"type":"authenticate","ref":"r"}', "missing_field"),
    ('{"type":"join_channel","ref":"r","channel_id":7}', "invalid_frame"),
    ('{"type":"leave_channel","ref":"r"}', "missing_field"),
    ('{"type":"leave_channel","ref":"r","channel_id":["general"]}', "invalid_frame"),
    ('{"type":"typing_start","ref":"r","channel_id":{}}', "invalid_frame"),
    ('{"type":"typing_stop","ref":"r"}', "missing_field"),
    ('{"type":"typing_stop","ref":"r","channel_id":null}', "missing_field"),
    ('{"type":"typing_stop","ref":"r","channel_id":true}', "invalid_frame"),
    ('{"type":"typing_stop","ref":"r","channel_id":"no channel"}', "invalid_frame"),
    ('{"type":"typing_stop","ref":"r","channel_id":"elsewhere"}', "unknown_channel"),
    ('{"type":"resume","ref":"r","channels":"general"}', "invalid_frame"),
    ('{"type":"resume","ref":"r","channels":[{"channel_id":"general","epoch":"e","seq":-1}]}', "invalid_frame"),
    (json.dumps({"type": "resume", "ref": "r", "channels": 401 * [POINT]}), "too_large"),
    ('{"type":"authenticate","ref":"r","token":7}', "invalid_frame"),
    ('{"type":"authenticate","ref":"r","token":"x","resume":"yes"}', "invalid_frame"),
    (json.dumps({"type": "authenticate", "ref": "r", "token": token()}), "conflict"),
]

CLASSIC = [
    ("no json", "Invalid JSON format"),
    ('{"type":"nonsense"}', "Unknown message type: nonsense"),
    ("{}", "Unknown message type: None"),
    ('{"type":"ping"}', "Unknown message type: ping"),
    ('{"type":"fetch_history","channel_id":"general"}', "Unknown message type: fetch_history"),
    ('{"type":"send_message","channel_id":"general"}', "Channel ID and content are required"),
    ('{"type":"send_message","content":"x"}', "Channel ID and content are required"),
    ('{"type":"send_message","channel_id":"general","content":"  "}', "Channel ID and content are required"),
    (
        '{"type":"send_message","channel_id":"elsewhere","content":"x"}',
        "You don't have permission to send messages to this channel",
    ),
    ('{"type":"join_channel"}', "Channel ID is required"),
    ('{"type":"join_channel","channel_id":"elsewhere"}', "You don't have permission to join this channel"),
    ('{"type":"leave_channel"}', "Channel ID is required"),
    ('{"type":"send_message","channel_id":7,"content":"x"}', "Invalid field: channel_id"),
    ('{"type":"join_channel","channel_id":7}', "Invalid field: channel_id"),
    ('{"type":"leave_channel","channel_id":{}}', "Invalid field: channel_id"),
]

CLASSIC_SILENT = [
    '{"type":"typing_start"}',
    '{"type":"typing_start","channel_id":7}',
    '{"type":"typing_start","channel_id":"elsewhere"}',
    '{"type":"typing_stop"}',
    '{"type":"typing_stop","channel_id":7}',
    '{"type":"typing_stop","channel_id":"elsewhere"}',
]

FRAME_BYTES_MAX = 64 * 1024


async def connect(server, user="driver-2", subprotocol="safeshipper.v1.json"):
    return await websockets.connect(server.chat, subprotocols=[subprotocol, f"bearer.{token(user)}"])


async def classic(server, user="driver-2"):
    return await websockets.connect(f"{server.chat}?token={token(user)}")


class HonestPair(threading.Thread):
    """Two people who chat until they are told to stop; each message must be acknowledged and arrive."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.exchanged = 0
        self.stopped = threading.Event()
        self.failure = None

    def run(self):
        try:
            asyncio.run(self.chat())
        except Exception as failure:
            self.failure = failure

    async def chat(self):
        async with await connect(self.server, "driver-1") as one, await connect(self.server, "dispatcher-1") as other:
            for socket in (one, other):
                await receive(socket, "connection_established")
            while not self.stopped.is_set():
                content = f"honest {self.exchanged}"
                await send(one, type="send_message", channel_id="general", content=content)
                await receive(one, "ack")
                while (await receive(other, "chat_message"))["message"]["content"] != content:
                    pass
                self.exchanged += 1
                await asyncio.sleep(0.005)

    async def goes_on(self):
        before, until = self.exchanged, time.monotonic() + DEADLINE
        while self.exchanged < before + 3:
            assert self.failure is None, self.failure
            assert time.monotonic() < until, "the honest pair does not get on"
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def pair(server):
    pair = HonestPair(server)
    pair.start()
    yield pair
    pair.stopped.set()
    pair.join(DEADLINE)
    assert pair.failure is None and not pair.is_alive(), pair.failure


@pytest.mark.parametrize(("frame", "code"), V1)
async def test_each_bad_frame_gets_its_code_and_the_socket_stays(server, pair, frame, code):
    async with await connect(server) as socket:
        await receive(socket, "connection_established")
        await socket.send(frame)
        error = await receive(socket, "error")
        assert error["code"] == code and error["message"]
        assert error.get("ref") == ("r" if '"ref"' in frame else None)
        await send(socket, type="send_message", channel_id="general", content="still here")
        assert (await receive(socket, "ack"))["durability"] == "logged"
        await pair.goes_on()


@pytest.mark.parametrize(("frame", "text"), CLASSIC)
async def test_bad_frames_get_the_old_texts(server, pair, frame, text):
    async with await classic(server) as socket:
        await socket.send(frame)
        assert await receive(socket, "error") == {"type": "error", "message": text}
        await send(socket, type="leave_channel", channel_id="emergency")
        assert await receive(socket, "channel_left") == {"type": "channel_left", "channel_id": "emergency"}
        await pair.goes_on()


async def test_typing_that_nobody_can_hear_is_ignored_in_silence(server, pair):
    async with await classic(server) as socket, await connect(server, "safety-1") as other:
        await send(socket, type="leave_channel", channel_id="general")
        await receive(socket, "channel_left")
        await receive(other, "connection_established")
        for frame in CLASSIC_SILENT:
            await socket.send(frame)
        assert await silence(socket) == []
        await pair.goes_on()
        assert [frame for frame in await silence(other) if frame["type"] == "typing_indicator"] == []


async def test_a_stop_is_told_once_and_only_after_a_start(server, pair):
    async with await connect(server) as socket, await connect(server, "safety-1") as other:
        await receive(socket, "connection_established")
        await receive(other, "connection_established")
        for kind in ("typing_stop", "typing_start"):
            await send(socket, type=kind, channel_id="general")
        expected = {"type": "typing_indicator", "user_id": "driver-2", "channel_id": "general"}
        assert await receive(other, "typing_indicator") == {**expected, "is_typing": True}
        for kind in ("typing_stop", "typing_stop", "typing_start", "typing_stop"):
            await send(socket, type=kind, channel_id="general")
        assert await receive(other, "typing_indicator") == {**expected, "is_typing": False}
        heard = [*await silence(other), *await silence(socket)]
        assert {frame["type"] for frame in heard} <= {"chat_message"}, "at most one start in two seconds"
        await pair.goes_on()


async def test_a_resume_of_a_channel_that_is_not_the_users_says_so_and_goes_on(server, pair):
    async with await connect(server) as socket:
        first = await receive(socket, "connection_established")
        own = {key: first["channels"][0][key] for key in ("channel_id", "epoch", "seq")}
        await send(socket, type="resume", ref="r", channels=[POINT, own])
        assert await receive(socket, "channel_left") == {"type": "channel_left", "channel_id": "elsewhere"}
        assert await receive(socket, "resume_done") == {"type": "resume_done", "ref": "r"}
        await send(socket, type="resume", ref="most", channels=400 * [POINT])
        assert await receive(socket, "resume_done") == {"type": "resume_done", "ref": "most"}
        await pair.goes_on()


async def test_a_bad_authenticate_leaves_the_socket_waiting_for_a_good_one(server, pair):
    async with await websockets.connect(server.chat, subprotocols=["safeshipper.v1.json"]) as socket:
        for fields, code in [({}, "missing_field"), ({"token": 7}, "invalid_frame"), ({"token": []}, "invalid_frame")]:
            await send(socket, type="authenticate", ref="r", **fields)
            error = await receive(socket)
            assert (error["code"], error["ref"]) == (code, "r")
        await send(socket, type="authenticate", token=token())
        assert (await receive(socket))["type"] == "connection_established"
        await pair.goes_on()


@pytest.mark.parametrize("bytes_over", [0, 1])
@pytest.mark.parametrize("opened", [connect, classic])
async def test_a_frame_of_64_kib_is_taken_and_one_byte_more_closes_with_1009(server, pair, opened, bytes_over):
    async with await opened(server) as socket:
        frame = '{"type":"from_the_future","pad":"%s"}'
        pad = FRAME_BYTES_MAX + bytes_over - len(frame % "")
        await socket.send(frame % ("x" * pad))
        if bytes_over:
            with pytest.raises(websockets.ConnectionClosed):
                await receive(socket, "error")
            assert socket.close_code == 1009
        else:
            assert (await receive(socket, "error"))["message"] == "Unknown message type: from_the_future"
        await pair.goes_on()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", 4501),
        ('{"type":"fetch_history","channel_id":"elsewhere"}', 4501),
        ('{"type":"from_the_future"}', None),
        ('{"type":"set_status","status":"away"}', None),
    ],
)
async def test_endless_errors_close_with_4501_and_unknown_types_do_not(server, pair, frame, code):
    async with await connect(server) as socket:
        await receive(socket, "connection_established")
        try:
            for _ in range(300):
                await socket.send(frame)
            await send(socket, type="ping", ref="p")
            await receive(socket, "pong")
        except websockets.ConnectionClosed:
            pass
        assert socket.close_code == code
        await pair.goes_on()
