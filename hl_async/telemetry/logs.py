"""Events as log records."""

from __future__ import annotations

import logging

import msgspec

from hl_async.telemetry.events import (
    BudgetStoreLost,
    Event,
    RetryScheduled,
    Throttled,
    TokenRefreshFailed,
)
from hl_async.telemetry.observing import logger


class LoggingObserver:
    """Writes events to the ``hl_async`` logger: attempts at DEBUG, retries and throttles at WARNING."""

    def __init__(self, to: logging.Logger = logger) -> None:
        self._logger = to

    def on_event(self, event: Event) -> None:
        loud = isinstance(event, RetryScheduled | Throttled | TokenRefreshFailed | BudgetStoreLost)
        level = logging.WARNING if loud else logging.DEBUG
        if self._logger.isEnabledFor(level):
            fields = msgspec.structs.asdict(event)
            text = " ".join(f"{name}={value}" for name, value in fields.items())
            self._logger.log(level, "%s %s", type(event).__name__, text, extra={"hl_event": event})
