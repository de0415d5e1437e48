"""Events about calls, attempts, waiting and tokens, and the observers that receive them.

Nothing is built when nobody listens: the senders test :attr:`Telemetry.active` first. Events never hold
tokens, request bodies or query strings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

import msgspec

logger: Final = logging.getLogger("hl_async")


class Event(msgspec.Struct, frozen=True, tag=True):
    """The root of all events. Durations are in seconds."""


class CallStarted(Event, frozen=True):
    call_id: int
    operation: str
    scope: str


class AttemptStarted(Event, frozen=True):
    call_id: int
    operation: str
    attempt: int
    waited: float


class AttemptFinished(Event, frozen=True):
    """One request's end: ``status`` is 0 when no answer came, ``error`` then names what went wrong."""

    call_id: int
    operation: str
    attempt: int
    status: int
    elapsed: float
    error: str = ""
    method: str = ""
    host: str = ""


class RetryScheduled(Event, frozen=True):
    call_id: int
    operation: str
    attempt: int
    delay: float
    reason: str


class CallFinished(Event, frozen=True):
    """``outcome`` is ``ok`` or the name of the exception the caller saw."""

    call_id: int
    operation: str
    scope: str
    attempts: int
    elapsed: float
    outcome: str


class RateLimitLearned(Event, frozen=True):
    """The server named another budget than the one in use."""

    scope: str
    max: int
    interval: float


class Throttled(Event, frozen=True):
    """The server answered 429; the scope pauses for ``pause`` seconds."""

    scope: str
    pause: float


class ConcurrencyChanged(Event, frozen=True):
    limit: int
    in_flight: int


class TokenRefreshed(Event, frozen=True):
    key: str
    elapsed: float
    background: bool


class TokenRefreshFailed(Event, frozen=True):
    key: str
    error: str
    background: bool


@runtime_checkable
class Observer(Protocol):
    """Receives every event, synchronously, in the event loop: return quickly, never block."""

    def on_event(self, event: Event) -> None: ...


class Telemetry:
    """Hands events to observers; one that raises is logged once and dropped."""

    __slots__ = ("_observers", "active")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)
        self.active = bool(self._observers)

    def emit(self, event: Event) -> None:
        """Deliver ``event``; never raises."""
        for observer in tuple(self._observers):
            try:
                observer.on_event(event)
            except Exception:
                self._observers.remove(observer)
                self.active = bool(self._observers)
                logger.exception("observer %s raised and was dropped", type(observer).__name__)


class LoggingObserver:
    """Writes events to the ``hl_async`` logger: attempts at DEBUG, retries and throttles at WARNING."""

    def __init__(self, to: logging.Logger = logger) -> None:
        self._logger = to

    def on_event(self, event: Event) -> None:
        loud = isinstance(event, RetryScheduled | Throttled | TokenRefreshFailed)
        level = logging.WARNING if loud else logging.DEBUG
        if self._logger.isEnabledFor(level):
            fields = msgspec.structs.asdict(event)
            text = " ".join(f"{name}={value}" for name, value in fields.items())
            self._logger.log(level, "%s %s", type(event).__name__, text, extra={"hl_event": event})
