"""Internal. Fixtures for the tests of code that uses this package.

pytest loads them once the package is installed.

``highlevel_sandbox``   a local HighLevel in a thread of its own, closed after the test; for sync and async tests
``highlevel``           an open client of it; for async tests, under pytest-asyncio (any mode) or anyio
``highlevel_contact``   a new contact in its default location
``highlevel_location``  its default location: ``await highlevel_location.estimates.create(…)``

A mark changes the settings of a test's sandbox: ``@pytest.mark.highlevel(rate_max=5, faults="mild")``. Its keywords are
those of :class:`hl_async.sandbox.Sandbox`. A suite without these fixtures only pays for the import of this module.
The import loads neither an HTTP library nor the client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hl_async.client import HighLevel, Location
    from hl_async.models import ContactRecord
    from hl_async.sandbox import Sandbox


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, and fixtures for the plugin that runs async tests."""
    config.addinivalue_line("markers", "highlevel(**settings): settings of this test's highlevel_sandbox")
    async_fixture: Callable[..., Any] = pytest.fixture  # anyio runs plain async fixtures
    if config.pluginmanager.hasplugin("asyncio"):
        # In strict mode, pytest-asyncio only runs async fixtures that its own decorator made.
        import pytest_asyncio

        async_fixture = pytest_asyncio.fixture
    # Registered here, because the decorator depends on the other plugins, which are known only now.
    config.pluginmanager.register(_client_fixtures(async_fixture), "hl_async_client")


@pytest.fixture
def highlevel_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Serve a local HighLevel; the mark `highlevel` changes its settings."""
    # Imported here, because every suite of the environment loads this module, also those without our fixtures.
    from hl_async.config import Environment
    from hl_async.sandbox.zones import DEFAULT
    from hl_async.testing.serving import served

    mark = request.node.get_closest_marker("highlevel")
    # Not UTC by default, because only another zone shows a date that is off by a day.
    zone = Environment.read().sandbox_timezone or DEFAULT
    with served(**{"timezone": zone, **(mark.kwargs if mark else {})}) as box:
        yield box


def _client_fixtures(async_fixture: Callable[..., Any]) -> object:
    class Fixtures:
        @async_fixture  # type: ignore[untyped-decorator, unused-ignore]
        async def highlevel(self, highlevel_sandbox: Sandbox) -> AsyncIterator[HighLevel]:
            """Open a client of `highlevel_sandbox`, and close it after the test."""
            from hl_async.client import HighLevel

            box = highlevel_sandbox
            async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as client:
                yield client

        @async_fixture  # type: ignore[untyped-decorator, unused-ignore]
        async def highlevel_contact(self, highlevel: HighLevel) -> ContactRecord:
            """Create a contact with a name, an e-mail address and a phone number."""
            from hl_async.testing.builders import Builder

            return await highlevel.location().contacts.create(Builder(seed=1).contact_draft())

        @pytest.fixture
        def highlevel_location(self, highlevel: HighLevel) -> Location:
            """Return the sandbox's default location."""
            return highlevel.location()

    return Fixtures()
