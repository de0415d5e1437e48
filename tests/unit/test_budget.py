"""Promises of the slots, in virtual time against exact servers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.virtual import World
from hl_async import wire
from hl_async.errors import ConfigurationError
from hl_async.governor.budget import Budget
from hl_async.governor.headers import parse_count, parse_retry_after
from hl_async.governor.pacing import BRAKE_AFTER
from hl_async.governor.policy import GovernorPolicy
from hl_async.sandbox.rate_limits import FixedWindow, SlidingCounter, SlidingLog, TokenBucket, make_window
from lengths import long

SERVERS = {
    "fixed": lambda: FixedWindow(100, 10.0, phase=3.7),
    "sliding": lambda: SlidingLog(100, 10.0),
    "bucket": lambda: TokenBucket(100, 10.0),
}


@pytest.mark.parametrize(
    ("kind", "rtt", "bar"),
    [
        ("sliding", 0.01, 0.99),
        ("fixed", 0.05, 0.99),
        ("bucket", 0.3, 0.96),
        *(
            long(kind, rtt, bar)
            for kind in SERVERS
            for rtt, bar in ((0.01, 0.99), (0.05, 0.99), (0.1, 0.985), (0.3, 0.96))
        ),
    ],
)
@pytest.mark.untraced
def test_bulk_fills_the_budget_and_is_never_refused(kind: str, rtt: float, bar: float) -> None:
    world = World(SERVERS[kind](), GovernorPolicy(linger=3.0, reserve=0), rtt=rtt).run(600)
    assert world.refused == 0
    assert world.share(600) >= bar
    assert world.budget.external_use(world.now) == 0  # alone, and never suspects anybody


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.untraced
def test_unpaced_slots_are_never_refused_either(kind: str) -> None:
    world = World(SERVERS[kind](), GovernorPolicy(pace=None, reserve=0), rtt=0.1).run(600)
    assert world.refused == 0
    assert world.share(600) >= 0.98


@pytest.mark.untraced
def test_a_sliding_counter_refuses_a_few_per_thousand_at_most_when_paced() -> None:
    world = World(SlidingCounter(100, 10.0), GovernorPolicy(), rtt=0.1).run(1200)
    assert world.refused / (world.admitted + world.refused) <= 0.002


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.untraced
def test_interactive_calls_among_endless_bulk_hardly_wait(kind: str) -> None:
    world = World(SERVERS[kind](), GovernorPolicy(), rtt=0.1, interactive=0.5).run(1200)
    waits = sorted(world.waits)
    assert world.refused == 0
    assert waits[len(waits) // 2] == 0
    assert waits[int(len(waits) * 0.99)] <= 0.05
    assert world.share(1200) >= 0.97


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.untraced
def test_abandoned_requests_that_arrive_late_are_never_too_many(kind: str) -> None:
    world = World(SERVERS[kind](), GovernorPolicy(linger=3.0, reserve=0), rtt=0.1, lost=0.05).run(600)
    assert world.refused == 0


@pytest.mark.untraced
def test_others_who_spend_the_same_budget_are_left_their_share() -> None:
    world = World(FixedWindow(100, 10.0), GovernorPolicy(), rtt=0.1, external_use=3.0).run(1200)
    ours = world.admitted + world.refused
    assert world.refused / ours <= 0.01
    assert world.foreign_refused / world.foreign_sent <= 0.05


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    kind=st.sampled_from(sorted(SERVERS)),
    rtt=st.floats(0.001, 2.0),
    jitter=st.floats(0, 1),
    lost=st.sampled_from([0.0, 0.02, 0.2]),
    headers=st.booleans(),
    pace=st.sampled_from([None, 0.95, 0.5]),
    interactive=st.sampled_from([0.0, 2.0, 30.0]),
    seed=st.integers(0, 1000),
)
@pytest.mark.untraced
def test_no_schedule_is_ever_refused(
    kind: str,
    rtt: float,
    jitter: float,
    lost: float,
    headers: bool,
    pace: float | None,
    interactive: float,
    seed: int,
) -> None:
    policy = GovernorPolicy(pace=pace, linger=3.5)
    world = World(
        SERVERS[kind](),
        policy,
        rtt=rtt,
        jitter=jitter,
        seed=seed,
        headers=headers,
        lost=lost,
        interactive=interactive,
    ).run(60)
    assert world.refused == 0


@pytest.mark.parametrize("kind", SERVERS)
def test_a_smaller_budget_is_learned_from_the_first_answer(kind: str) -> None:
    window = make_window(kind, 25, 10.0)
    world = World(window, GovernorPolicy(), rtt=0.1, limit=25).run(300)
    assert world.refused == 0
    assert world.share(300) >= 0.95


def headers(limit: int = 100, remaining: int | None = None, interval: int = 10_000) -> dict[str, str]:
    found = {wire.RATE_LIMIT: str(limit), wire.RATE_INTERVAL_MS: str(interval)}
    if remaining is not None:
        found[wire.RATE_REMAINING] = str(remaining)
    return found


def test_max_and_interval_follow_the_headers_and_nonsense_changes_nothing() -> None:
    budget = Budget(GovernorPolicy())
    assert budget.try_take_interactive(0.0)
    budget.answered(0.1, 200, headers(40, interval=5_000))
    assert (budget.max, budget.interval, budget.free(0.2)) == (40, 5.0, 39)
    for bad in (
        {wire.RATE_LIMIT: "-1"},
        {wire.RATE_LIMIT: "many"},
        headers(0, interval=0),
        {wire.RATE_LIMIT: "9" * 30},
    ):
        budget.try_take_interactive(1.0)
        budget.answered(1.1, 200, bad)
        assert (budget.max, budget.interval) == (40, 5.0)
    budget.try_take_interactive(2.0)
    budget.answered(2.1, 200, headers(200, interval=10_000))
    assert (budget.max, budget.interval) == (200, 10.0)
    assert budget.free(7.0) < 200  # what cooled for five seconds now cools for ten


def test_a_slot_returns_an_interval_after_its_answer() -> None:
    budget = Budget(GovernorPolicy(max=1, interval=10.0, linger=5.0))
    assert budget.try_take_interactive(0.0)
    assert not budget.try_take_interactive(0.5)
    budget.answered(1.0, 200, {})
    assert not budget.try_take_interactive(10.9)
    assert budget.try_take_interactive(11.0)
    budget.abandoned(12.0)
    assert not budget.try_take_interactive(26.9)
    assert budget.try_take_interactive(27.0)
    budget.returned()
    assert budget.try_take_interactive(27.0)
    assert budget.cooling == 0


def test_a_refusal_empties_the_scope() -> None:
    budget = Budget(GovernorPolicy())
    budget.try_take_interactive(0.0)
    budget.answered(0.1, 429, {})
    assert budget.pause(0.1, None) == 10.0
    assert not budget.try_take_interactive(10.0)
    assert budget.next_change(5.0, bulk=False) == pytest.approx(10.1)
    assert budget.try_take_interactive(10.2)
    assert budget.pause(11.0, 2.5) == 2.5


def test_what_others_spent_is_withheld_for_an_interval() -> None:
    budget = Budget(GovernorPolicy(max=10, interval=10.0))
    budget.try_take_interactive(0.0)
    budget.answered(0.1, 200, headers(10, remaining=3))
    assert budget.external_use(0.2) == 6
    taken = sum(budget.try_take_interactive(0.3) for _ in range(10))
    assert taken == 3
    assert budget.external_use(10.2) == 0


def test_bulk_goes_first_after_it_got_nothing_for_an_interval() -> None:
    budget = Budget(GovernorPolicy(max=2, interval=10.0, reserve=2))
    budget.warm = True
    budget.try_take_interactive(0.0)
    assert not budget.try_take_bulk(1.0, since=0.5)
    assert not budget.is_bulk_overdue(9.0, since=0.5)
    assert budget.is_bulk_overdue(10.5, since=0.5)
    assert budget.try_take_bulk(10.6, since=0.5)


def test_an_outage_lets_bulk_probe_once_a_second_and_interactive_try() -> None:
    budget = Budget(GovernorPolicy(pace=None))
    budget.warm = True
    for n in range(BRAKE_AFTER):
        budget.try_take_bulk(n * 0.01, since=0.0)
        budget.refused_connection(n * 0.01)
    assert budget.braked
    probes = sum(budget.try_take_bulk(1.0 + n / 100, since=0.0) and not budget.returned() for n in range(500))  # type: ignore[func-returns-value]
    assert 4 <= probes <= 6
    assert budget.try_take_interactive(7.0)
    budget.answered(7.1, 200, {})
    assert not budget.braked
    budget.try_take_interactive(7.2)
    budget.answered(7.3, 503, {})
    assert not budget.braked


def test_a_cold_scope_sends_one_bulk_request_first() -> None:
    budget = Budget(GovernorPolicy())
    assert budget.try_take_bulk(0.0, since=0.0)
    assert not budget.try_take_bulk(1.0, since=0.0)
    budget.answered(1.1, 200, {})
    assert budget.try_take_bulk(1.2, since=0.0)


def test_a_lower_bound_of_the_wait_is_known() -> None:
    budget = Budget(GovernorPolicy(max=2, interval=10.0))
    budget.warm = True
    assert budget.earliest(0.0, 0, bulk=False) == 0.0
    for _ in range(2):
        budget.try_take_interactive(0.0)
        budget.answered(0.5, 200, {})
    assert budget.earliest(1.0, 0, bulk=False) == 10.5
    assert budget.earliest(1.0, 2, bulk=False) >= 20.5
    budget.try_take_bulk(10.5, since=0.0)
    assert budget.earliest(10.6, 3, bulk=True) > 12
    budget.abandoned(10.7)  # returns after the linger time, later than what cools
    assert budget.earliest(10.8, 1, bulk=False) == pytest.approx(10.7 + 10 + 30)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.text(st.characters(), max_size=30))
def test_reading_headers_never_fails(text: str) -> None:
    found = parse_retry_after(text, 0.0)
    assert found is None or found >= 0
    number = parse_count(text, 100)
    assert number is None or 0 <= number <= 100


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0), ("0.5", 0.5), ("-3", 0.0), ("", None), (None, None), ("nan", None), ("inf", None), ("soon", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 100.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("1e99", 10 * 366 * 86_400.0),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, 0.0) == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max", 0),
        ("interval", 0),
        ("pace", 0),
        ("share", 0),
        ("share", 2),
        ("daily_reserve", 1),
        ("reserve", -1),
        ("cold_interactive", 0),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match="governor"):
        GovernorPolicy(**{name: value})


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.integers(0, 10_000))
@pytest.mark.untraced
def test_the_reference_windows_never_admit_too_many(seed: int) -> None:
    dice = random.Random(seed)
    log, fixed, bucket = SlidingLog(5, 1.0), FixedWindow(5, 1.0, 0.3), TokenBucket(5, 1.0)
    now, admitted, in_window = 0.0, [], 0
    for _ in range(60):
        now += dice.expovariate(8)
        if log.admit(now):
            admitted.append(now)
        in_window = sum(moment > now - 1.0 for moment in admitted)
        assert in_window <= 5
        assert (log.remaining(now) == 0) == (log.wait(now) > 0)
        for window in (fixed, bucket):
            if window.wait(now) > 0:
                assert not window.admit(now)
