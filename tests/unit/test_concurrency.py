"""Promises of the adaptive limit, in virtual time against a server with a knee."""

from __future__ import annotations

import random

import pytest

from benchmarks.virtual import simulate
from hl_async.governor.concurrency import ConcurrencyLimit


@pytest.mark.untraced
def test_the_limit_finds_the_knee_and_stays_near_it() -> None:
    limit = ConcurrencyLimit(400)
    history = simulate(limit, capacity=40, seconds=60)
    settled = [value for now, value in history if now > 20]
    assert 30 <= sum(settled) / len(settled) <= 110
    assert max(settled) / min(settled) < 3.5


@pytest.mark.untraced
def test_a_brownout_shrinks_it_and_it_comes_back() -> None:
    limit = ConcurrencyLimit(400)
    simulate(limit, 40, 30)
    before = limit.limit
    slow = simulate(limit, 40, 30, start=30, base=lambda now: 2.0)
    assert min(value for now, value in slow if now < 42) <= max(4, before / 4)
    after = simulate(limit, 40, 60, start=60)
    assert max(value for _, value in after) >= 0.9 * before


@pytest.mark.parametrize("quick", [0.05, 0.2, 0.5, 0.95])
@pytest.mark.untraced
def test_a_mix_of_quick_and_slow_operations_is_no_queue(quick: float) -> None:
    dice = random.Random(5)
    limit = ConcurrencyLimit(100)
    history = simulate(limit, 1000, 60, base=lambda now: 0.05 if dice.random() < quick else 0.4)
    assert min(value for now, value in history if now > 20) >= 80


@pytest.mark.untraced
def test_it_does_not_creep_upwards_over_the_hours() -> None:
    history = simulate(ConcurrencyLimit(400), capacity=10, seconds=3600)
    assert max(value for _, value in history) <= 40
    dips = [value for now, value in history if now > 60]
    assert sum(value < 10 for value in dips) / len(dips) <= 0.02


@pytest.mark.untraced
def test_work_that_takes_longer_for_good_is_accepted_as_such() -> None:
    limit = ConcurrencyLimit(100)
    simulate(limit, 500, 30, base=lambda now: 0.05)
    history = simulate(limit, 500, 60, start=30, base=lambda now: 0.4)
    assert min(value for _, value in history) <= 25
    assert all(value >= 90 for now, value in history if now > 70)


def test_an_outage_shrinks_it_to_the_floor_and_a_minute_later_it_is_back() -> None:
    limit = ConcurrencyLimit(400)
    simulate(limit, 40, 30)
    before = limit.limit
    for n in range(60):
        limit.try_enter()
        limit.overloaded(30 + n * 0.2)
    assert limit.limit == 4
    history = simulate(limit, 40, 60, start=42)
    assert max(value for _, value in history) >= 0.9 * before


def test_overload_halves_it_at_most_once_per_round_trip() -> None:
    limit = ConcurrencyLimit(100, start=64)
    for _ in range(10):
        limit.try_enter()
    assert limit.overloaded(100.0)
    for _ in range(8):
        assert not limit.overloaded(100.1)
    assert limit.limit == 32
    assert limit.overloaded(101.0)
    assert limit.limit == 16


def test_it_never_leaves_its_bounds() -> None:
    limit = ConcurrencyLimit(8, start=100)
    assert limit.limit == 8
    for n in range(50):
        limit.try_enter()
        limit.overloaded(float(n * 10))
    assert limit.limit == 4
    assert ConcurrencyLimit(1).limit == 1
    assert "of 4, at most 8" in repr(limit)


def test_noise_of_a_few_milliseconds_is_no_queue() -> None:
    limit = ConcurrencyLimit(100)
    dice = random.Random(3)
    for n in range(2000):
        if not limit.try_enter():
            limit.leave()
            limit.try_enter()
        limit.succeeded(n * 0.01, 0.001 + dice.random() * 0.01)
    assert limit.limit >= 16
    assert not limit.succeeded(21.0, 0.0)
    assert limit.best < 0.01
