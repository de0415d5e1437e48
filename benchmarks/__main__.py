"""Every benchmark, then one table of what was measured against its bar; exit 1 when one is missed by more than noise.

``--write`` puts the table into RESULTS.md, ``--long`` runs the counts of the documentation: 200 SIGKILLs, 200 expiries,
1,000,000 items (a quarter of an hour), instead of shorter ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import (
    bars,
    bulk,
    busy_loop,
    call_overhead,
    connections,
    credentials,
    decode,
    faults,
    governor,
    imports,
    move,
    once,
    planning,
    shared_budget,
    stages,
    torture,
    watch,
    watch_sockets,
    workers,
)

LONG = [
    "--items",
    "1000000",
    "--kills",
    "200",
    "--rounds",
    "200",
    "--documents",
    "2000",
    "--locations",
    "2000",
]
SHORT = ["--items", "100000", "--kills", "20", "--rounds", "20", "--documents", "300", "--locations", "2000"]
CALLS = ["--rounds", "15"]
LONG_WORKERS = ["--locations", "100", "--documents", "100", "--kills", "40", "--fair", "1000"]
# with fewer that take turns, a location's next turn would come before its rate budget is back, and be over at once
SHORT_WORKERS = ["--locations", "10", "--documents", "60", "--kills", "4", "--fair", "600"]
SHORT_WATCH = {
    watch: ["--sizes", "100", "10000", "--changes", "500"],
    watch_sockets: ["--size", "2000", "--changes", "100", "--speed", "5", "--calls", "100"],
}
SHORT_STAGES = [
    "--documents",
    "120",
    "--customers",
    "40",
    "--there",
    "10",
    "--ambiguous",
    "4",
    "--kills",
    "4",
    "--lag",
    "2",
]
SHORT_MOVE = ["--documents", "100", "--customers", "25", "--payments", "40", "--kills", "6"]
SHORT_ONCE = ["--calls", "200", "--people", "60", "--known", "20", "--pairs", "80", "--deaths", "6"]
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    counts = LONG if options.long else SHORT
    shared = LONG_WORKERS if options.long else SHORT_WORKERS
    began = time.perf_counter()
    broken = []
    for module in (
        call_overhead,
        imports,
        decode,
        connections,
        busy_loop,
        bulk,
        faults,
        governor,
        shared_budget,
        credentials,
        torture,
        stages,
        move,
        once,
        planning,
        watch,
        watch_sockets,
        workers,
    ):
        name = module.__name__.rpartition(".")[2]
        print(f"\n== {name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        chosen = {call_overhead: CALLS, workers: shared, once: [] if options.long else SHORT_ONCE}
        chosen[stages] = [] if options.long else SHORT_STAGES
        chosen[move] = [] if options.long else SHORT_MOVE
        chosen |= {one: [] if options.long else counts for one, counts in SHORT_WATCH.items()}
        sys.argv = [name, *chosen.get(module, counts)]
        if module.main():
            broken.append(name)
    missed = [row.what for row in bars.TABLE if not row.held]
    print(f"\n{bars.table()}\n\n{bars.machine()}; {time.perf_counter() - began:.0f} s")
    if options.write:
        command = "make bench" if not options.long else "python -m benchmarks --long --write"
        RESULTS.write_text(
            f"# Results\n\nPrinted by `{command}`. A ratio is measured in one interleaved run; ± is twice its standard error.\n\n"
            f"{bars.machine()}.\n\n{bars.table()}\n"
        )
    for what in missed:
        print(f"MISSED: {what}")
    for name in broken:
        print(f"not all well in: {name}")
    return 1 if missed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
