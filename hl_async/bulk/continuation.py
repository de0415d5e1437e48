"""Internal. Continuation of earlier runs with a newer export of their source.

Documents of an earlier run are skipped if their contents are the same, and named if they have changed. The rest is
planned. An earlier run may itself continue another one, so the chain of journals is followed.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.journals.sqlite import store_at
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.kinds import LaneKinds, lane_kinds, location_of
from hl_async.bulk.protocol import State
from hl_async.bulk.source_identity import contents_mark_of
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.payments import (
    PAYMENTS,
    EarlierPayment,
    earlier_payment,
    facts_of_payment,
    later_steps,
)
from hl_async.bulk.stages.steps import PlannedStep, StepState
from hl_async.errors import JournalMismatch

CONTINUES: Final = "continues"
"""The fact of a journal with the name of the one that it continues."""

# A journal that refers back to itself must not keep the command reading forever.
_LONGEST_CHAIN: Final = 100

# A withdrawn payment was never to be recorded, so a newer export may bring it as a new one.
_PLANNED: Final = tuple(one for one in StepState if one is not StepState.WITHDRAWN)

Record: TypeAlias = SourceItem | Reject
Records: TypeAlias = AsyncIterable[Record] | Iterable[Record]


class EarlierDocument(NamedTuple):
    """A document that an earlier run created.

    Attributes:
        contents: The mark of its contents in the source.
        document: Its id in the location.
        journal: The journal of the run.
    """

    contents: str
    document: str
    journal: str


class KnownDocument(Reject, frozen=True):
    """A skipped document of an earlier run, and payments that a newer export adds."""

    payments: tuple[PlannedStep, ...] = ()


class _Address(NamedTuple):
    """Where a document of an earlier run is found: location, kind and source id."""

    location: str
    kind: str
    source_id: str


def _address(kinds: LaneKinds, lane: str, source_id: str) -> _Address:
    return _Address(location_of(lane), kinds.kind_of(lane), source_id)


class EarlierRuns:
    """The documents and payments of earlier runs."""

    def __init__(self) -> None:
        self._documents: dict[_Address, list[EarlierDocument]] = {}
        self._payments: dict[_Address, list[EarlierPayment]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._documents.values()))

    def add(self, at: _Address, earlier: EarlierDocument) -> None:
        """Add a document of an earlier run."""
        self._documents.setdefault(at, []).append(earlier)

    def add_payment(self, at: _Address, payment: EarlierPayment) -> None:
        """Add a payment that an earlier run planned."""
        self._payments.setdefault(at, []).append(payment)

    def judge(self, item: SourceItem, location: str, kinds: LaneKinds) -> KnownDocument | None:
        """Return why a document is not planned again, or None for a new one."""
        at = self._at(item, location, kinds)
        earlier = self._documents.get(at)
        if not earlier:
            return None
        contents = contents_mark_of(item.body)
        same = [one for one in earlier if one.contents == contents]
        # The mark covers customer and lines only, so payments that a newer export adds are compared apart.
        steps: list[PlannedStep] | None = None
        if same:
            steps = self._later_payments(item.invoice or item, location, kinds)
        if steps is None:
            what = "its payments have" if same else "it has"
            first = (same or earlier)[0]
            reason = f"{what} changed since {first.journal} created {first.document}; change that document in HighLevel"
        else:
            reason = f"created already by {same[0].journal}"
            if steps:
                reason += f"; payments to record since: {len(steps)}"
        return KnownDocument(
            item.ordinal, item.source_id, reason, item.raw, item.place, skipped=True, total=item.total,
            payments=tuple(steps or ()),
        )  # fmt: skip

    @staticmethod
    def _at(item: SourceItem, location: str, kinds: LaneKinds) -> _Address:
        return _address(kinds, kinds.lane_of(item.location or location, item.kind), item.source_id)

    def _later_payments(self, item: SourceItem, location: str, kinds: LaneKinds) -> list[PlannedStep] | None:
        """Return the payments a newer export adds; None if a person has to compare them."""
        at = self._at(item, location, kinds)
        made = self._documents.get(at, ())
        if not made:
            return []
        steps = later_steps(
            item, kinds.lane_of(at.location, at.kind), made[0].document, self._payments.get(at, ())
        )
        # Nothing says which of two documents with one source id a payment belongs to.
        return None if steps and len(made) > 1 else steps

    def filtered(
        self, records: Records, location: str, kinds: LaneKinds
    ) -> Continued | AsyncIterator[Record]:
        """Replace each record that an earlier run created by a skipped one."""
        if isinstance(records, AsyncIterable):
            return self._later(records, location, kinds)
        return Continued(records, lambda record: self._one(record, location, kinds))

    async def _later(
        self, records: AsyncIterable[Record], location: str, kinds: LaneKinds
    ) -> AsyncIterator[Record]:
        async for record in records:
            yield self._one(record, location, kinds)

    def _one(self, record: Record, location: str, kinds: LaneKinds) -> Record:
        if isinstance(record, Reject):
            return record
        known = self.judge(record, location, kinds)
        if known is None:
            return record
        invoice = record.invoice
        # The estimate is there, and its invoice is wanted since.
        return invoice if invoice is not None and self.judge(invoice, location, kinds) is None else known


class Continued:
    """The records of a source, with the documents of earlier runs marked as skipped."""

    def __init__(self, records: Iterable[Record], judge: Callable[[Record], Record]) -> None:
        self._records = records
        self._judge = judge

    @property
    def facts(self) -> Any:
        """The facts of the source, None if it gathers none."""
        return getattr(self._records, "facts", None)

    def __iter__(self) -> Iterator[Record]:
        return map(self._judge, self._records)


async def read_earlier(place: Path | JournalStore, operation: str) -> EarlierRuns:
    """Read the documents of a run, and of the runs that it continues.

    Args:
        place: The journal of the earlier run.
        operation: The operation of the new run, which the earlier one must share.

    Raises:
        JournalMismatch: The earlier run creates another kind of document.
        JournalError: A journal cannot be read.
    """
    found = EarlierRuns()
    store: JournalStore | None = store_at(place)
    for _ in range(_LONGEST_CHAIN):
        if store is None:
            break
        # Only read: a worker may still hold the earlier run.
        journal = await store.open(watch=True)
        try:
            header = await journal.header()
            earlier = lane_kinds(header)
            if operation not in {earlier.operation_of(lane).name for lane in await _lanes(journal)}:
                raise JournalMismatch(
                    f"{journal.name} holds a run of {header.get('operation')}, and this one is of {operation}; "
                    "continue a run that creates the same kind of document"
                )
            await _read(journal, earlier, found)
        finally:
            await journal.aclose()
        before = header.get(CONTINUES, "")
        store = store.sibling(before) if before else None
    return found


async def _lanes(journal: Journal) -> list[str]:
    """Return the lanes of a run, or one of its own kind if it has none yet."""
    payments = [one.location for one in await journal.steps.counts(PAYMENTS)]
    return [*await journal.locations(), *payments] or [""]


async def _read(journal: Journal, kinds: LaneKinds, found: EarlierRuns) -> None:
    after = -1
    while batch := await journal.steps.rows(PAYMENTS, *_PLANNED, after=after):
        after = batch[-1].number
        for step in batch:
            at = _address(kinds, step.location, facts_of_payment(step).source_id)
            found.add_payment(at, earlier_payment(step))
    after = -1
    while rows := await journal.rows(State.CREATED, after=after, bodies=True):
        after = rows[-1].ordinal
        for row in rows:
            earlier = EarlierDocument(contents_mark_of(row.body or b""), row.document or "", journal.name)
            found.add(_address(kinds, row.location, row.source_id), earlier)
