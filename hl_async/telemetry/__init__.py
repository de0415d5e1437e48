"""Events about calls, attempts, waiting and tokens, and the observers that receive them.

Nothing is built when nobody listens: the senders test :attr:`Telemetry.active` first. Events never hold tokens, request
bodies or query strings. ``hl_async.telemetry.otel`` has an observer for OpenTelemetry (extra ``otel``).
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
from hl_async.telemetry.logs import LoggingObserver
from hl_async.telemetry.observing import Observer, Telemetry, logger

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
