"""Promises of the slots about refusals, strangers and the day."""

from __future__ import annotations

import math

import pytest

from hl_async import wire
from hl_async.governor.budget import Budget
from hl_async.governor.daily_quota import DailyQuota
from hl_async.governor.pacing import RELAX_AFTER
from hl_async.governor.policy import GovernorPolicy


def bulk_gap(budget: Budget, now: float) -> float:
    """Seconds between two bulk requests in a row, after the one that catching up allows."""
    assert budget.try_take_bulk(now, now)
    assert budget.try_take_bulk(now, now)
    wait = 0.0
    while not budget.try_take_bulk(now + wait, now):
        wait += 0.0005
    for _ in range(3):
        budget.returned()
    return wait


def warm(**settings: float) -> Budget:
    budget = Budget(GovernorPolicy(reserve=0, **settings))  # type: ignore[arg-type]
    budget.warm = True
    return budget


def test_a_refusal_slows_bulk_down_a_step_and_quiet_time_undoes_it() -> None:
    budget = warm()
    assert bulk_gap(budget, 0.0) == pytest.approx(0.095, abs=0.001)
    assert budget.spacing(0.0) == pytest.approx(0.095)
    budget.pause(1.0, 0.0)
    assert bulk_gap(budget, 20.0) == pytest.approx(0.102, abs=0.001)
    budget.pause(21.0, 0.0)
    budget.pause(21.5, 0.0)  # of the same moment: no further step
    assert bulk_gap(budget, 40.0) == pytest.approx(0.103, abs=0.001)
    quiet = RELAX_AFTER * 10.0 + 1
    assert bulk_gap(budget, 41.0 + quiet) == pytest.approx(0.102, abs=0.001)
    assert bulk_gap(budget, 42.0 + 2 * quiet) == pytest.approx(0.095, abs=0.001)


def test_no_number_of_refusals_slows_bulk_down_by_more_than_a_tenth() -> None:
    budget = warm()
    for n in range(50):
        budget.pause(n * 11.0, 0.0)
    assert bulk_gap(budget, 600.0) <= 0.111


def test_bulk_that_may_burst_is_spread_once_it_was_refused() -> None:
    budget = warm(pace=None)  # type: ignore[arg-type]
    assert bulk_gap(budget, 0.0) == 0.0
    budget.pause(1.0, 0.0)
    assert bulk_gap(budget, 20.0) == pytest.approx(0.102, abs=0.001)


def test_a_slot_that_comes_back_during_a_request_is_not_taken_for_a_strangers() -> None:
    told = {wire.RATE_LIMIT: "10", wire.RATE_INTERVAL_MS: "10000"}
    budget = warm(max=10)
    assert budget.try_take_interactive(0.0)
    budget.answered(0.1, 200, told, budget.expired)
    assert budget.try_take_interactive(10.05)  # the server has the first one in sight until 10.05 + a little
    mark = budget.expired
    budget.free(10.2)  # ... while it comes back here
    budget.answered(10.3, 200, {**told, wire.RATE_REMAINING: "8"}, mark)
    assert budget.external_use(10.3) == 0


# --------------------------------------------------------------------------------------------- the day

NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z


def day_with(
    remaining: int, limit: int = 1000, *, now: float = 0.0, wall: float = NOON, **more: str
) -> DailyQuota:
    day = DailyQuota(0.05)
    tell(day, remaining, limit, now=now, wall=wall, **more)
    return day


def tell(
    day: DailyQuota,
    remaining: int | str,
    limit: int = 1000,
    *,
    now: float = 0.0,
    wall: float = NOON,
    reset: str = "",
) -> None:
    headers = {wire.DAILY_LIMIT: str(limit), wire.DAILY_REMAINING: str(remaining)}
    if reset:
        headers[wire.DAILY_RESET_MS] = reset
    day.note(str(remaining), headers, now, lambda: wall, in_flight=5)


def test_a_spent_day_opens_at_midnight_in_utc() -> None:
    day = day_with(0)
    assert day.is_closed(10.0, NOON + 10, bulk=False)
    assert day.opens_in(0.0, NOON) == 12 * 3600
    assert not day.is_closed(10.0, NOON + 12 * 3600, bulk=False)
    assert not day.is_closed(10.0, NOON + 12 * 3600, bulk=True)


def test_a_reset_header_says_when_the_day_opens_as_a_span_or_as_a_moment() -> None:
    assert day_with(0, reset="60000").opens_in(0.0, NOON) == pytest.approx(60)
    assert day_with(0, reset=str(int((NOON + 90) * 1000))).opens_in(0.0, NOON) == pytest.approx(90)
    for junk in ("soon", "-5", "0", "9" * 14):
        assert day_with(0, reset=junk).opens_in(0.0, NOON) == 12 * 3600


def test_a_later_answer_may_name_the_reset_that_the_first_one_left_out() -> None:
    day = day_with(0)
    tell(day, 0, reset="60000")
    assert day.opens_in(0.0, NOON) == pytest.approx(60)
    tell(day, 0)
    assert day.opens_in(0.0, NOON) == pytest.approx(60)


def test_a_wall_clock_that_jumps_neither_opens_a_day_wrongly_for_long_nor_closes_it_for_years() -> None:
    day = day_with(0, wall=NOON + 20 * 365 * 86_400)
    assert day.is_closed(1.0, NOON, bulk=False)  # the clock was wrong and was put right
    assert not day.is_closed(12 * 3600 + 1.0, NOON, bulk=False)  # the monotonic clock knows better
    day = day_with(0)
    assert not day.is_closed(1.0, NOON + 86_400, bulk=False)
    tell(day, 0, wall=NOON)  # the server says no again: closed again
    assert day.is_closed(2.0, NOON, bulk=False)


def test_a_header_with_a_fresh_budget_opens_the_day_and_an_overtaken_answer_does_not() -> None:
    day = day_with(0)
    tell(day, 3)
    assert day.spent
    tell(day, 900)
    assert not day.spent
    assert not day.low


def test_bulk_leaves_the_reserve_of_the_day_alone() -> None:
    day = day_with(51)
    assert not day.is_closed(0.0, NOON, bulk=True)
    tell(day, 50)
    assert day.is_closed(0.0, NOON, bulk=True)
    assert not day.is_closed(0.0, NOON, bulk=False)
    assert day.opens_in(0.0, NOON) == 12 * 3600
    tell(day, 1000)
    assert not day.is_closed(0.0, NOON, bulk=True)


def test_what_is_no_number_changes_nothing_about_the_day() -> None:
    day = day_with(500)
    for junk in ("", "-1", "many", "9" * 40, "٣"):
        tell(day, junk)
        assert (day.remaining, day.spent, day.low) == (500, False, False)
    unknown = DailyQuota(0.05)
    unknown.note("3", {}, 0.0, lambda: NOON, 0)  # no limit known: nothing to keep back a part of
    assert not unknown.low
    assert not math.isfinite(unknown.opens_in(0.0, NOON))
