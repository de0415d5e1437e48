"""Internal. Events about calls, attempts, waiting and tokens.

They hold no tokens, bodies or query strings.
"""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, tag=True):
    """The root of all events. Durations are in seconds."""


class CallStarted(Event, frozen=True):
    """The start of a call; its attempts and its end carry the same ``call_id``.

    ``scope`` is the id of the location or company. ``path`` is the template, without ids.
    """

    call_id: int
    operation: str
    scope: str
    method: str = ""
    path: str = ""


class AttemptStarted(Event, frozen=True):
    """The start of a call's request, after it was admitted and authorised.

    The first ``attempt`` is 1. ``waited`` is the time since the start of the call, earlier attempts included.
    """

    call_id: int
    operation: str
    attempt: int
    waited: float


class AttemptFinished(Event, frozen=True):
    """The end of one request.

    ``status`` is 0 and ``elapsed`` 0.0 if no answer arrived. ``error`` is the name of the exception, empty after a
    success. ``reason`` describes a failure without an answer.
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
    """A call sends another request, after ``delay`` seconds and the wait for a slot.

    ``attempt`` is the number of the failed request, and ``reason`` says why it is repeated.
    """

    call_id: int
    operation: str
    attempt: int
    delay: float
    reason: str


class CallFinished(Event, frozen=True):
    """The end of a call.

    ``outcome`` is ``ok`` or the name of the exception that it raised. ``attempts`` counts its requests. ``elapsed`` is
    the time since its start.
    """

    call_id: int
    operation: str
    scope: str
    attempts: int
    elapsed: float
    outcome: str


class RateLimitLearned(Event, frozen=True):
    """The server's headers changed the rate budget to ``max`` per ``interval``."""

    scope: str
    max: int
    interval: float


class Throttled(Event, frozen=True):
    """The server answered 429; the scope pauses for ``pause`` seconds."""

    scope: str
    pause: float


class BudgetStoreLost(Event, frozen=True):
    """The store of the shared rate budget cannot be used; ``error`` says why.

    Until it can be used again, bulk waits, and interactive calls of each process have an eighth of the budget.
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
    """The tokens of ``key``, a location or company, were renewed.

    ``background`` is true if the renewal began before the old token expired, without a waiting call.
    """

    key: str
    elapsed: float
    background: bool


class TokenRefreshFailed(Event, frozen=True):
    """The tokens of ``key`` could not be renewed. ``error`` is the exception's name."""

    key: str
    error: str
    background: bool
