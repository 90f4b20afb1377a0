"""Measures the programs on NATS against the gates, and writes RESULTS-NATS.md beside this file.

Usage: bench_nats.py [--rounds 5] [--pairs 9] [--seconds 10] [--out FILE]. Needs two idle cores, forty minutes, and
`deploy/tools/setup.sh nats`. BENCH_PROGRAMS names the folder of the programs, by default target/release. Exit code 1
when a gate is missed, or a message in any run that must not miss one.
"""

import argparse
import os
import resource
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bounded
import outage
import streams
from bench import LONG_ROUNDS, SATURATED_MS, Row, judge, machine, median_of, revision, spread
from servers import PROGRAMS, ROOT, Fleet, Server, seeded_fleet

# Messages a second to a room of 1,000 whose members are on several gateways, until something ends the ladder: the last
# ones are more than two cores can deliver.
RATES = [25, 50, 100, 200, 300, 400, 500, 600, 800, 1_000, 1_200, 1_600, 2_000, 3_000, 4_000]
GATEWAYS = [1, 2, 4]
TOO_SHORT = "RATES ends too low"

# Clients when gateways end, and when what the nats-server has is counted.
OUTAGE_CLIENTS = 5_000
BOUNDED_CLIENTS = [10, 1_000, 10_000]

# Senders through a gateway for the gate, each with one message outstanding.
SENDERS = 1_024
# So many wait for each other's syncs; how long is in the percentiles.
SENDS = ["--prefix", "pipelined", "--senders", SENDERS, "--max-latency-ms", 30_000]


def sends(rounds: int, seconds: int) -> list[dict]:
    """Sends through a gateway beside what the official bench appends to the same server, in turn which comes first."""
    found = []
    for n in range(rounds):
        with seeded_fleet("sends", "pipelined") as fleet:
            run = sends_round(fleet, seconds, backwards=n % 2 == 1)
        found.append(run)
        rates = [run["acks_per_second"], run["few"], run["same"], run["bare"]]
        print(f"round {n + 1}: {rates}, missed: {run['missed']}", flush=True)
    return found


def sends_round(fleet: Fleet, seconds: int, backwards: bool) -> dict:
    """The gateway's run; `few` is that of 200 senders, `same` and `bare` are what the streams take a second from
    `nats bench`, by its batch."""
    lanes, bare = streams.chat_lanes(fleet), streams.bare_lanes(fleet)
    size = streams.payload_size(fleet, lanes, through_gateway(fleet, lanes, 2, SENDS)["bytes_each"])
    runs = {
        "gateway": lambda: through_gateway(fleet, lanes, seconds, SENDS),
        "few": lambda: through_gateway(fleet, lanes, seconds, []),
    }
    for batch in streams.BATCHES:
        runs["same", batch] = partial(streams.publish, fleet, lanes, size, seconds, batch)
        runs["bare", batch] = partial(streams.publish, fleet, bare, size, seconds, batch)
    seen = {name: runs[name]() for name in ([*runs][::-1] if backwards else [*runs])}
    run, few = seen["gateway"], seen["few"]
    for kind in ("same", "bare"):
        run[kind] = {batch: seen[kind, batch].per_second for batch in streams.BATCHES}
    run |= {"bench_bytes_each": seen["same", streams.BATCHES[0]].bytes_each}
    run |= {"few": few["acks_per_second"], "few_p99": few["ack_latency_ms"]["p99"]}
    run["missed"] += few["missed"]
    return run


def through_gateway(fleet: Fleet, lanes: dict[str, str], seconds: int, options: list) -> dict:
    before = streams.look(fleet, [*lanes])
    run = fleet.load("sends", "--seconds", seconds, *options)
    streams.wait_until_read(fleet)
    appended = streams.between(before, streams.look(fleet, [*lanes]))
    return run | {"bytes_each": appended.bytes_each}


def sends_rows(runs: list[dict]) -> list[Row]:
    """The gate, which the best batch of each round is for; then the other ratios, which have none."""
    best = judge(runs, lambda run: run["acks_per_second"] / max(run["same"].values()), ".2f")
    few = judge(runs, lambda run: run["few"] / max(run["same"].values()), ".2f")
    bare = judge(runs, lambda run: run["acks_per_second"] / max(run["bare"].values()), ".2f")
    rate, p99 = median_of(best.runs, "acks_per_second"), median_of(best.runs, "ack_latency_ms", "p99")
    sizes = [median_of(best.runs, name) for name in ("bytes_each", "bench_bytes_each")]
    few_rate = f"{median_of(few.runs, 'few'):,.0f} a second, p99 {median_of(few.runs, 'few_p99'):.1f} ms"
    who = f"{SENDERS:,} senders in as many channels, one outstanding each, through a gateway"
    batches = " or ".join(map(str, streams.BATCHES))
    what = f"{who}: part of the most that `nats bench` appends, with batches of {batches},"
    of = f"{rate:,.0f} a second of {best_rate(best.runs, 'same')}, p99 {p99:.1f} ms"
    of += f", {sizes[0]:.0f} and {sizes[1]:.0f} bytes each"
    held = best.sound and best.median >= 0.8
    rows = [Row(f"{what} to the log's own streams, which the worker reads", ">= 0.8", "", f"{best.seen}; {of}", held)]
    for batch in streams.BATCHES:
        one = judge(runs, lambda run, batch=batch: run["acks_per_second"] / run["same"][batch], ".2f")
        seen = f"{one.seen}; of {median_of(one.runs, 'same', batch):,.0f} a second"
        rows.append(Row(f"the same senders, of what it appends there with batches of {batch}", "", "", seen, None))
    nobody = "the same senders, of the most that it appends to streams that nobody reads"
    return [
        *rows,
        Row("200 senders in 200 channels, of the most that it appends there", "", "", f"{few.seen}; {few_rate}", None),
        Row(nobody, "", "", f"{bare.seen}; of {best_rate(bare.runs, 'bare')}", None),
    ]


def best_rate(runs: list[dict], kind: str) -> str:
    """The median of the best batches, and which they were."""
    best = [max(run[kind], key=run[kind].get) for run in runs]
    rate = statistics.median([max(run[kind].values()) for run in runs] or [float("nan")])
    return f"{rate:,.0f} (batches of {', '.join(map(str, sorted(set(best))))})"


def per_gateway_second(run: dict) -> float:
    """Deliveries for each second of CPU of the processes that clients are connected to."""
    return run["deliveries_per_cpu_second"] * run["server_cpu_s"] / run["gateways_cpu_s"]


def fanout(rate: int, pairs: int, seconds: int) -> list[dict]:
    """Embedded mode and NATS in turn, all of the server on one core, the client on the other."""
    found = []
    options = ["--rate", rate, "--seconds", seconds, "--look-every-ms", 20 if rate > 100 else 0]
    for _ in range(pairs):
        with Server("fanout", core=0) as server:
            embedded = server.load("fanout", *options, core=1)
        with seeded_fleet("fanout", core=0) as fleet:
            nats = fleet.load("fanout", *options, core=1)
        figures = [embedded["deliveries_per_cpu_second"], per_gateway_second(nats), nats["deliveries_per_cpu_second"]]
        found.append({
            "ratio": figures[1] / figures[0],
            "whole": figures[2] / figures[0],
            "missed": embedded["missed"] + nats["missed"],
            "client_was_the_bottleneck": any(run["client_was_the_bottleneck"] for run in (embedded, nats)),
        })
        print(f"fanout {rate}: embedded {figures[0]:,.0f}, gateway {figures[1]:,.0f}, all {figures[2]:,.0f}", flush=True)
    return found


def fanout_row(rate: int, pairs: list[dict]) -> Row:
    judged = judge(pairs, lambda pair: pair["ratio"], ".2f")
    whole = median_of(judged.runs, "whole")
    what = f"fanout, 1,000 members, {rate} messages a second, deliveries per CPU-second of the gateway"
    seen = f"{judged.seen}; with nats-server and worker {whole:.2f}"
    return Row(f"{what}, part of embedded's", ">= 0.9", "", seen, judged.sound and judged.median >= 0.9)


def outages(rounds: int) -> list[dict]:
    """A gateway that is killed and one that is drained under 5,000 clients, each time in a fresh fleet."""
    found = []
    for n in range(min(rounds, LONG_ROUNDS)):
        with seeded_fleet(gateways=2, workers=2, **outage.settings(OUTAGE_CLIENTS)) as fleet:
            try:
                found.append(outage.kill_and_drain(fleet, OUTAGE_CLIENTS))
            except AssertionError as failed:
                found.append({"missed": [one_line(failed)]})
        print(f"outage {n + 1}: missed: {found[-1]['missed']}", flush=True)
    return found


def outage_row(runs: list[dict]) -> Row:
    """Judged by the worst of all runs: what is lost once is lost."""
    missed = [line for run in runs for line in run["missed"]]
    whole = [run for run in runs if "resume_ms" in run]
    seen = [f"{len(whole)} of {len(runs)} runs ended"]
    if whole:
        p99_s = [run["resume_ms"]["p99"] / 1e3 for run in whole]
        slowest_s = max(run["resume_ms"]["max"] for run in whole) / 1e3
        resumed = sum(run["resume_ms"]["count"] for run in whole)
        acknowledged = sum(run["acknowledged"] for run in whole)
        faults = {name: sum(run["faults"][name] for run in whole) for name in whole[0]["faults"]}
        seen += [f"p99 {spread(p99_s, '.2f')} s, the slowest {slowest_s:.2f} s of {resumed:,} resumes"]
        seen += [f"{acknowledged:,} messages acknowledged, of their deliveries {faults['missing']} missing"]
        seen += [f"{faults['duplicates']} repeated, {faults['reordered']} out of order"]
    seen += [f"**{line}**" for line in missed]
    who = f"2 gateways, {OUTAGE_CLIENTS:,} clients in rooms of {outage.ROOM_MEMBERS}, {outage.WRITERS} writers"
    what = f"{who}: one gateway killed, then the other drained; from the drop until all that was missed is there"
    gate = f"p99 < {outage.RESUME_P99_S} s, nothing acknowledged lost"
    return Row(what, gate, "", "; ".join(seen), bool(whole) and not missed)


def bounded_row(sizes: list[int]) -> Row:
    """Counts what the nats-server has without clients and with so many."""
    names = ", ".join(f"{size:,}" for size in sizes)
    what = f"2 gateways, {names} clients in {bounded.ROOMS} channels, each has sent, resumed and read history"
    what += ": what the nats-server has, beside what it has without them"
    gate = "no more, but 2 subscriptions for each slot that a gateway hears"
    with seeded_fleet(gateways=2, workers=2) as fleet:
        try:
            base, *found = bounded.count(fleet, sizes)
        except AssertionError as failed:
            return Row(what, gate, "", f"**{one_line(failed)}**", False)
    fixed = f"{base.streams} streams, {base.consumers} consumers, {len(base.connections)} connections each time"
    subscriptions = ", ".join(f"{now.subscriptions} for {sum(map(len, now.live))} slots" for now in found)
    return Row(what, gate, "", f"{fixed}; subscriptions {base.subscriptions} without clients, {subscriptions}", True)


def one_line(failed: AssertionError) -> str:
    """As a cell of a table holds it."""
    return " ".join(str(failed).split()).replace("|", "/")


@dataclass
class Rung:
    """A line of the table of several gateways."""

    gateways: int
    run: dict

    def why_last(self) -> str:
        """Why no higher rate is tried after this one; nothing when one is."""
        if self.run["client_was_the_bottleneck"]:
            return "the client was the bottleneck: this says nothing of the servers"
        if self.run["missed"]:
            return self.run["missed"][0]
        return "saturated" if self.run["latency_ms"]["p99"] >= SATURATED_MS else ""

    def __str__(self) -> str:
        run = self.run
        figures = [run["deliveries_per_second"], per_gateway_second(run), run["deliveries_per_cpu_second"]]
        cells = [self.gateways, f"{run['rate']:.0f}", *(f"{figure:,.0f}" for figure in figures)]
        cells += [f"{run['latency_ms']['p99']:.1f}", self.why_last()]
        return f"| {' | '.join(map(str, cells))} |"


def ladder(seconds: int) -> list[Rung]:
    """One room of 1,000 over more and more gateways, each time at rising rates until the machine has no more."""
    rungs = []
    for gateways in GATEWAYS:
        with seeded_fleet("fanout", gateways=gateways) as fleet:
            for rate in RATES:
                # A rate that is too high is to be seen in the percentiles, not to end the run at the first late one.
                options = ["--seconds", seconds, "--look-every-ms", 20, "--max-latency-ms", 60_000]
                rungs.append(Rung(gateways, fleet.load("fanout", "--rate", rate, *options)))
                print(rungs[-1], flush=True)
                if rungs[-1].why_last():
                    break
    return rungs


def missed_early(rungs: list[Rung]) -> list[str]:
    """What was missed at the lowest rate, which no number of gateways may miss anything at."""
    return [line for rung in rungs if rung.run["rate"] == RATES[0] for line in rung.run["missed"]]


def sums(rungs: list[Rung]) -> list[str]:
    """For each number of gateways the most deliveries a second that were made in time."""
    lines = []
    for gateways in GATEWAYS:
        mine = [rung for rung in rungs if rung.gateways == gateways]
        good = [rung.run["deliveries_per_second"] for rung in mine if not rung.why_last()]
        most = f"{max(good):,.0f}" if good else "none"
        lines.append(f"| {gateways} | {most} | {mine[-1].why_last() or f'**nothing: {TOO_SHORT}**'} |")
    return lines


def without_end(rungs: list[Rung]) -> list[int]:
    """The numbers of gateways whose most is not known, because nothing ended the ladder before its top."""
    return [n for n in GATEWAYS if not [rung for rung in rungs if rung.gateways == n][-1].why_last()]


def results(rows: list[Row], rungs: list[Rung], command: str) -> str:
    batches = ", ".join(map(str, streams.BATCHES))
    return f"""# Results on NATS

Written by `make bench-nats` (`{command}`) {revision()}; {PROGRAMS.name} build, each run on a fresh fleet with freshly seeded data: one nats-server with `sync_interval: always`, one worker with all roles, one gateway where nothing else is said.

{machine()} Clients, gateways, worker and nats-server run on it together; figures are good as ratios of one run, not as promises.

| what | gate | goal | measured | gate |
|---|---|---|---|---|
{chr(10).join(map(str, rows))}

- **Sends against `nats bench`.** The gate compares {SENDERS:,} senders with the best of the batches {batches} in the same round, on the log's own streams (decision 016); all other ratios are beside it, without a gate. `nats bench js pub async --dedup --batch BATCH --multisubjectmax {streams.SUBJECTS}`, one process for each of the sixteen streams, payloads of the size that makes messages as large in the stream as the gateway's; what it appends is counted at the server over the same number of seconds. On the log's own streams everything is as it is for the gateway: live copies, the worker's consumers, the deduplication. The other streams have the same settings without live copies and without readers. The two are not loaded alike: each publisher of `nats bench` sends a batch and waits for all of it before it sends the next one, so that what it has outstanding falls to nothing with each batch, while each sender of the gateway goes on with its own acknowledgement. A larger batch has more outstanding, a smaller one waits less long for its last: that is why the best one counts. With 200 senders the gateway waits for a stream's sync more often than the stream waits for it.
- **Fan-out against embedded mode.** What is compared is the process that clients are connected to: the gateway alone, and the standalone process, which also has log, store and roles in it. At these rates nearly all of its CPU are deliveries (1,000 for each append). What NATS adds elsewhere is in the second figure, which counts nats-server and worker as well. Everything of a server is on one core, the client on the other.
- **Gateways that end.** Whoever is dropped comes back to the other gateway as the protocol page asks, and resumes; each message is followed to every member of its room. The worst of all runs counts. `deploy/standalone/tests/python/test_outage.py` does the same with hundreds of clients.
- **No object for a client.** Each client sends a message, resumes from the beginning of its channel and reads history, both with the message in it; then what the nats-server's monitor tells is compared, with all clients there and at the end without them: streams, consumers, connections, what each connection subscribes to, and the server's own count of subscriptions. `test_bounded.py` does the same with fewer clients.

One room of 1,000 over several gateways, rates rising until p99 is {SATURATED_MS} ms, something is missed, or the client has no more (it looks at its sockets every 20 ms, which is in the p99); a ladder that nothing ends fails the run. Nothing is pinned: on {os.cpu_count()} cores more gateways cannot make more deliveries, so that the sum shows what sharing costs, not what more machines give.

| gateways | most deliveries a second in time | what ended it |
|---|---|---|
{chr(10).join(sums(rungs))}

| gateways | messages a second | deliveries a second | per CPU-second of the gateways | per CPU-second with nats-server and worker | p99 in ms | |
|---|---|---|---|---|---|---|
{chr(10).join(map(str, rungs))}
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "loadtest" / "RESULTS-NATS.md")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (19_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    rows = sends_rows(sends(options.rounds, options.seconds))
    rows += [fanout_row(rate, fanout(rate, options.pairs, options.seconds)) for rate in (50, 200)]
    rows += [outage_row(outages(options.rounds)), bounded_row(BOUNDED_CLIENTS)]
    rungs = ladder(options.seconds)
    command = f"loadtest/bench_nats.py --rounds {options.rounds} --pairs {options.pairs} --seconds {options.seconds}"
    text = results(rows, rungs, command)
    options.out.write_text(text)
    print(text)
    sound = not missed_early(rungs) and not without_end(rungs)
    return 0 if sound and all(row.held is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
