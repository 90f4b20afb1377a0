"""Gateways end under many clients: everybody is back and has resumed within seconds, and nothing acknowledged is lost.
`make bench-nats` shows it for 5,000 clients, this for hundreds."""

import json

import outage
import pytest
from conftest import BINARY, SECRET, running_fleet
from servers import load_command
from test_loadtest import faulty_process, seeded

CLIENTS = 300


def test_a_gateway_that_is_killed_and_one_that_is_drained_lose_nothing(tmp_path):
    with running_fleet(tmp_path, **outage.settings(CLIENTS)) as fleet:
        result = outage.kill_and_drain(fleet, CLIENTS)
    assert result["missed"] == []
    print(json.dumps(result))


def found(**more):
    counts = {"dropped_by_code": {"lost": 5, "1012": 10}, "resume_ms": {"count": 15}, "sent": 7, "acknowledged": 7}
    return counts | more


@pytest.mark.parametrize(
    ("result", "what"),
    [
        (found(), None),
        (found(dropped_by_code={"lost": 4, "1012": 10}), "dropped_by_code"),
        (found(resume_ms={"count": 14}), "resumed"),
        (found(acknowledged=6), "6 of 7 messages"),
        (found(sent=0, acknowledged=0), "0 of 0 messages"),
    ],
)
def test_an_outage_that_was_another_one_is_missed(result, what):
    missed = outage.contradictions(result, 10)
    assert [line.startswith(what) for line in missed] == [True] if what else missed == []


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
        (folder / "key").write_text(SECRET)
        addresses = [server.listen, address]
        command = load_command(BINARY.parent, "outage", addresses, folder / "key", *options)
        with outage.Outage(command, folder) as run:
            run.wait_until_it_says(lambda line: line.startswith("dropped 0"))
            proxy.kill()
            return run.result()


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
