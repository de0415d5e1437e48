"""Internal. The documents of a list: filters, order and pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hl_async.sandbox.bodies import ESTIMATE_STATES
from hl_async.sandbox.ledger import Document, Ledger, LocationState
from hl_async.sandbox.refusals import unprocessable
from hl_async.sandbox.shapes import is_day
from hl_async.sandbox.zones import day_at

_MODES: Final = ("default", "live", "test")
_ORDERS: Final = ("ascend", "descend")
_NO_FILTERS: Final = frozenset(("limit", "offset", "sortField", "sortOrder"))


def check_query(ledger: Ledger, query: dict[str, str], known: tuple[str, ...], *, of_estimates: bool) -> None:
    """Check the filters of a list, and ignore those that it does not know.

    Args:
        ledger: The sandbox's state.
        query: The request's query.
        known: The filters that the list knows.
        of_estimates: Whether the list is one of estimates.

    Raises:
        Refusal: A 422 with every violation.
    """
    # Both are required on every list, as text or number: docs/api-facts.md#api-pagination
    given = {name: query.get(name, "") for name in ("limit", "offset")}
    found = [
        f"{name} must be a number string"
        for name, text in given.items()
        # isdecimal() accepts digits of other scripts too; ten digits are beyond any list
        if not (text.isascii() and text.isdecimal() and len(text) < 10)
    ]
    if not found and int(query["limit"]) < 1:
        found.append("limit must not be less than 1")
    found += [
        f"{name} must be in YYYY-MM-DD format"
        for name in ("startAt", "endAt")
        if name in known and query.get(name) and not is_day(query[name])
    ]
    for name, allowed in (("paymentMode", _MODES), ("sortField", ("issueDate",)), ("sortOrder", _ORDERS)):
        if name in known and query.get(name) and query[name] not in allowed:
            found.append(f"{name} must be one of the following values: {', '.join(allowed)}")
    # The estimate filter is closed; the values for invoices are unknown: docs/api-facts.md#api-estimate-status
    if of_estimates and "status" in known and ledger.rules.is_on("status_filter_closed"):
        states = (*ESTIMATE_STATES, "all") if ledger.quirks.status_all else ESTIMATE_STATES
        if query.get("status") and query["status"] not in states:
            found.append("status must be a valid enum value")
    if found:
        raise unprocessable(found)


def page(
    ledger: Ledger,
    place: LocationState,
    documents: Iterable[Document],
    query: dict[str, str],
    known: tuple[str, ...],
) -> tuple[list[Document], int]:
    """Return the page for a query, and the number of documents that match.

    Args:
        ledger: The sandbox's state.
        place: The location.
        documents: All documents of the list.
        query: The request's query.
        known: The filters that the list knows.
    """
    quirks = ledger.quirks
    asked = {name: value for name, value in query.items() if name in known and value}
    if asked.keys() <= _NO_FILTERS:
        # Without filters no document is inspected, so that paging through 100,000 documents is fast.
        found = list(documents)
    else:
        found = [document for document in documents if _fits(document, asked, place, quirks.default_mode)]
    # One source saw the newest document first; nothing else is known: docs/api-facts.md#api-pagination
    if quirks.newest_first:
        found.reverse()
    # Dates in ISO 8601 sort as text.
    if "sortField" in asked or "sortOrder" in asked:
        found.sort(key=_issued, reverse=asked.get("sortOrder") == "descend")
    offset, limit = int(query["offset"]), min(int(query["limit"]), quirks.largest_page)
    shown = found[offset : offset + limit]
    # Whether lists return meta is unknown: docs/api-facts.md#api-meta
    if not quirks.meta_in_lists:
        shown = [{name: value for name, value in one.items() if name != "meta"} for one in shown]
    # A total may be missing or wrong: docs/api-facts.md#api-pagination
    return shown, len(found) if quirks.honest_total else 0


def _issued(document: Document) -> str:
    return str(document.get("issueDate") or document.get("createdAt") or "")


def _fits(document: Document, asked: dict[str, str], place: LocationState, default_mode: str) -> bool:
    status = asked.get("status", "all")
    if status not in ("all", document.get("estimateStatus", document.get("status"))):
        return False
    mode = asked.get("paymentMode", "all")
    mode = default_mode if mode == "default" else mode
    if mode != "all" and "liveMode" in document and document["liveMode"] is not (mode == "live"):
        return False
    contact = document.get("contactDetails") or {}
    if "contactId" in asked and contact.get("id") != asked["contactId"]:
        return False
    search = asked.get("search", "").lower()
    if search:
        fields = (document["_id"], document.get("name"), contact.get("email"), contact.get("phoneNo"))
        if not any(search in str(value or "").lower() for value in fields):
            return False
    day = day_at(_issued(document), place.zone)
    return asked.get("startAt", "") <= day <= asked.get("endAt", "9999")
