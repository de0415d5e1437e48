"""Everything of a location in a file: complete as far as offset paging allows, and resumable.

An offset list moves while it is read: a document that is created or deleted meanwhile shifts the others across the
edge of a page. So pages overlap by what was seen, nothing is written twice, and the list is read again until a pass
brings nothing new (three passes at most). What is created and deleted between two passes can't be seen; a document
that changes while the export runs is in the file as it was when it was read.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hl_async import operations as op
from hl_async.bulk.sources.readers import draft_of_estimate
from hl_async.bulk.sources.records import Item, Reject
from hl_async.config import Lane
from hl_async.errors import ApiError, InvalidRequest, SourceError
from hl_async.models import expected_total
from hl_async.models.codec import encode, encode_body, json_page
from hl_async.models.dates import day_of
from hl_async.models.preparation import PLANNING, prepared
from hl_async.operations import Operation

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
    """How many documents the file holds, how many were written now, and by which pass the last new one was found."""

    documents: int
    written: int
    passes: int
    late: int


async def export(
    location: Location,
    kind: str,
    path: Path,
    *,
    on_page: Callable[[int], None] = lambda written: None,
) -> Exported:
    """Write every document of ``kind`` into ``path``: one JSON document per line, or a flat table for ``.csv``.

    A file that is there is gone on with: a last line that was cut is dropped, what it holds is not written again.
    """
    operation = LISTS[kind]
    calm = location.with_options(lane=Lane.BULK)
    with contextlib.suppress(
        ApiError
    ):  # a token that may not read the location exports the dates as they came
        await calm.details()
    seen = await asyncio.to_thread(_mended, path)
    before, written, late, passes = len(seen), 0, 0, 0
    offset = max(0, before - _PAGE)
    for passes in range(1, _PASSES + 1):
        found = 0
        async for page in _pages(calm, operation, offset if passes == 1 else 0):
            fresh = [one for one in page if str(one.get("_id")) not in seen]
            if location.timezone:
                # without it, a day at the edge of the calendar can not be read again
                fresh = [{**one, "locationTimezone": location.timezone} for one in fresh]
            seen.update(str(one.get("_id")) for one in fresh)
            await asyncio.to_thread(_append, path, fresh)
            found += len(fresh)
            on_page(written + found)
        written += found
        late += found if passes > 1 else 0
        if passes > 1 and not found:
            break
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


def _mended(path: Path) -> set[str]:
    """The ids a file holds already; a line that was cut in the middle is removed."""
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(whole.decode())))
        if rows and tuple(rows[0]) != COLUMNS:
            raise SourceError(f"{path} is there and is no export of ours; choose another file")
        return {row[0] for row in rows[1:]}
    try:
        return {str(_decoder.decode(line)["_id"]) for line in whole.splitlines()}
    except (msgspec.DecodeError, KeyError, TypeError):
        pass
    raise SourceError(f"{path} is there and is no export of ours; choose another file")


def _append(path: Path, documents: list[dict[str, Any]]) -> None:
    if path.suffix != ".csv":
        with path.open("ab") as file:
            file.write(b"".join(encode(one) + b"\n" for one in documents))
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if not path.exists():
        table.writerow(COLUMNS)
    table.writerows(_row(one) for one in documents)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())


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


async def copy_source(location: Location) -> AsyncIterator[Item | Reject]:
    """The estimates of a location as the source of a run into another one; those that can't be copied are rejects."""
    calm = location.with_options(lane=Lane.BULK)
    ordinal = 0
    async for estimate in calm.estimates.list():
        place = f"estimate {estimate.id}"
        await calm.read_dates(estimate)
        try:
            draft = draft_of_estimate(estimate)
            draft = prepared(draft, PLANNING)
            # the source's own total: what automatic taxes come to can not be computed
            total = expected_total(draft) if estimate.total is None else estimate.total
            item = Item(ordinal, estimate.id, encode_body(draft, b""), (), "", total, draft.currency, place)
        except InvalidRequest as error:
            yield Reject(ordinal, estimate.id, str(error), encode(estimate), place)
        else:
            yield item
        ordinal += 1


async def invoiced(location: Location) -> set[str]:
    """Ids of the location's estimates that became invoices."""
    calm = location.with_options(lane=Lane.BULK)
    return {estimate.id async for estimate in calm.estimates.list(status="invoiced")}
