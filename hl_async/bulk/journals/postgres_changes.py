"""Changes of items in Postgres: those that wait at the same time share one statement, which checks every lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

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


# A request may have made a document from the intent on, unless its answer says that it was refused. The next
# request of an item that is sent belongs to a call that repeats only what was provably not executed.
_CHANGE: Final = """
with c as (
  select * from unnest($2::int4[], $3::text[], $4::int8[], $5::int8[], $6::int4[], $7::text[], $8::text[],
                       $9::float8[], $10::text[], $11::text[], $12::bool[])
    as c (n, location, epoch, ordinal, attempt, origin, state, sent_at, document, reason, listed)
), mine as (
  select c.n from c join hl_async.lane l
    on l.run = $1 and l.location = c.location and l.epoch = c.epoch and l.until > clock_timestamp()
), done as (
  update hl_async.item i
    set state = c.state, attempt = i.attempt + (c.sent_at is not null)::int4, sent_at = coalesce(c.sent_at, i.sent_at),
        first_sent = coalesce(i.first_sent, c.sent_at),
        failures = i.failures + (c.listed and i.reason is not null)::int4,
        possible = i.possible + (c.state = 'sent' and i.state = 'planned')::int4
          - (i.state = 'sent' and (c.state = 'rejected' or c.state = 'planned' and not c.listed))::int4,
        document = coalesce(c.document, i.document),
        reason = case when c.state = 'created' or c.sent_at is not null then null else coalesce(c.reason, i.reason) end
    from c join mine using (n)
    where i.run = $1 and i.ordinal = c.ordinal and i.attempt = c.attempt and position(i.state in c.origin) > 0
    returning c.n
)
select n, n in (select n from done) as done from mine
"""


class Changes:
    """Writes changes with ``fetch``, a statement for all that wait."""

    def __init__(self, fetch: Callable[..., Awaitable[list[Any]]]) -> None:
        self._fetch = fetch
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
                columns = [list(column) for column in zip(*(change for change, _ in batch), strict=True)]
                try:
                    rows = await self._fetch(_CHANGE, list(range(len(batch))), *columns)
                except Exception as error:  # noqa: BLE001 - whatever it was, every waiter has to hear of it
                    known = isinstance(error, JournalError)
                    _fail(batch, error if known else JournalError(f"changes could not be written: {error!r}"))
                else:
                    _answer(batch, {row["n"]: row["done"] for row in rows})
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


def plain_text(value: Any) -> Any:
    """Text as Postgres can hold it: no NUL, no half of a surrogate pair."""
    if isinstance(value, str) and ("\x00" in value or not value.isprintable()):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return value
