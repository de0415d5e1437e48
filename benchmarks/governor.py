"""How much of the rate budget is used, and how often we are refused: in virtual time, against exact servers.

Four kinds of server, four round trips with 30 % of jitter, paced and unpaced, alone and beside a stranger who spends
from the same budget; the wait of interactive calls among endless bulk; and the limiters of others (aiolimiter, limits,
pyrate-limiter, those that are installed) in the same run, on the same servers, with the same seed. Whole governors
and limiters run on a real event loop; only its clock is virtual. ``python -m benchmarks.governor``
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from unittest import mock

from benchmarks.bars import Row, note
from benchmarks.virtual_loop import Server, VirtualLoop, govern, limited, run
from hl_async.governor import GovernorPolicy
from hl_async.sandbox.rate_limits import make_window

KINDS = ("fixed", "sliding", "bucket", "counter")
ROUND_TRIPS = (0.010, 0.050, 0.100, 0.300)
WARM_UP, SECONDS = 20.0, 1220.0
BARS = {0.010: 99.0, 0.050: 99.0, 0.100: 98.5, 0.300: 96.0}
COUNTER_REFUSALS, COUNTER_USED = 2.0, 94.0
SEED = 11
WORKERS = 120

PACED = GovernorPolicy(reserve=0)
BURST = GovernorPolicy(pace=None, reserve=0)

Limiter = Callable[[], Awaitable[object]]
Work = Callable[[VirtualLoop], Coroutine[Any, Any, None]]


class Verdicts:
    """Bars that were held and missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def hold(self, what: str, held: bool) -> str:
        """Note a bar; '' when it is held, a mark for the table when it is not."""
        if not held:
            self.missed.append(what)
        return " " if held else "!"


def server(kind: str, rtt: float, late: float = 0.0) -> Server:
    """One of the four at the API's numbers, counting after the warm-up."""
    return Server(make_window(kind, 100, 10.0), rtt=rtt, seed=SEED, count_from=WARM_UP, late=late)


def utilisation(verdicts: Verdicts) -> None:
    """Print budget used and refusals for four servers, four round trips, paced and unpaced."""
    print(
        f"budget used in % / refusals per 1,000; 100 per 10 s, {SECONDS - WARM_UP:.0f} virtual seconds, seed {SEED}"
    )
    print(f"{'':<34}" + "".join(f"{kind:>17}" for kind in KINDS))
    kept: dict[tuple[str, float, str], tuple[float, float]] = {}
    for name, policy in (("slots, paced 0.95", PACED), ("slots, unpaced", BURST)):
        for rtt in ROUND_TRIPS:
            row = f"{name:<20}{rtt * 1000:>5.0f} ms      "
            for kind in KINDS:
                one = server(kind, rtt)
                run(lambda loop: govern(loop, one, policy, SECONDS, workers=WORKERS))  # noqa: B023
                used, refused = one.used(SECONDS - WARM_UP), one.refusals
                if kind == "counter":
                    held = policy is BURST or (refused <= COUNTER_REFUSALS and used >= COUNTER_USED)
                else:
                    held = not refused and used >= BARS[rtt]
                kept[name, rtt, kind] = used, refused
                row += f"{used:>8.2f} /{refused:6.2f}{verdicts.hold(f'{name} {rtt} {kind}', held)}"
            print(row)
    exact = [one for one in KINDS if one != "counter"]
    for rtt in ROUND_TRIPS:
        least = min(kept[name, rtt, kind][0] for name, at, kind in kept if at == rtt and kind in exact)
        note(
            Row(
                f"rate budget used by bulk at {rtt * 1000:.0f} ms, the worst of three servers",
                least,
                BARS[rtt],
                "%",
                at_least=True,
            )
        )
    refused = sum(kept[one][1] for one in kept if one[2] in exact)
    note(Row("refusals on fixed, sliding and bucket servers", refused, 0, "per 1,000"))
    worst = max(kept[one][1] for one in kept if one[2] == "counter" and "unpaced" not in one[0])
    note(Row("refusals on a sliding counter, paced", worst, COUNTER_REFUSALS, "per 1,000"))


def beside_a_stranger(verdicts: Verdicts) -> None:
    """Print who is refused when somebody else sends 3 per second from the same budget."""
    print("\nbeside a stranger, Poisson 3/s, 100 ms: used by both in % / ours refused per 1,000 / theirs")
    for name, policy in (("paced (default)", GovernorPolicy()), ("unpaced", BURST)):
        row = f"{name:<20}"
        for kind in KINDS:
            one = server(kind, 0.1)
            run(lambda loop: govern(loop, one, policy, SECONDS, workers=WORKERS, external_use=3.0))  # noqa: B023
            theirs = 1000 * one.others_refused / max(1, one.others)
            both = one.used(SECONDS - WARM_UP) + (one.others - one.others_refused) / (SECONDS / 10.0)
            fine = policy is BURST or (one.refusals <= 10 and theirs <= 50)
            row += f"{kind:>9} {both:5.1f} /{one.refusals:5.2f} /{theirs:6.2f}{verdicts.hold(f'stranger {kind}', fine)}"
        print(row)


def interactive(verdicts: Verdicts) -> None:
    """Print how long interactive calls wait among endless bulk."""
    print("\ninteractive calls, 0.5/s, among endless bulk, 100 ms, sliding log")
    for name, policy, bar in (
        ("paced, two kept back (default)", GovernorPolicy(), 50.0),
        ("paced, one kept back", GovernorPolicy(reserve=1), 1e9),
        ("unpaced", BURST, 1e9),
    ):
        one = server("sliding", 0.1)
        waits = run(lambda loop: govern(loop, one, policy, SECONDS, workers=WORKERS, interactive=0.5))  # noqa: B023
        half, most = 1000 * waits[len(waits) // 2], 1000 * waits[int(len(waits) * 0.99)]
        used = one.used(SECONDS - WARM_UP)
        if "default" in name:
            note(Row("p99 wait of an interactive call among endless bulk", most, bar, "ms"))
            note(Row("rate budget used, paced, with slots held back", used, 97.0, "%", at_least=True))
        held = not one.refused and most <= bar and (policy is BURST or used >= 97.0)
        print(
            f"{name:<32} p50 {half:7.1f} ms   p99 {most:7.1f} ms   budget used {used:.2f} %   "
            f"refused {one.refused}{verdicts.hold(f'interactive {name}', held)}"
        )


# -------------------------------------------------------------------------------------------- of others


def aiolimiter(loop: VirtualLoop) -> Limiter:
    """A leaky bucket on the loop's clock."""
    from aiolimiter import AsyncLimiter

    return AsyncLimiter(100, 10.0).acquire


def limits(loop: VirtualLoop) -> Limiter:
    """A moving window of send times; it can't wait, so the caller looks again every 20 ms."""
    from limits import parse
    from limits.aio.storage import MemoryStorage
    from limits.aio.strategies import MovingWindowRateLimiter

    window, item, turn = MovingWindowRateLimiter(MemoryStorage()), parse("100/10 seconds"), asyncio.Lock()

    async def wait() -> None:
        async with turn:
            while not await window.hit(item, "location"):
                await asyncio.sleep(0.02)

    return wait


def pyrate(loop: VirtualLoop) -> Limiter:
    """A log of send times, waits by itself."""
    from pyrate_limiter import Duration, InMemoryBucket, Rate
    from pyrate_limiter import Limiter as Pyrate
    from pyrate_limiter.clocks import AbstractClock

    class Clock(AbstractClock):
        def now(self) -> int:
            return int(loop.time() * 1000)

    bucket = InMemoryBucket([Rate(100, 10 * Duration.SECOND)])
    bucket._clock = Clock()
    limiter, turn = Pyrate(bucket), asyncio.Lock()

    async def wait() -> None:
        async with turn:
            await limiter.try_acquire_async("location")

    return wait


def slots(policy: GovernorPolicy, seconds: float, *, bursts: bool) -> Callable[[Server], Work]:
    """Our own, for the same table."""

    def prepare(one: Server) -> Work:
        async def work(loop: VirtualLoop) -> None:
            await govern(loop, one, policy, seconds, workers=WORKERS, bursts=bursts)

        return work

    return prepare


def foreign_limiter(
    make: Callable[[VirtualLoop], Limiter], seconds: float, *, bursts: bool
) -> Callable[[Server], Work]:
    """A limiter of others, its wall clock in virtual time too."""

    def prepare(one: Server) -> Work:
        async def work(loop: VirtualLoop) -> None:
            with mock.patch("time.time", loop.wall):
                await limited(one, make(loop), seconds, workers=WORKERS, bursts=bursts)

        return work

    return prepare


def beside_others(verdicts: Verdicts) -> None:
    """Print what the limiters of others do on the same servers, next to the slots."""
    seconds = 620.0
    for shape, bursts, late in (
        ("endless work", False, 0.0),
        ("endless work, 2 % of ways late by 0.5 s on average", False, 0.02),
        ("bursts of 6 s between breaks of 6 s", True, 0.0),
    ):
        print(f"\nnext to limiters of others, 300 ms, {shape}: budget used in % / refusals per 1,000")
        rows = [
            ("slots, paced (default)", slots(GovernorPolicy(), seconds, bursts=bursts)),
            ("slots, unpaced", slots(BURST, seconds, bursts=bursts)),
            ("aiolimiter", foreign_limiter(aiolimiter, seconds, bursts=bursts)),
            ("limits, moving window", foreign_limiter(limits, seconds, bursts=bursts)),
            ("pyrate-limiter", foreign_limiter(pyrate, seconds, bursts=bursts)),
        ]
        for name, prepare in rows:
            row = f"{name:<34}"
            for kind in KINDS:
                one = server(kind, 0.3, late)
                try:
                    run(prepare(one))
                except ImportError:
                    row += "  (not installed)"
                    break
                ours = name.startswith("slots") and kind != "counter"
                mark = verdicts.hold(f"{name} {shape} {kind}", not ours or not one.refused)
                row += f"{one.used(seconds - WARM_UP):>8.2f} /{one.refusals:6.2f}{mark}"
            print(row)


def main() -> int:
    """Print everything; exit 1 when a bar is missed."""
    began = time.perf_counter()
    verdicts = Verdicts()
    utilisation(verdicts)
    beside_a_stranger(verdicts)
    interactive(verdicts)
    beside_others(verdicts)
    took = time.perf_counter() - began
    print(
        f"\n{'FAIL: ' + ', '.join(verdicts.missed) if verdicts.missed else 'PASS: every bar held'}; took {took:.0f} s"
    )
    return 1 if verdicts.missed else 0


if __name__ == "__main__":
    sys.exit(main())
