"""Receiving HighLevel's webhooks: prove who sent them, read them as typed events, hand them to functions.

HighLevel signs the raw body and nothing else (API.md (g) 4); the time and the delivery's id are inside it, so the
signature is verified first and only then is anything read. Whatever is not provably fresh, signed and new is an
error: nothing is ever accepted in silence. Needs the extra ``webhooks``::

    router = Router()

    @router.on(InvoicePaidEvent)
    async def paid(event: InvoicePaidEvent) -> None: ...

    await router.dispatch(body, headers)  # in your web framework's route; raises WebhookError
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar, overload

import msgspec

from hl_async.errors import (
    ConfigurationError,
    DecodeError,
    DeliveryFromFuture,
    DeliveryReplayed,
    DeliveryStale,
    DeliveryTooLarge,
    DeliveryUnreadable,
    InvalidRequest,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMissing,
    WebhookError,
)
from hl_async.models.codec import decoder, json_object
from hl_async.models.invoices import Invoice
from hl_async.models.webhooks import (
    APP_EVENTS,
    INVOICE_EVENTS,
    Envelope,
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

HIGHLEVEL_ED25519: Final = "MCowBQYDK2VwAyEAi2HR1srL4o18O8BRa7gVJY7G7bupbN3H9AwJrHCDiOg="
"""HighLevel's public key for ``X-GHL-Signature`` (API.md (g) 4)."""

HIGHLEVEL_RSA: Final = (
    "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAokvo/r9tVgcfZ5DysOSCFrm602qYV0MaAiNnX9O8KxMbiyRKWeL9JpCpVpt4XHIc"
    "BOK4u3cLSqJGOLaPuXw6dO0t6Q/ZVdAV5Phz+ZtzPL16iCGeK9po6D6JHBpbi989mmzMryUnQJezlYJ3DVfBcsedpinheNnyYeFXolrJvcsj"
    "DtfAeRx5ByHQmTnSdFUzuAnC9/GepgLT9SM4nCpvuxmZMxrJt5Rw+VUaQ9B8JSvbMPpez4peKaJPZHBbU3OdeCVx5klVXXZQGNHOs8gF3kvo"
    "V5rTnXV0IknLBXlcKKAQLZcY/Q9rG6Ifi9c+5vqlvHPCUJFT5XUGG5RKgOKUJ062fRtN+rLYZUV+BjafxQauvC8wSWeYja63VSUruvmNj8xk"
    "x2zE/Juc+yjLjTXpIocmaiFeAO6fUtNjDeFVkhf5LNb59vECyrHD2SQIrhgXpO4Q3dVNA5rw576PwTzNh/AMfHKIjE4xQA1SZuYJmNnmVZLI"
    "ZBlQAF9Ntd03rfadZ+yDiOXCCs9FkHibELhCHULgCsnuDJHcrGNd5/Ddm5hxGQ0ASitgHeMZ0kcIOwKDOzOU53lDza6/Y09T7sYJPQe7z0cv"
    "j7aE4B+Ax1ZoZGPzpJlZtGXCsu9aTEGEnKzmsFqwcSsnw3JB31IGKAykT1hhTiaCeIY/OwwwNUY2yvcCAwEAAQ=="
)
"""HighLevel's public key for the legacy header ``X-WH-Signature``, whose end was announced (API.md (g) 5)."""

MAX_BODY: Final = 1024 * 1024
"""Bytes a delivery may have; HighLevel's are a few KB."""

MAX_AGE: Final = 300.0
"""Seconds a delivery's timestamp may differ from the clock, in either direction (API.md (g) 6)."""

RETENTION: Final = 86_400.0
"""Seconds for which accepted deliveries are remembered: redelivery lasts for hours (API.md (g) 7)."""

_CURRENT: Final = "x-ghl-signature"
_LEGACY: Final = "x-wh-signature"
_ED25519_LENGTH: Final = 64

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
"""A mapping in any case and of any framework, or pairs as ASGI has them."""

E = TypeVar("E", bound=WebhookEvent)
Handler = Callable[[E], Awaitable[None]]


class Delivery(msgspec.Struct, frozen=True):
    """A delivery whose signature and time were verified. ``key`` is the same when it is delivered again."""

    body: bytes
    envelope: Envelope
    key: str

    def __repr__(self) -> str:
        return f"<Delivery {self.envelope.type or 'without type'}, {len(self.body)} bytes, {self.key}>"


# ------------------------------------------------------------------------------------------------ verify


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
    _prepared(keys, legacy_keys)
    current = _signature(headers, _CURRENT)
    if current is not None:
        _check_ed25519(body, current, keys)
    else:
        legacy = _signature(headers, _LEGACY) if legacy_keys else None
        if legacy is None:
            raise SignatureMissing(_what_is_missing(headers, legacy_keys))
        _check_rsa(body, legacy, legacy_keys)
    envelope = Envelope.of(_document(body))
    _check_time(envelope, max_age, require_timestamp, time.time() if now is None else now)
    # The body's own digest recognises a replay of a delivery that has no id.
    name = envelope.webhook_id or f"sha256:{hashlib.sha256(body).hexdigest()}"
    return Delivery(body, envelope, name)


def _signature(headers: Headers, name: str) -> str | None:
    """The one value of a header; None when it is missing, empty or the literal ``N/A`` (API.md (g) 6)."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    found: set[str] = set()
    for raw, value in pairs:
        key = raw.decode("latin-1") if isinstance(raw, bytes) else raw
        if key.lower() == name:
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if text.strip().upper() not in ("", "N/A"):
                found.add(text)
    if len(found) > 1:
        raise SignatureMalformed(f"there are {len(found)} different {name} headers")
    return found.pop() if found else None


def _what_is_missing(headers: Headers, legacy_keys: Sequence[str]) -> str:
    if legacy_keys:
        return f"neither {_CURRENT} nor {_LEGACY} holds a signature"
    text = f"no {_CURRENT} header holds a signature"
    try:
        legacy = _signature(headers, _LEGACY) is not None
    except SignatureMalformed:
        legacy = True
    return f"{text}; the legacy header needs legacy_keys=(HIGHLEVEL_RSA,)" if legacy else text


def _decoded(text: str, length: int | None) -> bytes:
    """Canonical base64 alone: a signature has one spelling, so no altered header is ever accepted."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureMalformed("the signature is no base64") from None
    if base64.b64encode(raw).decode() != text:
        raise SignatureMalformed("the signature is no canonical base64")
    if length is not None and len(raw) != length:
        raise SignatureMalformed(f"the signature has {len(raw)} bytes instead of {length}")
    return raw


def _check_ed25519(body: bytes, text: str, keys: Sequence[str]) -> None:
    signature = _decoded(text, _ED25519_LENGTH)
    for key in keys:
        if _ed25519(key)(signature, body):
            return
    raise SignatureInvalid("the signature belongs to another body or another key")


def _check_rsa(body: bytes, text: str, keys: Sequence[str]) -> None:
    signature = _decoded(text, None)
    for key in keys:
        if _rsa(key)(signature, body):
            return
    raise SignatureInvalid("the legacy signature belongs to another body or another key")


@lru_cache(maxsize=32)
def _ed25519(key: str) -> Callable[[bytes, bytes], bool]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    loaded = _load(key)
    if not isinstance(loaded, Ed25519PublicKey):
        raise ConfigurationError("keys", "an Ed25519 public key is needed; RSA keys belong in legacy_keys")
    return _checker(loaded.verify)


@lru_cache(maxsize=32)
def _rsa(key: str) -> Callable[[bytes, bytes], bool]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    loaded = _load(key)
    if not isinstance(loaded, RSAPublicKey):
        raise ConfigurationError("legacy_keys", "an RSA public key is needed; Ed25519 keys belong in keys")
    padding, digest = PKCS1v15(), SHA256()
    return _checker(lambda signature, body: loaded.verify(signature, body, padding, digest))


def _checker(check: Callable[[bytes, bytes], None]) -> Callable[[bytes, bytes], bool]:
    from cryptography.exceptions import InvalidSignature

    def is_good(signature: bytes, body: bytes) -> bool:
        try:
            check(signature, body)
        except InvalidSignature:
            return False
        return True

    return is_good


def _load(key: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        if "-----BEGIN" in key:
            return load_pem_public_key(key.strip().encode())
        return load_der_public_key(base64.b64decode("".join(key.split()), validate=True))
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        raise ConfigurationError("keys", "is no public key; give PEM, or base64 of the SPKI form") from None


def _prepared(keys: Sequence[str], legacy_keys: Sequence[str]) -> None:
    """Load the keys now: a wrong one fails at the start, and no import ever happens in a request."""
    try:
        for key in keys:
            _ed25519(key)
        for key in legacy_keys:
            _rsa(key)
    except ImportError:
        raise ConfigurationError(
            "webhooks", "verifying needs the package cryptography: pip install 'hl-async[webhooks]'"
        ) from None


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


# ------------------------------------------------------------------------------------------------- parse

_invoice: Final = decoder(Invoice)
_app: Final = {name: decoder(kind) for name, kind in APP_EVENTS.items()}
_ENVELOPE_NAMES: Final = ("timestamp", "webhookId", "locationId", "companyId", "appId", "versionId")


def parse(body: bytes, *, event_type: str | None = None) -> WebhookEvent:
    """Read a body as an event; it proves nothing, so :func:`verify` comes first.

    ``event_type`` names the event for deliveries that don't (the published samples). A flat invoice without any name is
    an :class:`InvoiceEvent`; a name this version does not know gives :class:`UnknownEvent` with everything in it.
    Raises :class:`DeliveryUnreadable` when it is no JSON object, or no document of its kind: amounts are not guessed.
    """
    return _event(bytes(body), _document(body), event_type)


def _document(body: bytes) -> dict[str, Any]:
    try:
        return json_object(body)
    except DecodeError as error:
        problem = error.message
    raise DeliveryUnreadable(problem.replace("the answer", "the body", 1))


def _event(body: bytes, document: dict[str, Any], hint: str | None) -> WebhookEvent:
    envelope = Envelope.of(document)
    name = envelope.type or hint or ""
    shared: dict[str, Any] = {
        field: getattr(envelope, field) for field in Envelope.__struct_fields__ if field != "type"
    }
    kind = INVOICE_EVENTS.get(name)
    if kind is None and not name and "_id" in document and "invoiceNumber" in document:
        kind = InvoiceEvent
    if kind is not None:
        return kind(type=name, invoice=_decode(_invoice, body, name), **shared)
    if name in _app:
        # what the envelope has read already must not fail a second time
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


# ------------------------------------------------------------------------------------- replays and routes


class SeenStore(Protocol):
    """Remembers deliveries, in memory or for many processes (``SET key 1 NX EX ttl``, ``INSERT … ON CONFLICT``)."""

    async def claim(self, key: str, ttl: float) -> bool:
        """Remember ``key`` for ``ttl`` seconds, atomically; False when it is remembered already."""
        ...

    async def release(self, key: str) -> None:
        """Forget ``key``: the delivery was not handled and may come again."""
        ...


class MemorySeenStore:
    """Remembers within one process. Bounded by age: a key takes about 200 bytes until its time is over.

    ``clock`` is monotonic, in seconds.
    """

    __slots__ = ("_clock", "_ends", "_queue")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._queue: deque[tuple[float, str]] = deque()

    async def claim(self, key: str, ttl: float) -> bool:
        """See :meth:`SeenStore.claim`."""
        now = self._clock()
        while self._queue and self._queue[0][0] <= now:
            end, old = self._queue.popleft()
            if self._ends.get(old) == end:
                del self._ends[old]
        if self._ends.get(key, now) > now:
            return False
        end = now + ttl
        self._ends[key] = end
        self._queue.append((end, key))
        return True

    async def release(self, key: str) -> None:
        """See :meth:`SeenStore.release`."""
        self._ends.pop(key, None)

    def __len__(self) -> int:
        return len(self._ends)


class Router:
    """Verifies deliveries and hands each event to the functions that asked for its type.

    The keywords are those of :func:`verify`. ``seen`` remembers accepted deliveries for a day (and never shorter than
    ``max_age``); share one between processes. ``wall`` is the time of day in seconds. Wrong keys, and a missing
    package ``cryptography``, fail here and not in a request.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str] = (HIGHLEVEL_ED25519,),
        legacy_keys: Sequence[str] = (),
        max_age: float = MAX_AGE,
        require_timestamp: bool = True,
        max_body: int = MAX_BODY,
        seen: SeenStore | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        for name, value in (("keys", keys), ("legacy_keys", legacy_keys)):
            if isinstance(value, str):
                raise ConfigurationError(name, "must be a sequence of keys, not one text")
        if not keys and not legacy_keys:
            raise ConfigurationError("keys", "is empty; give at least one public key")
        if not max_age > 0:
            raise ConfigurationError("max_age", "must be a positive number of seconds")
        _prepared(keys, legacy_keys)
        self._keys = tuple(keys)
        self._legacy_keys = tuple(legacy_keys)
        self._max_age = max_age
        self._require_timestamp = require_timestamp
        self._max_body = max_body
        self._seen: SeenStore = MemorySeenStore() if seen is None else seen
        # A delivery may be dated max_age ahead, so it stays fresh for twice as long.
        self._retention = max(RETENTION, 2 * max_age)
        self._wall = wall
        self._handlers: list[tuple[type[WebhookEvent] | str, Callable[[Any], Awaitable[None]]]] = []

    @overload
    def on(self, kind: type[E]) -> Callable[[Handler[E]], Handler[E]]: ...
    @overload
    def on(self, kind: str) -> Callable[[Handler[WebhookEvent]], Handler[WebhookEvent]]: ...

    def on(self, kind: Any) -> Callable[[Handler[Any]], Handler[Any]]:
        """Decorate an async function that is to get events of ``kind``.

        A class takes its subclasses along: ``InvoiceEvent`` is all seven, ``WebhookEvent`` everything. A text is the
        event's name on the wire, for events without a class of their own (``"ContactCreate"``).
        """
        if not isinstance(kind, str) and not (isinstance(kind, type) and issubclass(kind, WebhookEvent)):
            raise InvalidRequest("kind", f"{kind!r} is neither an event class nor the name of an event")

        def register(handler: Handler[Any]) -> Handler[Any]:
            self._handlers.append((kind, handler))
            return handler

        return register

    def accept(self, body: bytes, headers: Headers) -> Delivery:
        """:func:`verify` with this router's settings; no handler runs and nothing is remembered."""
        return verify(
            body,
            headers,
            keys=self._keys,
            legacy_keys=self._legacy_keys,
            max_age=self._max_age,
            require_timestamp=self._require_timestamp,
            max_body=self._max_body,
            now=self._wall(),
        )

    async def dispatch(self, body: bytes, headers: Headers, *, event_type: str | None = None) -> WebhookEvent:
        """Verify, read and remember one delivery, and await its handlers one after the other.

        Returns the event, also when nobody asked for it. Raises :class:`WebhookError` before any handler ran; a
        handler's own exception (or a cancellation) goes through, and the delivery is forgotten so that it is
        accepted when it comes again: the handlers before the failing one then run twice. Answer with
        :func:`status_for`. ``event_type`` is as in :func:`parse`.
        """
        delivery = self.accept(body, headers)
        event = parse(delivery.body, event_type=event_type)
        if not await self._seen.claim(delivery.key, self._retention):
            raise DeliveryReplayed(f"the delivery {delivery.key} was accepted before")
        try:
            for handler in self._wanting(event):
                await handler(event)
        except BaseException:
            await self._seen.release(delivery.key)
            raise
        return event

    def _wanting(self, event: WebhookEvent) -> list[Callable[[Any], Awaitable[None]]]:
        return [
            handler
            for kind, handler in self._handlers
            if (kind == event.type if isinstance(kind, str) else isinstance(event, kind))
        ]


def status_for(error: BaseException | None) -> int:
    """The HTTP status to answer a delivery with; None stands for one that was handled.

    HighLevel delivers again only after a 429, and a 500 loses the event (API.md (g) 7): so a handler's failure is
    429, what was handled before is 200, and what nobody could accept is 400, 401 or 413.
    """
    if error is None or isinstance(error, DeliveryReplayed):
        return 200
    if isinstance(error, DeliveryTooLarge):
        return 413
    if isinstance(error, DeliveryUnreadable):
        return 400
    if isinstance(error, WebhookError):
        return 401
    return 429
