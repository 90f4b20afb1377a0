"""Measures the release build against the gates and goals, and writes RESULTS.md beside this file.

Usage: bench.py [--pairs 9]. Needs two cores: the server has the first, the client the second. Takes about fifteen minutes.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "target" / "release"
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
# Bytes that an attack may leave.
MEMORY_KEPT = 8 * 1024 * 1024
LISTEN, ADMIN, FLOOR = "127.0.0.1:19811", "127.0.0.1:19812", "127.0.0.1:19813"


def pinned(core: int, command: list, **options):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], **options)


class Server:
    """A standalone process with seeded data of its own."""

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
        command = [RELEASE / "standalone"]
        self.process = pinned(core, command, **options) if core is not None else subprocess.Popen(command, **options)
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


def load(scenario: str, pid: int, *options, key: Path, target=LISTEN, core: int | None = None, must: bool = True) -> dict:
    command = [RELEASE / "loadtest", scenario, "--url", f"ws://{target}/ws/chat/", "--server-pid", str(pid), *map(str, options)]
    command += ["--key-file", str(key)]
    prefix = ["taskset", "-c", str(core)] if core is not None else []
    done = subprocess.run([*prefix, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 0 or not must, f"{scenario}: {result['missed']}"
    return result


def floor_run(options: list, size: int, key: Path) -> dict:
    floor = pinned(0, [RELEASE / "loadtest", "floor", "--listen", FLOOR, "--bytes", size], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        return load("fanout", floor.pid, *options, key=key, target=FLOOR, core=1)
    finally:
        floor.terminate()
        floor.wait(10)


def fanout(rate: int, pairs: int) -> list[tuple[float, float, float]]:
    """Server and floor in turn: (server, floor, ratio) of deliveries per CPU-second; invalid pairs are left out."""
    found = []
    # What is compared is the servers' CPU; a client that looks at each delivery would be the bottleneck at 200 a second.
    options = ["--rate", rate, "--seconds", 6, "--look-every-ms", 20 if rate > 100 else 0]
    for _ in range(pairs):
        with Server("fanout", core=0) as server:
            real = load("fanout", server.process.pid, *options, key=server.key, core=1)
            least = floor_run(options, round(real["bytes_per_delivery"]), server.key)
        if real["client_was_the_bottleneck"] or least["client_was_the_bottleneck"]:
            print(f"fanout {rate}: a pair is left out, the client was the bottleneck")
            continue
        figures = [run["deliveries_per_cpu_second"] for run in (real, least)]
        found.append((*figures, figures[0] / figures[1]))
        print(f"fanout {rate}: {figures[0]:,.0f} against {figures[1]:,.0f}, ratio {found[-1][2]:.2f}")
    return found


def row(what: str, gate: str, goal: str, seen: str, held: bool) -> str:
    return f"| {what} | {gate} | {goal} | {seen} | {'held' if held else '**missed**'} |"


def measure(pairs: int) -> list[str]:
    rows = []
    for rate, gate, goal in ((50, 0.75, 0.85), (200, 0.85, 0.90)):
        found = fanout(rate, pairs)
        ratios = [ratio for *_, ratio in found]
        median = statistics.median(ratios) if ratios else 0.0
        seen = f"median {median:.2f} of {len(ratios)} pairs ({min(ratios, default=0):.2f} to {max(ratios, default=0):.2f})"
        what = f"fanout, 1,000 members, {rate} messages a second, part of floor"
        rows.append(row(what, f">= {gate}", f"{goal}", seen, median >= gate))
    with Server("rooms") as server:
        runs = [load("rooms", server.process.pid, "--seconds", 10, key=server.key) for _ in range(3)]
    figure = statistics.median(run["deliveries_per_cpu_second"] for run in runs)
    p99 = statistics.median(run["latency_ms"]["p99"] for run in runs)
    what = "200 rooms of 10, 2,000 messages a second, deliveries per CPU-second"
    rows.append(row(what, "45,000", "60,000", f"{figure:,.0f}, p99 {p99:.1f} ms", figure >= 45_000))
    with Server("sends") as server:
        runs = [load("sends", server.process.pid, "--seconds", 10, key=server.key) for _ in range(3)]
    figure = statistics.median(run["acks_per_second"] for run in runs)
    p99 = statistics.median(run["ack_latency_ms"]["p99"] for run in runs)
    what = "200 senders, one outstanding each, acknowledged a second"
    rows.append(row(what, ">= 10,000", "20,000", f"{figure:,.0f}, p99 {p99:.1f} ms", figure >= 10_000))
    with Server("idle") as server:
        run = load("idle", server.process.pid, key=server.key)
    size, cpu = run["bytes_per_connection"], run["cpu_us_per_connection_second"]
    what = "idle connection, memory (slope from 2,000 to 15,000) and CPU a second"
    rows.append(row(what, "<= 3,000 bytes", "2,000 bytes, <= 1.5 us", f"{size:,.0f} bytes, {cpu:.1f} us", size <= 3_000))
    with Server("storm") as server:
        run = load("storm", server.process.pid, key=server.key)
    took = run["seconds_until_all_resumed"]
    rows.append(row("10,000 connections drop at once, all back and resumed", "<= 10 s", "", f"{took:.1f} s", took <= 10))
    return [*rows, half_load(), *hostile()]


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


def half_load() -> str:
    """Small rooms at rising rates until a delivery takes 100 ms; the p99 that counts is the one at half of that rate."""
    with Server("rooms") as server:
        def p99(rate, must=False):
            options = ["--rate", rate, "--seconds", 5]
            return load("rooms", server.process.pid, *options, key=server.key, must=must)["latency_ms"]["p99"]

        rate = 3_000
        while rate < 10_000 and p99(rate) < 100:
            rate += 1_000
        seen, disk = p99(rate / 2, must=True), fsync_p99_ms(server.folder.name)
    what = f"200 rooms of 10, {rate // 2:,} messages a second (half of what saturates): p99 of a delivery"
    gate = f"<= 15 ms + fsync's p99 ({disk:.1f} ms)"
    return row(what, gate, "10 ms", f"{seen:.1f} ms", seen <= 15 + disk)


def hostile() -> list[str]:
    """An attack to warm up, as much chat without one, an attack: what stays is compared with what chat alone leaves."""
    with Server("hostile") as server:
        pid, key = server.process.pid, server.key
        warm = load("hostile", pid, key=key)
        took = warm["seconds_until_all_ended"]
        calm = load("hostile", pid, "--attackers", 0, "--seconds", (10 + took) // 2, key=key)
        attack = load("hostile", pid, key=key)
    ratio = statistics.median(run["p99_ratio"] for run in (warm, attack))
    took = max(took, attack["seconds_until_all_ended"])
    what = "1,000 attackers of 5 kinds beside 500 members: p99 during against before"
    rows = [row(what, "< 2", "", f"{ratio:.2f}, all ended after {took} s", ratio < 2)]
    after = [run["server_after"]["memory_bytes"] for run in (warm, calm, attack)]
    kept = (after[2] - after[1]) - (after[1] - after[0])
    what = "memory that an attack leaves, beyond what as much chat without one leaves"
    rows.append(row(what, "<= 8 MiB", "", f"{kept / 2**20:+.1f} MiB", kept <= MEMORY_KEPT))
    return rows


def growth() -> list[str]:
    """Deliveries per CPU-second as channels and connections grow together, and as the log grows."""
    rows = []
    for name, rooms in (("rooms50", 50), ("rooms", 200), ("rooms800", 800)):
        with Server(name) as server:
            run = load("rooms", server.process.pid, "--prefix", name, "--rooms", rooms, key=server.key)
        figure = run["deliveries_per_cpu_second"]
        rows.append(f"| {rooms} channels of 10, {rooms * 10:,} connections, 2,000 messages a second | {figure:,.0f} |")
    with Server("fanout", "sends") as server:
        logged = 0
        for seconds in (0, 1, 4, 16):
            if seconds:
                logged += load("sends", server.process.pid, "--seconds", seconds, key=server.key)["acknowledged"]
                time.sleep(2 + seconds / 2)
            run = load("fanout", server.process.pid, "--seconds", 5, key=server.key)
            figure = run["deliveries_per_cpu_second"]
            rows.append(f"| one channel of 1,000, 50 messages a second, {logged:,} messages in the log | {figure:,.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs
    resource.setrlimit(resource.RLIMIT_NOFILE, (19_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    rows, grown = measure(pairs), growth()
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    text = f"""# Results

Written by `make bench` (`loadtest/bench.py --pairs {pairs}`) on {datetime.date.today()} at {revision.strip()}; each scenario on freshly seeded data, release build, embedded mode, all roles in one process.

Machine: {os.cpu_count()} cores of {model}, Linux {platform.release()}, shared with others. Client and server run on it together; figures are good as ratios of one run, not as promises.

| what | gate | goal | measured | gate |
|---|---|---|---|---|
""" + "\n".join(rows) + """

A cost per delivery that grows with channels, connections or history would show here:

| what | deliveries per CPU-second |
|---|---|
""" + "\n".join(grown) + """

The commands behind the rows, with the server's process in `--server-pid` and its key in `--key-file`:

```
taskset -c 1 loadtest fanout --rate 50 --seconds 6      # server on core 0; then the same against
taskset -c 0 loadtest floor --bytes BYTES_PER_DELIVERY  # a server that only writes
taskset -c 1 loadtest fanout --rate 200 --seconds 6 --look-every-ms 20
loadtest rooms --seconds 10
loadtest rooms --seconds 5 --rate RATE                    # 3,000 and on, then half of the rate with a p99 above 100 ms
loadtest sends --seconds 10
loadtest idle                                           # 2,000 to 15,000 connections, 30 s of CPU
loadtest storm                                          # 10,000 connections, 100 messages a second meanwhile
loadtest hostile                                        # three times on one server
```
"""
    (ROOT / "loadtest" / "RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
