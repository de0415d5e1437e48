"""Internal. Verifies the signature of a delivery first, and then its timestamp."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from hl_async.errors import (
    ConfigurationError,
    DeliveryFromFuture,
    DeliveryStale,
    DeliveryTooLarge,
    InvalidRequest,
)
from hl_async.models.webhooks import Envelope
from hl_async.webhooks.reading import check_unique, json_body
from hl_async.webhooks.signatures import HIGHLEVEL_ED25519, Headers, check_signature, prepare

MAX_BODY: Final = 1024 * 1024
"""Largest body in bytes. HighLevel's deliveries have a few KB."""

MAX_AGE: Final = 300.0
"""Most seconds by which a delivery's timestamp may differ from the clock, in either direction
(docs/api-facts.md#api-webhook-checks)."""


class Delivery(msgspec.Struct, frozen=True):
    """A delivery with a verified signature and time.

    ``key`` is the delivery's id, or a digest of its body if it has no id. Repetitions have the same one.
    """

    body: bytes
    envelope: Envelope
    key: str

    def __repr__(self) -> str:
        return f"<Delivery {self.envelope.type or 'without type'}, {len(self.body)} bytes, {self.key}>"


def verify(
    body: bytes,
    headers: Headers,
    *,
    keys: Sequence[str] = (HIGHLEVEL_ED25519,),
    legacy_keys: Sequence[str] = (),
    max_age: float = MAX_AGE,
    require_timestamp: bool = True,
    max_body: int = MAX_BODY,
    now: float | None = None,
) -> Delivery:
    """Verify that HighLevel signed ``body`` and that it is fresh.

    A replay within ``max_age`` is not detected. Remember ``Delivery.key``, or use :class:`Router`.

    Args:
        body: The raw bytes of the request, before any parsing.
        headers: The request's headers. If ``X-GHL-Signature`` is present, it alone decides.
        keys: Ed25519 public keys, PEM or base64. One of them must have signed. Pass both while a key is replaced.
        legacy_keys: RSA public keys for deliveries that have only ``X-WH-Signature``, such as ``HIGHLEVEL_RSA``. By
            default, these deliveries are refused.
        max_age: Most seconds by which the timestamp may differ from the clock, in both directions.
        require_timestamp: Refuse deliveries without a timestamp.
        max_body: Largest body in bytes.
        now: The epoch time in seconds. The default is the system clock.

    Returns:
        The verified delivery.

    Raises:
        WebhookError: Its subclass names the reason: any but :class:`DeliveryReplayed`.
        InvalidRequest: The body is not bytes, or the headers have an unknown form.
        ConfigurationError: A key is invalid, or the package ``cryptography`` is missing.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise InvalidRequest("body", "must be the raw bytes of the request; parsed JSON cannot be verified")
    body = bytes(body)
    if not keys and not legacy_keys:
        raise ConfigurationError("keys", "is empty; give at least one public key")
    if len(body) > max_body:
        raise DeliveryTooLarge(f"the body has {len(body)} bytes, more than {max_body}")
    prepare(keys, legacy_keys)
    check_signature(body, headers, keys, legacy_keys)
    # Only a body with a valid signature is parsed.
    document = json_body(body)
    check_unique(body)
    envelope = Envelope.of(document)
    _check_time(envelope, max_age, require_timestamp, time.time() if now is None else now)
    # Without an id, the digest of the body still recognises a replay.
    name = envelope.webhook_id or f"sha256:{hashlib.sha256(body).hexdigest()}"
    return Delivery(body, envelope, name)


def _check_time(envelope: Envelope, max_age: float, required: bool, now: float) -> None:
    moment = envelope.timestamp
    if moment is None:
        if required:
            raise DeliveryStale(
                "the delivery has no timestamp; require_timestamp=False accepts that, and then only "
                "remembered deliveries guard against replays"
            )
        return
    age = now - moment.timestamp()
    if age > max_age:
        raise DeliveryStale(f"the delivery is {age:.0f} s old, more than {max_age:g}")
    if age < -max_age:
        raise DeliveryFromFuture(f"the delivery is {-age:.0f} s in the future, more than {max_age:g}")
