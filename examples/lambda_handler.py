"""An AWS Lambda function behind an HTTP API: an invoice by its id, and a receiver of webhooks.

The client lives outside the handler, so that warm calls reuse its connections. Between events the container is frozen;
a connection that the server closed meanwhile is noticed before a request is written to it. Nothing needs closing: AWS
ends a frozen container without a word.

One container handles one event at a time, and many containers don't know each other's calls. If they are many, let them
share their rate budget: ``HighLevel.from_env(budget=PostgresBudget(dsn))``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from typing import Any, Final

from hl_async.errors import DeadlineExceeded, HighLevelError, NotFound, WebhookError
from hl_async.sync import HighLevel
from hl_async.webhooks import HIGHLEVEL_ED25519, InvoicePaidEvent, Router, status_for

log = logging.getLogger("lambda_handler")
hl = HighLevel.from_env()
webhooks = Router(keys=(os.environ.get("HL_WEBHOOK_KEY", HIGHLEVEL_ED25519),))

RESERVE: Final = 1.0
"""Seconds before the end of the function at which a call gives up, so that there is time to answer."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one event of an HTTP API (payload format 2.0)."""
    if event["rawPath"] == "/webhooks/highlevel":
        return receive(event)
    left = context.get_remaining_time_in_millis() / 1000 - RESERVE
    shop = hl.with_options(timeout=max(left, 0.1)).location()
    try:
        found = shop.invoices.get(event["pathParameters"]["id"])
    except NotFound:
        return answer(404, {"error": "no such invoice"})
    except HighLevelError as error:
        log.error("%s: %s: %s", event["rawPath"], type(error).__name__, error)
        return answer(503 if isinstance(error, DeadlineExceeded) else 502, {"error": str(error)})
    return answer(200, {"number": found.invoice_number, "due": str(found.amount_due)})


def receive(event: dict[str, Any]) -> dict[str, Any]:
    """Verify a delivery and run its handlers. The signature is over the raw body, which may come as base64."""
    body = event.get("body") or ""
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    try:
        # Handlers run on the client's loop, where they may use the asynchronous client.
        hl.run(lambda client: webhooks.dispatch(raw, event["headers"]))
    except WebhookError as error:
        log.warning("webhook not accepted: %s", error)
        return answer(status_for(error), {})
    except Exception as error:
        log.exception("the handler of a webhook failed; HighLevel will deliver again")
        return answer(status_for(error), {})
    return answer(200, {})


@webhooks.on(InvoicePaidEvent)
async def invoice_paid(event: InvoicePaidEvent) -> None:
    """What to do when an invoice was paid. A repeated delivery may reach another container: be ready for both."""
    log.info("invoice %s is paid: %s", event.invoice.id, event.invoice.amount_paid)


def answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as an HTTP API expects it."""
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
