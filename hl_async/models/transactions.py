"""Internal. Payments that customers made: transactions and orders."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import field

from hl_async.models.money import guard
from hl_async.models.structs import Answer


class Transaction(Answer):
    """One payment; amounts in major units.

    ``entity_id`` is the id of the invoice that was paid.
    """

    id: str = field(name="_id")
    alt_id: str | None = None
    alt_type: str | None = None
    contact_id: str | None = None
    merged_from_contact_id: str | None = None
    contact_name: str | None = None
    contact_email: str | None = None
    currency: str | None = None
    amount: Decimal | None = None
    status: Any = None
    live_mode: bool | None = None
    entity_type: str | None = None
    # The filter of the same name selects an invoice's payments: docs/api-facts.md#api-products
    entity_id: str | None = None
    entity_source_type: str | None = None
    entity_source_sub_type: str | None = None
    entity_source_name: str | None = None
    entity_source_id: str | None = None
    entity_source_meta: dict[str, Any] | None = None
    subscription_id: str | None = None
    charge_id: str | None = None
    charge_snapshot: dict[str, Any] | None = None
    payment_provider_type: str | None = None
    payment_provider_connected_account: str | None = None
    ip_address: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    amount_refunded: Decimal | None = None
    payment_method: dict[str, Any] | None = None
    fulfilled_at: datetime | None = None
    created_by: str | None = None

    def __post_init__(self) -> None:
        guard(self.amount, self.amount_refunded)


class TransactionList(Answer):
    """A page of transactions."""

    data: list[Transaction] | None = None
    total: int | None = field(name="totalCount", default=None)

    @property
    def entries(self) -> list[Transaction]:
        """The page's transactions."""
        return self.data or []


class Order(Answer):
    """An order; amounts in major units."""

    id: str = field(name="_id")
    alt_id: str | None = None
    alt_type: str | None = None
    contact_id: str | None = None
    contact_name: str | None = None
    contact_email: str | None = None
    currency: str | None = None
    amount: Decimal | None = None
    subtotal: Decimal | None = None
    discount: Decimal | None = None
    status: str | None = None
    live_mode: bool | None = None
    total_products: Decimal | None = None
    source_type: str | None = None
    source_name: str | None = None
    source_id: str | None = None
    source_meta: dict[str, Any] | None = None
    source_sub_type: str | None = None
    coupon_code: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    fulfillment_status: str | None = None
    onetime_products: Decimal | None = None
    recurring_products: Decimal | None = None
    created_by: str | None = None

    def __post_init__(self) -> None:
        guard(self.amount, self.subtotal, self.discount)


class OrderList(Answer):
    """A page of orders."""

    data: list[Order] | None = None
    total: int | None = field(name="totalCount", default=None)

    @property
    def entries(self) -> list[Order]:
        """The page's orders."""
        return self.data or []
