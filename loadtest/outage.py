"""Two gateways under many clients, of which one is killed and then the other drained: everybody is back and has resumed
within seconds, and nothing acknowledged is lost."""

import json
import signal
import subprocess
from pathlib import Path

from servers import Fleet, wait_until

# Clients of each room, and users that write, each in a room of his own.
ROOM_MEMBERS, WRITERS = 10, 30
# Seconds; that of `reliability.md` for a gateway that is killed or drained.
RESUME_P99_S = 5
# Seconds from the last drop until everything arrived.
END_S = 180


class Outage:
    """The load tool's `outage` under way, started with a command, with what it says of its progress."""

    def __init__(self, command: list[str], folder: Path):
        self.said = folder / "outage.err"
        with self.said.open("w") as said:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def wait_until_it_says(self, wanted) -> None:
        """Waits for a line that satisfies `wanted`."""

        def is_said():
            assert self.process.poll() is None, self.said.read_text()
            return any(map(wanted, self.said.read_text().splitlines()))

        wait_until(is_said, f"what was waited for is not said: see {self.said}")

    def wait_until_ready(self) -> None:
        self.wait_until_it_says(lambda line: line.startswith("ready"))

    def wait_until_back(self, dropped: int) -> None:
        """Waits until so many were dropped and all are back."""

        def is_back(line):
            if not line.startswith("dropped"):
                return False
            there, away = line.split(", ")[:2]
            return int(there.split()[1]) >= dropped and away == "away 0"

        self.wait_until_it_says(is_back)

    def result(self) -> tuple[int, dict]:
        """The exit code, and what it found."""
        found, _ = self.process.communicate(timeout=END_S)
        assert self.process.returncode in (0, 99), self.said.read_text()
        return self.process.returncode, json.loads(found)


def settings(clients: int) -> dict[str, str]:
    """Of the fleet: a gateway's window of draining is 10 s by default; with these it sends away as many a second as it
    would 5,000 by default."""
    return {"SAFESHIPPER__GATEWAY__DRAIN_WINDOW_MS": str(2 * clients)}


def kill_and_drain(fleet: Fleet, clients: int) -> dict:
    """What the load tool found, with everything that is not as it must be in `missed`."""
    users, rooms = clients + WRITERS, clients // ROOM_MEMBERS
    fleet.seed("outage", users, rooms)
    options = ["--connections", clients, "--rooms", rooms, "--writers", WRITERS, "--rate", 200, "--drops", users]
    # How long a message takes beside thousands of handshakes on a machine that is shared says nothing here.
    options += ["--max-resume-p99-s", RESUME_P99_S, "--max-latency-ms", 30_000, "--drain", 30]
    with Outage(fleet.load_command("outage", *options), fleet.data) as outage:
        outage.wait_until_ready()
        fleet.end("gateway-1", signal.SIGKILL)
        outage.wait_until_back(users // 2)
        fleet.end("gateway-2", signal.SIGTERM)
        code, result = outage.result()
    assert (code == 99) == bool(result["missed"]), f"exit code {code}, missed: {result['missed']}"
    result["missed"] += contradictions(result, users)
    return result


def contradictions(result: dict, users: int) -> list[str]:
    """What the load tool cannot know: half of the users were lost by the kill, and all of them sent away later."""
    wanted = {"dropped_by_code": {"lost": users // 2, "1012": users}, "resumed": users // 2 + users}
    found = {"dropped_by_code": result["dropped_by_code"], "resumed": result["resume_ms"]["count"]}
    missed = [f"{name} is {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    if not 0 < result["sent"] == result["acknowledged"]:
        missed.append(f"{result['acknowledged']} of {result['sent']} messages were acknowledged")
    return missed
