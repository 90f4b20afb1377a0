"""What the streams of a nats-server take by themselves, measured with its own tool, `nats bench js pub async`."""

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

from servers import ROOT, Fleet

NATS = ROOT / ".tools" / "bin" / "nats"
# Messages that each stream's publisher sends before it waits for all of their acknowledgements, and only then sends the
# next ones: it drains to nothing after each batch. Which batch appends most differs from run to run, so all are tried.
BATCHES = [64, 128, 256]
# Subjects in each stream, as 200 channels in sixteen streams have.
SUBJECTS = 13
# More than any run sends.
MESSAGES = 10_000_000
# Bytes of a payload, to learn what its headers and its place in the stream add.
GUESS = 500
SETTLE_S = 60


@dataclass
class Appended:
    """What came into streams within a time."""

    per_second: float
    # As stored, with subject and headers.
    bytes_each: float


@dataclass
class Look:
    """Where streams stand at one moment of the server's clock."""

    at_s: float
    messages: dict[str, int]
    bytes: int


def look(fleet: Fleet, streams: list[str]) -> Look:
    told = fleet.monitor("jsz?streams=true")
    # Nanoseconds are more than Python reads.
    at = datetime.fromisoformat(told["now"][:26].rstrip("Z") + "+00:00")
    states = {stream["name"]: stream["state"] for stream in told["account_details"][0]["stream_detail"]}
    states = {name: states[name] for name in streams}
    messages = {name: state["last_seq"] for name, state in states.items()}
    return Look(at.timestamp(), messages, sum(state["bytes"] for state in states.values()))


def between(before: Look, after: Look) -> Appended:
    messages = sum(after.messages.values()) - sum(before.messages.values())
    assert messages > 0, "nothing was appended"
    return Appended(messages / (after.at_s - before.at_s), (after.bytes - before.bytes) / messages)


def chat_lanes(fleet: Fleet) -> dict[str, str]:
    """The log's own streams, each with a subject that nobody's channel has: workers read it and pass over it."""
    return {f"CHAT_{shard}": f"chat.log.{shard}.bench" for shard in range(fleet.monitor("jsz")["streams"])}


def bare_lanes(fleet: Fleet) -> dict[str, str]:
    """As many streams with the settings of the log's, but without live copies, and nobody reads them."""
    told = fleet.monitor("jsz?streams=true&config=true")["account_details"][0]["stream_detail"]
    lanes = {}
    for config in [stream["config"] for stream in told if stream["name"].startswith("CHAT_")]:
        name = config["name"].replace("CHAT", "BENCH")
        lanes[name] = name.lower().replace("_", ".")
        del config["republish"]
        config |= {"name": name, "subjects": [f"{lanes[name]}.>"]}
        command = [NATS, "--server", fleet.state["nats"], "req", "--raw"]
        command += [f"$JS.API.STREAM.CREATE.{name}", json.dumps(config)]
        answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        assert "error" not in answer, answer
    return lanes


@contextlib.contextmanager
def publishers(fleet: Fleet, lanes: dict[str, str], size: int, batch: int):
    """One `nats bench` for each stream; all of them must last as long as they are looked at."""
    processes = []
    for stream, subject in lanes.items():
        command = [NATS, "--server", fleet.state["nats"], "bench", "js", "pub", "async", subject, "--stream", stream]
        command += ["--batch", batch, "--size", f"{size}B", "--msgs", MESSAGES, "--dedup", "--no-progress"]
        command += ["--multisubject", "--multisubjectmax", SUBJECTS, "--timeout", "60s"]
        processes.append(subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    try:
        yield
        ended = [process.stderr.read() for process in processes if process.poll() is not None]
        assert not ended, ended
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stderr.close()


def publish(fleet: Fleet, lanes: dict[str, str], size: int, seconds: float, batch: int) -> Appended:
    """What all streams take together while each has a publisher of its own, with payloads of so many bytes."""
    streams = [*lanes]
    began = look(fleet, streams)
    with publishers(fleet, lanes, size, batch):
        until = time.monotonic() + SETTLE_S
        while any(look(fleet, streams).messages[name] == began.messages[name] for name in streams):
            assert time.monotonic() < until, "not every stream takes messages"
            time.sleep(0.1)
        time.sleep(1)
        before = look(fleet, streams)
        time.sleep(seconds)
        after = look(fleet, streams)
    wait_until_read(fleet)
    return between(before, after)


def payload_size(fleet: Fleet, lanes: dict[str, str], bytes_each: float) -> int:
    """The size of a payload that is stored with so many bytes."""
    return round(GUESS + bytes_each - publish(fleet, lanes, GUESS, 1, BATCHES[0]).bytes_each)


def wait_until_read(fleet: Fleet) -> None:
    """Waits until consumers have read what is there, so that the next run does not pay for this one."""
    until = time.monotonic() + SETTLE_S
    while True:
        streams = fleet.monitor("jsz?consumers=true")["account_details"][0]["stream_detail"]
        consumers = [one for stream in streams for one in stream.get("consumer_detail", [])]
        assert consumers, "the monitor tells of no consumer"
        if all(one["num_pending"] == 0 and one["num_ack_pending"] == 0 for one in consumers):
            return
        assert time.monotonic() < until, "the workers do not keep up"
        time.sleep(0.2)
