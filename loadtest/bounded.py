"""Nothing in NATS grows with the number of clients that are there, have sent a message, resumed and read history: neither
consumers nor streams nor connections, and subscriptions only with the slots that a gateway has a member in."""

import subprocess
from dataclasses import dataclass

from servers import Fleet, wait_until

ROOMS = 100
# From so many clients on, each gateway has members in every room.
EVERYWHERE = 300
# Seconds that all visits may take, and that everybody then stays at most.
VISIT_S, STAY_S = 300, 600


@dataclass
class Counted:
    """What a nats-server has."""

    streams: int
    consumers: int
    # How each connection is called, and how many subscriptions it has beside those of slots.
    connections: list[tuple[str, int]]
    # Per gateway: the slots that it hears what is logged of, and those that it hears what passes of.
    live: list[set[str]]
    passing: list[set[str]]
    subscriptions: int

    def slots(self) -> list[list[str]]:
        return ordered(self.live)


def look(fleet: Fleet) -> Counted:
    """Asks the nats-server what it has."""
    streams, connections = fleet.monitor("jsz"), fleet.monitor("connz?subs=1")["connections"]
    subscriptions = fleet.monitor("subsz")["num_subscriptions"]
    counted = Counted(streams["streams"], streams["consumers"], [], [], [], subscriptions)
    for connection in connections:
        subjects = connection["subscriptions_list"]
        live, passing = (slots(subjects, kind) for kind in ("live", "passing"))
        counted.connections.append((connection["name"], len(subjects) - len(live) - len(passing)))
        if connection["name"] == "gateway":
            counted.live.append(live)
        if connection["name"] == "gateway-passing":
            counted.passing.append(passing)
    counted.connections.sort()
    return counted


def slots(subjects: list[str], kind: str) -> set[str]:
    """The slots `SHARD.SLOT` among subjects such as chat.live.3.47.>"""
    words = (subject.split(".") for subject in subjects)
    return {".".join(word[2:4]) for word in words if word[:2] == ["chat", kind] and word[2] != "*"}


def ordered(slots_of_each: list[set[str]]) -> list[list[str]]:
    """The connections' slots, whichever connection was made first."""
    return sorted(map(sorted, slots_of_each))


def grown(base: Counted, now: Counted) -> list[str]:
    """What is not as it was without clients, but for the two subscriptions for each slot that a gateway hears."""
    wanted = {
        "streams": (base.streams, now.streams),
        "consumers": (base.consumers, now.consumers),
        "connections and their subscriptions": (base.connections, now.connections),
        "subscriptions": (base.subscriptions + 2 * sum(map(len, now.live)), now.subscriptions),
        "slots of what passes": (ordered(now.live), ordered(now.passing)),
    }
    return [f"{name}: {found} instead of {before}" for name, (before, found) in wanted.items() if before != found]


def settled(fleet: Fleet, base: Counted, heard: list[list[str]] | None) -> Counted:
    """Looks until nothing is more than it was, with these slots if they are known.

    Raises AssertionError when it does not come to be within a minute, with what is there."""
    seen = [look(fleet)]

    def otherwise() -> list[str]:
        now = seen[-1]
        other = [] if heard in (None, now.slots()) else [f"slots: {now.slots()} instead of {heard}"]
        return grown(base, now) + other

    def is_settled() -> bool:
        seen.append(look(fleet))
        return not otherwise()

    try:
        wait_until(is_settled, "it grew")
    except AssertionError as grew:
        raise AssertionError(f"it grew: {'; '.join(otherwise())}") from grew
    return seen[-1]


class Clients:
    """So many clients that have sent, resumed and read history, and stay."""

    def __init__(self, fleet: Fleet, count: int):
        self.count, self.said = count, fleet.data / f"clients-{count}.err"
        # How long a message takes beside thousands of resumes says nothing here.
        options = ["--rooms", ROOMS, "--connections", count, "--hold", STAY_S]
        options += ["--max-latency-ms", 30_000, "--drain", 30]
        with self.said.open("w") as said:
            command = fleet.load_command("visit", *options)
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)

    def __enter__(self):
        def are_there():
            assert self.process.poll() is None, self.said.read_text()
            return f"visited: {self.count} connections" in self.said.read_text()

        try:
            wait_until(are_there, f"not all of {self.count} clients have sent, resumed and read history", VISIT_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def count(fleet: Fleet, sizes: list[int]) -> list[Counted]:
    """What the nats-server of a fresh fleet has without clients, and then with so many; it must end as it began.

    Raises AssertionError when anything grew."""
    fleet.seed("visit", sizes[-1], ROOMS)
    # Two gateways and two workers with two connections each, as soon as who made the rooms is gone.
    wait_until(lambda: len(look(fleet).connections) == 8, "there are other connections than the fleet's")
    base = look(fleet)
    assert base.live == base.passing == [set(), set()], f"slots are heard without clients: {base}"
    assert base.streams == 16 and base.consumers > 0, f"the monitor does not tell what there is: {base}"
    found, heard = [base], None
    for size in sizes:
        with Clients(fleet, size):
            now = settled(fleet, base, heard)
        print(f"{size} clients: {now.consumers} consumers, {now.subscriptions} subscriptions", flush=True)
        assert all(0 < len(live) <= min(size, ROOMS) for live in now.live), f"too many slots for {size}: {now.live}"
        if size >= EVERYWHERE:
            # Whoever comes now is in a room whose slot each gateway hears already.
            heard = now.slots()
        found.append(now)
    # What was subscribed for clients ends with them.
    settled(fleet, base, [[], []])
    return found
