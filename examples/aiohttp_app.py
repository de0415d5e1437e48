"""An aiohttp server with one client per process, kept by ``cleanup_ctx``.

HL_TOKEN=… HL_LOCATION_ID=… python examples/aiohttp_app.py

A request whose browser went away is cancelled (``handler_cancellation``), and the call it waited for with it: its slot,
its connection and its place in the queue are given back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from aiohttp import web

from hl_async import HighLevel
from hl_async.errors import HighLevelError
from hl_async.models import InvoiceStatus

CLIENT = web.AppKey("highlevel", HighLevel)


async def highlevel(app: web.Application) -> AsyncIterator[None]:
    """Open the client when the server starts, close it when it ends."""
    async with HighLevel.from_env() as client:
        app[CLIENT] = client
        yield


async def invoices(request: web.Request) -> web.Response:
    """The invoices that are due, first page."""
    shop = request.app[CLIENT].location()
    try:
        status = cast("InvoiceStatus | None", request.query.get("status"))
        page = await shop.invoices.list(status=status, limit=20)
    except HighLevelError as error:
        return web.json_response({"error": str(error)}, status=502)
    return web.json_response([{"id": one.id, "due": str(one.amount_due)} for one in page])


def make_app() -> web.Application:
    """The application."""
    app = web.Application()
    app.cleanup_ctx.append(highlevel)
    app.router.add_get("/invoices", invoices)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=8080, handler_cancellation=True)
