"""Promises of the retry decision: pure functions, no clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async.errors import (
    ApiError,
    AttemptTimeout,
    BadRequest,
    CallError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    DecodeError,
    RateLimited,
    ResponseTooLarge,
    ScopeMissing,
    ServerError,
    Unauthorized,
    WireError,
    WireKind,
)
from hl_async.operations import Replay
from hl_async.transport.retry import Decision, RetryBudget, RetryPolicy, Verdict, backoff, decide

POLICY = RetryPolicy()


def verdict_of(error: CallError, replay: Replay, **facts: Any) -> Decision:
    values: dict[str, Any] = {
        "attempt": 1,
        "throttles": 0,
        "reauthorised": False,
        "max_attempts": POLICY.max_attempts,
        "policy": POLICY,
        "budget": RetryBudget(POLICY),
        "random": lambda: 0.5,
        **facts,
    }
    return decide(error, replay, **values)


LOST = ConnectionLost("lost", kind=WireKind.DISCONNECTED, sent=True)
NEVER_SENT = ConnectFailed("refused", kind=WireKind.CONNECT, sent=False)
LATE = AttemptTimeout("late", kind=WireKind.TIMEOUT, sent=True)
GATEWAY = ServerError("502", status=502)
BUSY = ApiError("408", status=408)
THROTTLED = RateLimited("429", status=429)


@pytest.mark.parametrize("error", [LOST, LATE, GATEWAY, BUSY, NEVER_SENT])
@pytest.mark.parametrize("replay", [Replay.SAFE, Replay.IDEMPOTENT])
def test_what_may_be_repeated_is_tried_again_after_a_transient_failure(
    error: CallError, replay: Replay
) -> None:
    assert verdict_of(error, replay).verdict is Verdict.RETRY


@pytest.mark.parametrize("error", [LOST, LATE, GATEWAY, BUSY, DecodeError("cut")])
def test_an_unsafe_operation_whose_outcome_is_hidden_is_never_repeated(error: CallError) -> None:
    assert verdict_of(error, Replay.UNSAFE).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("error", [NEVER_SENT, THROTTLED])
def test_an_unsafe_operation_that_was_not_executed_is_tried_again(error: CallError) -> None:
    assert verdict_of(error, Replay.UNSAFE).verdict is Verdict.RETRY


@pytest.mark.parametrize("replay", list(Replay))
def test_answers_that_say_no_are_final(replay: Replay) -> None:
    assert verdict_of(BadRequest("400", status=400), replay).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailed("tls", kind=WireKind.TLS, sent=False),
        WireError("elsewhere", kind=WireKind.REDIRECT, sent=True),
        ResponseTooLarge("big", kind=WireKind.TOO_LARGE, sent=True),
        WireError("brotli", kind=WireKind.ENCODING, sent=True),
        DecodeError("shape"),
    ],
)
def test_failures_that_repeat_themselves_are_not_repeated(error: CallError) -> None:
    assert verdict_of(error, Replay.SAFE).verdict is Verdict.FAIL


def test_a_redirect_of_an_unsafe_operation_is_a_plain_failure() -> None:
    error = WireError("elsewhere", kind=WireKind.REDIRECT, sent=True)
    assert verdict_of(error, Replay.UNSAFE).verdict is Verdict.FAIL


def test_a_bad_token_is_renewed_once_per_call() -> None:
    error = Unauthorized("401", status=401, messages=["Invalid JWT"])
    assert verdict_of(error, Replay.UNSAFE).verdict is Verdict.REAUTHORISE
    assert verdict_of(error, Replay.UNSAFE, reauthorised=True).verdict is Verdict.FAIL


def test_a_missing_scope_never_renews_a_token() -> None:
    assert verdict_of(ScopeMissing("401", status=401), Replay.SAFE).verdict is Verdict.FAIL


def test_a_refused_private_token_is_not_renewed() -> None:
    error = Unauthorized("401", status=401, messages=["Invalid Private Integration token"])
    assert verdict_of(error, Replay.SAFE).verdict is Verdict.FAIL


def test_attempts_are_used_up() -> None:
    assert verdict_of(LOST, Replay.SAFE, attempt=POLICY.max_attempts).verdict is Verdict.FAIL


def test_retry_after_is_obeyed_in_full() -> None:
    error = ServerError("503", status=503, retry_after=17.0)
    assert verdict_of(error, Replay.SAFE).delay >= 17.0


def test_an_absurd_retry_after_fails_at_once() -> None:
    assert (
        verdict_of(ServerError("503", status=503, retry_after=86_400.0), Replay.SAFE).verdict is Verdict.FAIL
    )
    assert (
        verdict_of(RateLimited("429", status=429, retry_after=86_400.0), Replay.SAFE).verdict is Verdict.FAIL
    )


def test_endless_429s_end_the_call() -> None:
    assert verdict_of(THROTTLED, Replay.SAFE, throttles=POLICY.max_throttles).verdict is Verdict.FAIL


def test_429s_do_not_draw_on_the_retry_budget() -> None:
    budget = RetryBudget(POLICY)
    before = budget.balance
    verdict_of(THROTTLED, Replay.SAFE, budget=budget)
    assert budget.balance == before


def test_no_policy_at_all_means_one_attempt() -> None:
    policy = RetryPolicy.none()
    assert (
        verdict_of(LOST, Replay.SAFE, policy=policy, max_attempts=policy.max_attempts).verdict is Verdict.FAIL
    )
    assert verdict_of(THROTTLED, Replay.SAFE, policy=policy, throttles=1).verdict is Verdict.FAIL


def test_a_total_outage_is_amplified_by_less_than_a_fifth() -> None:
    budget = RetryBudget(POLICY)
    budget.balance = POLICY.budget_cap  # the worst start: a long time of success before
    calls = requests = 0
    while calls < 10_000:
        calls += 1
        budget.call_started()
        attempt = 1
        requests += 1
        while verdict_of(LOST, Replay.SAFE, attempt=attempt, budget=budget).verdict is Verdict.RETRY:
            attempt += 1
            requests += 1
    assert requests / calls < 1.2


def test_at_a_tenth_of_failures_nearly_every_call_is_cured() -> None:
    import random

    dice = random.Random(7)
    budget = RetryBudget(POLICY)
    failed = 0
    for _ in range(20_000):
        budget.call_started()
        attempt = 1
        while dice.random() < 0.1:
            if verdict_of(LOST, Replay.SAFE, attempt=attempt, budget=budget).verdict is not Verdict.RETRY:
                failed += 1
                break
            attempt += 1
    assert failed / 20_000 <= 0.001


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(st.booleans(), max_size=300))
def test_the_budget_stays_within_its_bounds_for_any_history(history: list[bool]) -> None:
    budget = RetryBudget(POLICY)
    for starts in history:
        if starts:
            budget.call_started()
        else:
            budget.try_spend()
        assert 0 <= budget.balance <= POLICY.budget_cap


@settings(deadline=None, max_examples=200, derandomize=True)
@given(attempt=st.integers(1, 10_000), dice=st.floats(0, 1))
def test_backoff_has_full_jitter_below_its_cap(attempt: int, dice: float) -> None:
    assert (
        0 <= backoff(attempt, POLICY, lambda: dice) <= min(POLICY.base * 2.0 ** min(attempt, 60), POLICY.cap)
    )


@pytest.mark.parametrize(
    ("name", "value"), [("max_attempts", 0), ("max_throttles", 0), ("base", -1.0), ("cap", float("inf"))]
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        RetryPolicy(**{name: value})  # type: ignore[arg-type]


def test_the_budget_shows_its_balance() -> None:
    assert "10.0 of 40" in repr(RetryBudget(POLICY))
