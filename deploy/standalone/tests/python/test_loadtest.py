"""The load tool against the real server: what is sound passes, each planted fault is reported, attackers end."""

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import bench
import pytest
from conftest import BINARY, LOADTEST, SECRET, START_SECONDS, Server

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
def faulty_process(server, *fault):
    """A proxy before the server that breaks what passes; its address and its process."""
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
        yield address, proxy
    finally:
        proxy.kill()
        proxy.wait()


@contextlib.contextmanager
def faulty(server, *fault):
    """The same, but only its address."""
    with faulty_process(server, *fault) as (address, _):
        yield address


FANOUT = ["--connections", 30, "--rate", 50, "--seconds", 2, "--warmup", 1]
# 600 messages, 18,000 deliveries: enough for one in 10,000.
PLANTED = ["--connections", 30, "--rate", 200, "--seconds", 2, "--warmup", 1, "--drain", 2]
VISIT = ["--prefix", "rooms", "--connections", 20, "--rooms", 5]
STORM = ["--connections", 50, "--rooms", 10, "--writers", 5, "--seconds", 1]


@pytest.mark.parametrize(
    ("scenario", "options", "figure", "wanted"),
    [
        ("fanout", FANOUT, "delivered", 30 * 150),
        ("rooms", ["--rooms", 5, "--members", 4, "--rate", 50, "--seconds", 1, "--warmup", 1], "delivered", 4 * 100),
        ("sends", ["--senders", 10, "--seconds", 1], "senders", 10),
        ("idle", ["--from", 20, "--to", 60, "--settle", 1, "--hold", 1], "connections", 60),
        ("storm", STORM, "lost_resuming", 0),
        ("visit", VISIT, "visits", 20),
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


# Of fanout's deliveries the 1,000th comes in the warm-up, the 10,000th when it is over.
@pytest.mark.parametrize(
    ("scenario", "options", "nth"),
    [
        ("fanout", PLANTED, "1000"),
        ("fanout", PLANTED, "10000"),
        ("sends", ["--senders", 10, "--seconds", 1], "50"),
        ("storm", STORM, "50"),
    ],
)
def test_a_stall_is_reported_by_every_run(loaded, scenario, options, nth):
    with faulty(loaded, "--stall-nth", nth) as address:
        code, result = run(loaded, scenario, *options, gateways=[address])
    assert (code, len(result["missed"])) == (99, 1)
    slowest = result["slowest_ms"] if scenario == "fanout" else result["ack_latency_ms"]["max"]
    assert "at most 1000 was asked" in result["missed"][0] and slowest > 1_900


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
        ("storm", STORM),
    ],
)
def test_a_lost_acknowledgement_is_reported(loaded, scenario, options):
    with faulty(loaded, "--drop-ack-nth", "50") as address:
        code, result = run(loaded, scenario, *options, "--drain", 1, gateways=[address])
    assert (code, len(result["missed"])) == (99, 1)
    assert (result["acknowledgements_lost"], result["acknowledged"]) == (1, result["sent"] - 1)


def test_a_visit_that_does_not_end_is_reported(loaded):
    with faulty(loaded, "--drop-ack-nth", "5") as address:
        code, result = run(loaded, "visit", *VISIT, "--drain", 1, gateways=[address])
    assert (code, result["visits"], result["acknowledgements_lost"]) == (99, 19, 1)
    assert "19 of 20 visits came to their end" in result["missed"]


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
    with faulty(loaded, "--drop-ack-nth", "1000000") as address:
        code, result = run(loaded, "storm", *STORM, gateways=[loaded.listen, address])
    assert (code, result["missed"], result["gateways"], result["back"]) == (0, [], 2, 50)


def test_attackers_end_and_honest_people_go_on(loaded):
    options = ["--connections", 20, "--attackers", 10, "--rate", 50, "--seconds", 3]
    code, result = run(loaded, "hostile", *options)
    assert (code, result["missed"], result["attackers_left"]) == (0, [], 0)
    kinds = ("unmasked", "fragments", "pings", "slow_header")
    assert [result[f"ended_{kind}"] for kind in kinds] == [10] * 4
    assert result["client_cpu"] > 0 and result["attackers_cpu"] > 0


def test_people_outside_of_their_room_are_not_taken_for_lost_messages(loaded):
    # The prefix has ten rooms, and only every tenth user is in the first one.
    command = [LOADTEST, "fanout", "--prefix", "storm", "--connections", 5, "--key-file", loaded.data / "key"]
    command += ["--url", f"ws://{loaded.listen}/ws/chat/"]
    done = subprocess.run([*map(str, command)], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "users are no members of their rooms" in done.stderr, done.stderr


def test_load_stays_on_this_machine():
    command = [LOADTEST, "fanout", "--url", "ws://192.0.2.1:8000/ws/chat/"]
    done = subprocess.run([*map(str, command)], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and "127.0.0.0/8" in done.stderr


@pytest.mark.parametrize("saturates_at", [1_000, 4_000, 4_500, 9_000, 11_999, 32_000, 32_001])
def test_the_rate_that_saturates_is_found_or_said_not_to_be(saturates_at):
    rate = bench.saturating_rate(lambda rate: rate >= saturates_at)
    if saturates_at > bench.RATE_MAX:
        assert rate is None
    else:
        assert 0 <= rate - saturates_at < bench.RATE_STEP


def bench_run(figure, missed=(), bound=False):
    return {"figure": figure, "missed": list(missed), "client_was_the_bottleneck": bound}


def test_the_bench_takes_medians_and_leaves_out_runs_that_the_client_bound():
    runs = [bench_run(3), bench_run(1), bench_run(900, bound=True), bench_run(2)]
    judged = bench.judge(runs, lambda run: run["figure"], ".0f")
    assert (judged.median, judged.sound) == (2, True)
    assert judged.seen == "median 2 of 3 (1 to 3); 1 left out, the client was the bottleneck"
    assert not bench.judge([bench_run(1, bound=True)], lambda run: run["figure"], ".0f").sound
    assert not bench.judge([bench_run(1), bench_run(1, missed=["a message"])], lambda run: run["figure"], ".0f").sound


def half_load(p99_ms, **more):
    return {"rate": 2_000, "p99_ms": p99_ms, "disk_ms": 5, "missed": [], **more}


@pytest.mark.parametrize(
    ("rounds", "held"),
    [
        ([half_load(19), half_load(20), half_load(90)], True),
        ([half_load(19), half_load(21), half_load(90)], False),
        ([half_load(1), half_load(1), {"failed": "not even 32,000 messages a second saturate"}], False),
        ([{"failed": "the client was the bottleneck"}], False),
        ([half_load(1, missed=["a message"])], False),
    ],
)
def test_half_load_is_judged_by_the_median_of_rates_that_were_found(rounds, held):
    assert bench.half_load_row(rounds).held == held


@pytest.mark.parametrize(("first", "second", "held"), [(60, 61, True), (80, 81, False), (60, 80, False)])
def test_what_an_attack_leaves_is_judged_without_what_chat_leaves(first, second, held):
    sizes = [(38, 38, 40), (40, 42, 50), (50, 200, first), (first, 200, second)]
    runs = [
        {"sent": 1_000, **{f"server_{name}": {"memory_bytes": size * bench.MIB} for name, size in zip(names, run)}}
        for names, run in ((("before", "most", "after"), run) for run in sizes)
    ]
    row = bench.memory_row(runs)
    assert row.held == held
    assert f"first attack: 50.0, at most 200.0, then {first}.0 MiB" in row.seen
