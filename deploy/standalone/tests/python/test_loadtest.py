"""The load tool against the real server: what is sound passes, each planted fault is reported, attackers end."""

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BINARY, ROOT, SECRET, START_SECONDS, Server

LOADTEST = ROOT / "target" / "debug" / "loadtest"
SEEDS = {"fanout": (30, 1), "rooms": (20, 5), "sends": (10, 10), "idle": (60, 6), "storm": (55, 10), "hostile": (30, 1)}


def seeded(data):
    """A server with users and rooms for every scenario."""
    environment = {"PATH": os.environ["PATH"], "DEBUG": "true", "SECRET_KEY": SECRET, "DATA_DIR": str(data)}
    for prefix, (users, rooms) in SEEDS.items():
        seed = [BINARY, "seed", "--prefix", prefix, "--users", str(users), "--rooms", str(rooms)]
        subprocess.run(seed, env=environment, cwd=data, check=True, stdout=subprocess.DEVNULL)
    (data / "key").write_text(SECRET)
    server = Server(data)
    server.start()
    return server


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    server = seeded(tmp_path_factory.mktemp("loaded"))
    yield server
    assert server.stop() == 0


def run(server, scenario, *options, gateways=None, also=()):
    """The exit code and the result of a run against these addresses, counting these processes, too."""
    command = [LOADTEST, scenario, "--key-file", server.data / "key", *options]
    for address in gateways or [server.listen]:
        command += ["--url", f"ws://{address}/ws/chat/"]
    for process in (server.process, *also):
        command += ["--server-pid", process.pid]
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode in (0, 99), done.stderr
    return done.returncode, json.loads(done.stdout)


def anonymous_bytes(pid):
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.split("Anonymous:")[1].split()[0]) * 1024


@contextlib.contextmanager
def faulty(server, *fault):
    """A proxy before the server that breaks what passes; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % probe.getsockname()[1]
    proxy = subprocess.Popen([LOADTEST, "faulty", "--listen", address, "--target", server.listen, *fault])
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.split(":")[1]))) == 0:
                    break
            assert time.monotonic() < until, "the proxy did not come up"
            time.sleep(0.02)
        yield address
    finally:
        proxy.kill()
        proxy.wait()


FANOUT = ["--connections", 30, "--rate", 50, "--seconds", 2, "--warmup", 1]
# 600 messages, 18,000 deliveries: enough for one in 10,000.
PLANTED = ["--connections", 30, "--rate", 200, "--seconds", 2, "--warmup", 1, "--drain", 2]


@pytest.mark.parametrize(
    ("scenario", "options", "figure", "wanted"),
    [
        ("fanout", FANOUT, "delivered", 30 * 150),
        ("rooms", ["--rooms", 5, "--members", 4, "--rate", 50, "--seconds", 1, "--warmup", 1], "delivered", 4 * 100),
        ("sends", ["--senders", 10, "--seconds", 1], "senders", 10),
        ("idle", ["--from", 20, "--to", 60, "--settle", 1, "--hold", 1], "connections", 60),
        ("storm", ["--connections", 50, "--rooms", 10, "--writers", 5, "--seconds", 1], "lost_resuming", 0),
    ],
)
def test_a_sound_server_passes(loaded, scenario, options, figure, wanted):
    code, result = run(loaded, scenario, *options)
    assert (code, result["missed"], result[figure]) == (0, [], wanted)
    assert result["client_cpu"] < 0.9 and not result["client_was_the_bottleneck"]
    if scenario != "idle":
        assert result["client_cpu"] > 0
        assert result["acknowledged"] == result["sent"] > 0


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (["--drop-every", "10000"], {"missing": 1, "duplicates": 0}),
        (["--repeat-nth", "10000"], {"missing": 0, "duplicates": 1}),
        (["--swap-nth", "10000"], {"missing": 0, "duplicates": 0}),
    ],
)
def test_one_in_10000_lost_repeated_or_swapped_is_reported(loaded, fault, found):
    with faulty(loaded, *fault) as address:
        code, result = run(loaded, "fanout", *PLANTED, gateways=[address])
    assert code == 99
    assert result["faults"] == {**found, "reordered": result["faults"]["reordered"]}
    assert result["faults"]["reordered"] > 0, "the chain of prev tells each of them, too"
    assert result["acknowledgements_lost"] == 0


# The 1,000th is sent in the warm-up, the 10,000th when it is over.
@pytest.mark.parametrize("nth", ["1000", "10000"])
def test_a_stall_is_reported_by_every_run(loaded, nth):
    with faulty(loaded, "--stall-nth", nth) as address:
        code, result = run(loaded, "fanout", *PLANTED, gateways=[address])
    assert (code, len(result["missed"])) == (99, 1)
    assert "slowest_ms" in result["missed"][0] and result["slowest_ms"] > 1_900


def test_a_stall_is_in_the_percentiles(loaded):
    with faulty(loaded, "--stall-nth", "2000") as address:
        code, result = run(loaded, "fanout", *FANOUT, "--max-latency-ms", 10_000, "--max-p99-ms", 1_500, gateways=[address])
    assert (code, len(result["missed"])) == (99, 1)
    assert result["latency_ms"]["p99"] > 1_500, "open loop: what waited counts from when it was due"


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("fanout", FANOUT),
        ("sends", ["--senders", 10, "--seconds", 1]),
        ("storm", ["--connections", 50, "--rooms", 10, "--writers", 5, "--seconds", 1]),
    ],
)
def test_a_lost_acknowledgement_is_reported(loaded, scenario, options):
    with faulty(loaded, "--drop-ack-nth", "50") as address:
        code, result = run(loaded, scenario, *options, "--drain", 1, gateways=[address])
    assert (code, len(result["missed"])) == (99, 1)
    assert (result["acknowledgements_lost"], result["acknowledged"]) == (1, result["sent"] - 1)


def test_several_gateways_share_the_members_of_a_room(loaded):
    with faulty(loaded, "--drop-every", "1000") as address:
        code, result = run(loaded, "fanout", *FANOUT, "--drain", 1, gateways=[loaded.listen, address])
    assert (code, result["gateways"]) == (99, 2)
    assert result["delivered_across_gateways"] == pytest.approx(15 * 150, abs=2)
    assert result["faults"]["missing"] == 2, "2,250 of 4,500 deliveries went through the second"


def test_a_message_that_stays_at_its_gateway_is_missed_at_the_other(loaded, tmp_path):
    other = seeded(tmp_path)
    try:
        gateways = [loaded.listen, other.listen]
        code, result = run(loaded, "fanout", *FANOUT, "--drain", 1, gateways=gateways, also=[other.process])
        memory = [anonymous_bytes(server.process.pid) for server in (loaded, other)]
    finally:
        other.stop()
    assert (code, result["delivered_across_gateways"]) == (99, 0)
    assert result["faults"]["missing"] == 15 * 150
    assert result["acknowledgements_lost"] == 0, "each gateway took what it was sent"
    assert result["server_memory_bytes"] == pytest.approx(sum(memory), abs=min(memory) / 2), "both are counted"


def test_who_resumes_comes_to_another_gateway(loaded):
    options = ["--connections", 50, "--rooms", 10, "--writers", 5, "--seconds", 1]
    with faulty(loaded, "--drop-ack-nth", "1000000") as address:
        code, result = run(loaded, "storm", *options, gateways=[loaded.listen, address])
    assert (code, result["missed"], result["gateways"], result["back"]) == (0, [], 2, 50)


def test_attackers_end_and_honest_people_go_on(loaded):
    options = ["--connections", 20, "--attackers", 10, "--rate", 50, "--seconds", 3]
    code, result = run(loaded, "hostile", *options)
    assert (code, result["missed"], result["attackers_left"]) == (0, [], 0)
    kinds = ("unmasked", "fragments", "pings", "slow_header")
    assert [result[f"ended_{kind}"] for kind in kinds] == [10] * 4
    assert result["client_cpu"] > 0 and result["attackers_cpu"] > 0


def test_load_stays_on_this_machine():
    command = [LOADTEST, "fanout", "--url", "ws://192.0.2.1:8000/ws/chat/"]
    done = subprocess.run([*map(str, command)], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and "127.0.0.0/8" in done.stderr
