"""Events about calls, attempts, waiting and tokens, and their observers.

Events of calls are built only for an observer, or for the log at DEBUG: senders ask :meth:`Telemetry.wants_calls`
first. Events never hold tokens, request bodies or query strings. ``hl_async.telemetry.otel`` has an observer for
OpenTelemetry (extra ``otel``).
"""

from __future__ import annotations

from hl_async.telemetry.events import (
    AttemptFinished,
    AttemptStarted,
    BudgetStoreBack,
    BudgetStoreLost,
    CallFinished,
    CallStarted,
    ConcurrencyChanged,
    Event,
    RateLimitLearned,
    RetryScheduled,
    Throttled,
    TokenRefreshed,
    TokenRefreshFailed,
)
from hl_async.telemetry.logs import LoggingObserver, logger
from hl_async.telemetry.observing import Observer, Telemetry

__all__ = [
    "AttemptFinished",
    "AttemptStarted",
    "BudgetStoreBack",
    "BudgetStoreLost",
    "CallFinished",
    "CallStarted",
    "ConcurrencyChanged",
    "Event",
    "LoggingObserver",
    "Observer",
    "RateLimitLearned",
    "RetryScheduled",
    "Telemetry",
    "Throttled",
    "TokenRefreshFailed",
    "TokenRefreshed",
    "logger",
]
