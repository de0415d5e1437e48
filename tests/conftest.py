"""What every test shares: a strict event loop, a sandbox, a client, and a search for leaked secrets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ClientResponse
from blockbuster import BlockBuster, blockbuster_ctx

from hl_async import HighLevel, PrivateToken
from hl_async.sandbox import Sandbox

SENTINELS = ("pit-5ent1nel", "s3ntinel-client-secret", "s3ntinel-refresh", "s3ntinel-access")
"""Marks that every secret of the suite carries; none may ever be seen in output."""


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """Blocking the event loop fails the test that does it."""
    with blockbuster_ctx("hl_async") as guard:
        yield guard


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


class MockableResponse(ClientResponse):
    """aioresponses 0.7.9 does not know the ``stream_writer`` argument of aiohttp 3.14."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def mockable_response() -> type[aiohttp.ClientResponse]:
    """The response class to give to aioresponses."""
    return MockableResponse


_LEAKS: list[str] = []
_MARK = re.compile("|".join(re.escape(mark) for mark in SENTINELS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Search everything a test printed, logged or raised for the suite's secrets."""
    report = yield
    texts = [text for _, text in report.sections]
    if report.longrepr is not None:
        texts.append(str(report.longrepr))
    for text in texts:
        found = _MARK.search(text)
        if found and item.get_closest_marker("plants_a_secret") is None:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: the secret {found.group()[:6]}… was printed, logged or raised"
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "plants_a_secret: prints a secret on purpose, to prove that the search works"
    )
