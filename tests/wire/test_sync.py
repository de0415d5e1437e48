"""The blocking client: the surface of the asynchronous one with ``await`` taken away."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

import samples
from hl_async.errors import ClientStateError, InvalidRequest, NotFound
from hl_async.sandbox import Sandbox
from hl_async.sync import HighLevel
from hl_async.testing.serving import served

ROOT = Path(__file__).parents[2]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served() as box:
        yield box


@pytest.fixture
def hl(box: Sandbox) -> Iterator[HighLevel]:
    with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        yield hl


def test_a_call_returns_what_the_asynchronous_one_is_awaited_for(hl: HighLevel) -> None:
    shop = hl.location()
    made = shop.estimates.create(samples.estimate())
    found = shop.estimates.find(made.id)
    assert found is not None
    assert (found.id, found.total, found.items) == (made.id, made.total, made.items)
    assert shop.id == hl.location(shop.id).id


def test_a_list_is_read_page_by_page_or_at_once(hl: HighLevel) -> None:
    shop = hl.location()
    ids = {shop.estimates.create(samples.estimate()).id for _ in range(5)}
    pager = shop.estimates.list(limit=2)
    assert {estimate.id for estimate in pager} == ids
    assert [len(page) for page in pager.pages()][:2] == [2, 2]
    assert len(pager.first()) == 2
    assert len(pager.collect(3)) == 3
    assert "Pager" in repr(pager)


def test_errors_are_those_of_the_asynchronous_client(hl: HighLevel) -> None:
    with pytest.raises(NotFound):
        hl.location().invoices.get("64f0a1b2c3d4e5f6a7b8c9d0")
    with pytest.raises(InvalidRequest):
        hl.location().invoices.get("")


def test_threads_share_one_client(hl: HighLevel, no_blocking_calls: BlockBuster) -> None:
    no_blocking_calls.deactivate()  # the tool that measures coverage takes a lock when threads meet in it
    shop = hl.location()
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: shop.estimates.create(samples.estimate()), range(24)))
    assert len({estimate.id for estimate in made}) == 24


def test_an_asynchronous_function_of_the_caller_runs_on_the_clients_loop(hl: HighLevel) -> None:
    async def count(client: Any) -> int:
        return len(await client.location().estimates.list().collect())

    assert hl.run(count) == 0


def test_a_copy_with_other_options_stays_synchronous(hl: HighLevel) -> None:
    quick = hl.with_options(timeout=30).location().with_options(max_attempts=1)
    assert quick.estimates.list().collect() == []


def test_a_client_that_is_not_open_says_so(box: Sandbox) -> None:
    hl = HighLevel(box.token, base_url=box.url, location_id=box.location_id)
    with pytest.raises(ClientStateError, match="not open"):
        hl.location().estimates.list().collect()
    hl.open()
    with pytest.raises(ClientStateError, match="open already"):
        hl.open()
    hl.close()
    hl.close()
    assert hl.closed
    with pytest.raises(ClientStateError, match="not open"):
        hl.location().estimates.list().collect()


def test_a_thread_with_a_running_loop_is_not_blocked(hl: HighLevel) -> None:
    async def within() -> None:
        hl.location().estimates.list().collect()

    with pytest.raises(ClientStateError, match="event loop"):
        asyncio.run(within())


def test_the_loop_thread_ends_with_the_client(box: Sandbox) -> None:
    before = threading.active_count()
    with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        assert hl.location().estimates.list().collect() == []
    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_client_that_was_opened_before_a_fork_is_refused_after_it(hl: HighLevel) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            hl.location().estimates.list().collect()
        except BaseException as error:
            os.write(writing, type(error).__name__.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"ForkedClient"
    os.close(reading)


def test_a_client_from_the_environment_is_configured_by_it(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "HL_TOKEN": box.token,
        "HL_BASE_URL": box.url,
        "HL_LOCATION_ID": box.location_id,
    }.items():
        monkeypatch.setenv(name, value)
    with HighLevel.from_env() as hl:
        assert hl.location().id == box.location_id
        assert box.token not in repr(hl)


def test_the_stub_says_what_the_asynchronous_surface_says() -> None:
    """If this fails: ``make stubs``."""
    spec = importlib.util.spec_from_file_location("sync_stub", ROOT / ".ci/sync_stub.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "hl_async/sync/__init__.pyi").read_text("utf-8") == module.made()


def test_completion_offers_what_the_asynchronous_object_has(hl: HighLevel) -> None:
    assert {"estimates", "invoices"} <= set(dir(hl.location()))
    assert "create" in dir(hl.location().estimates)
    assert not hasattr(hl, "_nothing")
