"""Internal. The console's pages: each function returns one as HTML."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hl_async.errors import ConfigurationError
from hl_async.operations import OPERATIONS, find_operation
from hl_async.sandbox.console import exchange_view, neighbour_pages
from hl_async.sandbox.console.document_view import KINDS, document_counts, money, paper
from hl_async.sandbox.console.rendering import PREFIX, page
from hl_async.sandbox.faults import PROFILES, Fault
from hl_async.sandbox.recorder import KEPT
from hl_async.sandbox.webhooks import EVENTS

if TYPE_CHECKING:
    from hl_async.sandbox.state import RequestRecord, SandboxState

_PAGE: Final = 50
_LOG_ROWS: Final = 200
_LOG_SEARCHED: Final = 2_000
_LOG_PROBLEM: Final = 160


def overview(box: SandboxState) -> str:
    """Return the page of all locations, of the sandbox's settings, and of next steps."""
    facts = {
        "Requests": f"{box.count:,}",
        "Refused (429)": f"{box.refused:,}",
        "Rate limit": f"{box.rate_max:,} per {box.rate_interval:g}\N{NO-BREAK SPACE}s",
        "Window": box.window,
        "Sandbox time": _time(box.clock.timestamp()),
        "Connections open": box.connections,
    }
    budgets = box.budgets()
    locations = []
    for place in box.ledger.places.values():
        worth: Counter[str] = Counter()
        for one in place.estimates.values():
            worth[str(one.get("currency"))] += one.get("total") or 0
        left = budgets.get(place.id)
        locations.append(
            {
                "id": place.id,
                "estimates": len(place.estimates),
                "estimate_statuses": _counts(place.estimates),
                "worth": [money(total, name) for name, total in sorted(worth.items())],
                "invoices": len(place.invoices),
                "invoice_statuses": _counts(place.invoices),
                "budget": "" if left is None else f"{left:,} of {box.rate_max:,}",
            }
        )
    # The token is valid for this sandbox only, so the page may show it.
    exports = {"HL_BASE_URL": box.url, "HL_TOKEN": box.token, "HL_LOCATION_ID": box.location_id}
    return page(
        "overview.html",
        "Overview",
        here="",
        facts=facts,
        locations=locations,
        # Quoted for the shell that they are pasted into.
        exports={name: shlex.quote(value) for name, value in exports.items()},
        is_new=not any(_held(place, kind) for place in box.ledger.places.values() for kind in KINDS),
    )


def location(box: SandboxState, place_id: str, query: Mapping[str, str]) -> str | None:
    """Return a page of one location's documents; None if the location is unknown."""
    place = box.ledger.places.get(place_id)
    kind = query.get("kind", "estimates")
    if place is None or kind not in KINDS:
        return None
    status, wanted = query.get("status", ""), query.get("q", "")
    held = _held(place, kind)
    found = [
        one
        # Newest first, as in the account.
        for one in reversed(held.values())
        if (not status or status == _status(one)) and wanted.lower() in str(one.get("name", "")).lower()
    ]
    # A person may edit the address: any text but digits means the first page.
    start = int(query["start"]) if query.get("start", "").isdecimal() else 0
    kept = {"kind": kind, "status": status, "q": wanted}
    steps = {}
    if start:
        steps["Newer"] = kept | {"start": str(max(0, start - _PAGE))}
    if start + _PAGE < len(found):
        steps["Older"] = kept | {"start": str(start + _PAGE)}
    return page(
        "location.html",
        f"Location {place_id}",
        base=f"{PREFIX}/location/{quote(place_id)}",
        kinds=document_counts(place),
        neighbours=neighbour_pages.counts(box, place),
        kind=kind,
        wanted=wanted,
        status=status,
        statuses=["", *sorted({_status(one) for one in held.values()})],
        count=len(found),
        documents=[_row(one) for one in found[start : start + _PAGE]],
        steps=steps,
    )


def document(
    box: SandboxState, place_id: str, kind: str, document_id: str, token: str, said: str = ""
) -> str | None:
    """Return the page of a document, with history and JSON; None if it is unknown."""
    place = box.ledger.places.get(place_id)
    found = _held(place, kind).get(document_id) if place is not None and kind in KINDS else None
    if found is None:
        return None
    base = f"{PREFIX}/location/{quote(place_id)}"
    currency = str(found.get("currency") or "USD")
    actions = customer_actions(kind, found)
    return page(
        "document.html",
        str(found.get("name") or document_id),
        token=token,
        said=said,
        back=f"{base}?kind={kind}",
        there=f"{base}/{kind}/{quote(document_id)}",
        paper=paper(found, kind, place.zone if place else None),
        is_for_customers=kind in ("estimates", "invoices"),
        customer_actions=actions,
        # The reason replaces the buttons, because a page without them would look broken.
        no_action="A draft has to be sent before a customer sees it."
        if _status(found) == "draft"
        else f"It is {_status(found)}: the customer's page offers no action.",
        currency=currency,
        due=str(found.get("amountDue") or ""),
        related=_related(box, place, base, kind, found),
        history=_history(place, found, currency),
        # `ensure_ascii` would show names of customers as escapes.
        json=json.dumps(found, indent=2, ensure_ascii=False, default=_plain),
    )


def customer_actions(kind: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the customer's actions on a document: view, accept, decline, pay."""
    status = _status(found)
    if kind == "estimates":
        return ("view", "accept", "decline") if status in ("sent", "viewed") else ()
    if kind == "invoices":
        return ("view", "pay") if status in ("sent", "viewed", "partially_paid", "overdue") else ()
    return ()


def requests(box: SandboxState, query: Mapping[str, str]) -> str:
    """Return the page of the latest requests, newest first."""
    only = query.get("only", "")
    rows: list[dict[str, Any]] = []
    # A migration leaves tens of thousands of requests, so a filter searches only the latest.
    for one in islice(reversed(box.requests), _LOG_SEARCHED):
        if len(rows) == _LOG_ROWS:
            break
        if (only == "faults" and not one.fault) or (only == "errors" and one.status < 400):
            continue
        is_error = one.status >= 400 or not one.status
        rows.append(
            {
                "number": one.number,
                "time": _arrived(box, one)[11:],
                "milliseconds": f"{one.elapsed * 1000:.1f}" if one.elapsed else "",
                "is_error": is_error,
                "status": one.status or "none",
                "problem": exchange_view.problem(box.recorder.find(one.number), _LOG_PROBLEM)
                if is_error
                else "",
                "operation": _spoken(one.operation) or f"{one.method} {one.path}",
                "location": one.location,
                "remaining": "" if one.remaining is None else one.remaining,
                "fault": one.fault,
                "size": f"{one.body_bytes:,}",
            }
        )
    return page(
        "requests.html",
        "Requests",
        here="requests",
        refresh=2 if query.get("refresh") == "2" else 0,
        only=only,
        requests=rows,
    )


def request(box: SandboxState, number: str) -> str | None:
    """Return the page of a request and its answer; None if it is unknown or dropped."""
    # A person may edit the address.
    if not number.isdecimal():
        return None
    one = next((one for one in reversed(box.requests) if one.number == int(number)), None)
    if one is None:
        return None
    exchange = box.recorder.find(one.number)
    facts = {
        "Status": one.status or "no answer",
        "Problem": exchange_view.problem(exchange) if one.status >= 400 else "",
        "Operation": _spoken(one.operation) or "unknown route",
        "Time": _arrived(box, one),
        "Duration": f"{one.elapsed * 1000:.1f} ms" if one.elapsed else "",
        "Location": one.location,
        "Fault": one.fault,
        "Budget left": "" if one.remaining is None else one.remaining,
        "API version": one.version,
        "User agent": one.user_agent,
    }
    shown = exchange and {
        "curl": exchange_view.curl(box.url, one.method, exchange),
        "parts": exchange_view.parts(exchange),
    }
    return page(
        "request.html",
        f"Request {one.number}: {one.method} {one.path}",
        here="requests",
        facts={name: value for name, value in facts.items() if value != ""},
        exchange=shown,
        kept=KEPT,
    )


def faults(box: SandboxState, token: str, said: str = "") -> str:
    """Return the page of the faults in force, with forms that set them."""
    injected = sorted(box.faults.injected.items(), key=lambda pair: pair[0].value)
    return page(
        "faults.html",
        "Faults",
        here="faults",
        token=token,
        said=said,
        # Rates can be set one by one too, and then they have no name.
        profile=next((name for name, rates in PROFILES.items() if rates == box.faults.rates), "own rates"),
        profiles=list(PROFILES),
        seed=box.faults.seed,
        operations=["*", *sorted(row.at for row in OPERATIONS.values())],
        kinds=[fault.value for fault in Fault],
        latency=box.latency,
        now=box.clock.timestamp(),
        injected=[(fault.value, count) for fault, count in injected],
    )


def webhooks(box: SandboxState, token: str, said: str = "") -> str:
    """Return the page of receivers and deliveries, with forms for both."""
    try:
        public_key = box.webhooks.public_key
    except (ConfigurationError, ImportError) as error:  # cryptography is an extra
        # The page still works without the extra, and shows the reason in place of the key.
        public_key = str(error)
    return page(
        "webhooks.html",
        "Webhooks",
        here="webhooks",
        token=token,
        said=said,
        receivers=box.webhooks.receivers,
        public_key=public_key,
        events=EVENTS,
        invoices=[
            one["_id"]
            for place in box.ledger.places.values()
            for one in islice(reversed(place.invoices.values()), _PAGE)
        ],
        deliveries=[
            {
                "webhook_id": one.webhook_id,
                "type": one.type,
                "url": one.url,
                "state": one.state,
                "answers": ", ".join(str(status or "none") for status in one.statuses),
            }
            for one in islice(reversed(box.webhooks.log), _LOG_ROWS)
        ],
    )


def outbox(box: SandboxState) -> str:
    """Return the page of the messages that the live API would have sent to customers."""
    return page(
        "outbox.html", "Outbox", here="outbox", messages=list(reversed(box.recorder.messages)), spoken=_spoken
    )


def missing() -> str:
    """Return the page of a 404."""
    return page("missing.html", "Not found")


def _held(place: Any, kind: str) -> dict[str, dict[str, Any]]:
    held: dict[str, dict[str, Any]] = getattr(place, kind)
    return held


def _counts(documents: Mapping[str, Mapping[str, Any]]) -> str:
    found = Counter(_status(one) for one in documents.values())
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items()))


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(one["_id"]),
        "name": one.get("name") or one["_id"],
        "number": one.get("estimateNumber") or one.get("invoiceNumber") or "",
        "status": _status(one),
        "total": money(one.get("total"), str(one.get("currency") or "USD")),
        "customer": (one.get("contactDetails") or {}).get("name") or "",
        "created": _time(one.get("createdAt")),
    }


def _related(
    box: SandboxState, place: Any, base: str, kind: str, found: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Return links to the contact, and to an invoice's estimate or reverse."""
    contact = neighbour_pages.contact_link(box, place, found)
    links = [] if contact is None else [contact]
    if kind == "invoices":
        source = place.estimates.get(found.get("sourceId"))
        return links if source is None else [*links, _link(base, "estimates", "Made from estimate", source)]
    # Searched, because only the invoice names its estimate: docs/api-facts.md#api-undeclared-fields
    made = (one for one in place.invoices.values() if one.get("sourceId") == found["_id"])
    return links + [_link(base, "invoices", "Turned into invoice", one) for one in made]


def _link(base: str, kind: str, label: str, one: Mapping[str, Any]) -> dict[str, str]:
    number = one.get("estimateNumber") or one.get("invoiceNumber") or one["_id"]
    return {
        "href": f"{base}/{kind}/{quote(str(one['_id']))}",
        "text": f"{label} {number}, {_status(one)}, {money(one.get('total'), str(one.get('currency') or 'USD'))}",
    }


def _history(place: Any, found: Mapping[str, Any], currency: str) -> list[tuple[str, str]]:
    rows = [(_time(found.get("createdAt")), "created")]
    rows += [
        (_in_utc(one.get("updatedAt"), place.zone), str(one.get("estimateStatus")))
        for one in found.get("estimateActionHistory") or ()
    ]
    rows += [
        ("", f"paid {money(one['amount'], currency)} by {one.get('mode', '?')}")
        for one in place.payments.get(found["_id"], ())
    ]
    if found.get("lastVisitedAt"):
        rows.append((_time(found["lastVisitedAt"]), "last seen by the customer"))
    if found.get("updatedAt") not in (None, found.get("createdAt")):
        rows.append((_time(found["updatedAt"]), "last changed"))
    return rows


def _spoken(operation: str) -> str:
    """Return the client's name of an operation, such as `estimates.list`."""
    row = find_operation(operation)
    return operation if row is None else row.at


def _arrived(box: SandboxState, one: RequestRecord) -> str:
    moment = datetime.fromtimestamp(box.clock.wall() - (box.clock.monotonic() - one.at), UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _in_utc(local: Any, zone: tzinfo) -> str:
    # Only the action history is in local time (docs/api-facts.md#api-dates); the other rows of the page are in UTC.
    return _time(datetime.fromisoformat(str(local)).replace(tzinfo=zone).astimezone(UTC).isoformat())


def _time(value: Any) -> str:
    return str(value or "")[:19].replace("T", " ")


def _plain(value: Any) -> Any:
    # For display only; answers of the API are encoded without floats.
    return float(value) if isinstance(value, Decimal) else str(value)


def _status(one: Mapping[str, Any]) -> str:
    return str(one.get("estimateStatus") or one.get("status") or "")
