"""The control surface under ``/_sandbox/``: for other processes and other languages. JSON, no authorisation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from hl_async.sandbox.faults import PROFILES, Fault

if TYPE_CHECKING:
    from hl_async.sandbox.server import Sandbox

_encoder = msgspec.json.Encoder(decimal_format="number")


async def handle(box: Sandbox, request: web.Request) -> web.Response:
    """Answer one control request; 404 lists what there is."""
    name = request.path.removeprefix("/_sandbox").strip("/") or "state"
    action = _ACTIONS.get((request.method, name))
    if action is None:
        return _json({"error": "unknown", "known": [f"{m} /_sandbox/{n}" for m, n in _ACTIONS]}, 404)
    try:
        body = await request.json() if request.can_read_body else {}
        return _json(action(box, body if isinstance(body, dict) else {}, dict(request.query)))
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    return _json({"error": problem}, 400)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_encoder.encode(value), content_type="application/json")


def _state(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
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
                "estimates": len(place.estimates),
                "invoices": len(place.invoices),
                "total": sum((one["total"] for one in place.estimates.values()), 0),
            }
            for place in box.ledger.places.values()
        },
    }


def _requests(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    since = int(query.get("since", "0"))
    return [dataclasses.asdict(record) for record in box.requests if record.number > since]


def _documents(kind: str) -> Any:
    def action(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
        place = box.ledger.places[query.get("location", box.location_id)]
        return list(getattr(place, kind).values())

    return action


def _commits(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    return dict(box.ledger.commits)


def _get_faults(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    rates = {fault.value: rate for fault, rate in box.faults.rates.items()}
    return {
        "rates": rates,
        "seed": box.faults.seed,
        "profiles": list(PROFILES),
        "faults": [f.value for f in Fault],
    }


def _put_faults(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    if "profile" in body:
        box.faults.use(str(body["profile"]), body.get("seed"))
    if "rates" in body:
        box.faults.use({Fault(name): float(rate) for name, rate in body["rates"].items()}, body.get("seed"))
    for operation, names in (body.get("script") or {}).items():
        box.faults.script(operation, *(Fault(name) for name in names))
    for name, seconds in (body.get("times") or {}).items():
        setattr(box.faults.times, name, float(seconds))
    return _get_faults(box, body, query)


def _reset(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.reset()
    return _state(box, body, query)


def _add_location(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    return {"location_id": box.add_location(body.get("location_id"))}


def _add_token(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    return {"token": box.add_token(body.get("location_id"), body.get("scopes"))}


def _add_app(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    app = box.add_app()
    return {"client_id": app.client_id, "client_secret": app.client_secret}


def _authorise(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    return {"code": box.authorise(body["client_id"], body.get("location_id"))}


def _expire(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    if "lifetime" in body:
        box.tokens.lifetime = float(body["lifetime"])
    box.tokens.expire()
    return {"expired": True}


def _advance(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.clock.advance(float(body["seconds"]))
    return {"now": box.clock.timestamp()}


def _get_webhooks(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
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


def _add_webhook(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.webhooks.send_to(str(body["url"]))
    return _get_webhooks(box, body, query)


def _uninstall(box: Sandbox, body: dict[str, Any], query: dict[str, str]) -> Any:
    box.uninstall(body["client_id"], body.get("location_id"))
    return {"uninstalled": True}


_ACTIONS = {
    ("GET", "state"): _state,
    ("GET", "requests"): _requests,
    ("GET", "estimates"): _documents("estimates"),
    ("GET", "invoices"): _documents("invoices"),
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
}
