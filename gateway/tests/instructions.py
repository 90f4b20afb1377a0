"""Counts instructions and allocations of the hot path's pieces, and compares them with instructions.json.

Usage: instructions.py BINARY [--update]. A count does not depend on what else the machine does. Exit code 1 when one is
more than 5 % off, either way: a piece that became cheaper has its new count stored, or the gain would hide a loss.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

STORED = Path(__file__).with_suffix(".json")
TOLERANCE = 0.05
# Operations of one round: a delivery is counted for each of 1,000 members.
PIECES = {"send": 1, "encode": 1, "deliver": 1_000}
# Counted as a difference, so that starting and warming up do not count.
ROUNDS = (50, 250)


def counted(tool: str, pattern: str, binary: str, piece: str, rounds: int) -> int:
    command = ["valgrind", f"--tool={tool}", f"--{tool}-out-file=/dev/null", binary, piece, str(rounds)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    found = re.search(pattern, done.stderr)
    if done.returncode or not found:
        sys.exit(f"instructions: {' '.join(command)}\n{done.stderr}")
    return int(found.group(1).replace(",", ""))


def measure(binary: str, piece: str) -> dict:
    per = {}
    for what, tool, pattern in (
        ("instructions", "callgrind", r"Collected : (\d+)"),
        ("allocations", "dhat", r"Total:\s+[\d,]+ bytes in ([\d,]+) blocks"),
    ):
        few, many = (counted(tool, pattern, binary, piece, rounds) for rounds in ROUNDS)
        per[what] = round((many - few) / (ROUNDS[1] - ROUNDS[0]) / PIECES[piece], 3)
    return per


def main(binary: str, update: bool) -> int:
    found = {piece: measure(binary, piece) for piece in PIECES}
    if update:
        STORED.write_text(json.dumps(found, indent=2) + "\n")
    stored = json.loads(STORED.read_text())
    off = 0
    for piece, counts in found.items():
        for what, count in counts.items():
            was = stored[piece][what]
            within = abs(count - was) <= TOLERANCE * was
            off += not within
            verdict = "" if within else f", MORE THAN {TOLERANCE:.0%} OFF: find out why, then `make instructions UPDATE=--update`"
            print(f"instructions: {piece}: {count:,.3f} {what}, stored {was:,.3f}{verdict}")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--update" in sys.argv[2:]))
