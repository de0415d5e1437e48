"""A FastAPI app with one client per process: opened when the app starts, shared by all requests, closed when it ends.

    HL_TOKEN=… HL_LOCATION_ID=… uvicorn examples.fastapi_app:app

Without an account: hl-async sandbox uvicorn examples.fastapi_app:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response

from hl_async import HighLevel, Location
from hl_async.errors import ApiError, DeadlineExceeded, NotFound
from hl_async.webhooks import HIGHLEVEL_ED25519, InvoicePaidEvent, Router, status_for

webhooks = Router(keys=(os.environ.get("HL_WEBHOOK_KEY", HIGHLEVEL_ED25519),))
paid: dict[str, Decimal] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the client for as long as the app runs; leaving the block lets calls on the wire finish."""
    async with HighLevel.from_env() as client:
        app.state.highlevel = client
        yield


app = FastAPI(lifespan=lifespan)


def shop(request: Request) -> Location:
    """The location that this app works for."""
    client: HighLevel = request.app.state.highlevel
    return client.location()


Shop = Annotated[Location, Depends(shop)]


@app.get("/estimates")
async def estimates(shop: Shop, status: str | None = None) -> list[dict[str, str]]:
    """The first page of estimates."""
    page = await shop.estimates.list(status=status, limit=20)
    return [{"id": one.id, "name": one.name or "", "total": str(one.total)} for one in page]


@app.post("/estimates/{estimate_id}/invoice", status_code=201)
async def to_invoice(shop: Shop, estimate_id: str) -> dict[str, str]:
    """Turn an estimate into an invoice, within five seconds or not at all."""
    try:
        result = await shop.with_options(timeout=5.0).estimates.create_invoice(
            estimate_id, mark_as_invoiced=True
        )
    except NotFound:
        raise HTTPException(404, "no such estimate") from None
    except DeadlineExceeded as error:
        # the rate budget of this location is spent for now: the reader may come again
        headers = {"Retry-After": str(round(error.needed or 1))}
        raise HTTPException(503, "busy, try again", headers=headers) from None
    except ApiError as error:
        raise HTTPException(502, f"HighLevel refused: {error}") from None
    return {"invoice": result.invoice.id if result.invoice else ""}


@webhooks.on(InvoicePaidEvent)
async def invoice_paid(event: InvoicePaidEvent) -> None:
    """What to do when an invoice was paid: here, remember it."""
    if event.invoice.id is not None:
        paid[event.invoice.id] = event.invoice.amount_paid or Decimal(0)


@app.post("/webhooks/highlevel")
async def receive(request: Request) -> Response:
    """The address to enter in the app's settings; the raw body is what was signed."""
    try:
        await webhooks.dispatch(await request.body(), request.headers)
    except Exception as error:
        return Response(status_code=status_for(error))
    return Response(status_code=200)
