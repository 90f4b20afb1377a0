"""An operator has a gateway send some of its clients elsewhere."""

import asyncio
import json
import os
import subprocess

import pytest
import websockets
from conftest import BINARY, SECRET, Fleet, receive, token

SUBPROTOCOLS = ["safeshipper.v1.json"]
SOCKETS = 20


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path)
    fleet.start()
    yield fleet
    assert fleet.stop() == 0


def shed(fleet, *options):
    state = json.loads((fleet.data / "fleet.json").read_text())
    environment = {**os.environ, "NATS_URL": state["nats"], "SECRET_KEY": SECRET, "ADMIN_LISTEN": state["admin"]["gateway-1"]}
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
