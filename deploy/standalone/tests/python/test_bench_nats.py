"""How the bench on NATS judges what it measured."""

import bench_nats
import pytest


def same(most):
    """What `nats bench` appends a second, most of it with the last batch."""
    return {64: 2_000, 128: 3_000, 256: most}


def run(**more):
    plain = {
        "acks_per_second": 4_000, "same": same(5_000), "bare": same(8_000), "few": 3_000, "few_p99": 9, "bytes_each": 780, "bench_bytes_each": 781,
        "ack_latency_ms": {"p99": 20}, "latency_ms": {"p99": 20}, "rate": 25,
        "deliveries_per_second": 25_000, "deliveries_per_cpu_second": 100_000, "server_cpu_s": 3, "gateways_cpu_s": 2,
        "missed": [], "client_was_the_bottleneck": False,
    }
    return plain | more


@pytest.mark.parametrize(
    ("runs", "held"),
    [
        ([run(), run(same=same(5_001)), run(same=same(4_999))], True),
        ([run(same=same(5_001))], False),
        ([run(), run(missed=["a message"])], False),
        ([run(client_was_the_bottleneck=True)], False),
    ],
)
def test_sends_are_judged_against_the_best_batch_on_streams_that_the_worker_reads(runs, held):
    gate, *beside = bench_nats.sends_rows(runs)
    assert gate.held == held
    assert all(row.held is None and str(row).endswith(" |  |") for row in beside), "no gate is held or missed there"


@pytest.mark.parametrize(("ratios", "held"), [([0.9, 0.89, 0.91], True), ([0.89, 0.89, 2.0], False)])
def test_fan_out_is_judged_by_the_median_of_pairs(ratios, held):
    pairs = [{"ratio": ratio, "whole": 0.7, "missed": [], "client_was_the_bottleneck": False} for ratio in ratios]
    assert bench_nats.fanout_row(50, pairs).held == held


def test_a_gateways_share_of_the_cost_is_its_own():
    assert bench_nats.per_gateway_second(run()) == 150_000


def test_a_rate_counts_when_it_was_kept():
    ends = [{}, {"latency_ms": {"p99": 100}}, {"missed": ["a message"]}, {"client_was_the_bottleneck": True}]
    whys = [bench_nats.Rung(1, run(**end)).why_last() for end in ends]
    assert whys[:3] == ["", "saturated", "a message"] and "says nothing of the servers" in whys[3]
    rungs = [
        bench_nats.Rung(1, run()), bench_nats.Rung(1, run(deliveries_per_second=50_000, missed=["late"], rate=50)),
        bench_nats.Rung(2, run(latency_ms={"p99": 200})), bench_nats.Rung(4, run(deliveries_per_second=30_000)),
    ]
    assert bench_nats.sums(rungs) == [
        "| 1 | 25,000 | late |", "| 2 | none | saturated |", "| 4 | 30,000 | **nothing: RATES ends too low** |",
    ]
    assert bench_nats.without_end(rungs) == [4]
    assert bench_nats.without_end([*rungs, bench_nats.Rung(4, run(client_was_the_bottleneck=True))]) == []
    assert bench_nats.missed_early(rungs) == [], "what is missed at a higher rate ends the ladder, nothing else"
    assert bench_nats.missed_early([bench_nats.Rung(2, run(missed=["a message"]))]) == ["a message"]


def ended(**more):
    faults = {"missing": 0, "duplicates": 0, "reordered": 0}
    whole = {"resume_ms": {"p99": 700, "max": 900, "count": 15}, "acknowledged": 7, "faults": faults, "missed": []}
    return whole | more


@pytest.mark.parametrize(
    ("runs", "held"),
    [
        ([ended(), ended()], True),
        ([ended(), ended(missed=["resume_p99_s is 6.000, at most 5 was asked"])], False),
        ([ended(), {"missed": ["gateway-1 does not come back"]}], False),
        ([{"missed": ["gateway-1 does not come back"]}], False),
    ],
)
def test_an_outage_is_judged_by_its_worst_run(runs, held):
    row = bench_nats.outage_row(runs)
    assert row.held == held
    assert all(f"**{line}**" in row.seen for run in runs for line in run["missed"])


def test_what_ended_a_proof_is_told_in_one_cell():
    assert bench_nats.one_line(AssertionError("it grew:\n a | b")) == "it grew: a / b"
