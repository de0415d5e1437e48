"""Internal. Engines decide which process works on a lane next.

The journal keeps the truth. A *slice* is one location for a bounded time. An engine has three verbs:
:meth:`LaneEngine.submit` queues a slice, :meth:`LaneEngine.serve` works on slices, :meth:`LaneEngine.overview`
reports their states. An engine may lose slices, run them twice or late: the lease in the journal alone decides
which process holds a lane.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from typing import Any, NamedTuple, Protocol


class Slice(NamedTuple):
    """A turn of one location of a run.

    Attributes:
        run: The run's name.
        location: The location's id.
        epoch: Leases of the lane when the slice was due. A slice of an older epoch does nothing.
        number: Tells apart successive runs of one name.
    """

    run: str
    location: str
    epoch: int = 0
    number: int = 0


class SliceState(Enum):
    """State of a slice in an engine."""

    QUEUED = "queued"
    RUNNING = "running"
    """A process took it, and may have died with it."""
    OVER = "over"
    """It ended, or was never submitted."""


Handler = Callable[[Slice], Coroutine[Any, Any, Slice | None]]
"""Works on a slice. Returns the lane's next slice if it is due at once."""


class LaneEngine(Protocol):
    """An engine."""

    async def submit(self, slice_: Slice) -> None:
        """Queue a slice behind the earlier ones. The same slice submitted twice is one."""
        ...

    async def serve(self, handler: Handler, *, at_once: int) -> None:
        """Work on slices, ``at_once`` at a time. Each engine defines when it returns."""
        ...

    async def overview(self, slices: Iterable[Slice]) -> dict[Slice, SliceState]:
        """Return the states of slices."""
        ...


class LocalEngine:
    """Lanes that take turns in this process.

    :meth:`serve` returns when no slice is left, now or later. After ``stop``, running slices finish and no other
    begins. An exception of a handler ends it and is raised.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._ring: OrderedDict[Slice, None] = OrderedDict()
        self._later: dict[Slice, float] = {}
        self._running: dict[asyncio.Task[Slice | None], Slice] = {}

    async def submit(self, slice_: Slice) -> None:
        self._ring.setdefault(slice_)

    def submit_later(self, slice_: Slice, seconds: float) -> None:
        """Queue a slice in ``seconds``."""
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
            # Reached by an exception too: no slice may go on working without its engine.
            tasks: list[asyncio.Task[Any]] = [stopping, *self._running]
            self._running.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, handler: Handler, at_once: int) -> None:
        """Start slices that are due, up to ``at_once``."""
        now = time.monotonic()
        for slice_ in [one for one, due in self._later.items() if due <= now]:
            del self._later[slice_]
            self._ring.setdefault(slice_)
        while self._ring and len(self._running) < at_once and not self._stop.is_set():
            # First in, first out, so that lanes take turns.
            slice_, _ = self._ring.popitem(last=False)
            self._running[asyncio.create_task(handler(slice_))] = slice_

    async def _wait(self, stopping: asyncio.Task[bool]) -> None:
        """Wait until a slice ends, a later one is due, or the stop."""
        stopped = self._stop.is_set()
        due = None if stopped or not self._later else min(self._later.values()) - time.monotonic()
        watched: set[asyncio.Task[Any]] = {*self._running}
        # After the stop its task is done, and waiting for it would return at once in a busy loop.
        if not stopped:
            watched.add(stopping)
        if watched:
            await asyncio.wait(
                watched,
                timeout=None if due is None else max(0.0, due),
                return_when=asyncio.FIRST_COMPLETED,
            )
