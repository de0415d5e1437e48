"""The pages, each a function from the sandbox to HTML."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from hl_async.operations import OPERATIONS
from hl_async.sandbox.console.document_view import document_view, money
from hl_async.sandbox.console.layout import cards, choice, field, form, page, table, text
from hl_async.sandbox.faults import PROFILES, Fault

if TYPE_CHECKING:
    from hl_async.sandbox.server import Sandbox

KINDS: Final = ("estimates", "invoices", "estimate_templates", "invoice_templates", "schedules")
_PAGE: Final = 50


def overview(box: Sandbox, prefix: str, token: str) -> str:
    """Locations with what they hold, and how the sandbox is set."""
    facts = {
        "Requests": f"{box.count:,}",
        "Refused (429)": f"{box.refused:,}",
        "Rate limit": f"{box.rate_max:,} per {box.rate_interval:g} s",
        "Window": box.window,
        "Time in here": box.clock.timestamp()[:19].replace("T", " "),
        "Connections open": box.connections,
    }
    rows: list[list[str]] = []
    for place in box.ledger.places.values():
        sums: Counter[str] = Counter()
        for one in place.estimates.values():
            sums[str(one.get("currency"))] += one.get("total") or 0
        statuses = Counter(str(one.get("estimateStatus")) for one in place.estimates.values())
        paid = Counter(str(one.get("status")) for one in place.invoices.values())
        rows.append(
            [
                f'<a class="id" href="{prefix}/location/{quote(place.id)}">{text(place.id)}</a>',
                f"{len(place.estimates):,}",
                text(", ".join(f"{count} {name}" for name, count in sorted(statuses.items()))),
                "<br>".join(text(money(total, name)) for name, total in sorted(sums.items())),
                f"{len(place.invoices):,}",
                text(", ".join(f"{count} {name}" for name, count in sorted(paid.items()))),
                _left(box, place.id),
            ]
        )
    heads = ("Location", "Estimates", "by status", "worth", "Invoices", "by status", "Budget left")
    body = cards(facts) + "<h2>Locations</h2>" + table("Locations", heads, rows, frozenset((1, 3, 4, 6)))
    return page("Overview", body, prefix=prefix, here="")


def location(box: Sandbox, prefix: str, place_id: str, query: dict[str, str]) -> str | None:
    """What is in one location, filtered, page by page; None when there is no such location."""
    place = box.ledger.places.get(place_id)
    kind = query.get("kind", "estimates")
    if place is None or kind not in KINDS:
        return None
    status, wanted = query.get("status", ""), query.get("q", "").lower()
    held: dict[str, dict[str, Any]] = getattr(place, kind)
    found = [
        one
        for one in reversed(held.values())
        if (not status or status == _status(one))
        and (not wanted or wanted in str(one.get("name", "")).lower())
    ]
    start = max(0, int(query.get("start", "0") or 0)) if (query.get("start") or "0").isdigit() else 0
    base = f"{prefix}/location/{quote(place_id)}"
    tabs = " ".join(
        f'<a href="{base}?kind={one}"{" aria-current=page" if one == kind else ""}>{one.replace("_", " ")} '
        f"({len(getattr(place, one)):,})</a>"
        for one in KINDS
    )
    search = (
        f'<form class="row" method="get" action="{base}"><input type="hidden" name="kind" value="{kind}">'
        + field("q", "Name contains", query.get("q", ""), kind="search")
        + choice("status", "Status", ["", *sorted({_status(one) for one in held.values()})], status)
        + "<button>Filter</button></form>"
    )
    rows = [
        [
            f'<a href="{base}/{kind}/{quote(str(one["_id"]))}">{text(one.get("name") or one["_id"])}</a>',
            text(one.get("estimateNumber") or one.get("invoiceNumber")),
            text(_status(one)),
            text(money(one.get("total"), str(one.get("currency") or "USD"))),
            text((one.get("contactDetails") or {}).get("name")),
            text(str(one.get("createdAt", ""))[:19].replace("T", " ")),
        ]
        for one in found[start : start + _PAGE]
    ]
    heads = ("Name", "Number", "Status", "Total", "Customer", "Created")
    body = f'<nav aria-label="Kinds">{tabs}</nav>{search}<p>{len(found):,} found</p>'
    body += table(kind.replace("_", " "), heads, rows, frozenset((1, 3)))
    kept = {"kind": kind, "status": status, "q": query.get("q", "")}
    links = []
    if start:
        links.append(
            f'<a href="{base}?{text(urlencode({**kept, "start": max(0, start - _PAGE)}))}">Newer</a>'
        )
    if start + _PAGE < len(found):
        links.append(f'<a href="{base}?{text(urlencode({**kept, "start": start + _PAGE}))}">Older</a>')
    return page(f"Location {place_id}", body + f"<p>{' · '.join(links)}</p>", prefix=prefix)


def document(box: Sandbox, prefix: str, place_id: str, kind: str, document_id: str) -> str | None:
    """One document as its customer would see it; None when there is none."""
    place = box.ledger.places.get(place_id)
    if place is None or kind not in KINDS:
        return None
    found = getattr(place, kind).get(document_id)
    if found is None:
        return None
    back = f'<p class="noprint"><a href="{prefix}/location/{quote(place_id)}?kind={kind}">Back to the list</a></p>'
    shown = "estimates" if "estimate" in kind else "invoices"
    return page(str(found.get("name") or document_id), back + document_view(found, shown), prefix=prefix)


def requests(box: Sandbox, prefix: str, query: dict[str, str]) -> str:
    """The latest requests, newest first."""
    only = query.get("only", "")
    rows: list[list[str]] = []
    for one in islice(reversed(box.requests), 2_000):
        if len(rows) == 200:
            break
        if (only == "faults" and not one.fault) or (only == "errors" and one.status < 400):
            continue
        kind = "bad" if one.status >= 400 or not one.status else "good"
        rows.append(
            [
                str(one.number),
                f"{one.elapsed * 1000:.1f}" if one.elapsed else "",
                f'<span class="{kind}">{one.status or "none"}</span>',
                text(one.operation or f"{one.method} {one.path}"),
                f'<span class="id">{text(one.location)}</span>',
                "" if one.remaining is None else str(one.remaining),
                text(one.fault),
                f"{one.body_bytes:,}",
            ]
        )
    heads = ("No.", "ms", "Status", "Operation", "Location", "Budget left", "Fault", "Bytes in")
    every = text(urlencode({"only": only, "refresh": 2}))
    links = (
        f'<p><a href="{prefix}/requests">All</a> · <a href="{prefix}/requests?only=errors">Errors</a> · '
        f'<a href="{prefix}/requests?only=faults">Faults</a> · <a href="{prefix}/requests?{every}">Follow</a></p>'
    )
    refresh = 2 if query.get("refresh") == "2" else 0
    body = links + table("Requests", heads, rows, frozenset((0, 1, 5, 7)))
    return page("Requests", body, prefix=prefix, here="requests", refresh=refresh)


def switches(box: Sandbox, prefix: str, token: str, said: str = "") -> str:
    """What goes wrong, and what time it is."""
    there = f"{prefix}/switches"
    current = next((name for name, rates in PROFILES.items() if rates == box.faults.rates), "own rates")
    injected = [
        [text(fault.value), f"{count:,}"]
        for fault, count in sorted(box.faults.injected.items(), key=lambda x: x[0].value)
    ]
    profile = choice("profile", "Profile", PROFILES, current) + field(
        "seed", "Seed", box.faults.seed, kind="number"
    )
    script = (
        choice("operation", "Operation", ["*", *OPERATIONS])
        + choice("fault", "Fault", [fault.value for fault in Fault])
        + field("times", "How often", 1, kind="number", more=' min="1" max="1000"')
    )
    body = f'<p role="status">{text(said)}</p>' if said else ""
    body += f"<h2>By chance</h2><p>Now: {text(current)}</p>" + form(there, token, profile, "Set the profile")
    body += "<h2>To the next requests</h2>" + form(there, token, script, "Announce")
    body += form(there, token, '<input type="hidden" name="clear" value="1">', "Nothing goes wrong any more")
    body += "<h2>Slowness</h2>" + form(
        there,
        token,
        field(
            "latency", "Seconds added to every answer", box.latency, kind="number", more=' min="0" step="any"'
        ),
        "Set",
    )
    body += (
        "<h2>Time</h2><p>"
        + text(box.clock.timestamp())
        + "</p>"
        + form(
            there,
            token,
            field("advance", "Move on by seconds", 600, kind="number", more=' min="0" step="any"'),
            "Move the clock",
        )
    )
    body += "<h2>Tokens</h2>" + form(
        there, token, '<input type="hidden" name="expire" value="1">', "Expire all access tokens"
    )
    body += "<h2>What happened so far</h2>" + table(
        "Faults injected", ("Fault", "Times"), injected, frozenset((1,))
    )
    return page("Switches", body, prefix=prefix, here="switches")


def webhooks(box: Sandbox, prefix: str) -> str:
    """Receivers and deliveries."""
    rows = [
        [text(one.webhook_id), text(one.type), f'<span class="id">{text(one.url)}</span>', text(one.state),
         text(", ".join(str(status or "none") for status in one.statuses))]
        for one in islice(reversed(box.webhooks.log), 200)
    ]  # fmt: skip
    receivers = (
        "".join(f"<li><code>{text(url)}</code></li>" for url in box.webhooks.receivers) or "<li>none</li>"
    )
    body = f"<h2>Receivers</h2><ul>{receivers}</ul><h2>Deliveries</h2>"
    body += table("Deliveries", ("Id", "Event", "To", "State", "Answers"), rows)
    return page("Webhooks", body, prefix=prefix, here="webhooks")


def _left(box: Sandbox, place_id: str) -> str:
    left = box.budgets().get(place_id)
    return "" if left is None else f"{left:,} of {box.rate_max:,}"


def _status(one: dict[str, Any]) -> str:
    return str(one.get("estimateStatus") or one.get("status") or "")
