"""Internal. Write a source into a journal, and stop early when the mapping is probably wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Final, TypeAlias

from hl_async.bulk.continuation import KnownDocument
from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.kinds import location_of
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
    # Read first, so that a text that is not a limit fails before the first write.
    allowed = _allowance(max_rejects)
    repetitions: Counter[tuple[str, str]] = Counter()
    batch: list[tuple[SourceItem, str, bytes] | Reject] = []
    paid: list[PlannedStep] = []
    items = seen = unexpected = 0
    async for record in _each(records):
        # Rejected documents do not count against a trial's limit.
        if limit is not None and items >= limit:
            break
        seen += 1
        if isinstance(record, Reject):
            unexpected += not record.by_rule
            batch.append(record)
            if with_payments and isinstance(record, KnownDocument):
                paid += record.payments
        else:
            made = keyed(record, repetitions)
            try:
                # A document whose customer cannot become a contact is a reject: it could never be sent.
                customers.add(made[0], location_of(made[0].location))
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
    # Steps of customers come last, because a customer is complete only after the last of its documents.
    steps = customers.steps()
    while chosen := list(islice(steps, _BATCH)):
        await journal.steps.plan(chosen)


async def _each(records: Records) -> AsyncIterator[SourceItem | Reject]:
    """Yield one record after the other. A thread reads a plain iterable, because it usually reads a file."""
    if isinstance(records, AsyncIterable):
        async for record in records:
            yield record
        return
    source = iter(records)
    while batch := await asyncio.to_thread(lambda: list(islice(source, _BATCH))):
        for record in batch:
            yield record


def _allowance(text: str) -> Callable[[int, int], bool]:
    """Return a function of (rejected, seen) that tells whether the limit is exceeded.

    `text` is ``N``, or ``P%`` of the first 200 documents.
    """
    number = text.removesuffix("%")
    if not number.isdecimal():
        raise InvalidRequest(
            "max_rejects", f"{text!r} is neither a number nor a percentage, such as 50 or 10%"
        )
    if number == text:
        return lambda rejected, seen: rejected > int(number)
    return lambda rejected, seen: seen == _EARLY and rejected * 100 > int(number) * seen
