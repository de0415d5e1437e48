"""An engine of one process for many workers: the smallest thing that the three verbs allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from hl_async.bulk.engine import Handler, Slice, SliceState


class SharedQueue:
    """A queue that several :class:`QueueEngine` serve; it knows what was submitted, in order."""

    def __init__(self) -> None:
        self.queued: deque[Slice] = deque()
        self.taken: list[Slice] = []
        self.running: set[Slice] = set()
        self.submitted: list[Slice] = []
        self.more = asyncio.Event()


class QueueEngine:
    """One worker's view of a :class:`SharedQueue`; keeps what it took when it dies, as DBOS does."""

    def __init__(self, shared: SharedQueue, stop: asyncio.Event) -> None:
        self.shared = shared
        self.stop = stop

    async def submit(self, slice_: Slice) -> None:
        if slice_ not in self.shared.submitted:
            self.shared.submitted.append(slice_)
            self.shared.queued.append(slice_)
            self.shared.more.set()

    async def overview(self, slices: Iterable[Slice]) -> dict[Slice, SliceState]:
        return {
            slice_: SliceState.QUEUED
            if slice_ in self.shared.queued
            else SliceState.RUNNING
            if slice_ in self.shared.running
            else SliceState.OVER
            for slice_ in slices
        }

    async def serve(self, handler: Handler, *, at_once: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._serve(handler))

    async def _serve(self, handler: Handler) -> None:
        while not self.stop.is_set():
            if not self.shared.queued:
                self.shared.more.clear()
                waits = [asyncio.create_task(event.wait()) for event in (self.shared.more, self.stop)]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in waits:
                        task.cancel()
                continue
            slice_ = self.shared.queued.popleft()
            self.shared.taken.append(slice_)
            self.shared.running.add(slice_)
            following = await handler(slice_)
            self.shared.running.discard(slice_)
            if following is not None:
                await self.submit(following)
