"""What importing the package costs, beside importing aiohttp alone; fresh interpreters, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from importlib.util import find_spec

from benchmarks.bars import Row, note

BAR_MS = 60.0


def measure(statement: str, rounds: int = 9) -> float:
    """Milliseconds of a fresh interpreter's import, its own start not counted, its bytecode compiled before."""
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    times = []
    for turn in range(rounds + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        if turn:
            times.append(float(done.stdout))
    return 1000 * statistics.median(times)


def main() -> int:
    """Print the table."""
    floor = measure("import aiohttp")
    whole = measure("import aiohttp, hl_async; hl_async.HighLevel")
    rows = {
        "import aiohttp": floor,
        "hl_async with its client": whole,
        "hl_async.models": measure("import hl_async.models"),
        "hl_async.errors": measure("import hl_async.errors"),
    }
    if find_spec("highlevel"):
        rows["the official SDK"] = measure("import highlevel", 3)
    for name, value in rows.items():
        print(f"{name:<26} {value:7.1f} ms   {value / floor:4.2f} of aiohttp")
    return int(
        not note(
            Row("import hl_async and its client, on top of aiohttp", whole - floor, BAR_MS, "ms", noise=5.0)
        )
    )


if __name__ == "__main__":
    sys.exit(main())
