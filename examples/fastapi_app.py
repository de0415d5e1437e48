"""A FastAPI app with one client per process: opened when the app starts, shared by all requests, closed when it ends.

    HL_TOKEN=… HL_LOCATION_ID=… uvicorn examples.fastapi_app:app

Without an account: hl-async sandbox uvicorn examples.fastapi_app:app

A form that is sent twice, by a double click or to two of these processes, makes one contact and one estimate: keys and
locks are kept in the file ``ONCE_DB``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from hl_async import HighLevel, Location, Once, SqliteStore
from hl_async.errors import (
    AmbiguousContact,
    DeadlineExceeded,
    HighLevelError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    WebhookError,
)
from hl_async.models import BusinessDetails, EstimateDraft, EstimateStatus, LineItem
from hl_async.webhooks import HIGHLEVEL_ED25519, InvoicePaidEvent, Router, status_for

log = logging.getLogger("fastapi_app")
webhooks = Router(keys=(os.environ.get("HL_WEBHOOK_KEY", HIGHLEVEL_ED25519),))
paid: dict[str, Decimal] = {}
SCOPES = ("contacts.readonly", "locations.readonly", "invoices/estimate.readonly", "invoices.readonly")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the client for as long as the app runs; leaving the block lets calls on the wire finish."""
    once = Once(SqliteStore(os.environ.get("ONCE_DB", "once.db")))
    async with HighLevel.from_env(once=once) as client:
        await client.location().check_scopes(*SCOPES)  # at the start, not at the first form
        app.state.highlevel = client
        yield


app = FastAPI(lifespan=lifespan)


def shop(request: Request) -> Location:
    """The location that this app works for."""
    client: HighLevel = request.app.state.highlevel
    return client.location()


Shop = Annotated[Location, Depends(shop)]


@app.get("/estimates")
async def estimates(shop: Shop, status: EstimateStatus | None = None) -> list[dict[str, str]]:
    """The first page of estimates."""
    page = await shop.estimates.list(status=status, limit=20)
    return [{"id": one.id, "name": one.name or "", "total": str(one.total)} for one in page]


class Line(BaseModel):
    """A line of the form."""

    name: str
    amount: Decimal
    quantity: Decimal = Decimal(1)


class Form(BaseModel):
    """What the page sends. ``id`` is made when the page is rendered, so that a double click sends the same one."""

    id: str
    name: str
    email: str
    phone: str | None = None
    country: str = "US"
    lines: list[Line]


@app.post("/estimates", status_code=201)
async def from_form(shop: Shop, form: Form) -> dict[str, str]:
    """Find or create the contact, then create the estimate, once per form."""
    # Reads come first: a missing scope then stops the form before the contact is created.
    details = await shop.details()
    found = await shop.contacts.ensure(
        email=form.email, phone=form.phone, region=form.country, name=form.name, source="web form"
    )
    today = datetime.now(ZoneInfo(details.timezone or "UTC")).date()
    draft = EstimateDraft(
        name=f"Offer for {form.name}"[:40],
        currency="USD",
        items=[
            LineItem(name=line.name, currency="USD", amount=line.amount, qty=line.quantity)
            for line in form.lines
        ],
        contact_details=found.contact.for_document(),
        expiry_date=today + timedelta(days=30),
        business_details=BusinessDetails.of(details),
    )
    try:
        made = await shop.estimates.create(draft, once=form.id)
    except HighLevelError as error:
        error.add_note(f"the contact {found.contact.id} is there, the estimate is not")
        raise
    return {"estimate": made.id, "contact": found.contact.id}


@app.post("/estimates/{estimate_id}/invoice", status_code=201)
async def to_invoice(shop: Shop, estimate_id: str) -> dict[str, str]:
    """Turn an accepted estimate into its one invoice; no call takes longer than five seconds."""
    result = await shop.with_options(timeout=5.0).estimates.create_invoice(
        estimate_id, mark_as_invoiced=True, once=True
    )
    return {"invoice": result.invoice.id if result.invoice else ""}


@app.exception_handler(HighLevelError)
async def failed(request: Request, error: HighLevelError) -> JSONResponse:
    """Log what failed, and tell the page whether the same request may be sent again."""
    status, headers = 502, {}
    if isinstance(error, AmbiguousContact):
        status = 409
    elif isinstance(error, InvalidRequest):
        status = 422
    elif isinstance(error, NotFound):
        status = 404
    elif isinstance(error, DeadlineExceeded | OutcomeUnknown):
        # the budget of the location is spent for now, or no answer came: the same form may be sent again
        needed = error.needed if isinstance(error, DeadlineExceeded) else None
        status, headers = 503, {"Retry-After": str(round(needed or 1))}
    level = logging.WARNING if status < 500 else logging.ERROR
    log.log(level, "%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    done = getattr(error, "__notes__", [])
    return JSONResponse({"error": str(error), "done": done}, status, headers)


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
    except WebhookError as error:
        log.warning("webhook not accepted: %s", error)
        return Response(status_code=status_for(error))
    except Exception as error:
        log.exception("the handler of a webhook failed; HighLevel will deliver again")
        return Response(status_code=status_for(error))
    return Response(status_code=200)
