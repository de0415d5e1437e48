"""Opening the client in the ways that people try first."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

import samples
from hl_async import Governor, GovernorPolicy, HighLevel
from hl_async.bulk import bulk_map
from hl_async.errors import ClientClosed, ClientStateError, DeadlineExceeded
from hl_async.sandbox import Sandbox


async def test_a_client_is_opened_without_a_block_and_closed_by_hand(box: Sandbox) -> None:
    hl = await HighLevel(box.token, base_url=box.url, location_id=box.location_id).aopen()
    with pytest.raises(ClientStateError, match="open already"):
        await hl.aopen()
    assert await hl.location().estimates.list().collect() == []
    await hl.aclose()
    assert hl.closed


async def test_a_client_that_is_collected_open_warns(box: Sandbox) -> None:
    hl = await HighLevel(box.token, base_url=box.url).aopen()
    session, governor = hl._core.session, hl._core.governor
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del hl
        gc.collect()
    said = [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
    assert any("unclosed HighLevel client" in text and box.url in text for text in said)
    await governor.aclose()
    await session.aclose()


async def test_clients_share_a_governor_that_none_of_them_closes() -> None:
    governor = Governor(GovernorPolicy(reserve=0, pace=None))
    async with Sandbox(rate_max=3, rate_interval=30.0) as box:
        clients = [
            await HighLevel(
                box.token, base_url=box.url, location_id=box.location_id, governor=governor
            ).aopen()
            for _ in range(2)
        ]
        with pytest.raises(DeadlineExceeded):  # the budget of 3 is one budget for both
            for client in clients * 2:
                await client.with_options(timeout=5.0).location().estimates.list(limit=1).collect()
        waiting = [asyncio.create_task(client.location().estimates.generate_number()) for client in clients]
        while governor.waiting < 2:
            await asyncio.sleep(0.01)
        await clients[0].aclose()
        with pytest.raises(ClientClosed, match="nothing was sent"):
            await waiting[0]
        assert (governor.closed, governor.waiting) == (False, 1)  # the other client's call waits on
        governor.close()
        with pytest.raises(ClientClosed):
            await waiting[1]
        await clients[1].aclose()
        await governor.aclose()


def test_a_plain_with_says_what_to_use() -> None:
    with pytest.raises(TypeError, match="async with"), HighLevel("pit-x"):  # type: ignore[attr-defined]
        pass


async def test_a_plain_for_over_a_pager_says_async_for(box: Sandbox) -> None:
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        with pytest.raises(TypeError, match="async for"):
            for _ in hl.location().estimates.list():  # type: ignore[attr-defined]
                pass


async def test_a_page_is_indexed_like_a_list(box: Sandbox) -> None:
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        made = await hl.location().estimates.create(samples.estimate())
        page = await hl.location().estimates.list()
        assert page[0].id == made.id
        assert page[-1:][0].id == made.id


async def test_an_outcome_of_bulk_map_returns_or_raises_like_a_future() -> None:
    async def double(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number * 2

    found = {}
    async with bulk_map(double, [1, 2]) as outcomes:
        async for outcome in outcomes:
            found[outcome.item] = outcome
    assert found[1].result() + 1 == 3
    with pytest.raises(ValueError, match="two"):
        found[2].result()
