"""Webhook deliveries as HighLevel makes them, signed with a key of your own.

Give the public half to the receiver under test: ``Router(keys=(sender.public_key,))``. Needs the extra ``webhooks``.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from hl_async.errors import ConfigurationError

CURRENT_HEADER = "X-GHL-Signature"
LEGACY_HEADER = "X-WH-Signature"

_encoder = msgspec.json.Encoder(decimal_format="number")


class SignedDelivery(NamedTuple):
    """A signed request: post ``body`` with ``headers``."""

    body: bytes
    headers: dict[str, str]


class WebhookSender:
    """Makes signed deliveries.

    Args:
        seed: 32 bytes that make the key the same in every run; by default the key is random.
        wall: Reads the epoch time in seconds, which dates the deliveries.

    Raises:
        ConfigurationError: The package ``cryptography`` is missing, or the seed does not have 32 bytes.
    """

    def __init__(self, *, seed: bytes | None = None, wall: Callable[[], float] = time.time) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        except ImportError:
            raise ConfigurationError(
                "webhooks", "signing needs the package cryptography: pip install 'hl-async[webhooks]'"
            ) from None
        if seed is not None and len(seed) != 32:
            raise ConfigurationError("seed", "must have 32 bytes")
        # A key of the sandbox's own: the real one is HighLevel's secret.
        private = Ed25519PrivateKey.generate() if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
        self._sign = private.sign
        self._wall = wall
        self._count = 0
        self.public_key: str = base64.b64encode(
            private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).decode()
        """For ``Router(keys=…)``."""

    def sign(self, body: bytes) -> dict[str, str]:
        """Return the headers of a delivery of exactly these bytes."""
        return {
            "Content-Type": "application/json",
            CURRENT_HEADER: base64.b64encode(self._sign(body)).decode(),
        }

    def deliver(
        self, event_type: str, document: Mapping[str, Any] | None = None, **changes: Any
    ) -> SignedDelivery:
        """Return a signed delivery.

        Args:
            event_type: The event's name.
            document: The body; by default an invoice in the state of the event.
            changes: Keys of the body to replace, in the wire's spelling; None removes a key.
        """
        # Counted, so that each delivery has an id of its own and none counts as a replay.
        self._count += 1
        content: dict[str, Any] = {
            "type": event_type,
            "timestamp": _iso(self._wall()),
            "webhookId": f"webhook-{self._count:08d}",
            **(invoice_payload(event_type) if document is None else document),
            **changes,
        }
        # A null takes a key out, for receivers that meet incomplete bodies.
        body = _encoder.encode({name: value for name, value in content.items() if value is not None})
        return SignedDelivery(body, self.sign(body))


_STATUS = {
    "InvoiceCreate": "draft",
    "InvoiceUpdate": "draft",
    "InvoiceSent": "sent",
    "InvoicePaid": "paid",
    "InvoicePartiallyPaid": "partially_paid",
    "InvoiceVoid": "void",
    "InvoiceDelete": "delete",
}


def invoice_payload(event_type: str, **changes: Any) -> dict[str, Any]:
    """Return a webhook's flat invoice as documented, with ``changes`` to its keys."""
    paid = {"InvoicePaid": 999, "InvoicePartiallyPaid": 899}.get(event_type, 0)
    return {
        "_id": "6578278e879ad2646715ba9c",
        "status": _STATUS.get(event_type, "draft"),
        "liveMode": False,
        "amountPaid": paid,
        "altId": "6578278e879ad2646715ba9c",
        "altType": "location",
        "name": "New Invoice",
        "businessDetails": {
            "name": "ABC Corp.",
            # Text in webhooks, an object in requests: docs/api-facts.md#api-webhook-payload
            "address": "9931 Beechwood, TX",
            "phoneNo": "+1-214-559-6993",
            "website": "www.example.com",
            "logoUrl": "https://example.com/logo.png",
            "customValues": ["string"],
        },
        "invoiceNumber": "19",
        "currency": "USD",
        "contactDetails": {
            "id": "6578278e879ad2646715ba9c",
            "phoneNo": "+1-214-559-6993",
            "email": "alex@example.com",
            "customFields": ["string"],
            "name": "Alex",
            "address": {
                "countryCode": "US",
                "addressLine1": "9931 Beechwood",
                "city": "Houston",
                "state": "TX",
            },
            "additionalEmails": [{"email": "alex@example.com"}],
            "companyName": "ABC Corp.",
        },
        "issueDate": "2023-01-01",
        "dueDate": "2023-01-01",
        "discount": {"type": "percentage", "value": 10},
        "invoiceItems": [
            {
                "taxes": [],
                "_id": "c6tZZU0rJBf30ZXx9Gli",
                "productId": "c6tZZU0rJBf30ZXx9Gli",
                "priceId": "c6tZZU0rJBf30ZXx9Gli",
                "currency": "USD",
                "name": "Macbook Pro",
                "qty": 1,
                "amount": 999,
            }
        ],
        "total": 999,
        "title": "INVOICE",
        "amountDue": 999 - paid,
        "createdAt": "2023-12-12T09:27:42.355Z",
        "updatedAt": "2023-12-12T09:27:42.355Z",
        "totalSummary": {"subTotal": 999, "discount": 0},
        **changes,
    }


def _iso(seconds: float) -> str:
    whole, rest = divmod(seconds, 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int(rest * 1000):03d}Z"
