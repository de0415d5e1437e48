"""Instructions per call of our client and of bare aiohttp, counted by valgrind's callgrind on loopback.

CPU time on a shared machine moves by a tenth between two runs, instructions by about a hundredth. The kernel's share is
not counted, and caches are not simulated, so the bars are judged by ``benchmarks.call_overhead``; this tool says what a
change saves. ``python -m benchmarks.instructions [--work update_estimate] [--client hl_async] [--calls N] [--keep FILE]``;
it needs ``valgrind``. ``--keep`` leaves callgrind's file, for ``callgrind_annotate``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.call_overhead import CLIENTS, ROUTES, WORK, burst
from benchmarks.responder import responder

_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)
PEERS = ("hl_async", "bare aiohttp")
IN_FLIGHT = 50


async def child(url: str, name: str, work: str, calls: int) -> None:
    """Open connections and warm up, then run ``calls`` calls between two lines of the parent's."""
    async with AsyncExitStack() as stack:
        call = (await CLIENTS[name](stack, url))[work]
        await burst(call, 2 * IN_FLIGHT, IN_FLIGHT)
        gc.collect()
        print("warm", flush=True)
        sys.stdin.readline()
        await burst(call, calls, IN_FLIGHT)
        print("done", flush=True)
        sys.stdin.readline()


def count(url: str, name: str, work: str, calls: int, keep: Path | None = None) -> float:
    """Instructions per call."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "callgrind.out")
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={target}"]
        command += [sys.executable, "-m", "benchmarks.instructions", "--child", url]
        command += ["--client", name, "--work", work, "--calls", str(calls)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for line, control in (("warm", ("-i", "on")), ("done", ("-d",))):
                if process.stdout.readline().strip() != line:
                    raise RuntimeError(f"the counted process failed before it was {line}")
                subprocess.run(
                    ["callgrind_control", *control, str(process.pid)], check=True, capture_output=True
                )
                process.stdin.write("\n")
                process.stdin.flush()
        written = target.with_name(target.name + ".1").read_text()
        if keep is not None:
            keep.write_text(written)
    found = _TOTAL.search(written)
    if found is None:
        raise RuntimeError("callgrind wrote no total")
    return int(found[1]) / calls


def main() -> int:
    """Print instructions per call and the ratio to bare aiohttp."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORK, action="append")
    parser.add_argument("--client", choices=CLIENTS, action="append")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--child", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        asyncio.run(child(options.child, options.client[0], options.work[0], options.calls))
        return 0
    with responder(ROUTES) as url:
        for work in options.work or WORK:
            calls = options.calls // 10 if work == "list of 100" else options.calls
            found = {name: count(url, name, work, calls, options.keep) for name in options.client or PEERS}
            cells = [f"{name} {number:12,.0f}" for name, number in found.items()]
            if set(PEERS) <= set(found):
                cells.append(f"ratio {found['hl_async'] / found['bare aiohttp']:.3f}")
            print(f"{work:<16} " + "   ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
