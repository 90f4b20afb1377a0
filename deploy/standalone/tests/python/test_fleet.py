"""The tool that runs a fleet on one machine: never two servers on one store, whatever becomes of the tool."""

import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import BINARY, SECRET, START_SECONDS
from servers import FLEET, Fleet, wait_until


@pytest.fixture
def fleet(tmp_path):
    """One that the test stops; nobody of it is left behind."""
    fleet = Fleet(tmp_path, BINARY.parent, SECRET)
    fleet.start("--gateways", 1, "--workers", 1)
    yield fleet
    end([*fleet.state["pids"].values(), fleet.process.pid], signal.SIGKILL)
    fleet.process.wait()


def end(pids, how):
    for pid in filter(is_alive, pids):
        os.kill(pid, how)


def is_alive(pid):
    """Whether it runs; who ended and is nobody's child any more does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_again(fleet):
    """A start on the same folder that is refused: what it says, and the processes that it asks to be stopped."""
    command = [sys.executable, FLEET, "--data", fleet.data, "--bin", BINARY.parent]
    done = subprocess.run(
        command, env=fleet.environment, capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert done.returncode == 1 and done.stdout == "", done.stdout
    assert f"a fleet runs on {fleet.data} already" in done.stderr, done.stderr
    return done.stderr, sorted(map(int, re.search(r"kill ([0-9 ]+)", done.stderr)[1].split()))


def test_a_second_fleet_on_the_same_data_is_refused(fleet):
    said, pids = start_again(fleet)
    assert pids == [fleet.process.pid], said
    assert fleet.told() == fleet.state
    assert fleet.stop() == 0


def test_a_tool_that_was_killed_leaves_nobody_a_second_server_on_the_store(fleet):
    fleet.process.kill()
    fleet.process.wait()
    members = fleet.state["pids"]
    assert all(map(is_alive, members.values())), "they go on without the tool"
    said, pids = start_again(fleet)
    assert pids == sorted(members.values()), said
    for name, pid in members.items():
        assert re.search(rf"^ +{pid}  .*{name.split('-')[0]}", said, re.MULTILINE), said
    # The last of them still holds the folder.
    end([pid for name, pid in members.items() if name != "nats"], signal.SIGTERM)
    wait_until(lambda: start_again(fleet)[1] == [members["nats"]], "others than the nats-server hold the folder")
    end([members["nats"]], signal.SIGTERM)
    wait_until(lambda: not is_alive(members["nats"]), "the nats-server does not stop")
    fleet.start("--gateways", 1, "--workers", 1)
    assert fleet.stop() == 0
