"""An operator has a gateway send some of its clients elsewhere."""

import asyncio
import json
import os
import subprocess
import urllib.error
import urllib.request

import pytest
import websockets
from conftest import BINARY, Fleet, receive, token

SUBPROTOCOLS = ["safeshipper.v1.json"]
SOCKETS = 20


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path)
    fleet.start()
    yield fleet
    assert fleet.stop() == 0


def shed(fleet, *options, **settings):
    state = json.loads((fleet.data / "fleet.json").read_text())
    # Whoever is at the machine needs no key, and no address but this one.
    environment = {"PATH": os.environ["PATH"], "ADMIN_LISTEN": state["admin"]["gateway-1"], **settings}
    command = [BINARY.parent / "gateway", "shed", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


async def test_half_of_the_clients_are_told_when_to_come_back_and_the_others_stay(fleet):
    def connect():
        headers = {"Authorization": f"Bearer {token('driver-1')}"}
        return websockets.connect(f"ws://{fleet.gateways[0]}/ws/chat/", subprotocols=SUBPROTOCOLS, additional_headers=headers)

    sockets = [await connect() for _ in range(SOCKETS)]
    for socket in sockets:
        await receive(socket, "connection_established")
    done = await asyncio.to_thread(shed, fleet, "--percent", "50", "--over-ms", "500")
    assert done.returncode == 0 and "50 % of the clients" in done.stdout, done.stderr

    async def fate(socket):
        try:
            frame = await receive(socket, "reconnect", timeout=3)
        except TimeoutError:
            return "stays"
        assert frame["reason"] == "rebalance" and 0 <= frame["after_ms"] < 500, frame
        with pytest.raises(websockets.ConnectionClosed):
            await receive(socket)
        return socket.close_code

    fates = await asyncio.gather(*map(fate, sockets))
    # Each of the reactors rounds up.
    gone = fates.count(4011)
    assert SOCKETS / 2 <= gone <= SOCKETS / 2 + (os.cpu_count() or 1), fates
    assert gone + fates.count("stays") == SOCKETS, fates
    for socket in sockets:
        await socket.close()


def test_a_shed_that_makes_no_sense_is_refused(fleet):
    assert shed(fleet, "--percent", "0").returncode == 2
    assert shed(fleet).returncode == 2
    assert shed(fleet, "--percent", "5", "--over-ms", "600001").returncode == 2
    admin = json.loads((fleet.data / "fleet.json").read_text())["admin"]["gateway-1"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"http://{admin}/shed?percent=5&over_ms=600001", method="POST"))
    assert refused.value.code == 400 and b"600000 at most" in refused.value.read()


async def test_a_second_shed_says_that_the_first_one_still_runs(fleet):
    headers = {"Authorization": f"Bearer {token('driver-1')}"}
    sockets = [
        await websockets.connect(f"ws://{fleet.gateways[0]}/ws/chat/", subprotocols=SUBPROTOCOLS, additional_headers=headers)
        for _ in range(SOCKETS)
    ]
    first = await asyncio.to_thread(shed, fleet, "--percent", "100", "--over-ms", "3000")
    second = await asyncio.to_thread(shed, fleet, "--percent", "100", "--over-ms", "0")
    assert first.returncode == 0, first.stderr
    assert second.returncode == 1 and "already" in second.stderr and not second.stdout, second
    for socket in sockets:
        await socket.wait_closed()
    again = await asyncio.to_thread(shed, fleet, "--percent", "100", "--over-ms", "0")
    assert again.returncode == 0, again.stderr


def test_a_shed_nobody_hears_of_says_so(fleet):
    nobody = shed(fleet, "--percent", "5", ADMIN_LISTEN="127.0.0.1:1")
    assert nobody.returncode == 1 and "127.0.0.1:1" in nobody.stderr, nobody
    nowhere = shed(fleet, "--percent", "5", ADMIN_LISTEN="here")
    assert nowhere.returncode == 64 and "admin_listen" in nowhere.stderr, nowhere
