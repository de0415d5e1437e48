"""Signed webhook deliveries for tests of a receiver, as the sandbox makes them."""

from __future__ import annotations

from hl_async.sandbox.deliveries import SignedDelivery, WebhookSender, invoice_payload

__all__ = ["SignedDelivery", "WebhookSender", "invoice_payload"]
