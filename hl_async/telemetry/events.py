"""Internal. Events about calls, attempts, waiting and tokens.

They hold no tokens, bodies or query strings.
"""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, tag=True):
    """The root of all events. Durations are in seconds."""


class CallStarted(Event, frozen=True):
    """The start of a call; its attempts and its end carry the same ``call_id``.

    ``path`` is the template, without ids.
    """

    call_id: int
    operation: str
    scope: str
    method: str = ""
    path: str = ""


class AttemptStarted(Event, frozen=True):
    """The start of a call's request, after it was admitted and authorised.

    The first ``attempt`` is 1.
    """

    call_id: int
    operation: str
    attempt: int
    waited: float


class AttemptFinished(Event, frozen=True):
    """The end of one request.

    ``status`` is 0 without an answer, and ``error`` names the failure; ``reason`` then says it in words.
    """

    call_id: int
    operation: str
    attempt: int
    status: int
    elapsed: float
    error: str = ""
    method: str = ""
    host: str = ""
    reason: str = ""


class RetryScheduled(Event, frozen=True):
    """A call waits before its next request."""

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


class BudgetStoreLost(Event, frozen=True):
    """The loss of the store of the shared rate budget.

    Until it can be used again, bulk waits and interactive calls have an eighth of the budget. ``error`` says why.
    """

    error: str


class BudgetStoreBack(Event, frozen=True):
    """The store of the shared rate budget can be used again, after ``away`` seconds."""

    away: float


class ConcurrencyChanged(Event, frozen=True):
    """The limit of bulk requests in flight changed."""

    limit: int
    in_flight: int


class TokenRefreshed(Event, frozen=True):
    """The tokens of ``key`` were renewed; ``background`` when no call waited for it."""

    key: str
    elapsed: float
    background: bool


class TokenRefreshFailed(Event, frozen=True):
    """The tokens of ``key`` could not be renewed; ``error`` names why."""

    key: str
    error: str
    background: bool
