"""Nothing in NATS grows with the number of clients: neither consumers nor streams nor connections, and subscriptions
only with the slots that a gateway has a member in.

BOUNDED_CLIENTS says how many clients there are at the end (1,000; the target is set for 10,000).
"""

import json
import os
import subprocess
import urllib.request
from dataclasses import dataclass

import pytest
from conftest import DEADLINE, LOADTEST, SECRET, running_fleet, wait_until

ROOMS = 100
# From the second on, each gateway has members in every room.
SIZES = sorted({10, 300, int(os.environ.get("BOUNDED_CLIENTS", "1000"))})


@dataclass
class Counted:
    """What a nats-server has."""

    # Streams, consumers, and per connection how it is called and how many subscriptions it has beside those of slots.
    fixed: tuple
    # Per gateway: the slots that it hears what is logged of, and those that it hears what passes of.
    live: list[set[str]]
    passing: list[set[str]]
    subscriptions: int


@pytest.fixture
def fleet(tmp_path):
    with running_fleet(tmp_path) as fleet:
        yield fleet


def look(fleet):
    """Asks the nats-server what it has."""

    def ask(path):
        with urllib.request.urlopen(f"http://{fleet.state['monitor']}/{path}", timeout=DEADLINE) as answer:
            return json.load(answer)

    streams, connections = ask("jsz"), ask("connz?subs=1")["connections"]
    counted = Counted((), [], [], ask("subsz")["num_subscriptions"])
    others = []
    for connection in connections:
        subjects = connection["subscriptions_list"]
        live, passing = (slots(subjects, kind) for kind in ("live", "passing"))
        others.append((connection["name"], len(subjects) - len(live) - len(passing)))
        if connection["name"] == "gateway":
            counted.live.append(live)
            counted.passing.append(passing)
    counted.fixed = (streams["streams"], streams["consumers"], sorted(others))
    return counted


def slots(subjects, kind):
    """The slots `SHARD.SLOT` among subjects such as chat.live.3.47.>"""
    words = (subject.split(".") for subject in subjects)
    return {".".join(word[2:4]) for word in words if word[:2] == ["chat", kind] and word[2] != "*"}


class Idle:
    """So many clients that only are there."""

    def __init__(self, fleet, folder, count):
        self.count, self.said = count, folder / f"idle-{count}.err"
        (folder / "key").write_text(SECRET)
        command = [LOADTEST, "idle", "--key-file", folder / "key", "--rooms", ROOMS, "--settle", 0, "--hold", 600]
        command += ["--from", count // 2, "--to", count, "--steps", 2]
        for address in fleet.gateways:
            command += ["--url", f"ws://{address}/ws/chat/"]
        for name in ("gateway-1", "gateway-2"):
            command += ["--server-pid", fleet.state["pids"][name]]
        self.process = subprocess.Popen([*map(str, command)], stderr=self.said.open("w"))

    def __enter__(self):
        def are_there():
            assert self.process.poll() is None, self.said.read_text()
            return f"{self.count} connections:" in self.said.read_text()

        wait_until(are_there, f"not all of {self.count} are there")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def settled(fleet, base, live):
    """Looks until it is as it should be with these slots; says what is there when it does not come to be."""
    seen = []

    def is_settled():
        seen.append(look(fleet))
        now = seen[-1]
        heard = now.live == now.passing and (live is None or sorted(map(sorted, now.live)) == live)
        grown = 2 * sum(map(len, now.live))
        return heard and now.fixed == base.fixed and now.subscriptions == base.subscriptions + grown

    try:
        wait_until(is_settled, "it grew")
    except AssertionError as grew:
        raise AssertionError(f"without clients: {base}, now: {seen[-1]}") from grew
    return seen[-1]


def test_nothing_in_nats_grows_with_clients(fleet, tmp_path):
    fleet.seed("idle", SIZES[-1], ROOMS)
    # Two gateways and two workers, as soon as who made the rooms is gone.
    wait_until(lambda: len(look(fleet).fixed[2]) == 4, "there are other connections than the fleet's")
    base = look(fleet)
    assert base.live == base.passing == [set(), set()]
    assert base.fixed[0] == 16 and base.fixed[1] > 0, "the monitor does not tell what there is"
    heard = None
    for size in SIZES:
        with Idle(fleet, tmp_path, size):
            now = settled(fleet, base, heard)
        print(f"{size} clients: {now.fixed}, {now.subscriptions} subscriptions, slots {[len(s) for s in now.live]}")
        assert all(0 < len(live) <= min(size, ROOMS) for live in now.live)
        if size >= 300:
            # Whoever comes now is in a room whose slot each gateway hears already.
            heard = sorted(map(sorted, now.live))
    # What was subscribed for clients ends with them.
    settled(fleet, base, [[], []])
