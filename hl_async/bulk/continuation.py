"""Internal. A newer export of a source, continued from the journals of its earlier runs.

Documents of an earlier run are skipped if their contents are the same, and named if they have changed. The rest is
planned. An earlier run may itself continue another one, so the chain of journals is followed.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.protocol import State
from hl_async.bulk.source_identity import contents_mark_of
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.payments import PAYMENTS, facts_of_payment, payments_of
from hl_async.bulk.stages.steps import StepState
from hl_async.errors import JournalMismatch

CONTINUES: Final = "continues"
"""The fact of a journal with the name of the one that it continues."""

# A journal that refers back to itself must not keep the command reading forever.
_LONGEST_CHAIN: Final = 100


class EarlierDocument(NamedTuple):
    """A document that an earlier run created.

    Attributes:
        contents: The mark of its contents in the source.
        document: Its id in the location.
        paid: The sum of the payments that the run planned for it.
        journal: The journal of the run.
    """

    contents: str
    document: str
    paid: Decimal
    journal: str


class EarlierRuns:
    """The documents of earlier runs, by location and source id."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], list[EarlierDocument]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._documents.values()))

    def add(self, location: str, source_id: str, earlier: EarlierDocument) -> None:
        """Add a document of an earlier run."""
        self._documents.setdefault((location, source_id), []).append(earlier)

    def judge(self, item: SourceItem, location: str) -> Reject | None:
        """Return why a document is not planned again, or None for a new one."""
        earlier = self._documents.get((item.location or location, item.source_id))
        if not earlier:
            return None
        contents, paid = contents_mark_of(item.body), _paid(item)
        same = [one for one in earlier if one.contents == contents]
        # The mark covers customer and lines only, so payments that a newer export adds are compared apart.
        if any(one.paid == paid for one in same):
            reason = f"created already by {same[0].journal}"
        else:
            what = "its payments have" if same else "it has"
            first = (same or earlier)[0]
            reason = f"{what} changed since {first.journal} created {first.document}; change that document in HighLevel"
        return Reject(
            item.ordinal, item.source_id, reason, item.raw, item.place, skipped=True, total=item.total
        )

    def filtered(
        self, records: AsyncIterable[SourceItem | Reject] | Iterable[SourceItem | Reject], location: str
    ) -> Continued | AsyncIterator[SourceItem | Reject]:
        """Replace each record that an earlier run created by a skipped one."""
        if isinstance(records, AsyncIterable):
            return self._later(records, location)
        return Continued(self, records, location)

    async def _later(
        self, records: AsyncIterable[SourceItem | Reject], location: str
    ) -> AsyncIterator[SourceItem | Reject]:
        async for record in records:
            yield self._one(record, location)

    def _one(self, record: SourceItem | Reject, location: str) -> SourceItem | Reject:
        return record if isinstance(record, Reject) else self.judge(record, location) or record


class Continued:
    """The records of a source without the documents of earlier runs. It keeps the facts that the source gathers."""

    def __init__(self, earlier: EarlierRuns, records: Iterable[SourceItem | Reject], location: str) -> None:
        self._earlier = earlier
        self._records = records
        self._location = location

    @property
    def facts(self) -> Any:
        """The facts of the source, None if it gathers none."""
        return getattr(self._records, "facts", None)

    def __iter__(self) -> Iterator[SourceItem | Reject]:
        for record in self._records:
            yield self._earlier._one(record, self._location)  # noqa: SLF001 - one idea in two classes


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
    store: JournalStore | None = SqliteJournals(place) if isinstance(place, Path) else place
    for _ in range(_LONGEST_CHAIN):
        if store is None:
            break
        # Only read: a worker may still hold the earlier run.
        journal = await store.open(watch=True)
        try:
            header = await journal.header()
            if header.get("operation") != operation:
                raise JournalMismatch(
                    f"{journal.name} holds a run of {header.get('operation')}, and this one is of {operation}; "
                    "continue a run that creates the same kind of document"
                )
            await _read(journal, found)
        finally:
            await journal.aclose()
        before = header.get(CONTINUES, "")
        store = store.sibling(before) if before else None
    return found


async def _read(journal: Journal, found: EarlierRuns) -> None:
    paid: dict[tuple[str, str], Decimal] = {}
    after = -1
    while batch := await journal.steps.rows(PAYMENTS, *StepState, after=after):
        after = batch[-1].number
        for step in batch:
            facts = facts_of_payment(step)
            at = (step.location, facts.source_id)
            paid[at] = paid.get(at, Decimal(0)) + facts.amount
    after = -1
    while rows := await journal.rows(State.CREATED, after=after, bodies=True):
        after = rows[-1].ordinal
        for row in rows:
            at = (row.location, row.source_id)
            earlier = EarlierDocument(
                contents_mark_of(row.body or b""), row.document or "", paid.get(at, Decimal(0)), journal.name
            )
            found.add(row.location, row.source_id, earlier)


def _paid(item: SourceItem) -> Decimal:
    if item.document is None or item.total is None or item.kind != "invoice":
        return Decimal(0)
    return sum((one.amount for one in payments_of(item.document, item.total)), Decimal(0))
