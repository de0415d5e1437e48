"""What importing the package costs, beside importing aiohttp alone; fresh interpreters, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from importlib.util import find_spec

from benchmarks.bars import Row, note

BAR_MS = 40.0
ROUNDS = 9


def measure(statement: str) -> float:
    """Milliseconds of CPU that an import takes in a fresh interpreter, whose own start is not counted.

    CPU, and not the clock's time: what the disk takes to fetch files that the system forgot is nobody's doing here.
    """
    code = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return 1000 * float(done.stdout)


def main() -> int:
    """Print the table."""
    statements = {
        "import aiohttp": "import aiohttp",
        "hl_async with its client": "import aiohttp, hl_async; hl_async.HighLevel",
        "hl_async.models": "import hl_async.models",
        "hl_async.errors": "import hl_async.errors",
    }
    if find_spec("highlevel"):
        statements["the official SDK"] = "import highlevel"
    found: dict[str, list[float]] = {name: [] for name in statements}
    for turn in range(ROUNDS + 1):
        for name, statement in statements.items():
            took = measure(statement)
            if turn:  # the first one compiles
                found[name].append(took)
    floors = found["import aiohttp"]
    for name, times in found.items():
        ratio = statistics.median(took / floor for took, floor in zip(times, floors, strict=True))
        print(f"{name:<26} {statistics.median(times):7.1f} ms   {ratio:4.2f} of aiohttp")
    more = [whole - floor for whole, floor in zip(found["hl_async with its client"], floors, strict=True)]
    middle = statistics.median(more)
    row = Row("CPU to import hl_async and its client, on top of aiohttp", middle, BAR_MS, "ms", noise=5.0)
    return int(not note(row))


if __name__ == "__main__":
    sys.exit(main())
