"""Whether a delivery is HighLevel's, and fresh: the signature first, and only then is anything read."""

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
"""Bytes a delivery may have; HighLevel's are a few KB."""

MAX_AGE: Final = 300.0
"""Seconds a delivery's timestamp may differ from the clock, in either direction."""


class Delivery(msgspec.Struct, frozen=True):
    """A delivery whose signature and time were verified. ``key`` is the same when it is delivered again."""

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
    """Prove that HighLevel sent ``body`` (the raw bytes, before any parsing) and that it is fresh.

    ``keys`` are Ed25519 public keys, PEM or base64; any of them may have signed, so give both while a key is
    being replaced. ``legacy_keys`` are RSA keys for deliveries that carry only ``X-WH-Signature``, which is refused
    unless you give some (``HIGHLEVEL_RSA``). When ``X-GHL-Signature`` is there, it alone decides. ``max_age`` is in
    seconds and holds in both directions; ``now`` is seconds since the epoch.

    This does not notice a replay within ``max_age``: remember ``Delivery.key``, or use :class:`Router`. Raises
    one of the eight subclasses of :class:`WebhookError`; :class:`ConfigurationError` for keys that are none.
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
    document = json_body(body)
    check_unique(body)
    envelope = Envelope.of(document)
    _check_time(envelope, max_age, require_timestamp, time.time() if now is None else now)
    # The body's own digest recognises a replay of a delivery that has no id.
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
