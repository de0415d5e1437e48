"""Internal. Lines, charges and payments in a query's rows and list columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final, NamedTuple

from hl_async.bulk.sources.document import DocumentCharge, DocumentLine, DocumentPayment, DocumentTax
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql_values import TAX_KEYS, ValueReader, flag_of, id_of, text_of
from hl_async.bulk.sources.taxing import unit_price
from hl_async.errors import InvalidRequest
from hl_async.models.money import rounded

Row = Sequence[Any]

_ONE: Final = Decimal(1)
# looked at only where a query has them: most queries have neither flags nor ids
_FLAGS: Final = ("taxable", "tax_inclusive")
_IDS: Final = ("product_id", "price_id")


class LineShape(NamedTuple):
    """The places of a line's facts among its values.

    A missing fact has the place -1, where an empty value stands. The shape is the same for all rows of a query, so it
    is found once.
    """

    name: int
    qty: int
    amount: int
    total: int
    discount: int
    description: int
    nested_taxes: int
    flags: tuple[tuple[str, int], ...]
    ids: tuple[tuple[str, int], ...]
    taxes: tuple[tuple[int, int, int], ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, keys: Sequence[str]) -> LineShape:
        """Return the shape of lines with these keys."""
        at = {key: index for index, key in enumerate(keys)}
        return cls(
            name=at.get("name", -1),
            qty=at.get("qty", -1),
            amount=at.get("amount", -1),
            total=at.get("total", -1),
            discount=at.get("discount_value", -1),
            description=at.get("description", -1),
            nested_taxes=at.get("taxes", -1),
            flags=tuple((one, at[one]) for one in _FLAGS if one in at),
            ids=tuple((one, at[one]) for one in _IDS if one in at),
            taxes=tuple(
                (at.get(name, -1), at.get(rate, -1), at.get(amount, -1))
                for name, rate, amount in TAX_KEYS
                if rate in at or amount in at
            ),
            keys=tuple(keys),
        )


class PartReader:
    """A reader of documents' parts from rows with one set of columns."""

    def __init__(self, at: dict[str, int], values: ValueReader, settings: SourceSettings) -> None:
        self._values = values
        self._settings = settings
        self._at = at
        self._charge = columns_of("charge_", at)
        self._payment = columns_of("payment_", at)
        self._stated = [at[one] for one in ("line_name", "line_amount", "line_total") if one in at]
        self._lists = {one for one in ("lines", "charges", "payments") if one in at}
        line = columns_of("line_", at)
        self.has_charges: bool = bool(self._charge) or "charges" in at
        self.has_payments: bool = bool(self._payment) or "payments" in at
        self._own_shape = LineShape.of([key for key, _ in line])
        self._pick_line = _picker([index for _, index in line])
        self._shapes: dict[tuple[str, ...], LineShape] = {}

    def lines(self, rows: Sequence[Row], currency: str) -> list[DocumentLine]:
        """Return a line per row that states a name or amount, then those of the list."""
        found: list[DocumentLine] = []
        stated, shape, pick = self._stated, self._own_shape, self._pick_line
        for row in rows:
            # a joined row may carry a payment or a charge and no line
            for index in stated:
                if row[index] is not None:
                    found.append(self._item((*pick(row), None), len(found), currency, shape))
                    break
        if "lines" in self._lists:
            for one in self._structs("lines", rows):
                keys = tuple(one)
                shape = self._shapes.get(keys) or self._shapes.setdefault(keys, LineShape.of(keys))
                found.append(self._item((*one.values(), None), len(found), currency, shape))
        return found

    def charges(self, rows: Sequence[Row], currency: str) -> list[DocumentCharge]:
        """Return the charges: of each row, then those of the list."""
        found = [self._charged(one, currency) for one in self._own(self._charge, rows)]
        if "charges" in self._lists:
            structs = (one for one in self._structs("charges", rows) if one.get("amount"))
            found += [self._charged(one, currency) for one in structs]
        return found

    def payments(self, rows: Sequence[Row], currency: str) -> list[DocumentPayment]:
        """Return the payments: of each row, then those of the list."""
        found = [self._paid(one, currency) for one in self._own(self._payment, rows)]
        if "payments" in self._lists:
            found += [self._paid(one, currency) for one in self._structs("payments", rows)]
        return found

    def _own(self, columns: list[tuple[str, int]], rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return a part per row whose columns state an amount."""
        if not columns:
            return []
        found = ({key: row[at] for key, at in columns if row[at] is not None} for row in rows)
        return [one for one in found if one.get("amount") is not None]

    def _structs(self, name: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return the structs of a list column, without those that state nothing."""
        found = rows[0][self._at[name]]
        return [
            one for one in found or () if any(one.get(key) is not None for key in ("name", "amount", "total"))
        ]

    def _item(self, one: Row, index: int, currency: str, shape: LineShape) -> DocumentLine:
        try:
            return self._line_of(one, currency, shape)
        except InvalidRequest as error:
            # built here alone: naming every field of every line costs more than reading it
            raise InvalidRequest(f"line {index + 1} {error.field}", error.problem) from None

    def _line_of(self, one: Row, currency: str, shape: LineShape) -> DocumentLine:
        """Return one line; only the facts of its shape are looked at."""
        values = self._values
        qty = one[shape.qty]
        qty = _ONE if qty is None or qty == "" else values.number("qty", qty)
        amount = values.amount("amount", one[shape.amount], currency)
        more: dict[str, Any] = {}
        if shape.total >= 0:
            more["total"] = values.amount("total", one[shape.total], currency)
        if amount is None:
            # some exports state what a line comes to, and no unit price
            amount = _price_of(more.get("total"), qty, currency or "USD")
        for name, index in shape.flags:
            if (flag := one[index]) is not None:
                more[name] = flag_of(name, flag)
        if one[shape.discount] is not None:
            more["discount"] = values.discount("discount", dict(zip(shape.keys, one, strict=False)), currency)
        for name, index in shape.ids:
            if one[index] is not None:
                more[name] = id_of(name, text_of(name, one[index]))
        if (description := one[shape.description]) is not None:
            more["description"] = text_of("description", description)
        taxes: list[DocumentTax] = []
        for named, rate, money in shape.taxes:
            if one[rate] is not None or one[money] is not None:
                values.add_tax(taxes, "tax", one[named], one[rate], one[money], currency)
        for each in one[shape.nested_taxes] or ():
            values.add_tax(taxes, "tax", each.get("name"), each.get("rate"), each.get("amount"), currency)
        return DocumentLine(
            name=text_of("name", one[shape.name]), amount=amount, qty=qty, taxes=taxes, **more
        )

    def _charged(self, one: dict[str, Any], currency: str) -> DocumentCharge:
        name = text_of("charge_name", one.get("name")).strip() or "Charge"
        return DocumentCharge(
            name=name,
            amount=self._values.needed(f"charge {name!r}", one.get("amount"), currency),
            taxes=self._values.taxes(f"charge {name!r} tax", one, currency, one.get("taxes")),
            taxable=flag_of("charge_taxable", one.get("taxable", False)),
            tax_inclusive=flag_of("charge_tax_inclusive", one.get("tax_inclusive", False)),
        )

    def _paid(self, one: dict[str, Any], currency: str) -> DocumentPayment:
        return DocumentPayment(
            amount=self._values.needed("payment_amount", one.get("amount"), currency),
            date=self._values.day("payment_date", one.get("date")),
            mode=text_of("payment_mode", one.get("mode")),
            reference=text_of("payment_reference", one.get("reference")),
        )


def _price_of(total: Decimal | None, qty: Decimal, currency: str) -> Decimal:
    """Return the price of one, where only the line's sum is stated."""
    if total is None:
        raise InvalidRequest("amount", "is missing")
    return unit_price(rounded(total, currency), qty, currency, "total")


def _picker(indexes: list[int]) -> Callable[[Row], Row]:
    """Return a picker of the values at some places of a row."""
    if len(indexes) > 1:
        return itemgetter(*indexes)
    return lambda row: [row[index] for index in indexes]


def columns_of(prefix: str, at: dict[str, int]) -> list[tuple[str, int]]:
    """Return columns with a prefix, by the rest of their name, and their places."""
    return [(name.removeprefix(prefix), index) for name, index in at.items() if name.startswith(prefix)]
