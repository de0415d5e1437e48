"""Internal. The control routes under ``/_sandbox/``: JSON, without a token.

They are for other processes and for other languages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from aiohttp import web

from hl_async.errors import HighLevelError
from hl_async.sandbox.customer import ACTIONS
from hl_async.sandbox.faults import PROFILES, Fault
from hl_async.sandbox.rules import RULES
from hl_async.sandbox.state import SandboxState

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)

Action = Callable[[SandboxState, dict[str, Any], dict[str, str]], Any]


async def handle(box: SandboxState, request: web.Request) -> web.Response:
    """Return the answer to one control request; a 404 lists the known routes."""
    name = request.path.removeprefix("/_sandbox").strip("/") or "state"
    action = _ACTIONS.get((request.method, name))
    if action is None:
        # The answer lists the routes, because programs in other languages have no other help.
        return _json({"error": "unknown", "known": [f"{m} /_sandbox/{n}" for m, n in _ACTIONS]}, 404)
    raw = await request.read()
    if raw and request.content_type != "application/json":
        # A page of any site may send a form or plain text here. Before JSON, its browser sends a preflight request, and
        # the sandbox does not grant it.
        return _json({"error": f"Content-Type is {request.content_type!r}; send application/json"}, 415)
    try:
        body = _decoder.decode(raw) if raw else {}
        return _json(action(box, body if isinstance(body, dict) else {}, dict(request.query)))
    # A body of another form is the caller's mistake, so the answer is a 400 with the reason, not a 500.
    except (ValueError, KeyError, TypeError, HighLevelError) as error:
        problem = f"{type(error).__name__}: {error}"
    return _json({"error": problem}, 400)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_encoder.encode(value), content_type="application/json")


def _state(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    return {
        "url": box.url,
        "token": box.token,
        "location_id": box.location_id,
        "company_id": box.company_id,
        "requests": box.count,
        "refused": box.refused,
        "connections": {"open": box.connections, "total": box.connections_total},
        "refreshes": box.tokens.refreshes,
        "spent_presented": box.tokens.spent_presented,
        "faults": {fault.value: count for fault, count in box.faults.injected.items()},
        "locations": {
            place.id: {
                "timezone": place.timezone,
                "estimates": len(place.estimates),
                "invoices": len(place.invoices),
                "total": sum((one["total"] for one in place.estimates.values()), 0),
            }
            for place in box.ledger.places.values()
        },
    }


def _requests(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    since = int(query.get("since", "0"))
    # By number, so that a program that polls gets each record once.
    return [dataclasses.asdict(record) for record in box.requests if record.number > since]


def _documents(kind: str) -> Action:
    def action(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
        place = box.ledger.places[query.get("location", box.location_id)]
        return list(getattr(place, kind).values())

    return action


def _commits(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    return dict(box.ledger.commits)


def _get_faults(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    rates = {fault.value: rate for fault, rate in box.faults.rates.items()}
    return {
        "rates": rates,
        "seed": box.faults.seed,
        "profiles": list(PROFILES),
        "faults": [f.value for f in Fault],
    }


def _put_faults(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    if "profile" in body:
        box.faults.use(str(body["profile"]), body.get("seed"))
    if "rates" in body:
        box.faults.use({Fault(name): float(rate) for name, rate in body["rates"].items()}, body.get("seed"))
    for operation, names in (body.get("script") or {}).items():
        # A script wins over rates: its faults meet the next requests of the operation, in this order.
        box.faults.script(operation, *(Fault(name) for name in names))
    for name, seconds in (body.get("times") or {}).items():
        # The class has slots, so an unknown name raises, and the caller gets a 400.
        setattr(box.faults.times, name, float(seconds))
    return _get_faults(box, body, query)


def _reset(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.reset()
    return _state(box, body, query)


def _add_location(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    chosen = box.add_location(body.get("location_id"), timezone=body.get("timezone"))
    return {"location_id": chosen, "timezone": box.ledger.places[chosen].timezone}


def _add_token(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    return {"token": box.add_token(body.get("location_id"), body.get("scopes"))}


def _add_app(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    app = box.add_app()
    return {"client_id": app.client_id, "client_secret": app.client_secret}


def _authorise(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    # In place of a person who installs the app in a browser.
    return {"code": box.authorise(body["client_id"], body.get("location_id"))}


def _expire(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    # A short lifetime lets a test see several refreshes within seconds.
    if "lifetime" in body:
        box.tokens.lifetime = float(body["lifetime"])
    box.tokens.expire()
    return {"expired": True}


def _advance(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.clock.advance(float(body["seconds"]))
    return {"now": box.clock.timestamp()}


def _customer(name: str) -> Action:
    def action(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
        return box.customer.act(
            name, str(body["id"]), amount=body.get("amount"), location_id=body.get("location")
        )

    return action


def _get_rules(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    return {rule.name: {"on": box.rules.is_on(rule.name), "says": rule.says} for rule in RULES}


def _put_rules(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    for name in body.get("off") or ():
        box.rules.switch(name, on=False)
    for name in body.get("on") or ():
        box.rules.switch(name, on=True)
    return _get_rules(box, body, query)


def _get_webhooks(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    deliveries = [
        {
            "webhook_id": one.webhook_id,
            "type": one.type,
            "url": one.url,
            "statuses": one.statuses,
            "state": one.state,
        }
        for one in box.webhooks.log
    ]
    return {
        "public_key": box.webhooks.public_key,
        "receivers": box.webhooks.receivers,
        "deliveries": deliveries,
    }


def _add_webhook(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.webhooks.send_to(str(body["url"]))
    return _get_webhooks(box, body, query)


def _uninstall(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.uninstall(body["client_id"], body.get("location_id"))
    return {"uninstalled": True}


def _contacts(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    return list(box.neighbours.of(query.get("location", box.location_id)).contacts.values())


def _get_contact_quirks(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    return dataclasses.asdict(box.contact_quirks)


def _put_contact_quirks(box: SandboxState, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.contact_quirks.change(**body)
    return _get_contact_quirks(box, body, query)


_ACTIONS: Final[dict[tuple[str, str], Action]] = {
    ("GET", "state"): _state,
    ("GET", "requests"): _requests,
    ("GET", "estimates"): _documents("estimates"),
    ("GET", "invoices"): _documents("invoices"),
    ("GET", "contacts"): _contacts,
    ("GET", "contact-quirks"): _get_contact_quirks,
    ("PUT", "contact-quirks"): _put_contact_quirks,
    ("GET", "commits"): _commits,
    ("GET", "faults"): _get_faults,
    ("PUT", "faults"): _put_faults,
    ("POST", "reset"): _reset,
    ("POST", "locations"): _add_location,
    ("POST", "tokens"): _add_token,
    ("POST", "apps"): _add_app,
    ("POST", "authorise"): _authorise,
    ("POST", "expire"): _expire,
    ("POST", "uninstall"): _uninstall,
    ("GET", "webhooks"): _get_webhooks,
    ("POST", "webhooks"): _add_webhook,
    ("POST", "clock"): _advance,
    ("GET", "rules"): _get_rules,
    ("PUT", "rules"): _put_rules,
    **{("POST", f"customer/{name}"): _customer(name) for name in ACTIONS},
}
