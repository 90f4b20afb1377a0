"""Gateways end under many clients: everybody is back and has resumed within seconds, and nothing acknowledged is lost.

OUTAGE_CLIENTS says how many clients there are (300; the target is set for 5,000).
"""

import json
import os
import signal
import subprocess

import pytest
from conftest import LOADTEST, SECRET, running_fleet, wait_until
from test_loadtest import faulty_process, seeded

CLIENTS = int(os.environ.get("OUTAGE_CLIENTS", "300"))
ROOMS = CLIENTS // 10
WRITERS = 30
# Seconds; that of `reliability.md` for a gateway that is killed or drained.
RESUME_P99 = 5
# A gateway's default window is 10 s; here it sends away as many a second as it would 5,000 by default.
DRAIN_WINDOW_MS = 2 * CLIENTS


class Outage:
    """The load tool's `outage` under way, with what it says of its progress."""

    def __init__(self, folder, gateways, *options):
        (folder / "key").write_text(SECRET)
        command = [LOADTEST, "outage", "--key-file", folder / "key", *options]
        for address in gateways:
            command += ["--url", f"ws://{address}/ws/chat/"]
        self.said = folder / "outage.err"
        self.process = subprocess.Popen(
            [*map(str, command)], stdout=subprocess.PIPE, stderr=self.said.open("w"), text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def wait_until_it_says(self, wanted):
        """Waits for a line that satisfies `wanted`."""

        def is_said():
            assert self.process.poll() is None, self.said.read_text()
            return any(map(wanted, self.said.read_text().splitlines()))

        wait_until(is_said, f"this is not said: {self.said.read_text()}")

    def wait_until_ready(self):
        self.wait_until_it_says(lambda line: line.startswith("ready"))

    def wait_until_back(self, dropped):
        """Waits until so many were dropped and all are back."""

        def is_back(line):
            if not line.startswith("dropped"):
                return False
            there, away = line.split(", ")[:2]
            return int(there.split()[1]) >= dropped and away == "away 0"

        self.wait_until_it_says(is_back)

    def result(self):
        """The exit code, and what it found."""
        found, _ = self.process.communicate(timeout=180)
        assert self.process.returncode in (0, 99), self.said.read_text()
        return self.process.returncode, json.loads(found)


@pytest.fixture
def fleet(tmp_path):
    with running_fleet(tmp_path, SAFESHIPPER__GATEWAY__DRAIN_WINDOW_MS=str(DRAIN_WINDOW_MS)) as fleet:
        yield fleet


def test_a_gateway_that_is_killed_and_one_that_is_drained_lose_nothing(fleet, tmp_path):
    users = CLIENTS + WRITERS
    fleet.seed("outage", users, ROOMS)
    options = ["--connections", CLIENTS, "--rooms", ROOMS, "--writers", WRITERS, "--rate", 200, "--drops", users]
    # How long a message takes beside hundreds of handshakes on a machine that is shared says nothing here.
    options += ["--max-resume-p99-s", RESUME_P99, "--max-latency-ms", 30_000, "--drain", 30]
    with Outage(tmp_path, fleet.gateways, *options) as outage:
        outage.wait_until_ready()
        fleet.end("gateway-1", signal.SIGKILL)
        outage.wait_until_back(users // 2)
        fleet.end("gateway-2", signal.SIGTERM)
        code, result = outage.result()
    assert (code, result["missed"]) == (0, [])
    assert result["dropped_by_code"] == {"lost": users // 2, "1012": users}
    assert result["resume_ms"]["count"] == users // 2 + users
    assert result["acknowledged"] == result["sent"] > 0
    print(json.dumps(result))


SMALL = ["--connections", 50, "--rooms", 10, "--writers", 5, "--rate", 50, "--seconds", 1, "--drain", 2]
# Of 50 listeners and 5 writers, with two addresses to go to.
HALF = 28


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    server = seeded(tmp_path_factory.mktemp("embedded"))
    yield server
    assert server.stop() == 0


def outage_of_a_proxy(server, folder, *options, fault=("--drop-every", "1000000")):
    """Everybody who came through a proxy is dropped by its end and comes back to the server itself."""
    with faulty_process(server, *fault) as (address, proxy):
        options = [*SMALL, "--prefix", "storm", "--max-latency-ms", 5_000, *options]
        with Outage(folder, [server.listen, address], *options) as outage:
            outage.wait_until_it_says(lambda line: line.startswith("dropped 0"))
            proxy.kill()
            return outage.result()


def test_the_tool_passes_a_sound_outage(embedded, tmp_path):
    code, result = outage_of_a_proxy(embedded, tmp_path, "--drops", HALF)
    assert (code, result["missed"]) == (0, [])
    assert (result["dropped_by_code"], result["away"], result["resume_ms"]["count"]) == ({"lost": HALF}, 0, HALF)


def test_the_tool_reports_what_a_return_does_not_mend(embedded, tmp_path):
    code, result = outage_of_a_proxy(embedded, tmp_path, "--drops", HALF, fault=("--drop-every", "10"))
    assert code == 99 and result["faults"]["missing"] > 0 and result["faults"]["duplicates"] == 0


def test_the_tool_reports_a_late_return(embedded, tmp_path):
    code, result = outage_of_a_proxy(embedded, tmp_path, "--drops", HALF, "--max-resume-p99-s", 0.000_001)
    assert code == 99 and result["missed"][0].startswith("resume_p99_s")


def test_the_tool_reports_an_outage_that_did_not_happen(embedded, tmp_path):
    code, result = outage_of_a_proxy(embedded, tmp_path, "--drops", HALF + 1, "--patience", 5)
    assert (code, result["missed"]) == (99, [f"{HALF} of {HALF + 1} connections were dropped"])
