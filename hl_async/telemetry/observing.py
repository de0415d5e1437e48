"""Internal. The protocol of observers, and the distributor of events."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from hl_async.telemetry.events import Event
from hl_async.telemetry.logs import LoggingObserver, logger, write


@runtime_checkable
class Observer(Protocol):
    """A receiver of every event, called synchronously in the event loop.

    It must return quickly and never block.
    """

    def on_event(self, event: Event) -> None: ...


class Telemetry:
    """A distributor of events to observers and to the log.

    An observer that raises is logged once and dropped.
    """

    __slots__ = ("_observers", "_writes", "active")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)
        self.active: bool = bool(self._observers)
        # A LoggingObserver of our own logger would write each line a second time.
        self._writes = not any(
            isinstance(one, LoggingObserver) and one.logger is logger for one in self._observers
        )

    def wants_calls(self) -> bool:
        """Return whether an observer, or the log at DEBUG, takes events about calls."""
        return self.active or logger.isEnabledFor(logging.DEBUG)

    def emit(self, event: Event) -> None:
        """Deliver ``event``; never raises."""
        if self._writes:
            write(event)
        # A copy, because an observer that raises is removed during the loop.
        for observer in tuple(self._observers):
            try:
                observer.on_event(event)
            except Exception:  # noqa: BLE001 - an observer may raise anything
                self._observers.remove(observer)
                self.active = bool(self._observers)
                logger.exception("observer %s raised and was dropped", type(observer).__name__)
