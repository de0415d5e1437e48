"""Internal. Decodes a body into a typed event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from hl_async.errors import DecodeError, DeliveryUnreadable
from hl_async.models.codec import decoder, json_object
from hl_async.models.invoices import Invoice
from hl_async.models.webhooks import (
    APP_EVENTS,
    INVOICE_EVENTS,
    Envelope,
    InvoiceEvent,
    PlanChangeEvent,
    UnknownEvent,
    WebhookEvent,
)

_invoice: Final = decoder(Invoice)
_app: Final = {name: decoder(kind) for name, kind in APP_EVENTS.items()}
_ENVELOPE_NAMES: Final = ("timestamp", "webhookId", "locationId", "companyId", "appId", "versionId")


def parse(body: bytes, *, event_type: str | None = None) -> WebhookEvent:
    """Decode a body into an event.

    This proves nothing about the sender: call :func:`verify` first.

    Args:
        body: The raw body.
        event_type: Name of the event, for bodies without one (such as the published samples).

    Returns:
        The event. A flat invoice without a name gives :class:`InvoiceEvent`. An unknown name gives
        :class:`UnknownEvent` with all the data.

    Raises:
        DeliveryUnreadable: The body is not a JSON object, or not a valid document of its kind.
    """
    body = bytes(body)
    return _event(body, json_body(body), event_type)


def json_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises :class:`DeliveryUnreadable`."""
    try:
        return json_object(body)
    except DecodeError as error:
        problem = error.message
    raise DeliveryUnreadable(problem.replace("the answer", "the body", 1))


def check_unique(body: bytes) -> None:
    """Raise :class:`DeliveryUnreadable` if the body names an envelope's field twice.

    Some JSON readers take the first of the two, others the last, so a signed body could mean two things.
    """
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> None:
        pairs[:] = found  # the hook is called last for the outermost object

    try:
        json.loads(body, object_pairs_hook=keep, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise DeliveryUnreadable("the body is not JSON that every reader understands") from None
    names = [name for name, _ in pairs]
    for name in ("type", *_ENVELOPE_NAMES):
        if names.count(name) > 1:
            raise DeliveryUnreadable(f"the body names {name!r} {names.count(name)} times")


def _event(body: bytes, document: dict[str, Any], hint: str | None) -> WebhookEvent:
    envelope = Envelope.of(document)
    name = envelope.type or hint or ""
    shared: dict[str, Any] = {
        field: getattr(envelope, field) for field in Envelope.__struct_fields__ if field != "type"
    }
    kind = INVOICE_EVENTS.get(name)
    # The published samples have no event name: docs/api-facts.md#api-webhook-payload
    if kind is None and not name and "_id" in document and "invoiceNumber" in document:
        kind = InvoiceEvent
    if kind is not None:
        return kind(type=name, invoice=_decode(_invoice, body, name), **shared)
    if name in _app:
        # The envelope has read its fields leniently, so the strict decoder of the event does not see them.
        rest = {key: value for key, value in document.items() if key not in _ENVELOPE_NAMES and key != "data"}
        event: WebhookEvent = _decode(_app[name], msgspec.json.encode(rest), name)
        event.type = name
        for field, value in shared.items():
            setattr(event, field, value)
        if isinstance(event, PlanChangeEvent):
            event.data = document
        return event
    return UnknownEvent(type=name, data=document, **shared)


def _decode(decode: Callable[[bytes], Any], body: bytes, name: str) -> Any:
    try:
        return decode(body)
    except DecodeError as error:
        problem = f"{error.message} at {error.path}"
    raise DeliveryUnreadable(f"{name or 'an invoice event'}: {problem}")
