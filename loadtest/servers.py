"""What the benches measure: a build with data of its own in either mode, the floor, and the disk under them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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
# Users that are seeded at once on NATS: more members of one room than its shard takes in flight are refused there.
SEED_STEP = 200
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
    """A nats-server, gateways and a worker with seeded data; with `core` they have that one alone."""

    def __init__(self, *names: str, gateways: int = 1, core: int | None = None):
        self.folder = tempfile.TemporaryDirectory()
        data = Path(self.folder.name)
        self.key = data / "key"
        self.key.write_text("a-key-of-the-bench-that-is-long-enough-for-hs256")
        self.environment = {**os.environ, "DEBUG": "true", "SECRET_KEY": self.key.read_text(), "LOG": "warn"}
        fleet = [sys.executable, ROOT / "deploy" / "tools" / "fleet.py", "--data", data, "--bin", PROGRAMS]
        fleet += ["--gateways", gateways, "--workers", 1]
        self.log = data / "fleet.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(pinned(core, fleet), env=self.environment, stdout=log, stderr=log)
        try:
            state = data / "fleet.json"
            while not state.exists():
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
            self.state = json.loads(state.read_text())
            for name in names:
                self.seed(data, name)
        except BaseException:
            self.__exit__()
            raise

    def seed(self, data: Path, name: str) -> None:
        folder = data / "seed"
        folder.mkdir(exist_ok=True)
        store = {"SAFESHIPPER__STORE__FILE": str(data / "store.db"), "DATA_DIR": str(folder)}
        environment = {**self.environment, "BROKER": "nats", "NATS_URL": self.state["nats"], **store}
        users, rooms = SEEDS[name]
        seed = [PROGRAMS / "worker", "seed", "--prefix", name, "--rooms", str(rooms), "--users"]
        options = {"env": environment, "check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
        for some in [*range(SEED_STEP, users, SEED_STEP), users]:
            subprocess.run([*seed, str(some)], **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(90)
        self.folder.cleanup()

    def load(self, scenario: str, *options, core: int | None = None) -> dict:
        """A run's result; `gateways_cpu_s` is the gateways' part of `server_cpu_s`, which is everybody's."""
        pids = self.state["pids"]
        gateways = [pids[name] for name in pids if name.startswith("gateway")]
        others = [pids[name] for name in pids if not name.startswith("gateway")]
        run = load(scenario, self.state["gateways"], gateways + others, self.key, *options, core=core)
        assert json.loads((Path(self.folder.name) / "fleet.json").read_text()) == self.state, self.log.read_text()
        return run | {"gateways_cpu_s": sum(run["server_cpu_s_each"][: len(gateways)])}

    def monitor(self, path: str) -> dict:
        """What the nats-server tells of itself."""
        with urllib.request.urlopen(f"http://{self.state['monitor']}/{path}", timeout=30) as answer:
            return json.load(answer)


def pinned(core: int | None, command: list) -> list[str]:
    return [*([] if core is None else ["taskset", "-c", str(core)]), *map(str, command)]


def load(
    scenario: str, addresses: list[str], pids: list[int], key: Path, *options, core: int | None = None
) -> dict:
    """What a run found; what it missed stands in `missed`."""
    command = [PROGRAMS / "loadtest", scenario, "--key-file", key, *options]
    for address in addresses:
        command += ["--url", f"ws://{address}/ws/chat/"]
    for pid in pids:
        command += ["--server-pid", pid]
    done = subprocess.run(pinned(core, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode in (0, 99), f"{scenario} could not be run: {done.stderr}"
    return json.loads(done.stdout)


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
