"""Processes that share one rate budget through Postgres: budget used, refusals, waits, and what a SIGKILL costs.

Four real processes, a server in a process of its own that counts exactly (25 ms round trip, 30 % of jitter), 100
requests per 5 s, and a Postgres that pip installs or the one of ``HL_TEST_POSTGRES``. ``python -m
benchmarks.shared_budget``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from benchmarks.bars import Row, note
from benchmarks.postgres import postgres
from hl_async import wire
from hl_async.sandbox.rate_limits import make_window

LIMIT, INTERVAL, ROUND_TRIP, JITTER = 100, 5.0, 0.025, 0.3
LOCATION = "6578278e879ad2646715ba9c"
BAR = 98.5
LEASE = 1.0
"""Seconds that an attempt may take, and as many that it may linger: what the slots of a killed process wait for."""


# ----------------------------------------------------------------------------------------------- the server


class Counting(asyncio.Protocol):
    """HTTP as far as the client needs it; every request is counted half a round trip after it came."""

    def __init__(self, window: Any, log: list[tuple[float, bool]], dice: random.Random) -> None:
        self.window, self.log, self.dice = window, log, dice
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            if head.startswith(b"GET /log"):
                self.answer(200, json.dumps([time.monotonic(), self.log]).encode(), {})
            else:
                asyncio.get_running_loop().call_later(self.leg(), self.count)

    def leg(self) -> float:
        return ROUND_TRIP / 2 * (1 + JITTER * (2 * self.dice.random() - 1))

    def count(self) -> None:
        now = time.monotonic()
        fits = self.window.admit(now)
        self.log.append((now, fits))
        headers = {
            wire.RATE_LIMIT: str(LIMIT),
            wire.RATE_INTERVAL_MS: str(round(INTERVAL * 1000)),
            wire.RATE_REMAINING: str(self.window.remaining(now)),
        }
        loop = asyncio.get_running_loop()
        body = b'{"estimateNumber":1001,"traceId":"0"}'
        loop.call_later(self.leg(), self.answer, 200 if fits else 429, body, headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)  # type: ignore[attr-defined]


async def serve(kind: str) -> None:
    window, log, dice = make_window(kind, LIMIT, INTERVAL), [], random.Random(5)  # type: ignore[var-annotated]
    server = await asyncio.get_running_loop().create_server(
        lambda: Counting(window, log, dice), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ---------------------------------------------------------------------------------------------- one process


async def work(url: str, dsn: str, seconds: float, calls: float) -> None:
    """Endless bulk, or ``calls`` interactive calls per second; prints what it saw."""
    from hl_async import ClientConfig, GovernorPolicy, HighLevel, Lane, PostgresBudget, Timeouts
    from hl_async.telemetry import AttemptStarted, Event

    waits: list[float] = []

    class Watch:
        def on_event(self, event: Event) -> None:
            if isinstance(event, AttemptStarted):
                waits.append(event.waited)

    class Counted(PostgresBudget):
        exchanges = 0

        async def exchange(self, scope: str, request: Any) -> Any:
            Counted.exchanges += 1
            return await super().exchange(scope, request)

    config = ClientConfig(timeouts=Timeouts(attempt=LEASE))
    token = f"pit-00000000-0000-4000-8000-{url.rpartition(':')[2].zfill(12)}"
    hl = HighLevel(
        token,
        base_url=url,
        config=config,
        budget=Counted(dsn),
        governor=GovernorPolicy(linger=LEASE),
        observers=[Watch()],
    )
    async with hl:
        shop = hl.location(LOCATION)
        until = time.monotonic() + seconds

        async def bulk() -> None:
            estimates = shop.with_options(lane=Lane.BULK).estimates
            while time.monotonic() < until:
                await estimates.generate_number()

        if calls:
            dice, tasks = random.Random(os.getpid()), []
            while time.monotonic() < until:
                await asyncio.sleep(dice.expovariate(calls))
                tasks.append(asyncio.create_task(shop.estimates.generate_number()))
            await asyncio.gather(*tasks)
        else:
            tasks = [asyncio.create_task(bulk()) for _ in range(8)]
            await asyncio.wait(tasks, timeout=seconds)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([waits, Counted.exchanges, usage.ru_utime + usage.ru_stime]), flush=True)


# -------------------------------------------------------------------------------------------- the measurement


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.shared_budget", *arguments], stdout=subprocess.PIPE, text=True
    )


class Run:
    """Some processes against one server, and what came of it."""

    def __init__(self, kind: str, dsn: str, seconds: float, *, bulk: int, interactive: int = 0) -> None:
        self.kind, self.seconds = kind, seconds
        self.server = start("--serve", kind)
        assert self.server.stdout is not None
        self.url = f"http://127.0.0.1:{self.server.stdout.readline().strip()}"
        self.began = time.monotonic()
        settings = ("--work", self.url, "--dsn", dsn, "--seconds", str(seconds))
        self.bulk = [start(*settings) for _ in range(bulk)]
        self.interactive = [start(*settings, "--calls", "1") for _ in range(interactive)]

    def finish(self) -> None:
        """Wait for the end, and take the log."""
        self.waits, self.exchanges, self.processor = [], [], 0.0
        for process in (*self.bulk, *self.interactive):
            out, _ = process.communicate(timeout=self.seconds + 30)
            if process.returncode == 0:
                waits, exchanges, processor = json.loads(out)
                self.exchanges.append(exchanges / self.seconds)
                self.processor += processor
                if process in self.interactive:
                    self.waits += sorted(waits)
        with urllib.request.urlopen(f"{self.url}/log", timeout=10) as answer:
            _, self.log = json.load(answer)
        self.server.terminate()
        self.server.communicate()

    def used(self, after: float, intervals: int) -> float:
        """Part of the budget that was used from ``after`` seconds after the first request, per cent."""
        begin = self.log[0][0] + after
        count = sum(begin <= moment < begin + intervals * INTERVAL and fits for moment, fits in self.log)
        return 100.0 * count / (LIMIT * intervals)

    @property
    def refused(self) -> int:
        """Requests that the server refused."""
        return sum(not fits for _, fits in self.log)


def endless(dsn: str, seconds: float) -> bool:
    """Four processes of endless bulk; two servers at a time."""
    good = True
    intervals = int(seconds / INTERVAL) - 2
    print(
        f"4 processes, {LIMIT} per {INTERVAL:g} s, {intervals} intervals: used / refused / exchanges per s of one"
    )
    for pair in (("fixed", "sliding"), ("bucket", "counter")):
        runs = [Run(kind, dsn, seconds, bulk=4) for kind in pair]
        for run in runs:
            run.finish()
            used = run.used(1.5 * INTERVAL, intervals)
            rate = sum(run.exchanges) / len(run.exchanges)
            print(f"  {run.kind:<8} {used:6.2f} % / {run.refused} / {rate:.2f}", flush=True)
            if run.kind in ("fixed", "sliding"):
                good &= note(Row(f"budget shared by 4 processes, {run.kind}", used, BAR, "%", at_least=True))
                good &= note(Row(f"refusals, 4 processes, {run.kind}", run.refused, 0, ""))
    return good


def lanes(dsn: str, seconds: float) -> bool:
    """Interactive calls of one process among the endless bulk of three."""
    run = Run("sliding", dsn, seconds, bulk=3, interactive=1)
    run.finish()
    waits = sorted(run.waits)
    middle, worst = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    used = run.used(1.5 * INTERVAL, int(seconds / INTERVAL) - 2)
    print(
        f"1 interactive call/s among 3 bulk processes: wait p50 {1000 * middle:.0f} ms, p99 {1000 * worst:.0f} ms of "
        f"{len(waits)}; used {used:.2f} %, refused {run.refused}",
        flush=True,
    )
    good = note(
        Row("wait of an interactive call among the bulk of 3 processes, p50", 1000 * middle, 25, "ms")
    )
    return note(Row("refusals, lanes across processes", run.refused, 0, "")) and good


def killed(dsn: str, seconds: float) -> bool:
    """One of four is killed; what it had comes back, and nobody is refused."""
    run = Run("sliding", dsn, seconds, bulk=4)
    time.sleep(2.5 * INTERVAL)
    os.kill(run.bulk[0].pid, signal.SIGKILL)
    at = time.monotonic()
    run.finish()
    begin = run.log[0][0]
    while_gone = run.used(at - begin, 1)
    # its window to send, an attempt and its linger time, and the interval
    after = at - begin + 0.1 * INTERVAL + 2 * LEASE + INTERVAL
    used = run.used(after, 2)
    print(
        f"SIGKILL of one of 4: {while_gone:.1f} % in the interval after, {used:.1f} % once its slots are back; "
        f"refused {run.refused}"
    )
    good = note(Row("budget used after a SIGKILL of 1 of 4, its slots back", used, BAR, "%", at_least=True))
    return note(Row("refusals, SIGKILL of a holder", run.refused, 0, "")) and good


def cost(dsn: str) -> None:
    """Print what one exchange costs the client, of a scope in full use."""

    async def main() -> tuple[float, float]:
        from hl_async import PostgresBudget
        from hl_async.governor.shared.messages import Release
        from tests.contract.budgets import Caller

        store = PostgresBudget(dsn)
        caller = Caller(store, "cost", max=LIMIT, interval=1000.0)
        await caller.ask(unreserved_uses=tuple(float(n) for n in range(1, LIMIT)))
        booked: tuple[Any, ...] = ()
        began, processor, rounds = time.perf_counter(), time.process_time(), 500
        for _ in range(rounds):
            told = tuple(Release(one.lease, 1000.0) for one in booked)
            booked = (await caller.ask(bulk=20, releases=told)).reservations
        took = time.perf_counter() - began, time.process_time() - processor
        await store.aclose()
        return 1000 * took[0] / rounds, 1000 * took[1] / rounds

    elapsed, processor = asyncio.run(main())
    print(f"one exchange of 20 slots: {elapsed:.2f} ms, {processor:.2f} ms of the client's processor")


def measure(seconds: float) -> int:
    good = True
    with postgres() as server:
        dsn = server.dsn
        for part in (endless, lanes, killed):
            measuring: Callable[[str, float], bool] = part
            good &= measuring(dsn, seconds)
        cost(dsn)
    print("PASS: every bar held" if good else "FAIL")
    return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve")
    parser.add_argument("--work")
    parser.add_argument("--dsn")
    parser.add_argument("--calls", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=32.5)
    options, _ = parser.parse_known_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return 0
    if options.work:
        asyncio.run(work(options.work, options.dsn, options.seconds, options.calls))
        return 0
    return measure(options.seconds)


if __name__ == "__main__":
    sys.exit(main())
