"""What bench.py measures: the release build with data of its own, the floor, and the disk under them."""

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "target" / "release"
# Users and rooms of each prefix.
SEEDS = {
    "fanout": (1000, 1),
    "rooms": (2000, 200),
    "sends": (200, 200),
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
            seed = [RELEASE / "standalone", "seed", "--prefix", name, "--users", str(users), "--rooms", str(rooms)]
            subprocess.run(seed, env=environment, check=True, stdout=subprocess.DEVNULL, cwd=data)
        options = {"env": environment, "cwd": data, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(pinned(core, [RELEASE / "standalone"]), **options)
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
        return load(scenario, LISTEN, self.process.pid, self.key, *options, core=core)


def pinned(core: int | None, command: list) -> list[str]:
    return [*([] if core is None else ["taskset", "-c", str(core)]), *map(str, command)]


def load(scenario: str, address: str, pid: int, key: Path, *options, core: int | None = None) -> dict:
    """What a run found; what it missed stands in `missed`."""
    command = [RELEASE / "loadtest", scenario, "--url", f"ws://{address}/ws/chat/", "--server-pid", pid]
    command += ["--key-file", key, *options]
    done = subprocess.run(pinned(core, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode in (0, 99), f"{scenario} could not be run: {done.stderr}"
    return json.loads(done.stdout)


def load_floor(size: int, key: Path, *options) -> dict:
    """The same load against a server that only writes as many bytes for each delivery."""
    command = [RELEASE / "loadtest", "floor", "--listen", FLOOR, "--bytes", size]
    floor = subprocess.Popen(pinned(0, command), stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        return load("fanout", FLOOR, floor.pid, key, *options, core=1)
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
