"""Both paths of the transport, plain and over TLS, on both event loops: what a session promises holds on each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from servers import PATHS, Opened, Security, secured, self_signed


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_loop: run on each event loop that is installed")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests that ask for it on uvloop as well, where it is installed."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
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
