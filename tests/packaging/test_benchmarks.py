"""Benchmarks run to their end: a rename in the package would break one unseen. Their figures are not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = {
    "busy_loop": [],
    "call_overhead": ["--calls", "5", "--rounds", "1"],
    "connections": ["--tls-calls", "100"],
    "decode": [],
    "shared_budget": ["--seconds", "1"],
}
"""Benchmarks that no test runs otherwise, with options that keep them short."""


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_to_its_end(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", *SMALL[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    # 1 is a missed bar, which so short a run may miss
    assert done.returncode in (0, 1), done.stderr
