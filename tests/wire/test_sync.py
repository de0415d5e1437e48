"""The blocking client: the surface of the asynchronous one with ``await`` taken away."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

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
    assert pager.count() == 5
    assert "Pager" in repr(pager)


def test_errors_are_those_of_the_asynchronous_client(hl: HighLevel) -> None:
    with pytest.raises(NotFound):
        hl.location().invoices.get("64f0a1b2c3d4e5f6a7b8c9d0")
    with pytest.raises(InvalidRequest):
        hl.location().invoices.get("")


def test_threads_share_one_client(hl: HighLevel) -> None:
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


def test_a_client_opens_at_its_first_call_and_is_refused_after_it_was_closed(box: Sandbox) -> None:
    hl = HighLevel(box.token, base_url=box.url, location_id=box.location_id)
    threads = threading.active_count()
    assert "new" in repr(hl)
    assert hl.location().estimates.list().collect() == []
    assert (hl.closed, threading.active_count()) == (False, threads + 1)
    with hl, pytest.raises(ClientStateError, match="open already"):
        hl.open()
    hl.close()
    assert (hl.closed, threading.active_count()) == (True, threads)
    for use in (hl.open, hl.location().estimates.list().collect, lambda: hl.location().invoices.get("x")):
        with pytest.raises(ClientStateError, match="is closed"):
            use()


def test_threads_that_call_first_at_the_same_time_open_it_once(
    box: Sandbox,
) -> None:
    hl = HighLevel(box.token, base_url=box.url, location_id=box.location_id)
    ready = threading.Barrier(8)

    def call(_: int) -> int:
        ready.wait(30)
        return len(hl.location().estimates.list().collect())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [0] * 8
        assert sum(one.name == "hl_async-sync" for one in threading.enumerate()) == 1
    hl.close()


def test_closing_ends_a_call_of_another_thread_and_cannot_wait_for_itself(box: Sandbox) -> None:
    hl = HighLevel(box.token, base_url=box.url, location_id=box.location_id).open()
    begun = threading.Event()

    async def wait(client: Any) -> None:
        begun.set()
        await asyncio.sleep(3600)

    async def close(client: Any) -> None:
        hl.close()

    with pytest.raises(ClientStateError, match="wait for itself"):
        hl.run(close)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(hl.run, wait)
        assert begun.wait(30)
        hl.close()
        with pytest.raises(ClientStateError, match="closed during this call"):
            waiting.result(30)


def test_a_client_that_is_collected_open_warns_and_closes_itself(box: Sandbox) -> None:
    hl = HighLevel(box.token, base_url=box.url, location_id=box.location_id).open()
    [thread] = [one for one in threading.enumerate() if one.name == "hl_async-sync"]
    with pytest.warns(ResourceWarning, match="unclosed HighLevel client for http"):
        del hl
        gc.collect()
    thread.join(30)
    assert not thread.is_alive()


LEFT_OPEN = """
import os, sys
from hl_async import Once, SqliteStore
from hl_async.sync import HighLevel
hl = HighLevel.from_env(once=Once(SqliteStore("once.db")))
print(len(hl.location().estimates.list().collect()))
pages = iter(hl.location().estimates.list(limit=1))
"""


@pytest.mark.parametrize("ending", ["1 / 0", "os.fork() or sys.exit(0); os.wait()"])
def test_a_process_ends_although_its_client_was_never_closed(
    box: Sandbox, ending: str, tmp_path: Path
) -> None:
    if "fork" in ending and not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    values = {"HL_TOKEN": box.token, "HL_BASE_URL": box.url, "HL_LOCATION_ID": box.location_id}
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", f"{LEFT_OPEN}{ending}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **values},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "0\n"
    if "fork" in ending:
        assert done.returncode == 0
    else:
        # the error of the program is all that is said: its client was closed in good order
        assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
        assert "Warning" not in done.stderr


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a signal cannot be sent to a thread here")
def test_ctrl_c_ends_a_waiting_call_at_once_and_leaves_the_client_usable(box: Sandbox, hl: HighLevel) -> None:
    box.latency = 20.0
    main = threading.main_thread().ident
    assert main is not None
    # A program that installs no handler; another test of this process may have left one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def interrupt() -> None:
        while box.count == 0:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        hl.location().invoices.get("64f0a1b2c3d4e5f6a7b8c9d0")
    assert time.monotonic() - started < 15, "it waited for the answer"
    sender.join()
    signal.signal(signal.SIGINT, before)
    box.latency = 0.0
    assert hl.location().estimates.list().collect() == []
    assert hl.location().budget().in_flight == 0


def test_a_thread_with_a_running_loop_is_not_blocked(hl: HighLevel) -> None:
    async def within() -> None:
        for use in (hl.location().estimates.list().collect, lambda: hl.location().invoices.get("x")):
            with pytest.raises(ClientStateError, match=r"event loop.*asyncio\.to_thread"):
                use()
        assert await asyncio.to_thread(hl.location().estimates.list().collect) == []

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
