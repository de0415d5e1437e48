"""Events that HighLevel posts to a webhook: one struct per event.

The specification declares no field as required, so every field but the id of the invoice is optional
(docs/api-facts.md#api-webhook-payload). The names end in ``Event``, because ``InvoiceUpdate`` and ``InvoiceSent`` are
structs of the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from hl_async.models.invoices import Invoice
from hl_async.models.structs import Answer

_MILLISECONDS_FROM: Final = 10_000_000_000  # as seconds this would be the year 2286


class WebhookEvent(Answer, kw_only=True):
    """The base of all events. Any of its fields may be missing.

    ``type`` is the event's name on the wire, empty if the delivery has none. ``timestamp`` has a time zone.
    ``webhook_id`` names the delivery and is the same in its retries.
    """

    type: str = ""
    timestamp: datetime | None = None
    webhook_id: str | None = None
    location_id: str | None = None
    company_id: str | None = None
    app_id: str | None = None
    version_id: str | None = None

    @property
    def location(self) -> str | None:
        """The sub-account of the event, from any field that names it."""
        return self.location_id


class InvoiceEvent(WebhookEvent, kw_only=True):
    """Any event of an invoice; its instances are deliveries that name no event.

    ``invoice`` is the document after the change. On the wire, its fields and those of the envelope are in one object.
    They differ from the API's: the address of the business is text, ``total_summary`` has no tax, ``status`` may be
    "delete" (docs/api-facts.md#api-webhook-payload).
    """

    invoice: Invoice

    @property
    def location(self) -> str | None:
        """``location_id``, or the invoice's altId."""
        return self.location_id or self.invoice.alt_id


class InvoiceCreateEvent(InvoiceEvent):
    """An invoice was created."""


class InvoiceUpdateEvent(InvoiceEvent):
    """An invoice was changed."""


class InvoiceSentEvent(InvoiceEvent):
    """An invoice was sent to the customer."""


class InvoicePaidEvent(InvoiceEvent):
    """An invoice was paid in full."""


class InvoicePartiallyPaidEvent(InvoiceEvent):
    """A part of an invoice was paid."""


class InvoiceVoidEvent(InvoiceEvent):
    """An invoice was voided."""


class InvoiceDeleteEvent(InvoiceEvent):
    """An invoice was deleted."""


class Trial(Answer, kw_only=True):
    """The trial of an installation; ``trial_duration`` in days."""

    on_trial: bool | None = None
    trial_duration: Decimal | None = None
    trial_start_date: datetime | None = None


class WhitelabelDetails(Answer, kw_only=True):
    """The domain and logo of a white-label agency."""

    domain: str | None = None
    logo_url: str | None = None


class InstallEvent(WebhookEvent, kw_only=True):
    """The app was installed in a location, or, without ``location_id``, in an agency.

    ``user_id`` and ``company_id`` may be missing. The event can arrive before the token works: retry after some
    seconds (docs/api-facts.md#api-app-lifecycle).
    """

    user_id: str | None = None
    plan_id: str | None = None
    trial: Trial | None = None
    is_whitelabel_company: bool | None = None
    whitelabel_details: WhitelabelDetails | None = None
    company_name: str | None = None
    install_type: str | None = None


class UninstallEvent(WebhookEvent, kw_only=True):
    """The app was removed from a location or an agency, and its tokens are invalid."""


class PlanChangeEvent(WebhookEvent, kw_only=True):
    """An installation changed to another plan of the app.

    HighLevel has published no sample, so ``data`` holds the whole body.
    """

    user_id: str | None = None
    current_plan_id: str | None = None
    new_plan_id: str | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class UnknownEvent(WebhookEvent, kw_only=True):
    """An event without a struct in this version.

    ``data`` is the whole body, with fractions as Decimal.
    """

    data: dict[str, Any] = msgspec.field(default_factory=dict)


# Tolerant, unlike the events: a delivery with one odd field must be acknowledged, or HighLevel retries it for days.
# docs/api-facts.md#api-webhook-delivery
class Envelope(msgspec.Struct, kw_only=True, frozen=True):
    """The fields that identify a delivery.

    Ids that are not text, and timestamps that are not readable, count as missing.
    """

    type: str | None = None
    timestamp: Any = None
    webhook_id: str | None = None
    location_id: str | None = None
    company_id: str | None = None
    app_id: str | None = None
    version_id: str | None = None

    @staticmethod
    def of(document: Mapping[str, Any]) -> Envelope:
        """Return the envelope of a decoded body. Never raises."""
        return Envelope(
            type=_text(document.get("type")),
            timestamp=moment(document.get("timestamp")),
            webhook_id=_text(document.get("webhookId")),
            location_id=_text(document.get("locationId")),
            company_id=_text(document.get("companyId")),
            app_id=_text(document.get("appId")),
            version_id=_text(document.get("versionId")),
        )


INVOICE_EVENTS: Final[Mapping[str, type[InvoiceEvent]]] = {
    "InvoiceCreate": InvoiceCreateEvent,
    "InvoiceUpdate": InvoiceUpdateEvent,
    "InvoiceSent": InvoiceSentEvent,
    "InvoicePaid": InvoicePaidEvent,
    "InvoicePartiallyPaid": InvoicePartiallyPaidEvent,
    "InvoiceVoid": InvoiceVoidEvent,
    "InvoiceDelete": InvoiceDeleteEvent,
}
"""The seven events of invoices. Other documents have none (docs/api-facts.md#api-webhook-events)."""

APP_EVENTS: Final[Mapping[str, type[WebhookEvent]]] = {
    "INSTALL": InstallEvent,
    "UNINSTALL": UninstallEvent,
    "PLAN_CHANGE": PlanChangeEvent,
}
"""The events of an app's installations (docs/api-facts.md#api-app-lifecycle)."""


def moment(value: Any) -> datetime | None:
    """Return a timestamp of a delivery, or None if the value is not readable.

    Text is ISO 8601, in UTC unless it names a zone. A number is in seconds or in milliseconds since 1970.
    """
    # `bool` is a subclass of `int`, so True would be the first second of 1970.
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float | Decimal):
            # no source states the unit: milliseconds of today, read as seconds, would be a date in a far century
            seconds = float(value)
            return datetime.fromtimestamp(seconds / 1000 if seconds >= _MILLISECONDS_FROM else seconds, UTC)
        if isinstance(value, str):
            parsed = msgspec.convert(value, datetime)
            return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
    except (msgspec.ValidationError, ValueError, OverflowError, OSError):
        pass
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
