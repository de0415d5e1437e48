"""The rules of pace, margin and brake that a budget of one process and a shared one apply."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_async.governor import pacing


def test_one_foreign_request_is_noise_and_a_stream_of_them_costs_a_margin() -> None:
    assert [pacing.margin(use, 1.0) for use in (0, 1, 2, 9, 100)] == [0, 0, 3, 4, 11]


def test_bulk_without_a_pace_bursts_until_a_429_slows_it_down() -> None:
    assert pacing.gap(None, 10.0, 100, 0) == 0.0
    assert pacing.gap(None, 10.0, 100, 1) == pytest.approx(0.102)
    assert pacing.gap(0.95, 10.0, 100, 9) == pytest.approx(0.11)
    assert pacing.gap(0.95, 10.0, 0, 0) == pytest.approx(9.5), "never a division by zero"


def test_each_interval_slows_down_by_one_step_and_quiet_undoes_one() -> None:
    step, since = pacing.slowed(0.0, 0, -math.inf, 10.0)
    assert (step, since) == (1, 0.0)
    assert pacing.slowed(5.0, step, since, 10.0) == (1, 0.0), "one step per interval"
    assert pacing.slowed(11.0, pacing.MOST_SLOWDOWN, since, 10.0) == (pacing.MOST_SLOWDOWN, 0.0)
    quiet = pacing.RELAX_AFTER * 10.0
    assert pacing.relaxed(quiet, 2, 0.0, 10.0) == (2, 0.0)
    assert pacing.relaxed(quiet + 0.1, 2, 0.0, 10.0) == (1, quiet + 0.1)


@given(st.lists(st.floats(0.0, 5.0), min_size=2, max_size=50), st.floats(0.01, 2.0))
def test_a_late_request_is_followed_by_one_early_one_at_most(waits: list[float], distance: float) -> None:
    sent: list[float] = []
    allowed, now = -math.inf, 0.0
    for wait in waits:
        now = max(now + wait, allowed)
        sent.append(now)
        allowed = pacing.next_start(allowed, now, distance)
    for earlier, later in zip(sent, sent[2:], strict=False):
        assert later - earlier >= distance * (1 - 1e-6), "three requests span at least one distance"


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(-2, 20)), max_size=40))
def test_the_largest_use_of_the_last_interval_is_known(observed: list[tuple[float, int]]) -> None:
    seen: pacing.ExternalUse = []
    history: list[tuple[float, int]] = []
    now = 0.0
    for wait, count in observed:
        now += wait
        pacing.note_external_use(seen, now, count)
        history.append((now, count))
        expected = max((count for moment, count in history if moment + 5.0 > now), default=0)
        assert pacing.largest_external_use(seen, now, 5.0) == max(0, expected)


def test_ten_failures_in_a_row_leave_one_probe_a_second() -> None:
    brake = pacing.Brake()
    for _ in range(pacing.BRAKE_AFTER - 1):
        brake.failed(0.0)
    assert not brake.is_on
    assert not brake.holds(0.0)
    brake.failed(0.0)
    assert brake.is_on
    assert brake.holds(0.5)
    assert not brake.holds(1.0)
    brake.probed(1.0)
    assert brake.holds(1.9)
