"""Webhooks: verify the sender, decode typed events, dispatch them to handlers.

HighLevel signs the raw body only. The timestamp and the delivery's id are inside it, so the signature is verified
before anything is read. A delivery that is not signed, fresh and new raises an error. Needs the extra ``webhooks``::

    router = Router()

    @router.on(InvoicePaidEvent)
    async def paid(event: InvoicePaidEvent) -> None: ...

    await router.dispatch(body, headers)  # in your web framework's route; raises WebhookError
"""

from hl_async.errors import (
    DeliveryFromFuture,
    DeliveryReplayed,
    DeliveryStale,
    DeliveryTooLarge,
    DeliveryUnreadable,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMissing,
    WebhookError,
)
from hl_async.models.webhooks import (
    InstallEvent,
    InvoiceCreateEvent,
    InvoiceDeleteEvent,
    InvoiceEvent,
    InvoicePaidEvent,
    InvoicePartiallyPaidEvent,
    InvoiceSentEvent,
    InvoiceUpdateEvent,
    InvoiceVoidEvent,
    PlanChangeEvent,
    Trial,
    UninstallEvent,
    UnknownEvent,
    WebhookEvent,
    WhitelabelDetails,
)
from hl_async.webhooks.reading import parse
from hl_async.webhooks.routing import MemorySeenStore, Router, SeenStore, status_for
from hl_async.webhooks.signatures import HIGHLEVEL_ED25519, HIGHLEVEL_RSA
from hl_async.webhooks.verification import MAX_BODY, Delivery, verify

__all__ = [
    "HIGHLEVEL_ED25519",
    "HIGHLEVEL_RSA",
    "MAX_BODY",
    "Delivery",
    "DeliveryFromFuture",
    "DeliveryReplayed",
    "DeliveryStale",
    "DeliveryTooLarge",
    "DeliveryUnreadable",
    "InstallEvent",
    "InvoiceCreateEvent",
    "InvoiceDeleteEvent",
    "InvoiceEvent",
    "InvoicePaidEvent",
    "InvoicePartiallyPaidEvent",
    "InvoiceSentEvent",
    "InvoiceUpdateEvent",
    "InvoiceVoidEvent",
    "MemorySeenStore",
    "PlanChangeEvent",
    "Router",
    "SeenStore",
    "SignatureInvalid",
    "SignatureMalformed",
    "SignatureMissing",
    "Trial",
    "UninstallEvent",
    "UnknownEvent",
    "WebhookError",
    "WebhookEvent",
    "WhitelabelDetails",
    "parse",
    "status_for",
    "verify",
]
