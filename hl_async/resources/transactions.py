"""Payments and orders of one location."""

from __future__ import annotations

from datetime import date

from hl_async import operations as op
from hl_async.models import Order, Transaction
from hl_async.models.choices import BookedMode, OrderPaymentStatus
from hl_async.pagination import Pager
from hl_async.resources.requesting import Requester


class Transactions:
    """Payments and orders of one location, as ``location.transactions``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    def list(
        self,
        *,
        invoice_id: str | None = None,
        contact_id: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        payment_mode: BookedMode | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Pager[Transaction]:
        """List payments. Await the first page, or iterate over all of them.

        Needs a location token.

        Args:
            invoice_id: Payments of this invoice: the API's `entityId`.
            contact_id: Payments of this contact.
            search: Text to find.
            start: First day.
            end: Last day.
            payment_mode: live or test.
            limit: Payments per request.
            offset: Payments to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all payments.
        """
        filters = {
            # The API's name for the invoice of a payment: docs/api-facts.md#api-products
            "entityId": invoice_id,
            "contactId": contact_id,
            "search": search,
            "startAt": start,
            "endAt": end,
            "paymentMode": payment_mode,
        }
        return self._at.paginate(op.LIST_TRANSACTIONS, filters, limit=limit, offset=offset)

    def orders(
        self,
        *,
        contact_id: str | None = None,
        status: str | None = None,
        payment_status: OrderPaymentStatus | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Pager[Order]:
        """List orders. Await the first page, or iterate over all of them.

        Args:
            contact_id: Orders of this contact.
            status: The order's status.
            payment_status: The payment's status.
            search: Text to find.
            start: First day.
            end: Last day.
            limit: Orders per request.
            offset: Orders to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all orders.
        """
        filters = {
            "contactId": contact_id,
            "status": status,
            "paymentStatus": payment_status,
            "search": search,
            "startAt": start,
            "endAt": end,
        }
        return self._at.paginate(op.LIST_ORDERS, filters, limit=limit, offset=offset)
