"""Whether a failed attempt is tried again, and when: pure functions of the error and the operation.

The rules, by what sending the request twice would do (``Replay``):

* safe and idempotent operations are tried again after connection errors, timeouts, truncated or malformed
  answers, 408 and 5xx;
* unsafe ones only when the request provably was not executed: the connection never stood, or 429. Anything
  else that hides the outcome becomes :class:`~hl_async.errors.OutcomeUnknown`;
* a 401 that means "token bad" asks for other credentials, once per call. A 401 of an unknown message does so too, but
  an unsafe request is not sent again after it: what the message means for the operation is unknown;
* ``Retry-After`` is obeyed in full or the call fails; it is never shortened.

Backoff is exponential with full jitter. A client-wide budget keeps an outage from being amplified: every
call adds 0.19 of a retry, every retry takes one, so that the load stays below 1.2 times the calls.
429s and renewed authorisation don't draw on it: the governor owns the former, the latter happens once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

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

# Repeating can't help: a redirect, a refused certificate, an oversized or oddly encoded body stay what they are
_LASTING: Final = frozenset((WireKind.REDIRECT, WireKind.TLS, WireKind.TOO_LARGE, WireKind.ENCODING))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently. Durations in seconds.

    ``max_attempts`` counts requests, the first included; 429s are counted apart, up to ``max_throttles``.
    The n-th pause is random between 0 and ``min(base * 2 ** (n - 1), cap)``. A ``Retry-After`` above
    ``max_retry_after`` fails the call at once.
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
        """One attempt per call, whatever happens; 429s fail too."""
        return cls(max_attempts=1, max_throttles=1)


class RetryBudget:
    """How many retries the whole client may still make; plain numbers, no clock."""

    __slots__ = ("_cap", "_ratio", "balance")

    def __init__(self, policy: RetryPolicy) -> None:
        self._ratio = policy.budget_ratio
        self._cap = max(policy.budget_cap, policy.budget_float)
        self.balance = policy.budget_float

    def call_started(self) -> None:
        """A call's first attempt: a fraction of a retry is earned."""
        balance = self.balance + self._ratio
        self.balance = balance if balance < self._cap else self._cap

    def try_spend(self) -> bool:
        """Take one retry, if there is one."""
        if self.balance < 1:
            return False
        self.balance -= 1
        return True

    def __repr__(self) -> str:
        return f"<RetryBudget {self.balance:.1f} of {self._cap:g}>"


class Verdict(Enum):
    """What to do about a failed attempt."""

    RETRY = "retry"
    REAUTHORISE = "reauthorise"
    """Get another token and try again."""
    RENEW = "renew"
    """Get another token for the calls to come, and fail."""
    FAIL = "fail"
    UNKNOWN = "unknown"
    """Fail, and say that the operation may have been executed."""


class Decision(NamedTuple):
    """``delay`` is in seconds, counted from the decision; ``reason`` is for events."""

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
    """Decide about ``error``, the outcome of the ``attempt``-th request of a call (from 1, 429s not counted).

    ``throttles`` counts the call's 429s, this one included. Draws on ``budget`` when it says RETRY for
    anything but a 429. Never raises.
    """
    reason = type(error).__name__
    if isinstance(error, RateLimited):
        return _throttled(error, throttles, policy)
    if isinstance(error, ApiError) and not reauthorised:
        token = token_verdict(error)
        if token is TokenVerdict.UNCERTAIN and replay is Replay.UNSAFE:
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
    if isinstance(error, DecodeError):
        return Decision(Verdict.FAIL, 0.0, reason)
    if attempt >= max_attempts:
        return Decision(Verdict.FAIL, 0.0, f"{reason}, attempts used up")
    asked = error.retry_after if isinstance(error, ApiError) else None
    if asked is not None and asked > policy.max_retry_after:
        return Decision(Verdict.FAIL, 0.0, f"Retry-After of {asked:.0f} s is too long")
    if not budget.try_spend():
        return Decision(Verdict.FAIL, 0.0, f"{reason}, retry budget spent")
    return Decision(Verdict.RETRY, max(asked or 0.0, backoff(attempt, policy, random)), reason)


def backoff(attempt: int, policy: RetryPolicy, random: Callable[[], float]) -> float:
    """Seconds to pause after the ``attempt``-th request: full jitter below an exponential ceiling."""
    ceiling: float = min(policy.base * 2.0 ** min(attempt - 1, 60), policy.cap)
    return random() * ceiling


def _throttled(error: RateLimited, throttles: int, policy: RetryPolicy) -> Decision:
    asked = error.retry_after or 0.0
    if throttles >= policy.max_throttles:
        return Decision(Verdict.FAIL, 0.0, "refused by the rate limit again and again")
    if asked > policy.max_retry_after:
        return Decision(Verdict.FAIL, 0.0, f"Retry-After of {asked:.0f} s is too long")
    # no pause here: the governor has emptied the scope and admits nobody before it may
    return Decision(Verdict.RETRY, 0.0, "rate limit")


def _hides_outcome(error: CallError) -> bool:
    """Whether the error leaves open if the server executed the request; other answers are final."""
    if isinstance(error, WireError):
        # a redirect is an answer: the operation was not executed there
        return error.kind is not WireKind.REDIRECT
    if isinstance(error, ServerError | DecodeError):
        return True
    return isinstance(error, ApiError) and error.status == _REQUEST_TIMEOUT
