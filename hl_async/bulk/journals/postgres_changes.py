"""Changes of items in Postgres: those that wait at the same time share one statement, which checks every lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from hl_async.bulk.journals.protocol import BATCH
from hl_async.errors import JournalError, LaneLost


class ItemChange(NamedTuple):
    """One item from a state in ``origin`` to ``state``, after ``attempt`` requests; ``sent_at`` is one more.

    ``listed``: a listing had not the document of the item.
    """

    location: str
    epoch: int
    ordinal: int
    attempt: int
    origin: str
    state: str
    sent_at: float | None
    document: str | None
    reason: str | None
    listed: bool


class Changes:
    """Changes of items that wait for a statement; each statement takes all that wait.

    Args:
        query: Executes the statement ``change_items``.
    """

    def __init__(self, query: Callable[..., Awaitable[Sequence[Any]]]) -> None:
        self._query = query
        self._waiting: list[tuple[ItemChange, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def written(self) -> None:
        """Wait until nothing waits."""
        while self._writer is not None:
            await asyncio.wait((self._writer,))

    async def make(self, change: ItemChange) -> bool:
        """Whether the item was where the change expects it; :class:`LaneLost` when the lane is somebody else's."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        # what is queued will be written: a caller that is cancelled must not undo that
        return await asyncio.shield(future)

    async def _write(self) -> None:
        """Write what waits, and what came meanwhile, until nothing does."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                columns = zip(*(change for change, _ in batch), strict=True)
                values = dict(zip(ItemChange._fields, map(list, columns), strict=True))
                try:
                    rows = await self._query("change_items", number=list(range(len(batch))), **values)
                except Exception as error:  # noqa: BLE001 - whatever it was, every waiter has to hear of it
                    known = isinstance(error, JournalError)
                    _fail(batch, error if known else JournalError(f"changes could not be written: {error!r}"))
                else:
                    _answer(batch, dict(rows))
        finally:
            self._writer = None


def _answer(batch: list[tuple[ItemChange, asyncio.Future[bool]]], done: dict[int, bool]) -> None:
    for n, (change, future) in enumerate(batch):
        if future.done():
            continue
        if n in done:
            future.set_result(done[n])
        else:
            future.set_exception(LaneLost(f"another process works on {change.location} by now"))


def _fail(batch: list[tuple[ItemChange, asyncio.Future[bool]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(type(error)(str(error)))
