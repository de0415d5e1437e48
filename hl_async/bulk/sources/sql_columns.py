"""The canonical columns of a query, and how rows of it become a document."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Container, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from hl_async.bulk.sources.document import (
    Document,
    DocumentAddress,
    DocumentCharge,
    DocumentCustomer,
    DocumentDiscount,
    DocumentInstallment,
    DocumentLine,
    DocumentPayment,
    DocumentTax,
)
from hl_async.bulk.sources.numbers import in_major_units, read_day, read_number, read_percentage
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql_values import exact_of, flag_of, id_of, one_of, text_of
from hl_async.bulk.sources.tables import cell_problem
from hl_async.bulk.sources.taxing import unit_price
from hl_async.errors import InvalidRequest, SourceError
from hl_async.models.money import rounded

Row = Sequence[Any]

_TEXTS: Final = (
    "source_id", "kind", "location", "number", "number_prefix", "name", "title", "currency", "terms_notes", "po_number",
    "status",
)  # fmt: skip
_DAYS: Final = ("issue_date", "expiry_date", "due_date")
_AMOUNTS: Final = ("total", "amount_paid", "amount_due")
_TAX: Final = ("tax_name", "tax_rate", "tax_amount", "tax2_name", "tax2_rate", "tax2_amount")
_DISCOUNT: Final = ("discount_value", "discount_type", "discount_after_tax")
_ADDRESS: Final = ("line1", "line2", "city", "state", "postal_code", "country")
_CUSTOMER: Final = ("external_id", "name", "company", "email", "phone", "region", "contact_id")
_LINE: Final = (
    "name", "description", "qty", "amount", "discount_value", "discount_type", *_TAX, "taxes", "taxable",
    "tax_inclusive", "total", "product_id", "price_id",
)  # fmt: skip
_CHARGE: Final = ("name", "amount", *_TAX, "taxes", "taxable", "tax_inclusive")
_PAYMENT: Final = ("amount", "date", "mode", "reference")
_NESTED: Final = (
    "lines",
    "charges",
    "payments",
    "taxes",
    "schedule",
    "custom_fields",
    "customer_additional_emails",
)
_CONTROL: Final = ("raw", "place", "reject", "skip", "business_name", "deposit_value", "deposit_type")

_TAX_KEYS: Final = (("tax_name", "tax_rate", "tax_amount"), ("tax2_name", "tax2_rate", "tax2_amount"))
_ONE: Final = Decimal(1)
_MANY: Final = 1000

COLUMNS: Final[tuple[str, ...]] = (
    *_TEXTS, *_DAYS, *_AMOUNTS, *_TAX, *_DISCOUNT,
    *(f"customer_{one}" for one in (*_CUSTOMER, *_ADDRESS)),
    *(f"line_{one}" for one in _LINE),
    *(f"charge_{one}" for one in _CHARGE),
    *(f"payment_{one}" for one in _PAYMENT),
    *_NESTED, *_CONTROL,
)  # fmt: skip
"""Every column that a query may have; besides these, ``custom_NAME`` keeps any other fact."""


class RowAssembler:
    """Makes documents of rows with one set of columns."""

    def __init__(self, names: Sequence[str], settings: SourceSettings, label: str) -> None:
        self._settings = settings
        self._numbers = settings.numbers
        self._names = list(names)
        self._at = {name: index for index, name in enumerate(names)}
        _check(names, label)
        self._facts = [
            (name, index)
            for name, index in self._at.items()
            if not name.startswith(("line_", "charge_", "payment_", "custom_"))
            and name not in _NESTED
            and name not in ("source_id", "raw", "place", "reject", "skip")
        ]
        self._line = _part("line_", self._at)
        self._line_name = self._at.get("line_name", -1)
        self._line_amount = self._at.get("line_amount", -1)
        self._charge = _part("charge_", self._at)
        self._payment = _part("payment_", self._at)
        self._custom = _part("custom_", {k: v for k, v in self._at.items() if k != "custom_fields"})
        self._readers: dict[str, Callable[[str, Any, str], Any]] = {
            **dict.fromkeys(_TEXTS[2:], lambda name, value, money: text_of(name, value)),
            **dict.fromkeys(_DAYS, lambda name, value, money: self._day(name, value)),
            **dict.fromkeys(_AMOUNTS, self._amount),
        }
        self._rates: dict[tuple[Any, Any], DocumentTax] = {}
        self._has_lists = any(name in self._at for name in _NESTED)
        self._has_discount = "discount_value" in self._at
        self._has_tax = any(name in self._at for name in _TAX)
        self._line_has = {key for key, _ in self._line}
        self._customer_fields = [
            (one, f"customer_{one}") for one in _CUSTOMER if f"customer_{one}" in self._at
        ]
        self._has_address = any(f"customer_{one}" in self._at for one in _ADDRESS)

    # --------------------------------------------------------------------------------- control columns

    def verdict(self, rows: Sequence[Row]) -> tuple[str, bool] | None:
        """(reason, skipped) when the query itself leaves the document out."""
        for column, skipped in (("skip", True), ("reject", False)):
            index = self._at.get(column)
            if index is not None:
                for row in rows:
                    if row[index]:
                        return str(row[index]), skipped
        return None

    def place(self, rows: Sequence[Row]) -> str:
        """Where the document stands, by the query's column ``place``."""
        index = self._at.get("place")
        if index is None or not rows:
            return ""
        found = [row[index] for row in rows if row[index] is not None]
        if found and all(isinstance(one, int) for one in found):
            first, last = min(found), max(found)
            return f"line {first}" if first == last else f"lines {first}-{last}"
        return str(found[0]) if found else ""

    def raw(self, rows: Sequence[Row]) -> bytes:
        """The document's original text, by the query's column ``raw``."""
        index = self._at.get("raw")
        text = next((row[index] for row in rows if row[index]), None) if index is not None and rows else None
        return str(text).encode(errors="backslashreplace") if text else b""

    def as_json(self, rows: Sequence[Row]) -> bytes:
        """The rows of the query as one JSON object."""
        shown = [{name: row[at] for name, at in self._at.items() if row[at] is not None} for row in rows]
        return msgspec.json.encode({"rows": shown}, enc_hook=str)

    def text(self, name: str, rows: Sequence[Row]) -> str:
        """A fact of the document as text."""
        index = self._at.get(name)
        return (
            next((text_of(name, row[index]) for row in rows if row[index] is not None), "")
            if index is not None
            else ""
        )

    # -------------------------------------------------------------------------------------- documents

    def document(self, source_id: str, rows: Sequence[Row]) -> Document:
        """The document that rows make.

        Raises:
            InvalidRequest: A value cannot be read, or rows disagree; names column and value.
        """
        id_of("source_id", source_id)
        facts = self._agreed(rows)
        currency = text_of("currency", facts.get("currency"))
        money = currency or self._settings.currency
        values: dict[str, Any] = {}
        for name, value in facts.items():
            read = self._readers.get(name)
            if read is not None:
                values[name] = read(name, value, money)
        if facts.get("kind"):
            values["kind"] = one_of("kind", facts["kind"], ("estimate", "invoice"))
        if facts.get("deposit_value") is not None:
            values["deposit"] = self._installment("deposit", facts, money, "deposit_")
        emails = None
        if self._has_lists:
            nested = {name: rows[0][self._at[name]] for name in _NESTED if name in self._at}
            emails = nested.get("customer_additional_emails")
            if nested.get("schedule"):
                values["schedule"] = [
                    self._installment("schedule", one, money, "") for one in nested["schedule"]
                ]
            if nested.get("taxes"):
                values["taxes"] = self._taxes("tax", {}, money, nested["taxes"])
            values["custom_fields"] = self._customs(rows, nested.get("custom_fields"))
        elif self._custom:
            values["custom_fields"] = self._customs(rows, None)
        lines, charges, payments = self._parts(rows, money)
        if self._has_discount:
            values["discount"] = self._discount("discount", facts, money)
        if self._has_tax:
            values["taxes"] = self._taxes("tax", facts, money) + values.get("taxes", [])
        return Document(
            source_id=source_id,
            customer=self._customer(facts, emails),
            lines=lines,
            charges=charges,
            payments=payments,
            **values,
        )

    def _agreed(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The document's facts: what the first row that states one says; rows that disagree are refused."""
        facts: dict[str, Any] = {}
        first, *others = rows
        for name, index in self._facts:
            value = first[index]
            for row in others:
                other = row[index]
                if other == value or other is None:
                    continue
                if value is not None:
                    raise InvalidRequest(name, f"is {value!r} and {other!r} in rows of one document")
                value = other
            if value is not None:
                facts[name] = value
        return facts

    def _parts(
        self, rows: Sequence[Row], currency: str
    ) -> tuple[list[DocumentLine], list[DocumentCharge], list[DocumentPayment]]:
        lines: list[DocumentLine] = []
        charges: list[DocumentCharge] = []
        payments: list[DocumentPayment] = []
        own, name, amount = self._line, self._line_name, self._line_amount
        for row in rows:
            if (name >= 0 and row[name] is not None) or (amount >= 0 and row[amount] is not None):
                lines.append(
                    self._item({key: row[at] for key, at in own}, len(lines), currency, self._line_has)
                )
            if self._charge:
                one = {key: row[at] for key, at in self._charge if row[at] is not None}
                if one.get("amount") is not None:
                    charges.append(self._charged(one, currency))
            if self._payment:
                one = {key: row[at] for key, at in self._payment if row[at] is not None}
                if one.get("amount") is not None:
                    payments.append(self._paid(one, currency))
        if not self._has_lists:
            return lines, charges, payments
        for one in self._nested("lines", rows):
            lines.append(self._item(one, len(lines), currency, one))
        charges += [
            self._charged(one, currency) for one in self._nested("charges", rows) if one.get("amount")
        ]
        payments += [self._paid(one, currency) for one in self._nested("payments", rows)]
        return lines, charges, payments

    def _nested(self, name: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """The structs of a list column, without those that state nothing."""
        found = rows[0][self._at[name]] if name in self._at else None
        return [
            one for one in found or () if any(one.get(key) is not None for key in ("name", "amount", "total"))
        ]

    def _item(self, one: dict[str, Any], index: int, currency: str, has: Container[str]) -> DocumentLine:
        try:
            return self._line_of(one, currency, has)
        except InvalidRequest as error:
            # built here alone: naming every field of every line costs more than reading it
            raise InvalidRequest(f"line {index + 1} {error.field}", error.problem) from None

    def _line_of(self, one: dict[str, Any], currency: str, has: Container[str]) -> DocumentLine:
        """One line; only the columns that the query has are looked at."""
        get = one.get
        qty = get("qty")
        qty = _ONE if qty is None or qty == "" else self._number("qty", qty)
        total = self._amount("total", get("total"), currency) if "total" in has else None
        amount = self._amount("amount", get("amount"), currency)
        if amount is None:
            if total is None:
                raise InvalidRequest("amount", "is missing")
            amount = unit_price(rounded(total, currency or "USD"), qty, currency or "USD", "total")
        more: dict[str, Any] = {}
        if (taxable := get("taxable")) is not None:
            more["taxable"] = flag_of("taxable", taxable)
        if (inclusive := get("tax_inclusive")) is not None:
            more["tax_inclusive"] = flag_of("tax_inclusive", inclusive)
        if get("discount_value") is not None:
            more["discount"] = self._discount("discount", one, currency)
        for name in ("product_id", "price_id"):
            if get(name) is not None:
                more[name] = id_of(name, text_of(name, one[name]))
        if (description := get("description")) is not None:
            more["description"] = text_of("description", description)
        taxes = self._taxes("tax", one, currency, get("taxes"))
        return DocumentLine(
            name=text_of("name", get("name")), amount=amount, qty=qty, taxes=taxes, total=total, **more
        )

    def _charged(self, one: dict[str, Any], currency: str) -> DocumentCharge:
        name = text_of("charge_name", one.get("name")).strip() or "Charge"
        return DocumentCharge(
            name=name,
            amount=self._needed(f"charge {name!r}", one.get("amount"), currency),
            taxes=self._taxes(f"charge {name!r} tax", one, currency, one.get("taxes")),
            taxable=flag_of("charge_taxable", one.get("taxable", False)),
            tax_inclusive=flag_of("charge_tax_inclusive", one.get("tax_inclusive", False)),
        )

    def _paid(self, one: dict[str, Any], currency: str) -> DocumentPayment:
        return DocumentPayment(
            amount=self._needed("payment_amount", one.get("amount"), currency),
            date=self._day("payment_date", one.get("date")),
            mode=text_of("payment_mode", one.get("mode")),
            reference=text_of("payment_reference", one.get("reference")),
        )

    def _installment(self, at: str, one: dict[str, Any], currency: str, prefix: str) -> DocumentInstallment:
        kind = one_of(f"{at} type", one.get(f"{prefix}type") or "percentage", ("percentage", "fixed"))
        value = one.get(f"{prefix}value")
        read = self._percentage(at, value) if kind == "percentage" else self._needed(at, value, currency)
        return DocumentInstallment(value=read, type=kind, due=self._day(f"{at} due", one.get(f"{prefix}due")))

    def _customer(self, facts: dict[str, Any], emails: Any) -> DocumentCustomer:
        values: dict[str, Any] = {}
        for field, name in self._customer_fields:
            if (value := facts.get(name)) is not None:
                values[field] = text_of(name, value).strip()
        if "contact_id" in values:
            id_of("customer_contact_id", values["contact_id"])
        if self._has_address:
            values["address"] = DocumentAddress(
                **{one: text_of(one, facts.get(f"customer_{one}")).strip() for one in _ADDRESS}
            )
        if emails:
            values["additional_emails"] = [str(one) for one in emails if one]
        return DocumentCustomer(**values)

    def _customs(self, rows: Sequence[Row], nested: Any) -> dict[str, str]:
        found = {
            str(key): text_of(str(key), value)
            for key, value in (nested or {}).items()
            if value not in (None, "")
        }
        for name, index in self._custom:
            value = next((row[index] for row in rows if row[index] is not None), None)
            if value is not None:
                found[name] = text_of(name, value)
        return found

    # ----------------------------------------------------------------------------------------- values

    def _discount(self, at: str, one: dict[str, Any], currency: str) -> DocumentDiscount | None:
        value = one.get("discount_value")
        if value is None or value == "":
            return None
        kind = one_of(f"{at} type", one.get("discount_type") or "percentage", ("percentage", "fixed"))
        read = self._percentage(at, value) if kind == "percentage" else self._needed(at, value, currency)
        after = flag_of(f"{at} after_tax", one.get("discount_after_tax", False))
        return DocumentDiscount(value=read, type=kind, after_tax=after) if read else None

    def _taxes(self, at: str, one: dict[str, Any], currency: str, nested: Any = None) -> list[DocumentTax]:
        found: list[DocumentTax] = []
        for name, rate, amount in _TAX_KEYS:
            if (given := one.get(rate)) is not None or one.get(amount) is not None:
                self._add_tax(found, at, one.get(name), given, one.get(amount), currency)
        for each in nested or ():
            self._add_tax(found, at, each.get("name"), each.get("rate"), each.get("amount"), currency)
        return found

    def _add_tax(
        self, found: list[DocumentTax], at: str, name: Any, rate: Any, amount: Any, currency: str
    ) -> None:
        # rates repeat in nearly every row, taxes as amounts do not
        known = self._rates.get((name, rate)) if amount is None else None
        if known is not None:
            found.append(known)
            return
        read = None if rate is None or rate == "" else self._percentage(at, rate)
        money = self._amount(at, amount, currency)
        if read or money:
            tax = DocumentTax(name=text_of(at, name).strip() or "Tax", rate=read, amount=money)
            if amount is None and len(self._rates) < _MANY:
                self._rates[(name, rate)] = tax
            found.append(tax)

    def _percentage(self, at: str, value: Any) -> Decimal:
        return read_percentage(at, value, self._numbers) if isinstance(value, str) else exact_of(at, value)

    def _number(self, at: str, value: Any) -> Decimal:
        return read_number(at, value, self._numbers) if isinstance(value, str) else exact_of(at, value)

    def _needed(self, at: str, value: Any, currency: str) -> Decimal:
        found = self._amount(at, value, currency)
        if found is None:
            raise InvalidRequest(at, "is missing")
        return found

    def _amount(self, at: str, value: Any, currency: str) -> Decimal | None:
        if value is None:
            return None
        if isinstance(value, str):
            text = value.strip()
            if not text:
                return None
            if problem := cell_problem(text):
                raise InvalidRequest(at, f"holds {problem}")
            found = read_number(at, text, self._numbers, currency)
        else:
            found = exact_of(at, value)
        return in_major_units(found, currency) if self._settings.minor_units else found

    def _day(self, at: str, value: Any) -> date | None:
        if value is None or value == "":
            return None
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        return read_day(at, text_of(at, value).strip(), self._settings.date_format)


def _part(prefix: str, columns: dict[str, int]) -> list[tuple[str, int]]:
    return [(name.removeprefix(prefix), index) for name, index in columns.items() if name.startswith(prefix)]


def _check(names: Sequence[str], label: str) -> None:
    if "source_id" not in names:
        raise SourceError(f"{label}: the column source_id is missing; its value names the document")
    for name in names:
        if name not in COLUMNS and not name.startswith("custom_"):
            near = difflib.get_close_matches(name, COLUMNS, 2, 0.6)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; custom_NAME keeps any other fact"
            raise SourceError(f"{label}: unknown column {name!r}{hint}")
