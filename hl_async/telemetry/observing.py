"""Who is told: the protocol of observers, and the hub that hands them events."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

from hl_async.telemetry.events import Event

logger: Final = logging.getLogger("hl_async")


@runtime_checkable
class Observer(Protocol):
    """Receives every event, synchronously, in the event loop: return quickly, never block."""

    def on_event(self, event: Event) -> None: ...


class Telemetry:
    """Hands events to observers; one that raises is logged once and dropped."""

    __slots__ = ("_observers", "active")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = list(observers)
        self.active: bool = bool(self._observers)

    def emit(self, event: Event) -> None:
        """Deliver ``event``; never raises."""
        for observer in tuple(self._observers):
            try:
                observer.on_event(event)
            except Exception:
                self._observers.remove(observer)
                self.active = bool(self._observers)
                logger.exception("observer %s raised and was dropped", type(observer).__name__)
