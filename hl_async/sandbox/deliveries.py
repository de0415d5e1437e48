"""Webhook deliveries in HighLevel's form, signed with a key of your own.

Give the public key to the receiver under test: ``Router(keys=(sender.public_key,))``. Needs the extra ``webhooks``.
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
    """A sender of signed deliveries.

    Args:
        seed: The private key, as 32 bytes; by default the key is random.
        wall: Returns the seconds since 1970, for the timestamps of deliveries.

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
        # A key of its own, because HighLevel's private key is secret.
        private = Ed25519PrivateKey.generate() if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
        self._sign = private.sign
        self._wall = wall
        self._count = 0
        self.public_key: str = base64.b64encode(
            private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).decode()
        """For ``Router(keys=…)``."""

    def sign(self, body: bytes) -> dict[str, str]:
        """Return the headers of a delivery, with the signature of its body."""
        return {
            "Content-Type": "application/json",
            CURRENT_HEADER: base64.b64encode(self._sign(body)).decode(),
        }

    def deliver(
        self, event_type: str, document: Mapping[str, Any] | None = None, **changes: Any
    ) -> SignedDelivery:
        """Return a signed delivery with a new id and the current time.

        Args:
            event_type: The event's name, such as ``InvoicePaid``.
            document: The body without type, time and id; by default an invoice in the state of the event.
            changes: Keys of the body with other values, in the wire's spelling; None removes a key.
        """
        # A new id each time, because receivers refuse a repeated one as a replay.
        self._count += 1
        content: dict[str, Any] = {
            "type": event_type,
            "timestamp": _iso(self._wall()),
            "webhookId": f"webhook-{self._count:08d}",
            **(invoice_payload(event_type) if document is None else document),
            **changes,
        }
        # A key with None is left out, to test receivers against incomplete bodies.
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
    """Return the invoice of a published webhook sample, with ``changes`` to its keys."""
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
