"""How much of the rate budget is used, and how often we are refused: in virtual time, against exact servers.

Four kinds of server, four round trips with jitter, paced and unpaced, alone and beside a foreign spender; then the
wait of interactive calls among endless bulk. Limiters of others run against the same servers in scaled real time
when they are installed. ``python -m benchmarks.governor``
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.virtual import World
from hl_async.governor import GovernorPolicy
from hl_async.sandbox.windows import make_window

KINDS = ("fixed", "sliding", "counter", "bucket")
ROUND_TRIPS = (0.010, 0.050, 0.100, 0.300)
SECONDS = 1800.0
BARS = {0.010: 99.0, 0.050: 99.0, 0.100: 98.5, 0.300: 96.0}
SEED = 11


def world(kind: str, rtt: float, policy: GovernorPolicy, **more: float) -> World:
    # a third of jitter on either way, around the mean
    return World(make_window(kind, 100, 10.0), policy, rtt=rtt / 1.3, jitter=0.3, seed=SEED, **more).run(
        SECONDS
    )  # type: ignore[arg-type]


def utilisation() -> int:
    """Print the table of utilisation and refusals; return how many bars were missed."""
    missed = 0
    print(f"budget used in % / refusals per 1,000; 100 per 10 s, {SECONDS:.0f} virtual seconds, seed {SEED}")
    print(f"{'':<34}" + "".join(f"{kind:>16}" for kind in KINDS))
    for name, policy in (
        ("slots, unpaced", GovernorPolicy(pace=None, reserve=0)),
        ("slots, paced 0.95", GovernorPolicy(reserve=0)),
    ):
        for rtt in ROUND_TRIPS:
            row = f"{name:<22}{rtt * 1000:>5.0f} ms     "
            for kind in KINDS:
                one = world(kind, rtt, policy)
                used, refused = 100 * one.share(SECONDS), 1000 * one.refused / (one.admitted + one.refused)
                row += f"{used:>8.2f} /{refused:5.2f}"
                # a point below the bar is the arithmetic of I / (I + R) for a paced ring, see the text
                if kind != "counter" and (refused or used < BARS[rtt] - 0.5):
                    missed += 1
            print(row)
    for kind in KINDS:
        one = world(kind, 0.1, GovernorPolicy(), foreign=3.0)
        print(
            f"beside a foreign 3/s   {kind:<8} ours refused {1000 * one.refused / (one.admitted + one.refused):5.2f} per 1,000, "
            f"theirs {1000 * one.foreign_refused / one.foreign_sent:6.2f}, budget used by both "
            f"{100 * (one.admitted + one.foreign_sent - one.foreign_refused) / (SECONDS * 10):.1f} %"
        )
    return missed


def interactive() -> None:
    """Print the wait of interactive calls among endless bulk."""
    for name, policy in (
        ("paced, one kept back", GovernorPolicy(reserve=1)),
        ("paced, two kept back", GovernorPolicy()),
        ("unpaced", GovernorPolicy(pace=None, reserve=0)),
    ):
        one = world("sliding", 0.1, policy, interactive=0.5)
        waits = sorted(1000 * wait for wait in one.waits)
        print(
            f"interactive, {name:<22} p50 {waits[len(waits) // 2]:7.1f} ms   p99 {waits[int(len(waits) * 0.99)]:7.1f} ms   "
            f"budget used {100 * one.share(SECONDS):.1f} %   refused {one.refused}"
        )


async def _against(
    kind: str, acquire: Callable[[], Awaitable[object]], seconds: float
) -> tuple[float, float]:
    """(budget used in %, refusals per 1,000) of a limiter, 100 per second, saturated, jittered on the way in."""
    window = make_window(kind, 100, 1.0)
    dice = random.Random(SEED)
    loop = asyncio.get_running_loop()
    admitted = refused = 0
    end = loop.time() + seconds

    async def send() -> None:
        nonlocal admitted, refused
        await asyncio.sleep(0.004 + dice.expovariate(1 / 0.0015))
        if window.admit(loop.time()):
            admitted += 1
        else:
            refused += 1

    tasks = set()
    while loop.time() < end:
        await acquire()
        task = asyncio.create_task(send())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return admitted / seconds, 1000 * refused / max(1, admitted + refused)


async def others() -> None:
    """Print what limiters of others do, those that are installed."""
    seconds = 4.0
    for kind in KINDS:
        row = f"others, 100 per 1 s, {kind:<8}"
        try:
            from aiolimiter import AsyncLimiter

            limiter = AsyncLimiter(100, 1.0)
            used, refused = await _against(kind, limiter.acquire, seconds)
            row += f"   aiolimiter {used:6.1f} % / {refused:5.1f}"
        except ImportError:
            row += "   (aiolimiter is not installed)"
        try:
            from limits import RateLimitItemPerSecond
            from limits.aio.storage import MemoryStorage
            from limits.aio.strategies import MovingWindowRateLimiter

            moving, item = MovingWindowRateLimiter(MemoryStorage()), RateLimitItemPerSecond(100)

            async def poll(
                moving: MovingWindowRateLimiter = moving, item: RateLimitItemPerSecond = item
            ) -> None:
                while not await moving.hit(item, "x"):
                    await asyncio.sleep(0.002)

            used, refused = await _against(kind, poll, seconds)
            row += f"   limits {used:6.1f} % / {refused:5.1f}"
        except ImportError:
            row += "   (limits is not installed)"
        try:
            from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate

            strict = Limiter(InMemoryBucket([Rate(100, Duration.SECOND)]))

            async def ask(strict: Limiter = strict) -> None:
                await strict.try_acquire_async("x")

            used, refused = await _against(kind, ask, seconds)
            row += f"   pyrate-limiter {used:6.1f} % / {refused:5.1f}"
        except ImportError:
            row += "   (pyrate-limiter is not installed)"
        print(row)


def main() -> int:
    """Print everything; exit 1 when a bar is missed."""
    began = time.perf_counter()
    missed = utilisation()
    interactive()
    asyncio.run(others())
    print(f"{missed} bars missed; took {time.perf_counter() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
