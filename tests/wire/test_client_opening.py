"""Opening the client in the ways that people try first."""

from __future__ import annotations

import gc
import warnings

import pytest

import samples
from hl_async import HighLevel
from hl_async.bulk import bulk_map
from hl_async.errors import ClientStateError
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
