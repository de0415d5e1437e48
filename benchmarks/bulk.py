"""The journal's rate and the runner's memory; ``--items`` for the long form (1,000,000)."""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bars import Row, note
from benchmarks.postgres import postgres
from hl_async.bulk import bulk_map
from hl_async.bulk.journals.postgres import PostgresJournals
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.run import Run
from hl_async.bulk.sources.records import SourceItem

JOURNAL_BAR = 5_000.0
MEMORY_BAR = 50 * 1024


def items(count: int) -> Iterator[SourceItem]:
    """Documents of two kilobytes."""
    body = b'{"name":"' + b"x" * 2000 + b'"}'
    for n in range(count):
        yield SourceItem(n, f"doc{n}", body)


def peak() -> int:
    """Peak memory of this process in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def journal(place: Path | JournalStore, count: int, in_flight: int = 400) -> tuple[float, float]:
    """(items per second, CPU seconds per item) through intend and outcome, each durable."""
    async with await Run.create(place, fingerprint="f", location="loc") as run:
        await run.plan(items(count))
        store = await run.journal.lease("loc")
        assert store is not None
        began, used = time.perf_counter(), time.process_time()
        after, done = -1, 0

        async def one(ordinal: int) -> None:
            await store.intend(ordinal, 0, 1.0)
            await store.created(ordinal, 1, "document")

        while batch := await store.take(after, in_flight):
            await asyncio.gather(*(one(item.ordinal) for item in batch))
            after = batch[-1].ordinal
            done += len(batch)
        return done / (time.perf_counter() - began), (time.process_time() - used) / done


async def runner(count: int) -> tuple[float, int]:
    """(items per second, growth of peak memory in KB after the first tenth) of the bounded map."""

    async def nothing(n: int) -> int:
        return n

    seen = 0
    base = 0
    began = time.perf_counter()
    async with bulk_map(nothing, range(count), limit=50) as outcomes:
        async for _ in outcomes:
            seen += 1
            if seen == count // 10:
                base = peak()
    return count / (time.perf_counter() - began), peak() - base


def main() -> int:
    """Print the figures against their bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=50_000)
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        rate, cost = asyncio.run(journal(Path(folder) / "run.hl.db", options.items))
    with postgres() as server:
        shared, shared_cost = asyncio.run(
            journal(PostgresJournals(server.dsn, "bench", lease=600.0), min(options.items, 50_000))
        )
    speed, growth = asyncio.run(runner(options.items))
    good = (
        note(Row("journal, two durable changes per item", rate, JOURNAL_BAR, "items/s", at_least=True)),
        note(
            Row(
                f"memory growth of the runner over {options.items:,} items",
                growth / 1024,
                MEMORY_BAR / 1024,
                "MB",
            )
        ),
    )
    print(
        f"journal    {rate:9,.0f} items/s, two durable changes each, 400 in flight; bar {JOURNAL_BAR:,.0f}: {'met' if good[0] else 'MISSED'}"
    )
    print(f"           {cost * 1e6:9,.0f} µs of CPU per item")
    print(f"in Postgres {shared:8,.0f} items/s, {shared_cost * 1e6:,.0f} µs of CPU per item in this process")
    print(
        f"runner     {speed:9,.0f} items/s; memory grew {growth / 1024:.1f} MB over {options.items:,} items; bar 50 MB: {'met' if good[1] else 'MISSED'}"
    )
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
