"""The ways that a wire test takes: which path of the transport, plain or with TLS, on which event loop.

Each test goes the common way, and one of the others, by its name. ``HL_TEST_WAYS=all`` takes them all, as ``.ci/paths all``
does.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import aiohttp.connector
import pytest

from hl_async.sandbox import Sandbox
from servers import Security, secured, self_signed

EVERY = os.environ.get("HL_TEST_WAYS") == "all"


class Way(NamedTuple):
    """One way; the fields are words of the test's name."""

    path: str
    security: str
    loop: str

    def __str__(self) -> str:
        return "-".join(self)


LOOPS = ("asyncio", "uvloop") if find_spec("uvloop") else ("asyncio",)
COMMON, *OTHERS = (Way(*parts) for parts in itertools.product(("fast", "aiohttp"), ("plain", "tls"), LOOPS))


def ways_of(name: str, *, has_loop: bool) -> list[Way]:
    """Return the ways of a test: the common one, and all others or the one that its name picks."""
    others = [way for way in OTHERS if has_loop or way.loop == COMMON.loop]
    return [COMMON, *others] if EVERY else [COMMON, others[zlib.crc32(name.encode()) % len(others)]]


def new_loop(way: Way) -> asyncio.AbstractEventLoop:
    """Return an event loop of the kind that a way names."""
    if way.loop == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()


def trusted_server(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context whose certificate aiohttp accepts from now on, and the file of that certificate."""
    server = self_signed(folder)
    # the context that aiohttp verifies with where it was given none; it is made once per process
    aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(folder / "server.pem")
    return server, folder / "server.pem"


@contextmanager
def taken(
    way: Way, trusted: Callable[[], tuple[ssl.SSLContext, Path]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let clients, sandboxes and scripted servers of a test go this way."""
    if way.path == "aiohttp":
        plain = aiohttp.ClientSession._request

        # what a vendor's tracer does: then every request takes aiohttp's own path
        async def traced(self: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> Any:
            return await plain(self, *args, **kwargs)

        monkeypatch.setattr(aiohttp.ClientSession, "_request", traced)
    if way.security == "plain":
        yield
        return
    server, certificate = trusted()
    monkeypatch.setattr(Sandbox, "ssl", server)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # for clients in processes of their own
    with secured(Security(server)):
        yield
