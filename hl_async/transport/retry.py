"""Internal. Decides whether and when a failed attempt is retried.

Pure functions of the error and the operation. The rules depend on the effect of sending the request twice
(``Replay``):

* Safe and idempotent operations are retried after connection errors, timeouts, truncated or malformed answers, 408 and
  5xx.
* Unsafe operations are retried only if the request provably was not executed: no connection was made, or 429. Any
  other failure without a known outcome becomes :class:`~hl_async.errors.OutcomeUnknown`.
* A 401 about a bad token renews the token, once per call. A 401 with an unknown message renews it too, but an unsafe
  request is not sent again, because it may have been executed.
* ``Retry-After`` is obeyed in full, or the call fails. It is never shortened.

Backoff is exponential with full jitter. A client-wide budget keeps retries from amplifying an outage: each call adds
0.19 of a retry and each retry takes one, so the load stays below 1.2 times the calls. 429s and renewed tokens do not
draw on it: the governor paces the former, and the latter happen once per call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from hl_async.errors import (
    ApiError,
    CallError,
    ConfigurationError,
    DecodeError,
    RateLimited,
    ServerError,
    WireError,
    WireKind,
)
from hl_async.operations import Replay
from hl_async.transport.responses import TokenVerdict, token_verdict

_REQUEST_TIMEOUT: Final = 408

# A retry cannot help: redirects, refused certificates, oversized bodies and unknown encodings stay the same.
_LASTING: Final = frozenset((WireKind.REDIRECT, WireKind.TLS, WireKind.TOO_LARGE, WireKind.ENCODING))


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Rules for retries. Durations are seconds.

    Attributes:
        max_attempts: Requests per call, the first included and 429s excluded.
        base: The n-th pause is random between 0 and ``min(base * 2 ** (n - 1), cap)``.
        cap: Upper limit of a pause.
        max_retry_after: A longer ``Retry-After`` fails the call at once.
        max_throttles: The 429 of a call at which it fails, counted from 1.
        budget_ratio: Retries that each call adds to the client's budget.
        budget_float: Retries in the budget at the start.
        budget_cap: Most retries that the budget holds.

    Raises:
        ConfigurationError: A value is out of range.
    """

    max_attempts: int = 4
    base: float = 0.5
    cap: float = 20.0
    max_retry_after: float = 3600.0
    max_throttles: int = 20
    budget_ratio: float = 0.19
    budget_float: float = 10.0
    budget_cap: float = 40.0

    def __post_init__(self) -> None:
        for name in ("max_attempts", "max_throttles"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"retry.{name}", f"{getattr(self, name)} is below 1")
        for name in ("base", "cap", "max_retry_after", "budget_ratio", "budget_float", "budget_cap"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigurationError(f"retry.{name}", f"{value!r} is not a finite number from 0")

    @classmethod
    def none(cls) -> RetryPolicy:
        """Return rules with one attempt per call, even after a 429."""
        return cls(max_attempts=1, max_throttles=1)


class RetryBudget:
    """The retries that the whole client may still make, earned by its calls."""

    __slots__ = ("_cap", "_ratio", "balance")

    def __init__(self, policy: RetryPolicy) -> None:
        self._ratio = policy.budget_ratio
        self._cap = max(policy.budget_cap, policy.budget_float)
        self.balance: float = policy.budget_float

    def call_started(self) -> None:
        """Add the fraction of a retry that each call earns."""
        balance = self.balance + self._ratio
        self.balance = balance if balance < self._cap else self._cap

    def try_spend(self) -> bool:
        """Take one retry, or return False if the budget is used up."""
        if self.balance < 1:
            return False
        self.balance -= 1
        return True

    def __repr__(self) -> str:
        return f"<RetryBudget {self.balance:.1f} of {self._cap:g}>"


class Verdict(Enum):
    """The next step after a failed attempt."""

    RETRY = "retry"
    REAUTHORISE = "reauthorise"
    """Get another token and try again."""
    RENEW = "renew"
    """Get another token for later calls, and fail."""
    FAIL = "fail"
    """Raise the error of the attempt."""
    UNKNOWN = "unknown"
    """Fail, and say that the operation may have been executed."""


class Decision(NamedTuple):
    """A verdict with its delay in seconds from now. ``reason`` is for events."""

    verdict: Verdict
    delay: float
    reason: str


def decide(
    error: CallError,
    replay: Replay,
    *,
    attempt: int,
    throttles: int,
    reauthorised: bool,
    max_attempts: int,
    policy: RetryPolicy,
    budget: RetryBudget,
    random: Callable[[], float],
) -> Decision:
    """Decide the step after ``error``. Never raises.

    A retry takes one from ``budget``, except after a 429.

    Args:
        error: The failure of the last attempt.
        replay: The effect of sending the request twice.
        attempt: Number of the attempt from 1, without 429s.
        throttles: 429s of this call, the present one included.
        reauthorised: The call has renewed its token already.
        max_attempts: Attempts of this call.
        policy: The rules.
        budget: The client's retry budget.
        random: Returns random numbers from [0, 1).
    """
    reason = type(error).__name__
    if isinstance(error, RateLimited):
        return _throttled(error, throttles, policy)
    if isinstance(error, ApiError) and not reauthorised:
        token = token_verdict(error)
        if token is TokenVerdict.UNCERTAIN and replay is Replay.UNSAFE:
            # The request may have been executed, so it is not sent again. A new token helps later calls only.
            return Decision(Verdict.RENEW, 0.0, "a 401 of an unknown message")
        if token is not TokenVerdict.GOOD:
            return Decision(Verdict.REAUTHORISE, 0.0, "the token was refused")
    if not _hides_outcome(error):
        return Decision(Verdict.FAIL, 0.0, reason)
    never_sent = isinstance(error, WireError) and not error.sent
    if replay is Replay.UNSAFE and not never_sent:
        return Decision(Verdict.UNKNOWN, 0.0, reason)
    if isinstance(error, WireError) and error.kind in _LASTING:
        return Decision(Verdict.FAIL, 0.0, reason)
    # A document that does not decode stays the same at the next attempt.
    if isinstance(error, DecodeError):
        return Decision(Verdict.FAIL, 0.0, reason)
    if attempt >= max_attempts:
        return Decision(Verdict.FAIL, 0.0, f"{reason}, attempts used up")
    asked = error.retry_after if isinstance(error, ApiError) else None
    if asked is not None and asked > policy.max_retry_after:
        return Decision(Verdict.FAIL, 0.0, f"Retry-After of {asked:.0f} s is too long")
    # Spent last, so that an attempt which another rule refuses costs nothing.
    if not budget.try_spend():
        return Decision(Verdict.FAIL, 0.0, f"{reason}, retry budget spent")
    return Decision(Verdict.RETRY, max(asked or 0.0, backoff(attempt, policy, random)), reason)


def backoff(attempt: int, policy: RetryPolicy, random: Callable[[], float]) -> float:
    """Return the pause in seconds after the ``attempt``-th request.

    It has full jitter below an exponential ceiling.
    """
    ceiling: float = min(policy.base * 2.0 ** min(attempt - 1, 60), policy.cap)
    return random() * ceiling


def _throttled(error: RateLimited, throttles: int, policy: RetryPolicy) -> Decision:
    asked = error.retry_after or 0.0
    if throttles >= policy.max_throttles:
        return Decision(Verdict.FAIL, 0.0, f"refused by the rate limit {throttles} times")
    if asked > policy.max_retry_after:
        return Decision(Verdict.FAIL, 0.0, f"Retry-After of {asked:.0f} s is too long")
    # No pause is needed here: the governor admits no call of the scope before the time in Retry-After has passed.
    return Decision(Verdict.RETRY, 0.0, "rate limit")


def _hides_outcome(error: CallError) -> bool:
    """Return whether the error does not tell if the server executed the request.

    Other errors are final. A connection that failed belongs here too; ``decide`` looks at ``sent``.
    """
    if isinstance(error, WireError):
        # A redirect is an answer: the operation was not executed.
        return error.kind is not WireKind.REDIRECT
    if isinstance(error, ServerError | DecodeError):
        return True
    return isinstance(error, ApiError) and error.status == _REQUEST_TIMEOUT
