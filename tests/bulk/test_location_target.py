"""Promises about a location as a run sees it: only the API's own 404 says that a document does not exist."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from hl_async import HighLevel
from hl_async.bulk import LocationTarget
from hl_async.bulk.keys import key_carrier
from hl_async.bulk.stages.payment_book import LocationPayments
from hl_async.bulk.stages.state_book import LocationStates
from hl_async.errors import NotFound
from hl_async.operations import CREATE_INVOICE

API = {"statusCode": 404, "message": "Unable to find an invoice with the given invoice id"}


@pytest.fixture(params=["gateway", "api"])
async def hl(request: pytest.FixtureRequest) -> AsyncIterator[HighLevel]:
    """A client of a server that answers everything with a 404: its own page, or the API's words."""

    async def answer(_: web.Request) -> web.Response:
        if request.param == "api":
            return web.json_response(API, status=404)
        return web.Response(status=404, text="<h1>404 Not Found</h1>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with HighLevel("pit-0f1e2d3c", base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    await runner.cleanup()


async def test_only_the_apis_own_404_says_that_a_document_is_gone(
    hl: HighLevel, request: pytest.FixtureRequest
) -> None:
    location = hl.location("6578278e879ad2646715ba9c")
    target = LocationTarget(location, CREATE_INVOICE, key_carrier("name"))
    asked = (
        (target.exists, False),
        (target.delete, False),
        (LocationPayments(location).balance, None),
        (LocationStates(location).status, None),
        (LocationStates(location).tags, None),
        (target.contacts.get, None),
    )
    for ask, gone in asked:
        if request.node.callspec.params["hl"] == "api":
            assert await ask("64f0a1b2c3d4e5f6a7b8c9d0") is gone
        else:
            with pytest.raises(NotFound):
                await ask("64f0a1b2c3d4e5f6a7b8c9d0")
