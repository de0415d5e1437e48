"""What tests of bulk work share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hl_async import HighLevel
from hl_async.sandbox import Sandbox


@pytest.fixture
async def hl(box: Sandbox) -> AsyncIterator[HighLevel]:
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as client:
        yield client
