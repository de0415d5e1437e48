"""Signed webhook deliveries, for the tests of a receiver: those of the sandbox."""

from __future__ import annotations

from hl_async.sandbox.deliveries import SignedDelivery, WebhookSender, invoice_payload

__all__ = ["SignedDelivery", "WebhookSender", "invoice_payload"]
