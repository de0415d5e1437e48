"""Internal. Line items and their taxes."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypedDict, Unpack

import msgspec
from msgspec import UNSET, UnsetType, field

from hl_async.errors import InvalidRequest
from hl_async.models.choices import ItemType
from hl_async.models.common import (
    ZERO,
)
from hl_async.models.inputs import ABSENT, NOTHING, Amount, NullableAmount, Number, Quantity
from hl_async.models.products import Price, Product
from hl_async.models.structs import Answer, Part
from hl_async.models.validation import Constraint, Currency, NonEmptyStr, Request

if TYPE_CHECKING:
    from hl_async.models.inputs import Accepts

    LineCurrency: TypeAlias = Accepts[str, str]
else:
    LineCurrency: TypeAlias = Currency | UnsetType


class ItemTax(Part):
    """A tax of a line; `rate` in percent, `calculation` "exclusive".

    The API requires an `id` and accepts any text (docs/api-facts.md#api-required-fields). :class:`LineItem` derives a
    missing one from name and rate, so that the same tax has the same id in all documents.
    """

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    rate: NullableAmount = NOTHING
    calculation: str | None = None
    description: str | None = None
    tax_id: str | None = None


def tax_id(name: str, rate: Decimal) -> str:
    """Return an id for a tax, derived from its name and rate."""
    # The API takes any id and looks none up, so it only has to be stable: docs/api-facts.md#api-required-fields
    # Normalized, because 8.25 and 8.250 percent are the same tax. Twelve bytes give 24 hexadecimal digits, the form of
    # the API's own ids: docs/api-facts.md#api-hosts
    text = f"{name}\x00{rate.normalize():f}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _with_id(tax: ItemTax) -> ItemTax:
    if tax.id:
        return tax
    name = tax.name or "Tax"
    return msgspec.structs.replace(tax, id=tax_id(name, Decimal(tax.rate or 0)), name=name)


class LineChanges(TypedDict, total=False):
    """Fields of a line that :meth:`LineItem.of` can replace."""

    name: str
    currency: str
    amount: Number
    description: str | None
    taxes: list[ItemTax]
    automatic_tax_category_id: str | None
    is_setup_fee_item: bool
    type: ItemType
    tax_inclusive: bool
    attachments: list[Any]


class LineItem(Request, kw_only=True, frozen=True):
    """A line of a request.

    `amount` is the unit price in major units of `currency`, which is the document's if it is left out. `qty` may be
    fractional. The API renders `description` as HTML. Only lines of estimates have `attachments`. With automatic taxes,
    the API ignores `taxes`, and `automatic_tax_category_id` exempts the line (docs/api-facts.md#api-automatic-taxes).
    """

    name: NonEmptyStr
    currency: LineCurrency = ABSENT
    amount: Amount
    qty: Quantity
    description: str | UnsetType | None = UNSET
    product_id: str | UnsetType | None = UNSET
    price_id: str | UnsetType | None = UNSET
    taxes: list[ItemTax] | UnsetType = UNSET
    automatic_tax_category_id: str | UnsetType | None = UNSET
    is_setup_fee_item: bool | UnsetType = UNSET
    # A line without a type gets a 500 from the API: docs/api-facts.md#api-required-fields
    type: ItemType | UnsetType = "one_time"
    tax_inclusive: bool | UnsetType = UNSET
    attachments: list[Any] | UnsetType = UNSET

    @classmethod
    def of(cls, product: Product, price: Price, qty: Number = 1, **changes: Unpack[LineChanges]) -> LineItem:
        """Return the line of a product at one of its prices, with the ids of both.

        Args:
            product: The product, from ``shop.products.list()``.
            price: One of its prices, from ``shop.products.prices(product.id)``.
            qty: The quantity.
            changes: Fields of the line with other values, such as `description` or `taxes`.

        Raises:
            InvalidRequest: The price belongs to another product, or has no amount or currency.
        """
        if price.product is not None and price.product != product.id:
            raise InvalidRequest(
                "price", f"{price.id} belongs to the product {price.product}, not to {product.id}"
            )
        if price.amount is None or price.currency is None:
            raise InvalidRequest("price", f"{price.id} has no amount or no currency")
        values: dict[str, Any] = {
            "name": product.name or price.name,
            "currency": price.currency,
            "amount": price.amount,
            "qty": qty,
            # A line that refers to a price needs both ids: docs/api-facts.md#api-products
            "product_id": product.id,
            "price_id": price.id,
            "type": price.type or "one_time",
        }
        if product.description:
            values["description"] = product.description
        if product.automatic_tax_category_id:
            values["automatic_tax_category_id"] = product.automatic_tax_category_id
        return cls(**{**values, **changes})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.taxes and not all(tax.id for tax in self.taxes):
            msgspec.structs.force_setattr(self, "taxes", [_with_id(tax) for tax in self.taxes])


class DocumentRequest(Request, frozen=True):
    """A request with lines; a line without a currency gets the document's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        currency = self.currency  # type: ignore[attr-defined]
        for name in ("items", "invoice_items"):
            lines = getattr(self, name, ())
            # The specification requires the currency of every line, although the document names it.
            if any(line.currency is UNSET for line in lines):
                full = [
                    line if line.currency is not UNSET else line.replace(currency=currency) for line in lines
                ]
                msgspec.structs.force_setattr(self, name, full)


class Item(Answer, gc=False):
    """A line of an answer; see :class:`LineItem`."""

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    description: str | None = None
    product_id: str | None = None
    price_id: str | None = None
    currency: str | None = None
    amount: Decimal | None = None
    qty: Decimal | None = None
    taxes: list[ItemTax] | None = None
    automatic_tax_category_id: str | None = None
    is_setup_fee_item: bool | None = None
    type: str | None = None
    tax_inclusive: bool | None = None
    attachments: list[Any] | None = None
    item_total_tax: Decimal | None = None
    item_total_discount: Decimal | None = None
    item_unit_discount: Decimal | None = None

    def for_request(self, currency: str, *, attachments: bool = False) -> LineItem:
        """Return this line in the form of a request.

        A missing name becomes ``-``, a missing amount or quantity 0.

        Args:
            currency: The document's currency, for a line without one.
            attachments: Whether the line keeps its attachments. Only lines of estimates may have them.
        """
        kept = {name: value for name in _KEPT if (value := getattr(self, name)) is not None}
        if attachments and self.attachments is not None:
            # Lines of requests declare plain addresses: docs/api-facts.md#api-attachments
            kept["attachments"] = [
                one["url"] if isinstance(one, dict) and isinstance(one.get("url"), str) else one
                for one in self.attachments
            ]
        return LineItem(
            # A request requires a name, and an answer may lack it: docs/api-facts.md#api-answer-fields
            name=self.name or "-",
            currency=self.currency or currency,
            amount=self.amount if self.amount is not None else ZERO,
            qty=self.qty if self.qty is not None else ZERO,
            **kept,
        )


_KEPT: Final = tuple(
    name
    for name in LineItem.__struct_fields__
    if name not in ("name", "currency", "amount", "qty", "attachments")
)


def _estimate_line(value: Any, path: str) -> Any:
    return value if isinstance(value, LineItem) else _line_of(value, path, attachments=True)


def _billed_line(value: Any, path: str) -> Any:
    if not isinstance(value, LineItem):
        return _line_of(value, path, attachments=False)
    # Only lines of estimates declare attachments: docs/api-facts.md#api-attachments
    if value.attachments is not UNSET:
        raise InvalidRequest(
            f"{path}.attachments", "exist on lines of estimates only; attach the files to the document"
        )
    return value


def _line_of(value: Any, path: str, *, attachments: bool) -> LineItem:
    if not isinstance(value, Item):
        raise InvalidRequest(path, f"takes a LineItem, got {type(value).__name__}")
    if value.currency is None:
        raise InvalidRequest(
            f"{path}.currency", "is missing from the answer; pass item.for_request(currency)"
        )
    return value.for_request(value.currency, attachments=attachments)


def lines_for_request(lines: Any, currency: str, *, attachments: bool = False) -> Any:
    """Return lines for a request: each :class:`Item` becomes a :class:`LineItem`.

    A value that is not a list is returned unchanged; the request's own check refuses it.
    """
    if not isinstance(lines, list | tuple):
        return lines
    return [
        line.for_request(currency, attachments=attachments) if isinstance(line, Item) else line
        for line in lines
    ]


GivenLines: TypeAlias = list[LineItem] | list[Item] | list[LineItem | Item] | tuple[LineItem | Item, ...]
"""Lines, as callers may pass them."""

if TYPE_CHECKING:
    EstimateLines: TypeAlias = Accepts[list[LineItem], GivenLines]
    BilledLines: TypeAlias = Accepts[list[LineItem], GivenLines]
else:
    EstimateLines: TypeAlias = list[Annotated[LineItem, Constraint(_estimate_line)]]
    BilledLines: TypeAlias = list[Annotated[LineItem, Constraint(_billed_line)]]
