"""The fault mix: every call ends in a right result or a typed error, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import samples
from hl_async import ClientConfig, GovernorPolicy, HighLevel, RetryPolicy, Timeouts
from hl_async.errors import (
    AttemptTimeout,
    ConnectionLost,
    HighLevelError,
    OutcomeUnknown,
    RateLimited,
    ResponseTooLarge,
    ServerError,
    Unauthorized,
    WireError,
)
from hl_async.sandbox import PROFILES, Fault, FaultPlan, Sandbox
from lengths import long

CONFIG = ClientConfig(timeouts=Timeouts(attempt=0.5), max_body=2_000_000, max_connections=50)
# making fifty megabytes takes the server a while on a busy machine
PATIENT = ClientConfig(timeouts=Timeouts(attempt=20.0), max_body=2_000_000)
HURRIED = ClientConfig(timeouts=Timeouts(attempt=1.0))
POLICY = GovernorPolicy(max=100_000, interval=0.2, linger=0.1)
RETRY = RetryPolicy(base=0.01, cap=0.05, budget_float=1000, budget_cap=100_000)


def client(box: Sandbox, retry: RetryPolicy = RETRY, config: ClientConfig = CONFIG) -> HighLevel:
    return HighLevel(box.token, base_url=box.url, config=config, governor=POLICY, retry=retry)


NUMBER = "generate-estimate-number"


@pytest.mark.parametrize(
    "fault",
    [
        Fault.RESET_BEFORE_COMMIT, Fault.RESET_AFTER_COMMIT, Fault.LATE_ANSWER, Fault.TRUNCATED, Fault.TRUNCATED_CHUNKED,
        Fault.TRUNCATED_CLOSE, Fault.LONGER_BODY, Fault.DUPLICATE_LENGTH, Fault.GARBAGE, Fault.HEADER_FLOOD, Fault.HTML_502,
        Fault.HTML_503, Fault.ERROR_500_BEFORE, Fault.ERROR_500_AFTER, Fault.CONTROL_CHARACTERS, Fault.SLOW_DRIP,
        Fault.IDLE_CLOSE, Fault.LATENCY, Fault.STALL, Fault.THROTTLE,
    ],
)  # fmt: skip
async def test_a_read_survives_any_single_fault(fault: Fault) -> None:
    async with Sandbox(rate_max=10_000, rate_interval=0.2) as box:
        box.faults.script(NUMBER, fault)
        async with client(box) as hl:
            shop = hl.location(box.location_id)
            assert (await shop.estimates.generate_number()).estimate_number == 1
            assert (await shop.estimates.generate_number()).estimate_number == 1
        await asyncio.sleep(0.02)
        assert box.connections == 0


@pytest.mark.parametrize("fault", [Fault.THROTTLE_SECONDS, Fault.THROTTLE_DATE, Fault.RETRY_503])
async def test_retry_after_is_waited_out_in_full(fault: Fault) -> None:
    async with Sandbox(rate_max=10_000, rate_interval=0.2) as box:
        box.faults.times.retry_after = 0.5
        box.faults.script(NUMBER, fault)
        loop = asyncio.get_running_loop()
        async with client(box) as hl:
            began = loop.time()
            await hl.location(box.location_id).estimates.generate_number()
            assert loop.time() - began >= 0.5
            box.faults.times.retry_after = 600.0
            box.faults.script(NUMBER, fault)
            with pytest.raises((RateLimited, ServerError)):
                await hl.location(box.location_id).with_options(timeout=20.0).estimates.generate_number()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.GZIP_BOMB, ResponseTooLarge),
        (Fault.BIG_BODY, ResponseTooLarge),
        (Fault.REDIRECT, WireError),
        (Fault.UNAUTHORISED, Unauthorized),
    ],
)
async def test_what_repeating_cannot_help_fails_at_once(fault: Fault, error: type[HighLevelError]) -> None:
    async with Sandbox() as box:
        box.faults.script(NUMBER, fault)
        async with client(box, config=PATIENT) as hl:
            with pytest.raises(error):
                await hl.location(box.location_id).estimates.generate_number()
        assert box.count == 1


@pytest.mark.parametrize(
    ("fault", "reason", "commits"),
    [
        (Fault.RESET_BEFORE_COMMIT, ConnectionLost, 0),
        (Fault.RESET_AFTER_COMMIT, ConnectionLost, 1),
        (Fault.LATE_COMMIT, AttemptTimeout, 1),
        (Fault.ERROR_500_AFTER, ServerError, 1),
        (Fault.HTML_502, ServerError, 0),
        (Fault.TRUNCATED_CLOSE, ConnectionLost, 1),
        (Fault.GARBAGE, WireError, 1),
        (Fault.GZIP_BOMB, ResponseTooLarge, 1),
    ],
)
async def test_a_creation_meets_a_fault_once_and_is_told(
    fault: Fault, reason: type[Exception], commits: int
) -> None:
    async with Sandbox(rate_max=10_000, rate_interval=0.2) as box:
        box.faults.times.late = 2.0
        box.faults.script("create-new-estimate", fault)
        async with client(box, config=HURRIED if fault is Fault.LATE_COMMIT else PATIENT) as hl:
            with pytest.raises(OutcomeUnknown) as caught:
                await hl.location(box.location_id).estimates.create(samples.estimate())
        assert isinstance(caught.value.reason, reason)
        async with asyncio.timeout(30):
            while len(box.ledger.estimates()) != commits:
                await asyncio.sleep(0.01)
        assert box.count == 1


async def test_a_storm_of_401s_costs_one_renewal_and_is_told(box: Sandbox) -> None:
    box.storm(3600)
    async with client(box, config=PATIENT) as hl:
        shop = hl.location(box.location_id)
        outcomes = await asyncio.gather(
            *(shop.estimates.generate_number() for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(one, Unauthorized) for one in outcomes)
        assert box.count == 20
        box.storm(0)
        assert (await shop.estimates.generate_number()).estimate_number == 1


@pytest.mark.parametrize(("calls", "seed"), [(300, 1), *(long(1000, seed) for seed in (1, 2, 3))])
@pytest.mark.untraced
async def test_many_calls_through_the_mix(calls: int, seed: int) -> None:
    """R1 in short: right results or typed errors, no unsafe operation twice, no connection, slot or task left."""
    plan = FaultPlan("rough", seed)
    plan.times.late = 0.7
    plan.times.retry_after = 0.05
    async with Sandbox(rate_max=100_000, rate_interval=0.2, faults=plan) as box:
        tally: Counter[str] = Counter()
        keys: list[str] = []
        async with client(box) as hl:
            shop = hl.location(box.location_id)
            known = shop.with_options(timeout=10.0)

            async def one(n: int) -> None:
                try:
                    if n % 10 < 7:
                        key = f"k{n}"
                        keys.append(key)
                        made = await known.estimates.create(samples.estimate(name=key, meta={"key": key}))
                        assert made.name in (key, f"\x0b\t{key}", f"  {key}") or made.id
                        tally["created"] += 1
                    elif n % 10 < 9:
                        assert (await known.estimates.generate_number()).estimate_number
                        tally["read"] += 1
                    else:
                        await known.estimates.list(limit=5)
                        tally["listed"] += 1
                except HighLevelError as error:
                    tally[type(error).__name__] += 1

            gate = asyncio.Semaphore(50)

            async def gated(n: int) -> None:
                async with gate:
                    await one(n)

            await asyncio.gather(*(gated(n) for n in range(calls)))
            await asyncio.sleep(0.8)  # the longest late answer
            state = shop._at._account.scope.snapshot()
            assert (state.in_flight, state.waiting_interactive, state.waiting_bulk) == (0, 0, 0)
        commits = Counter(box.ledger.commits)
        async with asyncio.timeout(60):
            while box.connections:
                await asyncio.sleep(0.01)
    assert sum(tally.values()) == calls
    assert max(commits.values()) == 1
    assert tally["created"] <= len(commits) <= tally["created"] + tally["OutcomeUnknown"]
    assert set(tally) <= {
        "created",
        "read",
        "listed",
        "OutcomeUnknown",
        "Unauthorized",
        "ServerError",
        "ConnectionLost",
        "AttemptTimeout",
        "WireError",
        "GatewayTimeout",
        "DeadlineExceeded",  # a slow machine
    }
    # How many of each is a matter of the machine's speed.
    assert tally["created"] and tally["read"] and tally["listed"]


def test_the_same_seed_gives_the_same_faults() -> None:
    plans = [FaultPlan("rough", 7) for _ in range(2)]
    drawn = [[plan.take("x", n) for n in range(500)] for plan in plans]
    assert drawn[0] == drawn[1]
    assert drawn[0] != [FaultPlan("rough", 8).take("x", n) for n in range(500)]
    assert plans[0].injected
    plans[0].clear()
    assert plans[0].take("x", 1) is None


def test_profiles_are_named_and_rates_checked() -> None:
    with pytest.raises(ValueError, match="choose none, mild"):
        FaultPlan("wild")
    with pytest.raises(ValueError, match="more than 1"):
        FaultPlan({Fault.STALL: 0.7, Fault.GARBAGE: 0.7})
    assert all(sum(rates.values()) <= 1 for rates in PROFILES.values())


async def test_an_outage_is_not_amplified(box: Sandbox) -> None:
    box.faults.use({Fault.HTML_502: 1.0})
    async with client(box, RetryPolicy(base=0.001), PATIENT) as hl:
        shop = hl.location(box.location_id)
        outcomes: list[Any] = []
        for _ in range(30):
            outcomes += await asyncio.gather(
                *(shop.estimates.generate_number() for _ in range(20)), return_exceptions=True
            )
    assert all(isinstance(one, ServerError) for one in outcomes)
    assert box.count / 600 < 1.25  # 600 calls; the float of ten weighs less the more calls there are
