"""The load tool against the real server: what is sound passes, each planted fault is reported, attackers end."""

import contextlib
import json
import os
import socket
import subprocess
import time

import pytest
from conftest import BINARY, ROOT, SECRET, START_SECONDS, Server

LOADTEST = ROOT / "target" / "debug" / "loadtest"
SEEDS = {"fanout": (30, 1), "rooms": (20, 5), "sends": (10, 10), "idle": (60, 6), "storm": (55, 10), "hostile": (30, 1)}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A server with users and rooms for every scenario."""
    data = tmp_path_factory.mktemp("loaded")
    environment = {"PATH": os.environ["PATH"], "DEBUG": "true", "SECRET_KEY": SECRET, "DATA_DIR": str(data)}
    for prefix, (users, rooms) in SEEDS.items():
        seed = [BINARY, "seed", "--prefix", prefix, "--users", str(users), "--rooms", str(rooms)]
        subprocess.run(seed, env=environment, cwd=data, check=True, stdout=subprocess.DEVNULL)
    (data / "key").write_text(SECRET)
    server = Server(data)
    server.start()
    yield server
    assert server.stop() == 0


def run(server, scenario, *options, target=None):
    """The exit code and the result of a run."""
    command = [LOADTEST, scenario, "--target", target or server.listen, "--key-file", server.data / "key"]
    command += ["--server-pid", server.process.pid, *options]
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode in (0, 99), done.stderr
    return done.returncode, json.loads(done.stdout)


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


@pytest.mark.parametrize(
    ("scenario", "options", "figure", "wanted"),
    [
        ("fanout", FANOUT, "delivered", 30 * 150),
        ("rooms", ["--rooms", 5, "--members", 4, "--rate", 50, "--seconds", 1, "--warmup", 1], "delivered", 4 * 100),
        ("sends", ["--senders", 10, "--seconds", 1], "senders", 10),
        ("idle", ["--from", 20, "--to", 60, "--settle", 1, "--hold", 1], "connections", 60),
        ("storm", ["--connections", 50, "--rooms", 10, "--writers", 5, "--seconds", 1], "resets", 0),
    ],
)
def test_a_sound_server_passes(loaded, scenario, options, figure, wanted):
    code, result = run(loaded, scenario, *options)
    assert (code, result["missed"], result[figure]) == (0, [], wanted)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (["--drop-every", "1000"], {"missing": 4, "duplicates": 0}),
        (["--repeat-nth", "1000"], {"missing": 0, "duplicates": 1}),
        (["--swap-nth", "1000"], {"missing": 0, "duplicates": 0}),
    ],
)
def test_what_is_lost_repeated_or_swapped_is_reported(loaded, fault, found):
    with faulty(loaded, *fault) as address:
        code, result = run(loaded, "fanout", *FANOUT, target=address)
    assert code == 99
    assert result["faults"] == {**found, "reordered": result["faults"]["reordered"]}
    assert result["faults"]["reordered"] > 0, "the chain of prev tells each of them, too"


def test_a_stall_is_in_the_latencies(loaded):
    with faulty(loaded, "--stall-nth", "2000") as address:
        code, result = run(loaded, "fanout", *FANOUT, "--max-p99-ms", 1_500, target=address)
    assert (code, len(result["missed"])) == (99, 1)
    assert result["latency_ms"]["p99"] > 1_500, "open loop: what waited counts from when it was due"


def test_attackers_end_and_honest_people_go_on(loaded):
    options = ["--connections", 20, "--attackers", 10, "--rate", 50, "--seconds", 3]
    code, result = run(loaded, "hostile", *options)
    assert (code, result["missed"], result["attackers_left"]) == (0, [], 0)
    kinds = ("unmasked", "fragments", "pings", "slow_header")
    assert [result[f"ended_{kind}"] for kind in kinds] == [10] * 4


def test_load_stays_on_this_machine(tmp_path):
    (tmp_path / "key").write_text(SECRET)
    command = [LOADTEST, "fanout", "--target", "192.0.2.1:8000", "--key-file", tmp_path / "key"]
    done = subprocess.run([*map(str, command)], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "127.0.0.0/8" in done.stderr
