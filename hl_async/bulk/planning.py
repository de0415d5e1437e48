"""Internal. Write a source into a journal, and stop early when the mapping is probably wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Final, TypeAlias

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.customers import CustomerBook
from hl_async.bulk.stages.payments import payment_steps
from hl_async.bulk.stages.steps import PlannedStep
from hl_async.errors import InvalidRequest, TooManyRejects

_BATCH: Final = 1000
_EARLY: Final = 200

Records: TypeAlias = AsyncIterable[SourceItem | Reject] | Iterable[SourceItem | Reject]
Keyed: TypeAlias = Callable[[SourceItem, Counter[tuple[str, str]]], tuple[SourceItem, str, bytes]]


async def write_plan(
    journal: Journal,
    keyed: Keyed,
    records: Records,
    max_rejects: str,
    limit: int | None,
    customers: CustomerBook,
    with_payments: bool,
) -> None:
    """Write records into `journal`, with a step for each of their customers and payments.

    Each item is written with its key and its body. See `Run.plan`.
    """
    allowed = _allowance(max_rejects)
    repetitions: Counter[tuple[str, str]] = Counter()
    batch: list[tuple[SourceItem, str, bytes] | Reject] = []
    paid: list[PlannedStep] = []
    items = seen = unexpected = 0
    async for record in _each(records):
        if limit is not None and items >= limit:
            break
        seen += 1
        if isinstance(record, Reject):
            unexpected += not record.by_rule
            batch.append(record)
        else:
            made = keyed(record, repetitions)
            try:
                customers.add(made[0], made[0].location)
            except InvalidRequest as error:
                unexpected += 1
                record = Reject(
                    record.ordinal, record.source_id, str(error), record.raw, record.place, total=record.total
                )
                batch.append(record)
            else:
                items += 1
                batch.append(made)
                if with_payments:
                    paid += payment_steps(made[0], made[1])
        if allowed(unexpected, seen):
            raise TooManyRejects(
                f"{unexpected} of the first {seen} documents were rejected, more than "
                f"{max_rejects}: the mapping is probably wrong. The last reason: "
                f"{record.reason if isinstance(record, Reject) else ''} (--max-rejects allows more)"
            )
        if len(batch) >= _BATCH:
            await journal.plan(batch)
            await journal.steps.plan(paid)
            batch, paid = [], []
    await journal.plan(batch)
    await journal.steps.plan(paid)
    steps = customers.steps()
    while chosen := list(islice(steps, _BATCH)):
        await journal.steps.plan(chosen)


async def _each(records: Records) -> AsyncIterator[SourceItem | Reject]:
    """Yield one record after the other; a thread reads a plain iterable, because it usually reads a file."""
    if isinstance(records, AsyncIterable):
        async for record in records:
            yield record
        return
    source = iter(records)
    while batch := await asyncio.to_thread(lambda: list(islice(source, _BATCH))):
        for record in batch:
            yield record


def _allowance(text: str) -> Callable[[int, int], bool]:
    """Return whether (rejected, seen) is too much, by ``N`` or ``P%`` (of the first 200 at the earliest)."""
    number = text.removesuffix("%")
    if not number.isdecimal():
        raise InvalidRequest(
            "max_rejects", f"{text!r} is neither a number nor a percentage, such as 50 or 10%"
        )
    if number == text:
        return lambda rejected, seen: rejected > int(number)
    return lambda rejected, seen: seen == _EARLY and rejected * 100 > int(number) * seen
