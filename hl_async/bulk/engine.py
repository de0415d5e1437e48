"""Who works on a lane next: engines hand out slices, the journal keeps the truth.

A *slice* is one location for a bounded time. An engine knows three verbs: it takes slices (:meth:`LaneEngine.submit`),
has them worked on (:meth:`LaneEngine.serve`), and says what became of some (:meth:`LaneEngine.overview`). It may lose
slices, run them twice or late: who holds a lane is decided by the lease in the journal alone, never by an engine.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from typing import Any, NamedTuple, Protocol


class Slice(NamedTuple):
    """A turn of one location of a run. ``epoch`` is the number of leases that the lane had seen when it was due; a
    slice of another epoch is an old one, and nothing comes of it. ``number`` tells runs of one name apart that came one
    after the other."""

    run: str
    location: str
    epoch: int = 0
    number: int = 0


class SliceState(Enum):
    """What an engine knows of a slice."""

    QUEUED = "queued"
    RUNNING = "running"
    """Somebody took it, and may have died with it."""
    OVER = "over"
    """It ended, or was never there."""


Handler = Callable[[Slice], Coroutine[Any, Any, Slice | None]]
"""Works on a slice, and returns the lane's next one if that is due at once."""


class LaneEngine(Protocol):
    """The three verbs."""

    async def submit(self, slice_: Slice) -> None:
        """Have a slice worked on, after those that were submitted before it; the same slice twice is one."""
        ...

    async def serve(self, handler: Handler, *, at_once: int) -> None:
        """Work on slices, so many at a time, until there is no reason to go on; see each engine."""
        ...

    async def overview(self, slices: Iterable[Slice]) -> dict[Slice, SliceState]:
        """What became of these."""
        ...


class LocalEngine:
    """Lanes take turns in this process. ``stop`` lets what runs end, and begins nothing more.

    :meth:`serve` returns when no slice is left, also none that is due later, or after ``stop``; what a handler raises
    ends it and is raised.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._ring: OrderedDict[Slice, None] = OrderedDict()
        self._later: dict[Slice, float] = {}
        self._running: dict[asyncio.Task[Slice | None], Slice] = {}

    async def submit(self, slice_: Slice) -> None:
        self._ring.setdefault(slice_)

    def submit_later(self, slice_: Slice, seconds: float) -> None:
        """Have a slice worked on in so many seconds."""
        self._later[slice_] = time.monotonic() + seconds

    async def overview(self, slices: Iterable[Slice]) -> dict[Slice, SliceState]:
        running = set(self._running.values())
        return {
            slice_: SliceState.RUNNING
            if slice_ in running
            else SliceState.QUEUED
            if slice_ in self._ring or slice_ in self._later
            else SliceState.OVER
            for slice_ in slices
        }

    async def serve(self, handler: Handler, *, at_once: int) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while self._running or not (self._stop.is_set() or not (self._ring or self._later)):
                self._begin(handler, at_once)
                await self._wait(stopping)
                for task in [task for task in self._running if task.done()]:
                    del self._running[task]
                    following = task.result()
                    if following is not None:
                        await self.submit(following)
        finally:
            tasks: list[asyncio.Task[Any]] = [stopping, *self._running]
            self._running.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, handler: Handler, at_once: int) -> None:
        """Start slices that are due, as far as there is room."""
        now = time.monotonic()
        for slice_ in [one for one, due in self._later.items() if due <= now]:
            del self._later[slice_]
            self._ring.setdefault(slice_)
        while self._ring and len(self._running) < at_once and not self._stop.is_set():
            slice_, _ = self._ring.popitem(last=False)
            self._running[asyncio.create_task(handler(slice_))] = slice_

    async def _wait(self, stopping: asyncio.Task[bool]) -> None:
        """Until a slice ends, a later one is due, or the stop."""
        stopped = self._stop.is_set()
        due = None if stopped or not self._later else min(self._later.values()) - time.monotonic()
        watched: set[asyncio.Task[Any]] = {*self._running}
        if not stopped:
            watched.add(stopping)
        if watched:
            await asyncio.wait(
                watched,
                timeout=None if due is None else max(0.0, due),
                return_when=asyncio.FIRST_COMPLETED,
            )
