"""Starts the real system once in each mode for all tests that do not stop it."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import jwt
import pytest

ROOT = Path(__file__).resolve().parents[4]
sys.path.append(str(ROOT / "loadtest"))
import servers  # noqa: E402

BINARY = Path(os.environ.get("STANDALONE_BIN", ROOT / "target" / "debug" / "standalone"))
LOADTEST = BINARY.parent / "loadtest"
SECRET = "a-test-key-that-is-long-enough-for-hs256"
START_SECONDS = 30
DEADLINE = 10
# What each process may open: some systems allow no 20,000.
DESCRIPTORS = 19_000


class Server:
    """A standalone process and how to reach it."""

    def __init__(self, data: Path, **settings):
        self.data = data
        self.settings = settings
        self.process = None
        self.listen = "127.0.0.1:0"

    def start(self):
        environment = {
            "PATH": os.environ["PATH"],
            "DEBUG": "true",
            "SECRET_KEY": SECRET,
            "LISTEN": self.listen,
            "ADMIN_LISTEN": "127.0.0.1:0",
            "DATA_DIR": str(self.data),
            **self.settings,
        }
        addresses = self.data / "addresses.json"
        addresses.unlink(missing_ok=True)
        log = open(self.data / "server.log", "ab")
        self.process = subprocess.Popen([BINARY], env=environment, cwd=self.data, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while not addresses.exists():
            assert self.process.poll() is None, (self.data / "server.log").read_text()
            assert time.monotonic() < until, "the server did not come up"
            time.sleep(0.02)
        self.listen = json.loads(addresses.read_text())["listen"]

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(START_SECONDS)
        return self.process.returncode

    @property
    def chat(self):
        return f"ws://{self.listen}/ws/chat/"

    def get(self, path, **headers):
        request = urllib.request.Request(f"http://{self.listen}{path}", headers=headers)
        return urllib.request.urlopen(request, timeout=DEADLINE)


class Fleet(servers.Fleet):
    """Two gateways and two workers on a real nats-server; each socket goes to the gateway after the last one's."""

    def __init__(self, data: Path, **settings):
        super().__init__(data, BINARY.parent, SECRET, **settings)
        self.turn = 0

    @property
    def listen(self):
        self.turn += 1
        return self.gateways[self.turn % len(self.gateways)]

    chat = Server.chat
    get = Server.get


@contextlib.contextmanager
def running_fleet(data, **settings):
    """A fleet of the test's own, which may have as many sockets as a process may open; it must stop cleanly."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, limit[1]), limit[1]))
    fleet = Fleet(data, **settings)
    try:
        fleet.start()
        yield fleet
    finally:
        stopped = fleet.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert stopped == 0, (data / "fleet.log").read_text()


@pytest.fixture(scope="session", params=["embedded", "nats"])
def server(request):
    with tempfile.TemporaryDirectory() as data:
        system = Server(Path(data)) if request.param == "embedded" else Fleet(Path(data))
        try:
            system.start()
            yield system
        finally:
            stopped = system.stop()
        assert stopped == 0, "the system must stop cleanly"


@pytest.fixture
def own_server(tmp_path):
    """A server that the test may stop and start."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop(signal.SIGKILL)


def token(user_id="driver-1", *, key=SECRET, lifetime=900, **claims):
    body = {"user_id": user_id, "exp": int(time.time()) + lifetime, **claims}
    return jwt.encode(body, key, algorithm="HS256")


async def receive(socket, kind=None, timeout=DEADLINE):
    """The next frame, or the next one of this type."""
    async with asyncio.timeout(timeout):
        while True:
            frame = json.loads(await socket.recv())
            if kind is None or frame.get("type") == kind:
                return frame


async def send(socket, **frame):
    await socket.send(json.dumps(frame))


async def silence(socket, seconds=0.5):
    """Frames that come within these seconds: a list that should be empty."""
    frames = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                frames.append(json.loads(await socket.recv()))
    except TimeoutError:
        return frames
