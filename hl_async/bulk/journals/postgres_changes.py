"""Internal. Changes of items in Postgres.

Changes that wait at the same time share one statement, which checks every lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from hl_async.bulk.journals.protocol import BATCH
from hl_async.errors import JournalError, LaneLost


class ItemChange(NamedTuple):
    """The change of one item to ``state``.

    The change expects the item in one of the states of ``origin``, with ``attempt`` requests. ``sent_at`` is the time
    of one more request. ``listed``: a listing lacks the document of the item.
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
    """The queue of item changes. Each statement takes all that wait, up to a batch.

    Args:
        query: Executes the statement ``change_items``.
    """

    def __init__(self, query: Callable[..., Awaitable[Sequence[Any]]]) -> None:
        self._query = query
        self._waiting: list[tuple[ItemChange, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def written(self) -> None:
        """Wait until no change waits."""
        while self._writer is not None:
            await asyncio.wait((self._writer,))

    async def make(self, change: ItemChange) -> bool:
        """Make a change durably.

        Returns:
            Whether the item had the state and the number of attempts that the change expects.

        Raises:
            LaneLost: Another process holds the lane by now.
            JournalError: The database cannot be used.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        # the first change of a burst starts the writer, which takes all that follow
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        # A queued change is written in any case: a caller that is cancelled must not undo it.
        return await asyncio.shield(future)

    async def _write(self) -> None:
        """Write waiting changes, and those that arrive meanwhile, until none is left."""
        try:
            while self._waiting:
                # the more changes arrive during a statement, the more the next one takes
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                columns = zip(*(change for change, _ in batch), strict=True)
                values = dict(zip(ItemChange._fields, map(list, columns), strict=True))
                try:
                    rows = await self._query("change_items", number=list(range(len(batch))), **values)
                except Exception as error:  # noqa: BLE001 - every waiter needs an answer
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
        # the statement returns a row for each change whose lease is valid
        if n in done:
            future.set_result(done[n])
        else:
            future.set_exception(LaneLost(f"another process works on {change.location} by now"))


def _fail(batch: list[tuple[ItemChange, asyncio.Future[bool]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            # an error of its own for each waiter: raising one adds frames to it
            future.set_exception(type(error)(str(error)))
