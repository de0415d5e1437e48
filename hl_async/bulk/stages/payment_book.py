"""Internal. The invoices of one location, as the payments stage sees them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hl_async import operations as op
from hl_async.bulk.documents import found_or_none
from hl_async.config import CallOptions, Lane
from hl_async.errors import DecodeError
from hl_async.resources.holder import requester_of

if TYPE_CHECKING:
    from hl_async.client import Location


class InvoiceBalance(NamedTuple):
    """What an invoice says about its payments."""

    total: Decimal
    paid: Decimal
    status: str

    @property
    def due(self) -> Decimal:
        """The part of the total that is not paid."""
        return self.total - self.paid


class PaymentBook(Protocol):
    """The invoices of one location, and their payments."""

    async def balance(self, invoice_id: str) -> InvoiceBalance | None:
        """Read an invoice. Return None if the API says that it does not exist."""
        ...

    async def record(self, invoice_id: str, body: bytes, intend: Callable[[], Awaitable[None]]) -> None:
        """Record a payment. ``intend`` is awaited before every request."""
        ...

    async def sends_receipts(self) -> bool:
        """Return whether the location sends customers a receipt for a payment."""
        ...


class LocationPayments:
    """The payments of a :class:`~hl_async.client.Location`, called in the bulk lane."""

    def __init__(self, location: Location, *, attempt_timeout: float | None = None) -> None:
        self._options = CallOptions(lane=Lane.BULK, timeout=math.inf, attempt_timeout=attempt_timeout)
        self._at = requester_of(location)
        self._receipts: bool | None = None

    async def balance(self, invoice_id: str) -> InvoiceBalance | None:
        invoice = await found_or_none(self._at.call(op.GET_INVOICE, invoice_id, options=self._options))
        if invoice is None:
            return None
        if invoice.total is None or invoice.amount_paid is None:
            # A missing sum is not zero: recording on a guess could pay an invoice twice.
            raise DecodeError("the invoice lacks total or amountPaid", operation=op.GET_INVOICE.at)
        return InvoiceBalance(invoice.total, invoice.amount_paid, invoice.status or "")

    async def record(self, invoice_id: str, body: bytes, intend: Callable[[], Awaitable[None]]) -> None:
        await self._at.call(
            op.RECORD_PAYMENT, invoice_id, body=body, options=self._options, before_send=intend
        )

    async def sends_receipts(self) -> bool:
        if self._receipts is None:
            settings = await self._at.call(op.GET_INVOICE_SETTINGS, options=self._options)
            notes = settings.custom_notification
            receipt = None if notes is None else notes.customer_payment_success
            # Settings without the notification are taken for the API's default, which is unknown: assume that it is on.
            self._receipts = receipt is None or receipt.enabled is not False
        return self._receipts
