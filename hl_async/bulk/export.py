"""Everything of a location in a file: complete as far as offset paging allows, and resumable.

An offset list moves while it is read: a document that is created or deleted meanwhile shifts the others across the
edge of a page. So pages overlap by what was seen, nothing is written twice, and the list is read again until a pass
brings nothing new (three passes at most). What is created and deleted between two passes can't be seen; a document
that changes while the export runs is in the file as it was when it was read.

The documents are collected in ``FILE.part`` and renamed to ``FILE`` at the end. So ``FILE`` is always a complete
export, and only an unfinished one is resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import os
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from hl_async import operations as op
from hl_async.bulk.sources.names import with_fitting_names
from hl_async.bulk.sources.planning_rules import planning_context
from hl_async.bulk.sources.readers import draft_of_estimate
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.config import Lane
from hl_async.errors import ApiError, InvalidRequest, SourceError
from hl_async.models import expected_total
from hl_async.models.codec import encode, encode_body, json_page
from hl_async.models.dates import day_of
from hl_async.models.preparation import prepared
from hl_async.operations import Operation
from hl_async.resources.holder import requester_of
from hl_async.storage.private_files import open_private

if TYPE_CHECKING:
    from hl_async.client import Location

LISTS: Final[dict[str, Operation[Any]]] = {"estimates": op.LIST_ESTIMATES, "invoices": op.LIST_INVOICES}
"""What can be exported."""

COLUMNS: Final = (
    "id", "number", "name", "status", "currency", "total", "issueDate", "expiryDate", "dueDate", "contactId",
    "contactName", "contactEmail", "contactPhone", "lines",
)  # fmt: skip

_PAGE: Final = 100
_PASSES: Final = 3
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)


class Exported(msgspec.Struct, frozen=True):
    """Counts of an export.

    ``documents`` are in the file, ``written`` of them by this call (the rest by an interrupted one), in ``passes``
    over the list; ``late`` were found only by reading the list again.
    """

    documents: int
    written: int
    passes: int
    late: int


async def export(
    location: Location,
    kind: str,
    target: Path | BinaryIO,
    *,
    table: bool | None = None,
    refresh: bool = False,
    on_page: Callable[[int], None] = lambda written: None,
) -> Exported:
    """Write every document of `kind` into `target`.

    A file that is complete is replaced at the end, never before; an unfinished export beside it is resumed.

    Args:
        location: Where the documents are.
        kind: ``estimates`` or ``invoices``.
        target: A file, or a binary stream, which can't be resumed.
        table: Write a flat CSV table, not one JSON document per line; by default the file's ending decides.
        refresh: Drop an unfinished export and start from the first document.
        on_page: Called with the number of documents written so far.

    Raises:
        InvalidRequest: `kind` or the folder of `target` does not exist.
        SourceError: `target` is there and is not an export.
    """
    if kind not in LISTS:
        raise InvalidRequest("kind", f"unknown kind {kind!r}; choose {' or '.join(LISTS)}")
    if isinstance(target, Path):
        as_table = target.suffix.lower() == ".csv" if table is None else table
        sink: _Sink = _File(target, as_table)
    else:
        sink = _Stream(target, bool(table))
    calm = location.with_options(lane=Lane.BULK)
    with contextlib.suppress(ApiError):
        await calm.details()  # a token that may not read the location exports the dates as they came
    seen = await asyncio.to_thread(sink.begin, refresh)
    before, written, late, passes = len(seen), 0, 0, 0
    offset = max(0, before - _PAGE)
    for passes in range(1, _PASSES + 1):
        found = 0
        async for page in _pages(calm, LISTS[kind], offset if passes == 1 else 0):
            fresh = [one for one in page if str(one.get("_id")) not in seen]
            if location.timezone:
                # without it, a day at the edge of the calendar can not be read again
                fresh = [{**one, "locationTimezone": location.timezone} for one in fresh]
            seen.update(str(one.get("_id")) for one in fresh)
            await asyncio.to_thread(sink.append, fresh)
            found += len(fresh)
            on_page(written + found)
        written += found
        late += found if passes > 1 else 0
        if passes > 1 and not found:
            break
    await asyncio.to_thread(sink.finish)
    return Exported(len(seen), written, passes, late)


async def _pages(
    location: Location, operation: Operation[Any], offset: int
) -> AsyncIterator[list[dict[str, Any]]]:
    while True:
        answer = await location.raw(operation, query={"limit": _PAGE, "offset": offset})
        page = json_page(answer.body, operation.items)
        if not page:
            return
        yield page
        offset += len(page)


class _Sink:
    """Where documents are written. Blocking: its methods run in a thread."""

    def __init__(self, table: bool) -> None:
        self._table = table

    def begin(self, refresh: bool) -> set[str]:
        """Return the ids of the documents that an interrupted export has written already."""
        raise NotImplementedError

    def append(self, documents: list[dict[str, Any]]) -> None:
        """Write documents."""
        raise NotImplementedError

    def finish(self) -> None:
        """Complete the export."""
        raise NotImplementedError

    def _head(self) -> bytes:
        return _csv([COLUMNS]) if self._table else b""

    def _lines(self, documents: list[dict[str, Any]]) -> bytes:
        if self._table:
            return _csv(_row(one) for one in documents)
        return b"".join(encode(one) + b"\n" for one in documents)


class _Stream(_Sink):
    """A stream such as standard output."""

    def __init__(self, stream: BinaryIO, table: bool) -> None:
        super().__init__(table)
        self._stream = stream

    def begin(self, refresh: bool) -> set[str]:
        self._stream.write(self._head())
        return set()

    def append(self, documents: list[dict[str, Any]]) -> None:
        self._stream.write(self._lines(documents))
        self._stream.flush()

    def finish(self) -> None:
        self._stream.flush()


class _File(_Sink):
    """``FILE.part`` until the export is complete, then ``FILE``; only its owner may read it."""

    def __init__(self, path: Path, table: bool) -> None:
        super().__init__(table)
        self._path = path
        self._part = path.with_name(path.name + ".part")

    def begin(self, refresh: bool) -> set[str]:
        if not self._path.parent.is_dir():
            raise InvalidRequest("FILE", f"the folder {self._path.parent} does not exist")
        _check_own(self._path, self._table)
        if refresh:
            self._part.unlink(missing_ok=True)
        if not self._part.exists():
            self._write(self._head())
            return set()
        content = self._part.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self._part, len(whole))
        if not whole:
            self._write(self._head())
        return _ids(self._part, whole, self._table)

    def append(self, documents: list[dict[str, Any]]) -> None:
        self._write(self._lines(documents))

    def finish(self) -> None:
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self._path)

    def _write(self, content: bytes) -> None:
        with open_private(self._part, "ab") as file:
            file.write(content)


def _check_own(path: Path, table: bool) -> None:
    """Refuse to replace a file that is not an export: its first line says."""
    first = b""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        first = file.readline(10 * 1024 * 1024)
    if first:
        _ids(path, first, table)


def _ids(path: Path, lines: bytes, table: bool) -> set[str]:
    try:
        if table:
            rows = list(csv.reader(io.StringIO(lines.decode())))
            if not rows or tuple(rows[0]) == COLUMNS:
                return {row[0] for row in rows[1:]}
        else:
            return {str(_decoder.decode(line)["_id"]) for line in lines.splitlines()}
    except (msgspec.DecodeError, UnicodeDecodeError, csv.Error, KeyError, TypeError):
        pass
    raise SourceError(f"{path} exists and is not an export; choose another file")


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _row(one: dict[str, Any]) -> list[Any]:
    contact = one.get("contactDetails")
    if not isinstance(contact, dict):
        contact = {}
    number = one.get("invoiceNumber", one.get("estimateNumber"))
    status = one.get("status", one.get("estimateStatus"))
    lines = one.get("invoiceItems") or one.get("items") or []
    dates = _dates(one)
    who = [contact.get(name, "") for name in ("id", "name", "email", "phoneNo")]
    return [
        one.get("_id"),
        number,
        one.get("name"),
        status,
        one.get("currency"),
        one.get("total"),
        *dates,
        *who,
        len(lines) if isinstance(lines, list) else "",
    ]


def _dates(one: dict[str, Any]) -> list[str]:
    """The location's days of issue, expiry and payment; the API's text where it has several readings."""
    found = []
    for name in ("issueDate", "expiryDate", "dueDate"):
        text = str(one.get(name) or "")
        other = (one.get("expiryDate") or one.get("dueDate")) if name == "issueDate" else one.get("issueDate")
        day = day_of(text, other if isinstance(other, str) else None, one.get("locationTimezone"))
        found.append(day.isoformat() if day is not None else text)
    return found


async def copy_source(location: Location, *, cut_names: bool = False) -> AsyncIterator[SourceItem | Reject]:
    """Read the estimates of a location as the source of a run into another one.

    Those that can't be copied are rejects.

    Args:
        location: Where the estimates are; its rules that are off are off in the plan.
        cut_names: Cut names and titles that are longer than the API takes.
    """
    calm = location.with_options(lane=Lane.BULK)
    context = planning_context(requester_of(location).rules_off)
    ordinal = 0
    async for estimate in calm.estimates.list():
        place = f"estimate {estimate.id}"
        await requester_of(calm).read_dates(estimate)
        try:
            notes: list[str] = []
            draft = draft_of_estimate(estimate)
            draft = with_fitting_names(draft, context.rules, cut=cut_names, notes=notes)
            draft = prepared(draft, context)
            # the source's own total: what automatic taxes come to can not be computed
            total = expected_total(draft) if estimate.total is None else estimate.total
            body = encode_body(draft, b"")
            item = SourceItem(
                ordinal, estimate.id, body, (), "", total, draft.currency, place, notes=tuple(notes)
            )
        except InvalidRequest as error:
            yield Reject(ordinal, estimate.id, str(error), encode(estimate), place)
        else:
            yield item
        ordinal += 1


async def invoiced(location: Location) -> set[str]:
    """Ids of the location's estimates that became invoices."""
    calm = location.with_options(lane=Lane.BULK)
    return {estimate.id async for estimate in calm.estimates.list(status="invoiced")}
