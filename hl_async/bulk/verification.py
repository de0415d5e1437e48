"""Internal. Comparison of a run's requests with the documents of its locations."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from hl_async.bulk.contents import COMPARED
from hl_async.bulk.documents import (
    Documents,
    LocationReading,
    OpenRun,
    is_said_by_api,
    nearest,
    read_location,
    require_listed,
)
from hl_async.bulk.journals.protocol import ItemRow
from hl_async.bulk.keys import is_unique
from hl_async.bulk.kinds import location_of
from hl_async.bulk.ownership import Claim, Listed, claims
from hl_async.bulk.protocol import RunState, State, Timing
from hl_async.bulk.source_identity import Relation, source_mark
from hl_async.errors import ConfigurationError, NotFound
from hl_async.storage.private_files import open_private

_LOOK_AGAIN: Final = 1.0
"""Seconds after which a list is read once more when it lacks a document."""
_EXPECTED: Final = (State.CREATED, State.UNKNOWN, State.SENT, State.PLANNED)
_COPIES: Final = {
    Relation.SAME: "the same document of the source",
    Relation.CHANGED: "the same document of the source with other contents",
    Relation.RENAMED: "the same document of the source, which that run calls otherwise",
}
_COLUMNS: Final = ("kind", "source_id", "document", "location", "detail")


class Difference(msgspec.Struct, frozen=True):
    """One finding of a verification.

    ``kind`` is one of:

    - ``same``: the document is there as it was sent (only in report files);
    - ``changed``: a field differs from the request; ``detail`` names each;
    - ``missing``: the list does not have it;
    - ``unmarked``: it is there, but lost the run's key;
    - ``unpaid``: its paid sum is not that of the recorded payments;
    - ``contact``: the contact of a customer is gone, or there twice; ``source_id`` is the customer's key;
    - ``extra``: a second copy, a document of a rejected or withdrawn item, or one that another run made of the same
      document of the source.
    """

    kind: str
    source_id: str
    document: str
    detail: str
    location: str = ""


class Verification(msgspec.Struct, frozen=True):
    """Requests and documents, compared; equal when ``differences`` is empty.

    Attributes:
        documents: Documents of the run that were found.
        total_source: The sums of the created items, by currency.
        total_found: The sums of the documents that stand for items, by currency.
        differences: The findings, without those of kind ``same``.
        repaired: Second copies that were deleted.
        same: Documents that are as they were sent.
        compared: The names of the compared fields.
        state: The state of the run. One that was rolled back expects no documents.
        deleted: Documents of the run that are gone since its rollback.
        locations: Locations that were compared.
        paid: Invoices whose paid sum was compared with the recorded payments.
        contacts: Contacts that the run created or found, and that were looked for.
    """

    documents: int
    total_source: dict[str, Decimal]
    total_found: dict[str, Decimal]
    differences: list[Difference]
    repaired: int = 0
    same: int = 0
    compared: tuple[str, ...] = COMPARED
    state: str = RunState.RUNNING.value
    deleted: int = 0
    locations: int = 0
    paid: int = 0
    contacts: int = 0


async def verify(
    run: OpenRun,
    documents: Callable[[str], Documents],
    timing: Timing,
    *,
    repair: bool = False,
    on_finding: Callable[[Difference], None] = lambda finding: None,
) -> Verification:
    """Compare every document of a run with its request.

    Args:
        run: The run.
        documents: Gives the documents of a lane.
        timing: The waits that the run was executed with.
        repair: Delete second copies that are drafts and provably the run's own.
        on_finding: Called with every finding, ``same`` included.

    Raises:
        BulkError: The documents of the run cannot be listed.
    """
    require_listed(run.operation, "listed")
    state = await run.journal.run_state()
    # A lane whose documents were all rejected is listed too: a copy there would otherwise go unnoticed.
    rows: dict[str, list[ItemRow]] = {lane: [] for lane in await run.journal.locations()}
    for row in await run.each(*State):
        # Rejected rows were never sent and have no key to be found by.
        if row.key is not None:
            rows[row.location].append(row)
    totals = _Totals(on_finding)
    for lane, mine in rows.items():
        check = _LocationCheck(run, lane, mine, timing, state)
        await check.read(documents(lane))
        await check.compare(totals, documents(lane) if repair else None)
    counts = await run.journal.counts(totals=False)
    return Verification(
        totals.documents,
        totals.source,
        totals.found,
        totals.differences,
        totals.repaired,
        totals.same,
        state=state.value,
        deleted=counts.of(State.DELETED),
        locations=len({location_of(lane) for lane in rows}),
    )


class _Totals:
    """The sums and findings of all locations together."""

    def __init__(self, on_finding: Callable[[Difference], None]) -> None:
        self._on_finding = on_finding
        self.documents = self.repaired = self.same = 0
        self.source: dict[str, Decimal] = {}
        self.found: dict[str, Decimal] = {}
        self.differences: list[Difference] = []

    def note(self, finding: Difference) -> None:
        """Count a finding and pass it on."""
        self._on_finding(finding)
        if finding.kind == "same":
            self.same += 1
        else:
            self.differences.append(finding)


class _LocationCheck:
    """One location: its rows, and its listing."""

    def __init__(self, run: OpenRun, lane: str, rows: list[ItemRow], timing: Timing, state: RunState) -> None:
        self._run = run
        self._lane = lane
        self._location = location_of(lane)
        self._keys = run.kinds.keys_of(lane)
        self._rows = rows
        self._timing = timing
        self._is_rolled_back = state is not RunState.RUNNING
        self._reading = LocationReading(0, [], [])

    async def read(self, documents: Documents) -> None:
        """List the location; once more if a document is missing, because a list may lag."""
        for pause in (0.0, _LOOK_AGAIN):
            await asyncio.sleep(pause)
            known = await self._run.journal.known(self._lane)
            self._reading = await read_location(documents, self._run.journal, self._keys, known, self._run.id)
            self._claims = claims(
                self._reading.listed, known, self._timing, unique_keys=is_unique(self._keys)
            )
            there = {claim.key for claim in self._claims if claim.is_first}
            if all(row.key in there for row in self._rows if row.state is State.CREATED):
                return

    async def compare(self, totals: _Totals, repairing: Documents | None) -> None:
        """Compare rows with documents. If ``repairing``, delete the run's second copies."""
        first = {claim.key: claim.listed for claim in self._claims if claim.is_first}
        totals.documents += len(self._claims)
        for row in self._rows:
            if row.state is State.CREATED and row.total is not None:
                totals.source[row.currency] = totals.source.get(row.currency, Decimal(0)) + row.total
            there = first.get(row.key)
            # Also where the journal says otherwise: the location decides, not the journal.
            if there is not None:
                totals.found[there.currency] = totals.found.get(there.currency, Decimal(0)) + (
                    there.total or Decimal(0)
                )
                totals.note(self._found(row, there))
            elif row.state is State.CREATED and not self._is_rolled_back:
                totals.note(self._finding("missing", row, row.document or "", "not in the list"))
        rows = {row.key: row for row in self._rows}
        for claim in self._claims:
            if not claim.is_first:
                row = rows[claim.key or claim.listed.key]
                await self._extra(row, claim, first.get(row.key), totals, repairing)
        for finding in await self._others():
            totals.note(finding)

    def _found(self, row: ItemRow, there: Listed) -> Difference:
        """Return the finding about an item whose document is in the location."""
        # After a rollback every document that is left is a finding, whatever its contents.
        if self._is_rolled_back:
            why = there.touched or ("no longer a draft" if not there.draft else "still there")
            return self._finding("extra", row, there.id, f"the run was rolled back; {why}")
        if row.state not in _EXPECTED:
            return self._finding("extra", row, there.id, f"is there although its item is {row.state}")
        # Found by its id. Without the key, a resumed run could not find it any more.
        if there.key != row.key:
            detail = f"is there, without the run's key; {there.changes or 'otherwise as it was sent'}"
            return self._finding("unmarked", row, there.id, detail)
        if there.changes:
            return self._finding("changed", row, there.id, there.changes)
        return self._finding("same", row, there.id, "")

    async def _extra(
        self,
        row: ItemRow,
        claim: Claim,
        original: Listed | None,
        totals: _Totals,
        repairing: Documents | None,
    ) -> None:
        """Report or delete a document beside the item's own."""
        if claim.key is None:
            detail = "carries a key of this run, but nothing proves that the run created it"
            totals.note(self._finding("extra", row, claim.listed.id, detail))
            return
        # A customer may have seen a sent copy, and without the original the copy is the document.
        if repairing is not None and claim.listed.draft and original is not None:
            # Written first, as in a rollback: a process that dies in between leaves a name to ask about.
            deletion = await self._run.journal.record_deletion_intent(
                self._lane, claim.listed.id, claim.key, "second copy"
            )
            outcome = "deleted"
            try:
                await repairing.delete(claim.listed.id)
            except NotFound as error:
                if not is_said_by_api(error):
                    raise
                outcome = "gone"
            await self._run.journal.record_deletion_result(deletion, outcome)
            totals.repaired += 1
            return
        detail = f"a second copy of {original.id}" if original else "created by this run"
        totals.note(self._finding("extra", row, claim.listed.id, detail))

    async def _others(self) -> list[Difference]:
        """Return copies that other runs made of this run's documents of the source."""
        if self._is_rolled_back or not self._reading.other_runs:
            return []
        rows: dict[str, list[ItemRow]] = {}
        for row in self._rows:
            if row.state in _EXPECTED:
                rows.setdefault(source_mark(row.source_id), []).append(row)
        found: list[Difference] = []
        for other in self._reading.other_runs:
            candidates = rows.get(other.origin.mark)
            if candidates:
                row, related = await nearest(self._run, candidates, other.origin)
                # another system may number its documents alike: that is not a copy
                if related is not Relation.OTHER:
                    detail = (
                        f"{_COPIES[related]}, created by another run: {other.origin.run or other.origin.mark}"
                    )
                    found.append(self._finding("extra", row, other.document, detail))
        return found

    def _finding(self, kind: str, row: ItemRow, document: str, detail: str) -> Difference:
        return Difference(kind, row.source_id, document, detail, self._location)


def check_report(path: Path) -> None:
    """Refuse a report file that is not .csv or .ndjson, or whose folder is missing.

    Raises:
        ConfigurationError: It is refused.
    """
    if path.suffix.lower() not in (".csv", ".ndjson", ".jsonl"):
        raise ConfigurationError("--report", f"{path.name} is neither .csv nor .ndjson")
    if not path.parent.is_dir():
        raise ConfigurationError("--report", f"the folder {path.parent} does not exist")


def write_report(path: Path, findings: Iterable[Difference]) -> None:
    """Write findings to a private file: .csv with a header, or one JSON line each."""
    check_report(path)
    rows = ({name: getattr(finding, name) for name in _COLUMNS} for finding in findings)
    # Reports name customers and amounts.
    with open_private(path, "w", newline="") as file:
        if path.suffix.lower() == ".csv":
            table: csv.DictWriter[str] = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
