"""Ten thousand calls through the fault mix on loopback; ``--calls``, ``--seeds 1,2,3``, ``--profile rough|storm``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from datetime import date
from decimal import Decimal

from benchmarks.bars import Row, note
from hl_async import ClientConfig, GovernorPolicy, HighLevel, RetryPolicy, Timeouts
from hl_async.errors import HighLevelError
from hl_async.models import ContactDetails, EstimateDraft, LineItem
from hl_async.sandbox import FaultPlan, Sandbox


def draft(key: str) -> EstimateDraft:
    """An estimate that carries its key."""
    contact = ContactDetails(id="c1", name="Alex", phone_no="+12145596993", email="")
    line = LineItem(name="Oak", currency="USD", amount=Decimal("9.99"), qty=Decimal(3))
    return EstimateDraft(
        name=key,
        currency="USD",
        expiry_date=date(2040, 1, 1),
        contact_details=contact,
        items=[line],
        meta={"key": key},
    )


async def mix(calls: int, seed: int, profile: str) -> bool:
    """Run one seed; print and judge it."""
    plan = FaultPlan(profile, seed)
    plan.times.late, plan.times.retry_after = 0.7, 0.05
    config = ClientConfig(timeouts=Timeouts(attempt=0.5), max_connections=50)
    policy = GovernorPolicy(max=100_000, interval=0.2, linger=0.1)
    retry = RetryPolicy(base=0.01, cap=0.05)
    tally: Counter[str] = Counter()
    began = time.perf_counter()
    async with Sandbox(rate_max=100_000, rate_interval=0.2, faults=plan) as box:
        async with HighLevel(box.token, base_url=box.url, config=config, governor=policy, retry=retry) as hl:
            shop = hl.location(box.location_id)
            gate = asyncio.Semaphore(50)

            async def one(n: int) -> None:
                async with gate:
                    try:
                        if n % 10 < 7:
                            made = await shop.estimates.create(draft(f"k{n}"))
                            tally["right" if made.total == Decimal("29.97") else "WRONG"] += 1
                        else:
                            await shop.estimates.generate_number()
                            tally["right"] += 1
                    except HighLevelError as error:
                        tally[type(error).__name__] += 1
                    except Exception as error:
                        tally[f"FOREIGN {type(error).__name__}"] += 1

            await asyncio.gather(*(one(n) for n in range(calls)))
            await asyncio.sleep(0.8)
            held = sum(scope.snapshot().in_flight for scope in [shop._at._account.scope])
        await asyncio.sleep(0.1)
        twice = sum(count > 1 for count in box.ledger.commits.values())
        open_ = box.connections
        requests, injected = box.count, sum(plan.injected.values())
    tasks = len(asyncio.all_tasks()) - 1
    good = not (
        twice or held or open_ or tasks or any(name.isupper() or name.startswith("FOREIGN") for name in tally)
    )
    print(
        f"seed {seed}, {profile}: {calls:,} calls, {requests:,} requests, {injected:,} faults, {time.perf_counter() - began:.0f} s; "
        f"executed twice {twice}, slots held {held}, connections open {open_}, tasks left {tasks}; {dict(tally)}"
    )
    wrong = (
        twice
        + held
        + open_
        + tasks
        + sum(tally[name] for name in tally if name.isupper() or name.startswith("FOREIGN"))
    )
    note(Row(f"{calls:,} calls through the fault mix: leaks, wrong results, unsafe re-sends", wrong, 0, ""))
    return good


def main() -> int:
    """Every seed; exit 1 when an invariant is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--profile", default="rough")
    options, _ = parser.parse_known_args()
    results = [
        asyncio.run(mix(options.calls, int(seed), options.profile)) for seed in options.seeds.split(",")
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
