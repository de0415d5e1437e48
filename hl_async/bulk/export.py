"""Internal. Repeatable and resumable export of a location's documents to a file.

An offset list moves while it is read: creating or deleting a document shifts others across the edge of a page. So no
document is written twice, and the list is read again until a pass finds nothing new. There are three passes at most;
`Exported.is_settled` says whether the last one found nothing. A document created and deleted between two passes is
never seen. A document that changes during the export is written as it was when it was read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from hl_async import operations as op
from hl_async.bulk.export_files import (
    FORM_OF_ENDING,
    FORMS,
    ExportForm,
    FileSink,
    Form,
    Per,
    Sink,
    StreamSink,
)
from hl_async.bulk.sources.document import DocumentCustomer
from hl_async.bulk.sources.names import with_fitting_names
from hl_async.bulk.sources.planning_rules import planning_context
from hl_async.bulk.sources.readers import draft_of_estimate
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.customers import with_contact
from hl_async.config import Lane
from hl_async.errors import ApiError, InvalidRequest
from hl_async.models import ContactDetails, expected_total
from hl_async.models.codec import encode, encode_body, json_page
from hl_async.models.preparation import prepared
from hl_async.operations import Operation
from hl_async.resources.holder import requester_of

if TYPE_CHECKING:
    from hl_async.client import Location

LISTS: Final[dict[str, Operation[Any]]] = {"estimates": op.LIST_ESTIMATES, "invoices": op.LIST_INVOICES}
"""The exportable kinds, with their lists."""

_PAGE: Final = 100
_PASSES: Final = 3
# The zone in which a day begins first, UTC+14. An unknown zone then exports too much rather than too little.
_EARLIEST_ZONE: Final = timezone(timedelta(hours=14))


class Exported(msgspec.Struct, frozen=True):
    """Counts of an export.

    Attributes:
        documents: Documents in the file.
        unchanged: Documents that `since` left out.
        resumed: Documents that an interrupted export had read.
        passes: Passes over the list.
        late: Documents that only a repeated pass found.
        is_settled: Whether the last pass found nothing new; otherwise documents may be missing.
    """

    documents: int
    unchanged: int
    resumed: int
    passes: int
    late: int
    is_settled: bool


async def export(
    location: Location,
    kind: str,
    target: Path | BinaryIO,
    *,
    form: Form | None = None,
    per: Per = "document",
    since: date | datetime | None = None,
    refresh: bool = False,
    on_page: Callable[[int], None] = lambda read: None,
) -> Exported:
    """Write the documents of `kind` into `target`.

    A file is replaced at the end, in one step. An unfinished export beside it is resumed if it is younger than a day.

    Args:
        location: Where the documents are.
        kind: ``estimates`` or ``invoices``.
        target: A file, or a binary stream, which cannot be resumed.
        form: ``ndjson`` for whole documents, ``csv`` or ``parquet`` (extra ``sql``) for flat rows. The default
            follows the file's suffix.
        per: A row per ``document``, or per ``line``; flat forms only.
        since: Only documents that the server updated at this moment or later, or since this day began at the
            location. A document whose last update is unknown is written.
        refresh: Drop an unfinished export and start from the first document.
        on_page: Called with the number of documents read so far.

    Raises:
        InvalidRequest: An argument is not valid, or the extra for Parquet is missing.
        SourceError: `target` exists and is not an export.
    """
    chosen = _checked_form(kind, form, target, per, since)
    # Refuses a missing extra before any request. In a thread, because an import reads files.
    sink = await asyncio.to_thread(_sink, target, ExportForm(kind, chosen, per))
    calm = location.with_options(lane=Lane.BULK)
    with contextlib.suppress(ApiError):
        # Needed for the time zone. A token without this scope exports the dates as the API sent them.
        await calm.details()
    if since is not None:
        wanted = ExportForm(kind, chosen, per, moment_of(since, location.timezone))
        sink = await asyncio.to_thread(_sink, target, wanted)
    seen = await asyncio.to_thread(sink.begin, refresh=refresh)
    resumed, late, passes, found = len(seen), 0, 0, 0
    for passes in range(1, _PASSES + 1):
        found = 0
        # A resumed export steps one page back: deletions since then may have moved unread documents up.
        async for page in _pages(calm, LISTS[kind], max(0, resumed - _PAGE) if passes == 1 else 0):
            fresh = {str(one.get("_id")): one for one in page if str(one.get("_id")) not in seen}
            if location.timezone:
                # Answers carry instants, and the day depends on the zone: docs/api-facts.md#api-dates
                fresh = {name: {**one, "locationTimezone": location.timezone} for name, one in fresh.items()}
            seen.update(fresh)
            await asyncio.to_thread(sink.append, list(fresh.values()))
            found += len(fresh)
            on_page(len(seen))
        late += found if passes > 1 else 0
        if passes > 1 and not found:
            break  # no document moved during the pass before
    written = await asyncio.to_thread(sink.finish)
    return Exported(written, len(seen) - written, resumed, passes, late, not found)


def moment_of(since: date | datetime, zone: str | None) -> datetime:
    """Return the start of a day in a time zone, or on earth if the zone is unknown."""
    if isinstance(since, datetime):
        return since.astimezone(UTC)
    try:
        known = _EARLIEST_ZONE if zone is None else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        known = _EARLIEST_ZONE
    return datetime.combine(since, time.min, known).astimezone(UTC)


def _checked_form(
    kind: str, form: Form | None, target: Path | BinaryIO, per: Per, since: date | datetime | None
) -> Form:
    """Return the form to write.

    Raises:
        InvalidRequest: An argument is not valid.
    """
    if kind not in LISTS:
        raise InvalidRequest("kind", f"unknown kind {kind!r}; choose {' or '.join(LISTS)}")
    if form is not None and form not in FORMS:
        raise InvalidRequest("form", f"unknown form {form!r}; choose {', '.join(FORMS)}")
    ending = target.suffix.lower() if isinstance(target, Path) else ""
    chosen = form or FORM_OF_ENDING.get(ending, "ndjson")
    if per not in ("document", "line"):
        raise InvalidRequest("per", f"{per!r} is not a kind of row; choose document or line")
    if per == "line" and chosen == "ndjson":
        raise InvalidRequest("per", "a row per line needs csv or parquet; ndjson holds whole documents")
    if isinstance(since, datetime) and since.tzinfo is None:
        raise InvalidRequest("since", f"{since.isoformat()} has no time zone; add Z or an offset")
    return chosen


def _sink(target: Path | BinaryIO, wanted: ExportForm) -> Sink:
    return FileSink(target, wanted) if isinstance(target, Path) else StreamSink(target, wanted)


async def _pages(
    location: Location, operation: Operation[Any], offset: int
) -> AsyncIterator[list[dict[str, Any]]]:
    while True:
        answer = await location.raw(operation, query={"limit": _PAGE, "offset": offset})
        # Entries stay undecoded, so that fields unknown to this version are exported as well.
        page = json_page(answer.body, operation.items)
        if not page:
            return
        yield page
        offset += len(page)


async def copy_source(location: Location, *, cut_names: bool = False) -> AsyncIterator[SourceItem | Reject]:
    """Read the estimates of a location as the source of a run into another one.

    An estimate that cannot be copied is a reject. Customers are found or created in the other location.

    Args:
        location: The location to copy. Rules that are off for it are off in the plan.
        cut_names: Cut names and titles that are too long for the API.
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
            # The source's own total, because automatic taxes cannot be computed.
            total = expected_total(draft) if estimate.total is None else estimate.total
            # A contact's id is unknown in another location: the target has contacts of its own.
            body = with_contact(encode_body(draft, b""), "")
            item = SourceItem(
                ordinal, estimate.id, body, (), "", total, draft.currency, place, raw=encode(estimate),
                notes=tuple(notes), customer=_customer(draft.contact_details),
            )  # fmt: skip
        except InvalidRequest as error:
            yield Reject(ordinal, estimate.id, str(error), encode(estimate), place)
        else:
            yield item
        ordinal += 1


def _customer(contact: ContactDetails) -> DocumentCustomer:
    """Return the customer of a document as the contacts stage looks for them."""
    return DocumentCustomer(
        name=contact.name, company=contact.company_name or "", email=contact.email or "",
        phone=contact.phone_no or "",
    )  # fmt: skip


async def invoiced(location: Location) -> set[str]:
    """Return the ids of the location's estimates that became invoices."""
    calm = location.with_options(lane=Lane.BULK)
    return {estimate.id async for estimate in calm.estimates.list(status="invoiced")}
