#!/usr/bin/env python3
"""A fleet on one machine: nats-server, gateways, workers, and a load balancer before the gateways.

    deploy/tools/fleet.py --data DIR [--nats 3] [--gateways 2] [--workers 2] [--balancer PORT] [--bin target/release]

Everything is configured by the environment of this program (DEBUG, SECRET_KEY, ...); what belongs to the fleet -
NATS_URL, LISTEN, ADMIN_LISTEN, DATA_DIR, the path of the store - is set for each process. DIR/fleet.json says who
runs where, and is written anew whenever that changes:

    {"listen": "127.0.0.1:8000", "gateways": ["127.0.0.1:8001", ...], "nats": "nats://127.0.0.1:4222",
     "monitor": "127.0.0.1:8222", "admin": {"gateway-1": "127.0.0.1:9091", ...},
     "pids": {"nats": 1, "gateway-1": 2, ...}, "ready": true}

`monitor` is where the nats-server tells what it has, by HTTP. Three servers are a cluster with three copies of each
stream: then `nats` names all of them and the pids are those of nats-1, nats-2 and nats-3. A process that dies is started again where it was, as an
orchestrator would do, unless there is a file DIR/hold; SIGTERM and ^C stop everything: gateways first, then workers,
then the rest. `kill -9` of this program leaves the others running: until they are stopped, another start on DIR is
refused and says which they are. Exit codes: 0 stopped as asked, 1 something did not start or stop.
"""

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Seconds.
START = 60
STOP = 40
LOOK = 0.05
# A process that dies within this time of its start is not started again at once.
SHORT_LIFE = 1.0


def free_port(taken=set()):
    """A port that nobody listens on, below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if port not in taken and probe.connect_ex(("127.0.0.1", port)) != 0:
                taken.add(port)
                return port


def answers(address, path="/readyz"):
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def has_leader(monitor):
    """Whether the server knows who leads the cluster."""
    try:
        with urllib.request.urlopen(f"http://{monitor}/jsz", timeout=2) as answer:
            return bool(json.load(answer).get("meta_cluster", {}).get("leader"))
    except (urllib.error.URLError, OSError, ValueError):
        return False


def lock_or_say_who_runs(data):
    """Locks the folder for this program and every process that it starts: the lock lasts as long as one of them does,
    whatever becomes of this program. None, and who holds it on stderr, when others run there."""
    lock = open(data / "lock", "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holders = processes_with(lock)
        tool = [pid for pid, command in holders.items() if Path(__file__).name in command]
        who = "".join(f"\n    {pid}  {command}" for pid, command in holders.items())
        # A tool that is alive stops the others itself, in their order.
        how = f": kill {' '.join(tool or holders)}" if holders else ""
        print(f"a fleet runs on {data} already, or a part of one; stop it first{how}{who}", file=sys.stderr)
        return None
    return lock


def processes_with(file):
    """What other processes have this file open, by pid: their command lines."""
    mine, found = os.fstat(file.fileno()), {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            same = any(os.path.samestat(link.stat(), mine) for link in (process / "fd").iterdir() if link.exists())
            command = (process / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            # It ended meanwhile, or is somebody else's.
            continue
        if same and int(process.name) != os.getpid():
            found[process.name] = command
    return found


class Member:
    """One process: how to start it, and the one that runs now."""

    def __init__(self, name, command, environment, folder, ready):
        self.name, self.command, self.environment, self.ready = name, command, environment, ready
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.process, self.started = None, 0.0

    def start(self, lock):
        """Starts it with the lock of the data folder, which it keeps open."""
        log = open(self.folder / f"{self.name}.log", "ab")
        self.started = time.monotonic()
        # Signals from a terminal go to this program alone, which stops the others in their order.
        self.process = subprocess.Popen(
            self.command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True, pass_fds=[lock.fileno()],
        )
        log.close()

    def is_gone(self):
        return self.process is None or self.process.poll() is not None

    def log_tail(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-2000:]

    def stop(self):
        if not self.is_gone():
            self.process.send_signal(signal.SIGTERM)
            # A process that was stopped for a test hears only when it goes on.
            self.process.send_signal(signal.SIGCONT)


class Fleet:
    """All members, in the order in which they start."""

    def __init__(self, options, lock):
        self.lock = lock
        self.data = options.data.resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self.bin = options.bin.resolve()
        self.members, self.gateways, self.admin = [], [], {}
        self.stopping = False
        ports = [options.nats_port or free_port()] + [free_port() for _ in range(options.nats - 1)]
        self.nats, self.copies = ",".join(f"nats://127.0.0.1:{port}" for port in ports), options.nats
        self.monitor = f"127.0.0.1:{free_port()}"
        routes = [free_port() for _ in ports] if options.nats > 1 else []
        for number, port in enumerate(ports, 1):
            self.add_nats(number, port, routes)
        # The last workers store what the gateways' last clients wrote, so they start first and stop later.
        for number in range(1, options.workers + 1):
            self.add("worker", number, {"SAFESHIPPER__STORE__FILE": str(self.data / "store.db")})
        for number in range(1, options.gateways + 1):
            port = free_port()
            self.gateways.append(f"127.0.0.1:{port}")
            self.add("gateway", number, {"LISTEN": self.gateways[-1]})
        self.listen = self.gateways[0] if self.gateways else None
        if options.balancer is not None:
            self.add_balancer(options.balancer or free_port())

    def add_nats(self, number, port, routes):
        name = f"nats-{number}" if routes else "nats"
        folder = self.data / name
        folder.mkdir(parents=True, exist_ok=True)
        monitor = self.monitor if number == 1 else f"127.0.0.1:{free_port()}"
        others = ", ".join(f'"nats://127.0.0.1:{route}"' for route in routes)
        cluster = (
            f"server_name: {name}\n"
            f"cluster {{ name: fleet, listen: 127.0.0.1:{routes[number - 1]}, routes: [{others}] }}\n"
            if routes
            else ""
        )
        (folder / "nats.conf").write_text(
            f"listen: 127.0.0.1:{port}\n"
            f"http: {monitor}\n"
            f'jetstream {{ store_dir: "{folder / "data"}", sync_interval: always }}\n'
            "no_fast_producer_stall: true\n" + cluster
        )
        server = ROOT / ".tools" / "bin" / "nats-server"
        command = [str(server), "-c", str(folder / "nats.conf")]
        # A cluster takes streams when it has a leader, which needs two of three.
        last = routes and number == len(routes)
        ready = (lambda: has_leader(monitor)) if last else (lambda: listens(port))
        self.members.append(Member(name, command, dict(os.environ), folder, ready))

    def add(self, kind, number, settings):
        name = f"{kind}-{number}"
        folder = self.data / name
        admin = f"127.0.0.1:{free_port()}"
        self.admin[name] = admin
        environment = {
            **os.environ,
            "BROKER": "nats",
            "NATS_URL": self.nats,
            "SAFESHIPPER__NATS__REPLICAS": str(self.copies),
            "ADMIN_LISTEN": admin,
            "DATA_DIR": str(folder),
            **settings,
        }
        self.members.append(Member(name, [str(self.bin / kind)], environment, folder, lambda: answers(admin)))

    def add_balancer(self, port):
        folder = self.data / "balancer"
        folder.mkdir(parents=True, exist_ok=True)
        servers = "\n".join(
            f"    server gateway-{n} {address} check port {self.admin[f'gateway-{n}'].rsplit(':', 1)[1]} inter 500ms fall 1"
            for n, address in enumerate(self.gateways, 1)
        )
        (folder / "haproxy.cfg").write_text(
            "global\n    maxconn 8000\n"
            "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1h\n    timeout server 1h\n"
            "    timeout tunnel 1h\n    option redispatch\n    retries 3\n"
            f"frontend chat\n    bind 127.0.0.1:{port}\n    default_backend gateways\n"
            "backend gateways\n    balance leastconn\n    option httpchk GET /readyz\n"
            f"{servers}\n"
        )
        self.listen = f"127.0.0.1:{port}"
        command = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        ready = lambda: listens(port)
        self.members.append(Member("balancer", command, dict(os.environ), folder, ready))

    def write(self, ready):
        state = {
            "listen": self.listen,
            "gateways": self.gateways,
            "nats": self.nats,
            "monitor": self.monitor,
            "admin": self.admin,
            "pids": {m.name: m.process.pid for m in self.members if m.process},
            "ready": ready,
        }
        fresh = self.data / "fleet.json.new"
        fresh.write_text(json.dumps(state))
        fresh.replace(self.data / "fleet.json")

    def start(self):
        """Starts the members in their order, each when the one before is ready; says whether that worked."""
        (self.data / "fleet.json").unlink(missing_ok=True)
        for member in self.members:
            member.start(self.lock)
            until = time.monotonic() + START
            while member.is_gone() or not member.ready():
                if self.stopping:
                    return True
                if member.is_gone() or time.monotonic() > until:
                    print(f"{member.name} did not start:\n{member.log_tail()}", file=sys.stderr)
                    return False
                time.sleep(LOOK)
        self.write(ready=True)
        return True

    def watch(self):
        """Starts again what dies, until asked to stop."""
        while not self.stopping:
            held = (self.data / "hold").exists()
            for member in self.members if not held else []:
                if member.is_gone() and time.monotonic() - member.started > SHORT_LIFE and not self.stopping:
                    print(f"{member.name} ended with {member.process.returncode}; it starts again", flush=True)
                    member.start(self.lock)
                    self.write(ready=True)
            time.sleep(LOOK)

    def stop(self):
        """Stops the members in groups; says whether each of ours ended as asked."""
        well = True
        for kind in ("balancer", "gateway", "worker", "nats"):
            group = [m for m in self.members if m.name.split("-")[0] == kind and m.process]
            for member in group:
                member.stop()
            for member in group:
                try:
                    code = member.process.wait(STOP)
                except subprocess.TimeoutExpired:
                    member.process.kill()
                    code = "no end in time"
                if code != 0 and kind in ("gateway", "worker"):
                    print(f"{member.name} ended with {code}:\n{member.log_tail()}", file=sys.stderr)
                    well = False
        return well


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of everything that is kept")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--balancer", type=int, metavar="PORT", help="haproxy on this port; 0 takes a free one")
    parser.add_argument("--nats", type=int, choices=(1, 3), default=1, help="nats-servers; three are a cluster")
    parser.add_argument("--nats-port", type=int, help="of the first one; default: a free one")
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release", help="folder of the binaries")
    return parser.parse_args()


def main():
    options = parse()
    options.data.mkdir(parents=True, exist_ok=True)
    # Two servers on one folder would both believe that it is theirs.
    lock = lock_or_say_who_runs(options.data)
    if lock is None:
        return 1
    if options.balancer and listens(options.balancer):
        print(f"port {options.balancer} is taken", file=sys.stderr)
        return 1
    (options.data / "hold").unlink(missing_ok=True)
    fleet = Fleet(options, lock)

    def asked(_signal, _frame):
        fleet.stopping = True

    signal.signal(signal.SIGTERM, asked)
    # A terminal that is closed takes everything with it, as ^C does.
    signal.signal(signal.SIGHUP, asked)
    signal.signal(signal.SIGINT, asked)
    try:
        started = fleet.start()
        if started and not fleet.stopping:
            print(f"the fleet is up: http://{fleet.listen}/chat", flush=True)
            fleet.watch()
    finally:
        # Even when a program does not exist: nobody is left behind.
        stopped = fleet.stop()
    return 0 if started and stopped else 1


if __name__ == "__main__":
    sys.exit(main())
