"""After a run: compare what the journal says with what is in the locations, or take it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from hl_async import operations as op
from hl_async.bulk.journals.protocol import ItemRow
from hl_async.bulk.protocol import State
from hl_async.bulk.target import LocationTarget
from hl_async.errors import BulkError, NotFound
from hl_async.operations import Operation

if TYPE_CHECKING:
    from hl_async.bulk.run import Run
    from hl_async.client import HighLevel


class Difference(msgspec.Struct, frozen=True):
    """One finding of a verification: ``kind`` missing, extra, duplicate, amount or rejected_but_there."""

    kind: str
    source_id: str
    document: str
    detail: str


class Verification(msgspec.Struct, frozen=True):
    """Source and location compared; equal when ``differences`` is empty."""

    documents: int
    total_source: dict[str, Decimal]
    total_found: dict[str, Decimal]
    differences: list[Difference]
    repaired: int = 0


async def verify(run: Run, hl: HighLevel, *, repair: bool = False) -> Verification:
    """Compare the journal with the locations: every key once, every total to the cent.

    With ``repair`` younger draft copies are deleted. Only estimates and invoices can be compared.
    """
    if not _is_listed(run.operation):
        raise BulkError(f"{run.operation.at} makes no documents that could be listed")
    differences: list[Difference] = []
    found_total: dict[str, Decimal] = {}
    source_total: dict[str, Decimal] = {}
    documents = repaired = 0
    rows = await run.each(State.CREATED, State.UNKNOWN, State.SENT, State.PLANNED)
    by_location: dict[str, list[ItemRow]] = {}
    for row in rows:
        by_location.setdefault(row.location, []).append(row)
    for location, expected in by_location.items():
        copies = await _documents(run, hl, location)
        for row in expected:
            there = sorted(copies.pop(row.key or "", []), key=lambda one: (str(one.created_at), one.id))
            documents += len(there)
            if row.state is State.CREATED and row.total is not None:
                _add(source_total, row.currency, row.total)
            if not there:
                if row.state is State.CREATED:
                    differences.append(
                        Difference("missing", row.source_id, row.document or "", "not in the list")
                    )
                continue
            _add(found_total, there[0].currency or "", there[0].total or Decimal(0))
            if row.total is not None and there[0].total != row.total:
                detail = f"{there[0].total} in the location, {row.total} in the source"
                differences.append(Difference("amount", row.source_id, there[0].id, detail))
            for extra in there[1:]:
                if repair and extra.status in (None, "draft"):
                    await LocationTarget(hl.location(location), run.operation, run.keys).delete(extra.id)
                    repaired += 1
                else:
                    differences.append(
                        Difference("duplicate", row.source_id, extra.id, f"a copy of {there[0].id}")
                    )
        for key, unexpected in copies.items():
            differences += [
                Difference("extra", key, one.id, "carries a key of this run") for one in unexpected
            ]
    return Verification(documents, source_total, found_total, differences, repaired)


async def _documents(run: Run, hl: HighLevel, location: str) -> dict[str, list[Any]]:
    """The location's documents that carry a key, by key; those of other runs are left out."""
    known = await run.journal.known(location)
    place = hl.location(location)
    pager: Any = place.estimates.list() if run.operation is op.CREATE_ESTIMATE else place.invoices.list()
    found: dict[str, list[Any]] = {}
    async for document in pager:
        key = run.keys.read(document)
        if key in known:
            found.setdefault(key or "", []).append(document)
    return found


async def rollback(
    run: Run, hl: HighLevel, *, on_progress: Callable[[int, int], None] | None = None
) -> Counter[str]:
    """Delete what this run created, as far as it is still a draft; can be interrupted and repeated.

    Returns counts: deleted, kept (no draft any more), gone (deleted by somebody else).
    """
    if not _is_listed(run.operation):
        raise BulkError(f"{run.operation.at} makes no documents that could be deleted")
    if working := await run.journal.withdraw():
        raise BulkError(
            f"{', '.join(working)} still creates documents of this run, and was told to stop; try again in a moment"
        )
    result: Counter[str] = Counter()
    rows = [row for row in await run.each(State.CREATED) if row.document]
    by_location: dict[str, list[ItemRow]] = {}
    for row in rows:
        by_location.setdefault(row.location, []).append(row)
    for location, mine in by_location.items():
        target = LocationTarget(hl.location(location), run.operation, run.keys)
        drafts = {copy.id: copy.draft async for _, copy in target.listing()}
        for row in mine:
            document = row.document or ""
            if document not in drafts:
                result["gone"] += 1
            elif not drafts[document]:
                result["kept"] += 1
                continue
            else:
                try:
                    await target.delete(document)
                except NotFound:
                    result["gone"] += 1
                else:
                    result["deleted"] += 1
            await run.journal.rolled_back(row.ordinal)
            if on_progress is not None:
                on_progress(sum(result.values()), len(rows))
    return result


def _is_listed(operation: Operation[Any]) -> bool:
    return operation in (op.CREATE_ESTIMATE, op.CREATE_INVOICE, op.CREATE_INVOICE_FROM_ESTIMATE)


def _add(sums: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    sums[currency] = sums.get(currency, Decimal(0)) + amount
