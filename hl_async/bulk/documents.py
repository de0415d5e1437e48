"""Internal. Access to a location's documents, for verification and rollback."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from hl_async import operations as op
from hl_async.bulk.contents import compare
from hl_async.bulk.journals.protocol import ItemRow, Journal
from hl_async.bulk.keys import KeyCarrier
from hl_async.bulk.kinds import LaneKinds
from hl_async.bulk.ownership import Listed
from hl_async.bulk.protocol import KnownItem, State
from hl_async.bulk.source_identity import Origin, Relation, contents_mark_of, origin_of, relation
from hl_async.config import Lane
from hl_async.errors import ApiError, BulkError, NotFound
from hl_async.operations import Operation

if TYPE_CHECKING:
    from hl_async.client import Location

T = TypeVar("T")

_AT_ONCE: Final = 100
_NEAREST: Final = (Relation.SAME, Relation.RENAMED, Relation.CHANGED, Relation.OTHER)


class OpenRun(Protocol):
    """The part of `hl_async.bulk.run.Run` that verification and rollback use."""

    journal: Journal
    kinds: LaneKinds
    operation: Operation[Any]
    id: str
    source_name: str
    stop: asyncio.Event

    async def each(self, *states: State) -> list[ItemRow]:
        """Return all items in these states, in the order of the source."""
        ...

    async def lanes(self) -> list[str]:
        """Return the run's lanes, including those with customers or payments only."""
        ...


class Documents(Protocol):
    """The documents of one location and one kind."""

    def listing(self) -> AsyncIterator[Any]:
        """Yield every document, as a struct of `hl_async.models`."""
        ...

    async def see(self, document_id: str) -> Any | None:
        """Return a document by id; None if the API has no such call. Raises `NotFound`."""
        ...

    async def delete(self, document_id: str) -> None:
        """Delete a document; raises `NotFound` if the API says that it does not exist."""
        ...


class LocationDocuments:
    """The estimates or invoices of a :class:`Location`, called in the bulk lane."""

    def __init__(self, location: Location, operation: Operation[Any]) -> None:
        # A limit would turn a long wait for the bulk budget into a failed verification.
        calm = location.with_options(lane=Lane.BULK, timeout=math.inf)
        self._is_estimates = operation is op.CREATE_ESTIMATE
        self._resource: Any = calm.estimates if self._is_estimates else calm.invoices

    async def listing(self) -> AsyncIterator[Any]:
        async for document in self._resource.list():
            yield document

    async def see(self, document_id: str) -> Any | None:
        # No route reads one estimate: docs/api-facts.md#api-get-one
        return None if self._is_estimates else await self._resource.get(document_id)

    async def delete(self, document_id: str) -> None:
        await self._resource.delete(document_id)


def require_listed(operation: Operation[Any], verb: str) -> None:
    """Raise :class:`BulkError` unless documents that `operation` makes can be listed."""
    if operation not in (op.CREATE_ESTIMATE, op.CREATE_INVOICE, op.CREATE_INVOICE_FROM_ESTIMATE):
        raise BulkError(f"{operation.at} makes no documents that could be {verb}")


def is_said_by_api(error: ApiError) -> bool:
    """Return whether the API itself refused, and not a proxy with an error page."""
    # A proxy's error page proves nothing about a document.
    try:
        body = msgspec.json.decode(error.body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(body, dict) and bool(error.messages)


async def found_or_none(answer: Awaitable[T]) -> T | None:
    """Return an answer; None if the API itself says that the record does not exist."""
    try:
        return await answer
    except NotFound as error:
        if not is_said_by_api(error):
            raise
        return None


class LocationReading(NamedTuple):
    """One listing of a location.

    Attributes:
        documents: Number of documents in the list.
        listed: Documents that carry a key of the run, or whose id the run recorded.
        other_runs: Documents that another run created.
        newest: Creation time of the newest document, in seconds since the epoch; None if unknown.
    """

    documents: int
    listed: list[Listed]
    other_runs: list[OtherRun]
    newest: float | None = None


class OtherRun(NamedTuple):
    """A document that another run created, and the marks of its source."""

    document: str
    origin: Origin
    created: float | None


async def read_location(
    documents: Documents, journal: Journal, keys: KeyCarrier, known: Mapping[str, KnownItem], run: str = ""
) -> LocationReading:
    """List a location once and compare the run's documents with their requests.

    Args:
        documents: The location.
        journal: Holds the requests.
        keys: How documents carry keys.
        known: The items of the location by key.
        run: The id of the run. If given, documents of other runs are noted.
    """
    recorded = {item.document: item.ordinal for item in known.values() if item.document}
    count = 0
    newest: float | None = None
    listed: list[Listed] = []
    others: list[OtherRun] = []
    async for chunk in _chunks(documents.listing()):
        count += len(chunk)
        ours: list[tuple[Any, str | None, int]] = []
        for document in chunk:
            made = _seconds(document.created_at)
            newest = made if newest is None or (made is not None and made > newest) else newest
            key = keys.read(document)
            item = known.get(key) if key is not None else None
            # The recorded id wins over the key, because a person may have edited the field that carries the key.
            ordinal = recorded.get(document.id, None if item is None else item.ordinal)
            if ordinal is not None:
                ours.append((document, key, ordinal))
            elif run and (origin := origin_of(document)) is not None and origin.run != run:
                others.append(OtherRun(document.id, origin, made))
        # Bodies are read in chunks: a run's bodies may not fit into memory at once.
        rows = await asyncio.gather(*(row_of(journal, ordinal) for *_, ordinal in ours))
        listed += [listed_of(document, key, row) for (document, key, _), row in zip(ours, rows, strict=True)]
    return LocationReading(count, listed, others, newest)


async def row_of(journal: Journal, ordinal: int) -> ItemRow:
    """Return an item with its body."""
    (row,) = await journal.rows(*State, after=ordinal - 1, limit=1, bodies=True)
    return row


async def nearest(run: OpenRun, rows: Sequence[ItemRow], theirs: Origin) -> tuple[ItemRow, Relation]:
    """Return the item closest to another run's document, and their relation.

    Args:
        run: This run.
        rows: Items with the same source id.
        theirs: The marks of the document.
    """
    found: list[tuple[ItemRow, Relation]] = []
    for row in rows:
        body = (await row_of(run.journal, row.ordinal)).body or b""
        mine = Origin(theirs.mark, run.source_name, contents_mark_of(body), run.id)
        found.append((row, relation(mine, theirs)))
    return min(found, key=lambda one: _NEAREST.index(one[1]))


def listed_of(document: Any, key: str | None, row: ItemRow) -> Listed:
    """Return a document of the location, compared with the request of its item."""
    changes = compare(row.body or b"", document, row.total)
    return Listed(
        document.id,
        key,
        _seconds(document.created_at),
        _seconds(document.updated_at),
        # A status may be missing from an answer: docs/api-facts.md#api-answer-fields
        document.status in (None, "draft"),
        "; ".join(map(str, changes)),
        document.total,
        document.currency or "",
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


async def _chunks(documents: AsyncIterator[Any]) -> AsyncIterator[list[Any]]:
    chunk: list[Any] = []
    async for document in documents:
        chunk.append(document)
        if len(chunk) >= _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
