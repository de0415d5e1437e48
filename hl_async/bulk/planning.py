"""Internal. Writes a source into a journal, unless the mapping looks wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from hl_async.bulk.continuation import KnownDocument
from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.kinds import LaneKinds, location_of
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.customers import CustomerBook
from hl_async.bulk.stages.payments import payment_steps
from hl_async.bulk.stages.states import StatePolicy, state_steps
from hl_async.bulk.stages.steps import PlannedStep
from hl_async.errors import InvalidRequest, TooManyRejects
from hl_async.operations import Operation, Replay

_BATCH: Final = 1000
_EARLY: Final = 200

Records: TypeAlias = AsyncIterable[SourceItem | Reject] | Iterable[SourceItem | Reject]


class ItemKeys(NamedTuple):
    """Gives each item of a run its lane, its key, and a body that carries the key."""

    run: str
    location: str
    kinds: LaneKinds
    operation: Operation[Any]
    source_name: str

    def __call__(
        self, item: SourceItem, repetitions: Counter[tuple[str, str]]
    ) -> tuple[SourceItem, str, bytes]:
        """Return the item in its lane, its key, and its body.

        Args:
            item: The item; its location may be missing.
            repetitions: Items so far, by lane and source id.

        Raises:
            InvalidRequest: Neither the item nor the run names a location.
        """
        location = item.location or self.location
        if not location:
            raise InvalidRequest(
                "location",
                f"{item.place or item.source_id} names no location; give the run one: --location, or HL_LOCATION_ID",
            )
        lane = self.kinds.lane_of(location, item.kind)
        keys = self.kinds.keys_of(lane)
        at = (lane, item.source_id)
        # A source may use an id twice. The number of the repetition keeps their keys apart.
        key = keys.make(self.run, item, repetitions[at])
        repetitions[at] += 1
        body = item.body
        if self.operation.replay is Replay.UNSAFE:
            # A repeatable operation is sent again after a lost answer, so its body needs no key.
            body = keys.put(body, key, self.run, item.source_id, self.source_name)
        return msgspec.structs.replace(item, location=lane), key, body


class StepRules(NamedTuple):
    """The steps of documents: whether payments are recorded, which states are set."""

    payments: bool
    states: StatePolicy


async def write_plan(
    journal: Journal,
    keyed: ItemKeys,
    records: Records,
    max_rejects: str,
    limit: int | None,
    customers: CustomerBook,
    rules: StepRules,
) -> int:
    """Write records into `journal`, with steps for customers, payments and states.

    Each item is written with its key and its body. See `Run.plan`.

    Returns:
        The number of invoices beside estimates: the source has so many documents less than the run.
    """
    # Read first, so that a text that is not a limit fails before the first write.
    allowed = _allowance(max_rejects)
    writer = _PlanWriter(journal, keyed, customers, rules)
    last = ""
    async for record in _each(records):
        # Rejected documents do not count against a trial's limit.
        if limit is not None and writer.items >= limit:
            break
        # The document that exceeds the limit may itself be fine.
        last = writer.add(record) or last
        if allowed(writer.unexpected, writer.seen):
            raise TooManyRejects(
                f"{writer.unexpected} of the first {writer.seen} documents were rejected, more than "
                f"{max_rejects}: the mapping is probably wrong. The last reason: {last} (--max-rejects allows more)"
            )
        if writer.is_full:
            await writer.flush()
    await writer.flush()
    # Steps of customers come last, because a customer is complete only after the last of its documents.
    steps = customers.steps()
    while chosen := list(islice(steps, _BATCH)):
        await journal.steps.plan(chosen)
    return writer.beside


class _PlanWriter:
    """Gathers records into batches for the journal.

    Attributes:
        items: Documents that are planned.
        seen: Records of the source.
        unexpected: Rejects that no rule of the mapping names.
        beside: Invoices that are created beside an estimate.
    """

    def __init__(self, journal: Journal, keyed: ItemKeys, customers: CustomerBook, rules: StepRules) -> None:
        self._journal = journal
        self._keyed = keyed
        self._customers = customers
        self._rules = rules
        self._repetitions: Counter[tuple[str, str]] = Counter()
        self._batch: list[tuple[SourceItem, str, bytes] | Reject] = []
        self._steps: list[PlannedStep] = []
        self.items = self.seen = self.unexpected = self.beside = 0

    @property
    def is_full(self) -> bool:
        """Whether a batch is complete."""
        return len(self._batch) >= _BATCH

    def add(self, record: SourceItem | Reject) -> str:
        """Add a record. Return the reason of a reject, or an empty text."""
        self.seen += 1
        if not isinstance(record, Reject):
            found = self._planned(record)
            if found is None:
                return ""
            record = found
        self.unexpected += not record.by_rule
        self._batch.append(record)
        if self._rules.payments and isinstance(record, KnownDocument):
            self._steps += record.payments
        return record.reason

    def _planned(self, item: SourceItem) -> Reject | None:
        """Plan a document and its invoice. Return a reject if the customer is not usable."""
        own = [item] if item.invoice is None else [item, item.invoice]
        made = [self._keyed(one, self._repetitions) for one in own]
        try:
            # A document whose customer cannot become a contact is a reject: it could never be sent.
            for one, _, _ in made:
                self._customers.add(one, location_of(one.location))
        except InvalidRequest as error:
            return Reject(item.ordinal, item.source_id, str(error), item.raw, item.place, total=item.total)
        self.items += 1
        self.beside += len(made) - 1
        for one, key, body in made:
            self._batch.append((one, key, body))
            if self._rules.payments:
                self._steps += payment_steps(one, key)
            self._steps += state_steps(one, key, self._rules.states)
        return None

    async def flush(self) -> None:
        """Write the batch that was gathered."""
        await self._journal.plan(self._batch)
        await self._journal.steps.plan(self._steps)
        self._batch, self._steps = [], []


async def _each(records: Records) -> AsyncIterator[SourceItem | Reject]:
    """Yield one record after the other."""
    # A thread reads a plain iterable, because that usually reads a file.
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
