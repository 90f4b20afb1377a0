"""Nothing in NATS grows with the number of clients; `make bench-nats` shows it for 10,000."""

from dataclasses import replace

import bounded
import pytest
from conftest import running_fleet

SIZES = [10, 300, 1_000]


@pytest.fixture
def fleet(tmp_path):
    with running_fleet(tmp_path) as fleet:
        yield fleet


def test_nothing_in_nats_grows_with_clients(fleet):
    assert len(bounded.count(fleet, SIZES)) == 1 + len(SIZES)


BASE = bounded.Counted(16, 48, [("gateway", 6), ("gateway", 6)], [set(), set()], [set(), set()], 380)


def with_slots(live, passing, subscriptions):
    return replace(BASE, live=live, passing=passing, subscriptions=subscriptions)


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (BASE, None),
        (with_slots([{"3.47"}, {"3.47", "4.1"}], [{"3.47"}, {"3.47", "4.1"}], 386), None),
        (with_slots([{"3.47"}, set()], [{"3.47"}, set()], 383), "subscriptions"),
        (with_slots([{"3.47"}, set()], [set(), set()], 382), "slots of what passes"),
        (replace(BASE, streams=17), "streams"),
        (replace(BASE, consumers=49), "consumers"),
        (replace(BASE, connections=[("gateway", 6), ("gateway", 7)]), "connections"),
        (replace(BASE, connections=[*BASE.connections, ("gateway", 6)]), "connections"),
    ],
)
def test_whatever_grows_is_said(now, what):
    said = bounded.grown(BASE, now)
    assert [line.startswith(what) for line in said] == [True] if what else said == []
