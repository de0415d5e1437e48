"""Promises of the bounded map."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest

from hl_async.bulk import bulk_map
from hl_async.errors import InvalidRequest


async def double(n: int) -> int:
    await asyncio.sleep(0)
    if n == 7:
        raise ValueError("seven")
    return 2 * n


async def numbers(count: int) -> AsyncIterator[int]:
    for n in range(count):
        yield n


@pytest.mark.parametrize("later", [False, True])
async def test_every_item_has_one_outcome_and_a_failure_ends_nothing(later: bool) -> None:
    source = numbers(50) if later else range(50)
    async with bulk_map(double, source, limit=5) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert sorted(outcome.index for outcome in found) == list(range(50))
    assert [outcome.item for outcome in found if not outcome.ok] == [7]
    assert sorted(outcome.value for outcome in found if outcome.ok) == [2 * n for n in range(50) if n != 7]


async def test_no_more_than_the_limit_run_at_once_and_no_more_are_pulled() -> None:
    running = peak = pulled = 0

    def source() -> Iterator[int]:
        nonlocal pulled
        for n in range(100):
            pulled += 1
            yield n

    async def work(n: int) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.001)
        running -= 1

    async with bulk_map(work, source(), limit=4) as outcomes:
        async for outcome in outcomes:
            if outcome.index == 10:
                break
    assert peak == 4
    assert pulled < 25


async def test_leaving_early_cancels_what_is_in_flight() -> None:
    cancelled = 0

    async def slow(n: int) -> int:
        nonlocal cancelled
        if n == 0:
            return n
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return n

    async with bulk_map(slow, range(10), limit=5) as outcomes:
        async for _ in outcomes:
            break
    assert cancelled >= 3
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_source_that_fails_is_told_after_what_came_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("disk")

    seen: list[int | None] = []
    with pytest.raises(OSError, match="disk"):
        async with bulk_map(double, source(), limit=3) as outcomes:
            async for outcome in outcomes:
                seen.append(outcome.value)
    assert sorted(value or 0 for value in seen) == [2, 4]


async def test_an_exception_of_the_block_comes_out_as_it_is_and_nothing_runs_on() -> None:
    async def slow(n: int) -> int:
        await asyncio.sleep(60 if n else 0)
        return n

    with pytest.raises(KeyError, match="mine"):
        async with bulk_map(slow, range(10), limit=3) as outcomes:
            async for _ in outcomes:
                raise KeyError("mine")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_the_caller_cancels_everything() -> None:
    running = 0

    async def slow(n: int) -> None:
        nonlocal running
        running += 1
        try:
            await asyncio.sleep(60)
        finally:
            running -= 1

    async def main() -> None:
        async with bulk_map(slow, numbers(10), limit=4) as outcomes:
            async for _ in outcomes:
                pass

    task = asyncio.create_task(main())
    while running < 4:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running == 0


@pytest.mark.untraced
async def test_memory_stays_flat() -> None:
    async def nothing(n: int) -> int:
        return n

    tracemalloc.start()
    seen = 0
    async with bulk_map(nothing, range(12_000), limit=20) as outcomes:
        async for _ in outcomes:
            seen += 1
            if seen == 2_000:
                tracemalloc.reset_peak()
                base, _ = tracemalloc.get_traced_memory()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == 12_000
    assert peak - base < 1_000_000


async def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        async with bulk_map(double, [1], limit=0):
            pass
