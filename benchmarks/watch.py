"""Change feeds on big locations: is every change seen, how soon, at what share of the rate budget?

Virtual time and the real feed: a location of 100,000 documents, 1,000 changes at random moments, the feed cancelled at
random moments in between and started again on the same store. Over sockets, with a file: `benchmarks.watch_sockets`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from benchmarks.bars import Row, note
from benchmarks.virtual_loop import VirtualLoop, run
from hl_async.changes import ChangeFeed, ChangeKind, FeedPolicy, MemoryCursors
from hl_async.changes.feed import Look
from hl_async.models import Estimate, Invoice

_RATE: Final = 10.0
_SHARE: Final = 0.2
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_STATUSES: Final = ("sent", "viewed", "accepted", "declined", "invoiced")
_KILLS: Final = 12


class _Location:
    """A list of estimates, newest first, that changes by itself."""

    name = "location/estimates/1"

    def __init__(self, count: int, loop: VirtualLoop) -> None:
        self._loop = loop
        self.documents = [
            Estimate(id=f"d{number}", status="draft", total=Decimal(10), updated_at=_BEGIN)
            for number in reversed(range(count))
        ]
        self.places = {one.id: place for place, one in enumerate(self.documents)}
        self.requests: list[float] = []

    def rate(self) -> float:
        return _RATE

    async def page(self, offset: int, limit: int) -> Sequence[Estimate | Invoice]:
        self.requests.append(self._loop.time())
        await asyncio.sleep(0.1)
        return self.documents[offset : offset + limit]

    async def look(self, document_id: str, contact_id: str, offset: int) -> Look:
        raise AssertionError("nothing is missing here")

    def change(self, document_id: str, status: str) -> None:
        place = self.places[document_id]
        updated = _BEGIN + timedelta(seconds=self._loop.time())
        one = msgspec.structs.replace(self.documents[place], status=status, updated_at=updated)
        self.documents[place] = one


def measure(count: int, changes: int, seed: int) -> dict[str, Any]:
    """Play one location and return what was seen of it."""
    dice = random.Random(seed)

    async def play(loop: VirtualLoop) -> dict[str, Any]:
        location = _Location(count, loop)
        made: dict[str, float] = {}
        seen: dict[str, float] = {}
        told = 0
        wrong = 0
        store = MemoryCursors(wall=loop.wall)  # a file lives in real time, as benchmarks.watch_sockets shows

        async def watch() -> None:
            nonlocal told, wrong
            feed = ChangeFeed(location, store, FeedPolicy(share=_SHARE, every=5, lease=20), wall=loop.wall)
            async for change in feed:
                told += 1
                wrong += change.kind is ChangeKind.CREATED or change.document_id not in made
                seen.setdefault(change.document_id, loop.time())

        task = asyncio.create_task(watch())
        one_pass = count / 90 / (_SHARE * _RATE)
        await asyncio.sleep(one_pass * 1.3 + 20)  # it learns the location
        span = max(600.0, one_pass * 2)
        moments = sorted(dice.uniform(0, span) for _ in range(changes))
        kills = sorted(dice.uniform(0, span) for _ in range(_KILLS))
        began = loop.time()
        fresh = dice.sample(sorted(location.places), changes)
        while moments or kills:
            following = min(moments[:1] + kills[:1])
            await asyncio.sleep(max(0.0, began + following - loop.time()))
            if kills and kills[0] == following:
                kills.pop(0)
                task.cancel()
                await asyncio.wait([task])
                task = asyncio.create_task(watch())
            else:
                moments.pop(0)
                name = fresh.pop()
                made[name] = loop.time()
                location.change(name, dice.choice(_STATUSES))
        await asyncio.sleep(one_pass * 2.5 + 30)
        task.cancel()
        await asyncio.wait([task])
        waits = [seen[name] - at for name, at in made.items() if name in seen]
        return {
            "missed": len(made) - len(waits),
            "wrong": wrong,
            "repeated": told - len(waits),
            "waits": waits,
            "busiest": _busiest(location.requests),
            "one_pass": one_pass,
        }

    return run(play)


def _busiest(requests: Sequence[float]) -> int:
    """The most requests in any ten seconds."""
    most = begin = 0
    for end, at in enumerate(requests):
        while requests[begin] <= at - 10:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was seen at each size, and hold it against its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args(arguments)
    held = True
    for count in options.sizes:
        changes = min(options.changes, count // 2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = measure(count, changes, options.seed)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        waits = sorted(found["waits"])
        middle, late = (waits[int(len(waits) * part)] for part in (0.5, 0.99))
        print(
            f"{count:>7,} documents, {changes:,} changes, {_KILLS} kills: {found['missed']} missed, {found['wrong']} wrong,"
            f" {found['repeated']} repeated; seen after p50 {middle:,.0f} s, p99 {late:,.0f} s"
            f" (a pass: {found['one_pass']:,.0f} s); busiest 10 s: {found['busiest']} requests of"
            f" {_SHARE * _RATE * 10:.0f}; +{grown:,.0f} MB"
        )
        what = f"changes at {count:,} documents"
        held &= note(Row(f"{what}: missed, or told wrongly", found["missed"] + found["wrong"], 0, ""))
        held &= note(
            Row(f"{what}: requests in the busiest 10 s", found["busiest"], _SHARE * _RATE * 10 + 1, "")
        )
        held &= note(
            Row(f"{what}: p99 against one pass and two looks", late / (found["one_pass"] * 1.5 + 10), 1.0)
        )
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
