"""Both paths of the transport, plain and over TLS, on both event loops: what a session promises holds on each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from servers import PATHS, Opened, Security, secured, self_signed
from ways import COMMON, EVERY, Way, new_loop, taken, trusted_server, ways_of

BY_THEIR_OWN = (
    "busy_loop", "console", "postgres", "processes", "sandbox", "session", "testing_tools",
)  # fmt: skip
"""Parts of the names of files that choose their ways themselves, or that test no client."""

_way = COMMON
"""The way of the running test, for whom a loop is made."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_loop: run on each event loop that is installed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Send the tests of clients along several ways."""
    name = metafunc.module.__name__
    has_loop = asyncio.iscoroutinefunction(metafunc.function)
    is_client = has_loop or {"box", "served"} & set(metafunc.fixturenames)
    if not is_client or any(part in name for part in BY_THEIR_OWN):
        return
    common, *others = ways_of(f"{name}.{metafunc.function.__name__}", has_loop=has_loop)
    marks = [pytest.mark.untraced]  # nearly the same lines again
    if (
        name == "test_sync_surface" and not EVERY
    ):  # the tests that it repeats take their second way themselves
        marks.append(pytest.mark.long)
    chosen = [common, *(pytest.param(one, marks=marks) for one in others)]
    metafunc.parametrize("way", chosen, indirect=True, ids=str)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _way
    callspec = getattr(item, "callspec", None)
    _way = COMMON if callspec is None else callspec.params.get("way", COMMON)


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[ssl.SSLContext, Path]]:
    """Give the context of servers whose certificate every client trusts."""
    return cache(lambda: trusted_server(tmp_path_factory.mktemp("trusted")))


@pytest.fixture(autouse=True)
def way(
    request: pytest.FixtureRequest,
    trusted: Callable[[], tuple[ssl.SSLContext, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Way]:
    """The way of this test."""
    chosen: Way = getattr(request, "param", COMMON)
    with taken(chosen, trusted, monkeypatch):
        yield chosen


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests that ask for it on uvloop as well, where it is installed."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": lambda: new_loop(_way)}
    if item.get_closest_marker("every_loop") and find_spec("uvloop"):
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Security:
    """A server's certificate, and a context that trusts it."""
    folder: Path = tmp_path_factory.mktemp("tls")
    server = self_signed(folder)
    session = ssl.create_default_context(cafile=str(folder / "server.pem"))
    session.check_hostname = False
    return Security(server, session)


@pytest.fixture(params=["plain", "tls"])
def security(request: pytest.FixtureRequest, tls: Security) -> Iterator[Security]:
    """Plain TCP, and TLS."""
    chosen = tls if request.param == "tls" else Security()
    with secured(chosen):
        yield chosen


@pytest.fixture(params=list(PATHS))
def opened(request: pytest.FixtureRequest, security: Security) -> Opened:
    """A session on each path; the last one works with a session of the caller's."""
    return PATHS[request.param]


@pytest.fixture(params=["fast", "aiohttp"])
def opened_own(request: pytest.FixtureRequest, security: Security) -> Opened:
    """A session of our own on each path, whose pool is looked after."""
    return PATHS[request.param]
