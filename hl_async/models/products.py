"""Internal. Products and their prices."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, UnsetType, field

from hl_async.models.choices import PriceType, ProductType
from hl_async.models.inputs import ABSENT, OptionalQuantity, Quantity
from hl_async.models.money import guard
from hl_async.models.structs import Answer, Part
from hl_async.models.validation import Currency, NonEmptyStr, Request


class PriceRecurrence(Part):
    """The interval of a recurring price.

    The price is due every ``interval_count`` units of ``interval``, which is day, week, month or year.
    """

    interval: str | None = None
    interval_count: Decimal | None = None


class ProductDraft(Request, frozen=True):
    """A new product.

    ``product_type`` is DIGITAL, PHYSICAL, SERVICE or PHYSICAL/DIGITAL.
    """

    name: NonEmptyStr
    product_type: ProductType
    description: str | UnsetType = UNSET
    image: str | UnsetType = UNSET
    statement_descriptor: str | UnsetType = UNSET
    available_in_store: bool | UnsetType = UNSET
    medias: list[Any] | UnsetType = UNSET
    variants: list[Any] | UnsetType = UNSET
    collection_ids: list[str] | UnsetType = UNSET
    is_taxes_enabled: bool | UnsetType = UNSET
    taxes: list[str] | UnsetType = UNSET
    automatic_tax_category_id: str | UnsetType = UNSET
    is_label_enabled: bool | UnsetType = UNSET
    label: dict[str, Any] | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    seo: dict[str, Any] | UnsetType = UNSET
    tax_inclusive: bool | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class PriceDraft(Request, frozen=True):
    """A new price of a product.

    ``type`` is one_time or recurring; ``amount`` is in major units of ``currency``.
    """

    name: NonEmptyStr
    type: PriceType
    currency: Currency
    amount: Quantity
    recurring: PriceRecurrence | UnsetType = UNSET
    description: str | UnsetType = UNSET
    membership_offers: list[Any] | UnsetType = UNSET
    trial_period: int | UnsetType = UNSET
    total_cycles: int | UnsetType = UNSET
    setup_fee: OptionalQuantity = ABSENT
    variant_option_ids: list[str] | UnsetType = UNSET
    compare_at_price: OptionalQuantity = ABSENT
    user_id: str | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = UNSET
    track_inventory: bool | UnsetType = UNSET
    available_quantity: int | UnsetType = UNSET
    allow_out_of_stock_purchases: bool | UnsetType = UNSET
    sku: str | UnsetType = UNSET
    shipping_options: dict[str, Any] | UnsetType = UNSET
    is_digital_product: bool | UnsetType = UNSET
    digital_delivery: list[str] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class Product(Answer):
    """A product. Its prices have a route of their own."""

    id: str = field(name="_id")
    location_id: str | None = None
    name: str | None = None
    description: str | None = None
    product_type: str | None = None
    available_in_store: bool | None = None
    variants: list[Any] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    statement_descriptor: str | None = None
    image: str | None = None
    collection_ids: list[str] | None = None
    is_taxes_enabled: bool | None = None
    taxes: list[str] | None = None
    automatic_tax_category_id: str | None = None
    label: dict[str, Any] | None = None
    slug: str | None = None


class Price(Answer):
    """A price of a product; ``amount`` in major units of ``currency``."""

    id: str = field(name="_id")
    location_id: str | None = None
    product: str | None = None
    user_id: str | None = None
    name: str | None = None
    type: str | None = None
    currency: str | None = None
    amount: Decimal | None = None
    recurring: PriceRecurrence | None = None
    membership_offers: list[Any] | None = None
    variant_option_ids: list[str] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    compare_at_price: Decimal | None = None
    track_inventory: bool | None = None
    available_quantity: int | None = None
    allow_out_of_stock_purchases: bool | None = None

    def __post_init__(self) -> None:
        guard(self.amount, self.compare_at_price)


class ProductList(Answer):
    """A page of products.

    The wire's ``total`` is a list of objects: docs/api-facts.md#api-products.
    """

    products: list[Product] | None = None
    # An object inside a list, unlike any other list's total.
    totals: Any = field(name="total", default=None)

    @property
    def entries(self) -> list[Product]:
        """The page's products."""
        return self.products or []

    @property
    def total(self) -> int | None:
        """The number of products in all pages; None if the answer lacks it."""
        found = self.totals[0] if isinstance(self.totals, list) and self.totals else self.totals
        # Another shape is ignored, because the page is complete without a total.
        number = found.get("total") if isinstance(found, dict) else found
        return number if isinstance(number, int) and not isinstance(number, bool) else None


class PriceList(Answer):
    """A page of prices."""

    prices: list[Price] | None = None
    total: int | None = None

    @property
    def entries(self) -> list[Price]:
        """The page's prices."""
        return self.prices or []
