"""Runs the Autobahn cases (1 to 7, 9, 10) against the echoing gateway and prints each that is not plainly OK.

Usage: run.py ECHO_BINARY. Exit code 1 when a case fails; `kosoku` runs Autobahn's own case files on Python 3.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
CASES = 301
# What RFC 6455 leaves open is only told of.
CONFORMING = {"OK", "INFORMATIONAL"}
# Bad UTF-8 within one frame is refused when the frame is complete, not at the bad byte. Decision 006.
NON_STRICT = {"6.4.3", "6.4.4"}
DEADLINE_SECONDS = 600


def run_cases(address: str, reports: Path) -> list[dict]:
    runner = Path(sys.executable).with_name("kosoku")
    include = [word for group in GROUPS for word in ("--include", group)]
    command = [runner, "--parallelism", "4", *include, "--outdir", str(reports), address]
    # Its own exit code is not asked: the reports say which case did what.
    subprocess.run(command, timeout=DEADLINE_SECONDS, stdout=subprocess.DEVNULL, check=False)
    (agent,) = json.loads((reports / "index.json").read_text()).values()
    return [{"case": case, **result} for case, result in agent.items()]


def conforms(result: dict) -> bool:
    allowed = CONFORMING | ({"NON-STRICT"} if result["case"] in NON_STRICT else set())
    return {result["behavior"], result["behaviorClose"]} <= allowed


def main(echo: str) -> int:
    server = subprocess.Popen([echo, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as reports:
            results = run_cases(address, Path(reports))
    finally:
        server.terminate()
        server.wait(30)
    verdicts = Counter(result["behavior"] for result in results)
    failed = [result for result in results if not conforms(result)]
    for result in results:
        told = {result["behavior"], result["behaviorClose"]} - {"OK"}
        if told:
            verdict = "FAILED" if result in failed else "explained" if "NON-STRICT" in told else "left open"
            print(f"autobahn {result['case']}: {result['behavior']}, close {result['behaviorClose']}: {verdict}")
    print(f"autobahn: {len(results)} cases, " + ", ".join(f"{n} {what}" for what, n in sorted(verdicts.items())))
    if len(results) != CASES:
        print(f"autobahn: {CASES} cases were expected")
    return 1 if failed or len(results) != CASES or server.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
