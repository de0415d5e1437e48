"""Internal. Dispatches each delivery once, and chooses the HTTP status."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar, overload

from hl_async.errors import (
    ConfigurationError,
    DeliveryReplayed,
    DeliveryTooLarge,
    DeliveryUnreadable,
    InvalidRequest,
    WebhookError,
)
from hl_async.models.webhooks import WebhookEvent
from hl_async.webhooks.reading import parse
from hl_async.webhooks.signatures import HIGHLEVEL_ED25519, Headers, prepare
from hl_async.webhooks.verification import MAX_AGE, MAX_BODY, Delivery, verify

RETENTION: Final = 4 * 86_400.0
"""Seconds for which accepted deliveries are remembered. HighLevel repeats them for up to three days
(docs/api-facts.md#api-webhook-delivery)."""

E = TypeVar("E", bound=WebhookEvent)
Handler = Callable[[E], Awaitable[None]]


class SeenStore(Protocol):
    """A memory of accepted deliveries, for one process or several.

    ``SET key 1 NX EX ttl`` in Redis and ``INSERT … ON CONFLICT`` in SQL implement it.
    """

    async def claim(self, key: str, ttl: float) -> bool:
        """Remember ``key`` for ``ttl`` seconds, atomically; return False if it is known."""
        ...

    async def release(self, key: str) -> None:
        """Forget ``key``, because its delivery was not handled and may be repeated."""
        ...


class MemorySeenStore:
    """A memory of deliveries within one process.

    A key takes about 200 bytes until it expires. ``clock`` is monotonic, in seconds.
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
            # A released key may have been claimed again, with a later end.
            if self._ends.get(old) == end:
                del self._ends[old]
        # Keys with different lifetimes may expire out of order, so an expired one can still be in the dictionary.
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
    """Verifies deliveries and dispatches each event to the handlers of its type.

    Args:
        keys: Ed25519 public keys, as in :func:`verify`.
        legacy_keys: RSA public keys, as in :func:`verify`.
        max_age: Most seconds by which a timestamp may differ from the clock.
        require_timestamp: Refuse deliveries without a timestamp.
        max_body: Largest body in bytes.
        seen: Remembers accepted deliveries for four days, or twice ``max_age`` if that is longer. Processes that
            receive the same deliveries need a common one. By default it is a :class:`MemorySeenStore`.
        wall: Reads the epoch time in seconds.

    Raises:
        ConfigurationError: A setting or a key is not valid, or the package ``cryptography`` is missing.
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
            # Text is a sequence of characters too: each would be taken for a key.
            if isinstance(value, str):
                raise ConfigurationError(name, "must be a sequence of keys, not one text")
        if not keys and not legacy_keys:
            raise ConfigurationError("keys", "is empty; give at least one public key")
        if not max_age > 0:
            raise ConfigurationError("max_age", "must be a positive number of seconds")
        # An invalid key fails at start-up, not at the first delivery.
        prepare(keys, legacy_keys)
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
        """Decorate an async handler of events of ``kind``.

        Args:
            kind: An event class, or the event's name on the wire for events without a class (``"ContactCreate"``). A
                class includes its subclasses: ``InvoiceEvent`` is all seven, ``WebhookEvent`` every event.

        Returns:
            The decorator. It returns the handler unchanged.

        Raises:
            InvalidRequest: ``kind`` is neither.
        """
        if not isinstance(kind, str) and not (isinstance(kind, type) and issubclass(kind, WebhookEvent)):
            raise InvalidRequest("kind", f"{kind!r} is neither an event class nor the name of an event")

        def register(handler: Handler[Any]) -> Handler[Any]:
            self._handlers.append((kind, handler))
            return handler

        return register

    def accept(self, body: bytes, headers: Headers) -> Delivery:
        """Verify a delivery with this router's settings; see :func:`verify`.

        No handler runs, and the delivery is not remembered.
        """
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
        """Verify, decode and remember one delivery, then await its handlers in turn.

        If a handler raises or is cancelled, the delivery is forgotten, so that its repetition is accepted. The
        handlers before the failing one then run twice. The handler's exception is raised unchanged.
        :func:`status_for` returns the status to answer with.

        Args:
            body: The raw body.
            headers: The request's headers.
            event_type: Name of the event, as in :func:`parse`.

        Returns:
            The event, even without a handler for it.

        Raises:
            WebhookError: The delivery was not accepted. No handler ran.
            InvalidRequest: The body is not bytes, or the headers have an unknown form.
        """
        delivery = self.accept(body, headers)
        # Before the claim: a body that cannot be read must not be remembered as handled.
        event = parse(delivery.body, event_type=event_type)
        # Claimed before the handlers run, so that a repetition which arrives meanwhile is refused.
        if not await self._seen.claim(delivery.key, self._retention):
            raise DeliveryReplayed(f"the delivery {delivery.key} was accepted before")
        try:
            # In turn: a handler may rely on those that were registered before it.
            for handler in self._wanting(event):
                await handler(event)
        # BaseException: a cancelled handler has not handled the event either.
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
    """Return the HTTP status to answer a delivery with.

    Args:
        error: The exception of :meth:`Router.dispatch`, None if it returned.

    Returns:
        200 for a delivery that was handled, now or before. 429 after a failed handler, because HighLevel repeats
        deliveries after a 429 (docs/api-facts.md#api-webhook-delivery). 400, 401 or 413 for one that can never be
        accepted.
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
