"""A Django project in one file: its blocking and its asynchronous views share one client per process.

    HL_TOKEN=… HL_LOCATION_ID=… python examples/django_app.py runserver
    gunicorn examples.django_app:wsgi
    uvicorn examples.django_app:asgi

Without an account: hl-async sandbox python examples/django_app.py runserver

The client is made when the process starts, so that a missing token stops it there. It opens its connections at the
first request: after the fork of a server that loads the project before it forks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import django
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.html import format_html
from django.views.decorators.csrf import csrf_exempt

from hl_async import Once, SqliteStore
from hl_async.errors import (
    DeadlineExceeded,
    HighLevelError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    WebhookError,
)
from hl_async.models import BusinessDetails, EstimateDraft, LineItem
from hl_async.sync import HighLevel
from hl_async.webhooks import HIGHLEVEL_ED25519, InvoicePaidEvent, Router, status_for

log = logging.getLogger("django_app")
hl = HighLevel.from_env(once=Once(SqliteStore(os.environ.get("ONCE_DB", "once.db"))))
webhooks = Router(keys=(os.environ.get("HL_WEBHOOK_KEY", HIGHLEVEL_ED25519),))
paid: set[str] = set()

_PAGE = """<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{}">
<input type="hidden" name="key" value="{}"> <input name="name" placeholder="Name"> <input name="email" type="email">
<input name="item" placeholder="Item"> <input name="amount" placeholder="Price"> <button>Get an offer</button></form>"""


def invoice(request: HttpRequest, invoice_id: str) -> HttpResponse:
    """A blocking view: the number of an invoice and what is due."""
    found = hl.location().invoices.get(invoice_id)
    return JsonResponse({"number": found.invoice_number, "due": str(found.amount_due)})


def new_estimate(request: HttpRequest) -> HttpResponse:
    """A form, and what it sends: one contact and one estimate, however often the button is pressed."""
    if request.method != "POST":
        return HttpResponse(format_html(_PAGE, get_token(request), secrets.token_hex(8)))
    form, shop = request.POST, hl.location()
    details = shop.details()
    # Text of the form goes in as it is: the models refuse what is not an amount or an address, by field.
    line = LineItem(name=form.get("item", ""), currency="USD", amount=form.get("amount", ""), qty=1)
    found = shop.contacts.ensure(email=form.get("email", ""), name=form.get("name", ""), source="web form")
    today = datetime.now(ZoneInfo(details.timezone or "UTC")).date()
    draft = EstimateDraft(
        name=f"Offer for {form.get('name', '')}"[:40],
        currency="USD",
        items=[line],
        contact_details=found.contact.for_document(),
        expiry_date=today + timedelta(days=30),
        business_details=BusinessDetails.of(details),
    )
    made = shop.estimates.create(draft, once=form.get("key", ""))
    return JsonResponse({"estimate": made.id, "contact": found.contact.id}, status=201)


async def estimates(request: HttpRequest) -> HttpResponse:
    """An asynchronous view: two reads at the same time, each blocking a thread and not the server's loop."""
    shop = hl.location()
    page, details = await asyncio.gather(
        asyncio.to_thread(shop.estimates.list(limit=20).first), asyncio.to_thread(shop.details)
    )
    listed = [{"id": one.id, "name": one.name, "total": str(one.total)} for one in page]
    return JsonResponse({"business": details.name, "total": page.total, "estimates": listed})


@webhooks.on(InvoicePaidEvent)
async def invoice_paid(event: InvoicePaidEvent) -> None:
    """What to do when an invoice was paid: here, remember it."""
    if event.invoice.id is not None:
        paid.add(event.invoice.id)


async def receive(request: HttpRequest) -> HttpResponse:
    """The address to enter in the app's settings; the raw body is what was signed."""
    try:
        await webhooks.dispatch(request.body, request.headers)
    except WebhookError as error:
        log.warning("webhook not accepted: %s", error)
        return HttpResponse(status=status_for(error))
    except Exception as error:
        log.exception("the handler of a webhook failed; HighLevel will deliver again")
        return HttpResponse(status=status_for(error))
    return HttpResponse(status=200)


class HighLevelErrors:
    """Middleware: log what failed, and tell the page whether the same request may be sent again."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Pass the request on; under ASGI this is the coroutine of the answer."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the answer for an error of a view, or None for an error that is not ours."""
        if not isinstance(error, HighLevelError):
            return None
        status = 404 if isinstance(error, NotFound) else 422 if isinstance(error, InvalidRequest) else 502
        headers = {}
        if isinstance(error, DeadlineExceeded | OutcomeUnknown):
            needed = error.needed if isinstance(error, DeadlineExceeded) else None
            status, headers = 503, {"Retry-After": str(round(needed or 1))}
        level = logging.WARNING if status < 500 else logging.ERROR
        log.log(level, "%s %s: %s: %s", request.method, request.path, type(error).__name__, error)
        return JsonResponse({"error": str(error)}, status=status, headers=headers)


urlpatterns = [
    path("invoices/<str:invoice_id>", invoice),
    path("estimates", estimates),
    path("estimates/new", new_estimate),
    path("webhooks/highlevel", csrf_exempt(receive)),  # its signature is what protects it
]

if not settings.configured:
    settings.configure(
        SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or secrets.token_hex(32),
        DEBUG=os.environ.get("DJANGO_DEBUG") == "1",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware", f"{__name__}.HighLevelErrors"],
    )
    django.setup()

wsgi = get_wsgi_application()
asgi = get_asgi_application()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
