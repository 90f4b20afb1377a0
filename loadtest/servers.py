"""What the benches measure: a build with data of its own in either mode, the floor, and the disk under them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLEET = ROOT / "deploy" / "tools" / "fleet.py"
# Where the programs are; figures are worth something for a release build alone.
PROGRAMS = Path(os.environ.get("BENCH_PROGRAMS", ROOT / "target" / "release"))
# Users and rooms of each prefix.
SEEDS = {
    "fanout": (1000, 1),
    "rooms": (2000, 200),
    "sends": (200, 200),
    "pipelined": (1024, 1024),
    "idle": (15000, 1500),
    "storm": (10050, 1000),
    "hostile": (700, 1),
    "rooms50": (500, 50),
    "rooms800": (8000, 800),
}
LISTEN, ADMIN, FLOOR = "127.0.0.1:19811", "127.0.0.1:19812", "127.0.0.1:19813"


class Server:
    """A standalone process with seeded data of its own; with `core` it has that one alone."""

    def __init__(self, *names: str, core: int | None = None):
        self.folder = tempfile.TemporaryDirectory()
        data = Path(self.folder.name)
        environment = {"DEBUG": "true", "DATA_DIR": str(data), "LISTEN": LISTEN, "ADMIN_LISTEN": ADMIN, "LOG": "warn"}
        self.key = data / "development.key"
        for name in names:
            users, rooms = SEEDS[name]
            seed = [PROGRAMS / "standalone", "seed", "--prefix", name, "--users", str(users), "--rooms", str(rooms)]
            subprocess.run(seed, env=environment, check=True, stdout=subprocess.DEVNULL, cwd=data)
        options = {"env": environment, "cwd": data, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(pinned(core, [PROGRAMS / "standalone"]), **options)
        addresses = data / "addresses.json"
        while not addresses.exists():
            assert self.process.poll() is None, "the server did not start"
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.folder.cleanup()

    def load(self, scenario: str, *options, core: int | None = None) -> dict:
        return load(scenario, [LISTEN], [self.process.pid], self.key, *options, core=core)


class Fleet:
    """A nats-server, gateways and workers as `fleet.py` starts them, with data in a folder. `settings` are environment
    variables of all of them."""

    def __init__(self, data: Path, programs: Path, secret: str, **settings: str):
        self.data, self.programs, self.key, self.log = data, programs, data / "key", data / "fleet.log"
        self.key.write_text(secret)
        self.environment = {**os.environ, "DEBUG": "true", "SECRET_KEY": secret, **settings}
        self.process = None

    def start(self, *options, core: int | None = None) -> None:
        """Returns when everything is up; `options` are those of `fleet.py`, with `core` it has that one alone."""
        # Of an earlier life.
        (self.data / "fleet.json").unlink(missing_ok=True)
        command = [sys.executable, FLEET, "--data", self.data, "--bin", self.programs, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(pinned(core, command), env=self.environment, stdout=log, stderr=log)

        def is_up():
            assert self.process.poll() is None, self.log.read_text()
            return (self.data / "fleet.json").exists()

        wait_until(is_up, "the fleet did not come up")
        self.state = self.told()
        self.gateways = self.state["gateways"]

    def stop(self) -> int:
        """Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def told(self) -> dict:
        """What fleet.json says now; `state` is what it said at the start, or after the last `end`."""
        return json.loads((self.data / "fleet.json").read_text())

    def end(self, name: str, how: signal.Signals) -> None:
        """Sends a signal to a process; returns when another one is ready in its place."""
        pid = self.state["pids"][name]
        os.kill(pid, how)
        wait_until(lambda: self.told()["pids"][name] != pid, f"{name} does not come back")
        self.state = self.told()
        wait_until(lambda: is_ready(self.state["admin"][name]), f"{name} is not ready again")

    def seed(self, prefix: str, users: int, rooms: int) -> None:
        """Makes users and rooms for the load tool, beside the workers."""
        folder = self.data / "seed"
        folder.mkdir(exist_ok=True)
        store = {"SAFESHIPPER__STORE__FILE": str(self.data / "store.db"), "DATA_DIR": str(folder)}
        environment = {**self.environment, "BROKER": "nats", "NATS_URL": self.state["nats"], **store}
        seed = [self.programs / "worker", "seed", "--prefix", prefix, "--users", str(users), "--rooms", str(rooms)]
        subprocess.run(seed, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    def load(self, scenario: str, *options, core: int | None = None) -> dict:
        """A run's result; `gateways_cpu_s` is the gateways' part of `server_cpu_s`, which is everybody's."""
        pids = self.state["pids"]
        gateways = [pids[name] for name in pids if name.startswith("gateway")]
        others = [pids[name] for name in pids if not name.startswith("gateway")]
        run = load(scenario, self.gateways, gateways + others, self.key, *options, core=core)
        assert self.told() == self.state, self.log.read_text()
        return run | {"gateways_cpu_s": sum(run["server_cpu_s_each"][: len(gateways)])}

    def load_command(self, scenario: str, *options) -> list[str]:
        """How the load tool is started against all gateways, by whom it is to be watched."""
        return load_command(self.programs, scenario, self.gateways, self.key, *options)

    def monitor(self, path: str) -> dict:
        """What the nats-server tells of itself."""
        with urllib.request.urlopen(f"http://{self.state['monitor']}/{path}", timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def seeded_fleet(*names: str, gateways: int = 1, workers: int = 1, core: int | None = None, **settings: str):
    """A fleet with fresh data, among it the users and rooms of these prefixes; it stops at the end."""
    with tempfile.TemporaryDirectory() as folder:
        secret = "a-key-of-the-bench-that-is-long-enough-for-hs256"
        fleet = Fleet(Path(folder), PROGRAMS, secret, LOG="warn", **settings)
        try:
            fleet.start("--gateways", gateways, "--workers", workers, core=core)
            for name in names:
                fleet.seed(name, *SEEDS[name])
            yield fleet
        finally:
            fleet.stop()


def is_ready(admin: str) -> bool:
    """Whether a process says so at its admin address."""
    try:
        with urllib.request.urlopen(f"http://{admin}/readyz", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    """Waits for a condition; `otherwise` says what is wrong when it does not come true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, otherwise
        time.sleep(0.05)


def pinned(core: int | None, command: list) -> list[str]:
    return [*([] if core is None else ["taskset", "-c", str(core)]), *map(str, command)]


def load(
    scenario: str, addresses: list[str], pids: list[int], key: Path, *options, core: int | None = None
) -> dict:
    """What a run found; what it missed stands in `missed`."""
    command = load_command(PROGRAMS, scenario, addresses, key, *options)
    for pid in pids:
        command += ["--server-pid", str(pid)]
    done = subprocess.run(pinned(core, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode in (0, 99), f"{scenario} could not be run: {done.stderr}"
    return json.loads(done.stdout)


def load_command(programs: Path, scenario: str, addresses: list[str], key: Path, *options) -> list[str]:
    command = [programs / "loadtest", scenario, "--key-file", key, *options]
    for address in addresses:
        command += ["--url", f"ws://{address}/ws/chat/"]
    return [*map(str, command)]


def load_floor(scenario: str, rooms: int, run: dict, key: Path, *options, cores=(None, None)) -> dict:
    """The same load as in `run` against a server that only writes as many bytes for each delivery; with `cores` server
    and client have one each."""
    size = round(run["bytes_per_delivery"])
    command = [PROGRAMS / "loadtest", "floor", "--listen", FLOOR, "--bytes", size, "--rooms", rooms]
    floor = subprocess.Popen(pinned(cores[0], command), stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        # The floor is there for its CPU: whether it stalls says nothing of the server.
        return load(scenario, [FLOOR], [floor.pid], key, *options, "--max-latency-ms", 60_000, core=cores[1])
    finally:
        floor.terminate()
        floor.wait(10)


def fsync_p99_ms(folder: str) -> float:
    """What the disk itself takes for a commit: 4 KiB written and synced, 200 times."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(200):
            began = time.monotonic()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            took.append((time.monotonic() - began) * 1e3)
    return sorted(took)[-2]
