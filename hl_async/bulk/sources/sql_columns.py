"""Internal. The canonical columns of a query, and the documents of its rows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from hl_async.bulk.sources.document import (
    Document,
    DocumentAddress,
    DocumentCustomer,
    DocumentInstallment,
    DocumentLine,
)
from hl_async.bulk.sources.emails import emails_in
from hl_async.bulk.sources.row_reader import sums_up
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql_parts import PartReader, columns_of
from hl_async.bulk.sources.sql_values import ValueReader, flag_of, id_of, one_of, text_of
from hl_async.bulk.sources.words import kind_of
from hl_async.errors import InvalidRequest, SourceError

Row = Sequence[Any]

_TEXTS: Final = (
    "source_id", "kind", "location", "number", "number_prefix", "name", "title", "currency", "terms_notes", "po_number",
    "status",
)  # fmt: skip
_FLAGS: Final = ("to_invoice",)
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
_CONTROL: Final = ("raw", "place", "reject", "skip", "business_name", "note", "deposit_value", "deposit_type")


COLUMNS: Final[tuple[str, ...]] = (
    *_TEXTS, *_FLAGS, *_DAYS, *_AMOUNTS, *_TAX, *_DISCOUNT,
    *(f"customer_{one}" for one in (*_CUSTOMER, *_ADDRESS)),
    *(f"line_{one}" for one in _LINE),
    *(f"charge_{one}" for one in _CHARGE),
    *(f"payment_{one}" for one in _PAYMENT),
    *_NESTED, *_CONTROL,
)  # fmt: skip
"""Every column that a query may have; besides these, ``custom_NAME`` keeps any other fact."""


class RowAssembler:
    """A maker of documents from rows with one set of columns."""

    def __init__(self, names: Sequence[str], settings: SourceSettings, label: str) -> None:
        self._settings = settings
        self._at = {name: index for index, name in enumerate(names)}
        _check(names, label)
        self._values = ValueReader(settings)
        self._parts = PartReader(self._at, self._values, settings)
        self._facts = [
            (name, index)
            for name, index in self._at.items()
            if not name.startswith(("line_", "charge_", "payment_", "custom_"))
            and name not in _NESTED
            and name not in ("source_id", "raw", "place", "reject", "skip")
        ]
        # One call into C for each row: queries yield a row per line.
        self._pick_facts = itemgetter(self._at["source_id"], *(index for _, index in self._facts))
        self._texts: list[str] = [name for name in _TEXTS[2:] if name in self._at]
        self._days: list[str] = [name for name in _DAYS if name in self._at]
        self._amounts: list[str] = [name for name in _AMOUNTS if name in self._at]
        self._place = self._at.get("place")
        self._verdicts = [
            (self._at[column], skipped)
            for column, skipped in (("skip", True), ("reject", False))
            if column in self._at
        ]
        self._custom = columns_of("custom_", {k: v for k, v in self._at.items() if k != "custom_fields"})
        # a query without lists skips the search for structs in every document
        self._has_lists = any(name in self._at for name in _NESTED)
        self._has_discount = "discount_value" in self._at
        self._has_tax = any(name in self._at for name in _TAX)
        self._customer_fields = [
            (one, f"customer_{one}") for one in _CUSTOMER if f"customer_{one}" in self._at
        ]
        self._has_address = any(f"customer_{one}" in self._at for one in _ADDRESS)

    # --------------------------------------------------------------------------------- control columns

    def verdict(self, rows: Sequence[Row]) -> tuple[str, bool] | None:
        """Return (reason, skipped) when the query itself leaves the document out."""
        for index, skipped in self._verdicts:
            for row in rows:
                if row[index]:
                    return str(row[index]), skipped
        return None

    def place(self, rows: Sequence[Row]) -> str:
        """Return where the document stands, by the query's column ``place``."""
        index = self._place
        if index is None or not rows:
            return ""
        found = [row[index] for row in rows if row[index] is not None]
        try:
            first, last = min(found), max(found)
        except (TypeError, ValueError):
            return str(found[0]) if found else ""
        if first.__class__ is not int or last.__class__ is not int:
            return str(found[0])
        return f"line {first}" if first == last else f"lines {first}-{last}"

    def numbers(self, rows: Sequence[Row]) -> list[int]:
        """Return the document's row numbers in the file, by the column ``place``."""
        index = self._place
        return [] if index is None else [row[index] for row in rows if row[index].__class__ is int]

    def raw(self, rows: Sequence[Row]) -> bytes:
        """Return the document's original text, by the query's column ``raw``."""
        # a JSON source is rejected as its record, which can be corrected and migrated again
        index = self._at.get("raw")
        text = next((row[index] for row in rows if row[index]), None) if index is not None and rows else None
        return str(text).encode(errors="backslashreplace") if text else b""

    def as_json(self, rows: Sequence[Row]) -> bytes:
        """Return the rows of the query as one JSON object."""
        shown = [{name: row[at] for name, at in self._at.items() if row[at] is not None} for row in rows]
        return msgspec.json.encode({"rows": shown}, enc_hook=str)

    def text(self, name: str, rows: Sequence[Row]) -> str:
        """Return a fact of the document as text."""
        index = self._at.get(name)
        return (
            next((text_of(name, row[index]) for row in rows if row[index] is not None), "")
            if index is not None
            else ""
        )

    # -------------------------------------------------------------------------------------- documents

    def document(self, source_id: str, rows: Sequence[Row]) -> Document:
        """Return the document that rows make.

        Raises:
            InvalidRequest: A value cannot be read, or rows disagree; names column and value.
        """
        # two long numbers shortened to the same text would become one document
        id_of("source_id", source_id)
        facts = self._agreed(rows)
        currency = text_of("currency", facts.get("currency"))
        money = currency or self._settings.currency
        values, read = self._scalars(facts, money), self._values
        if facts.get("kind"):
            values["kind"] = kind_of(facts["kind"])
        for name in _FLAGS:
            if facts.get(name) not in (None, ""):
                values[name] = flag_of(name, facts[name])
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
                values["taxes"] = read.taxes("tax", {}, money, nested["taxes"])
            values["custom_fields"] = self._customs(rows, nested.get("custom_fields"))
        elif self._custom:
            values["custom_fields"] = self._customs(rows, None)
        parts = self._parts
        if self._has_discount:
            values["discount"] = read.discount("discount", facts, money)
        if self._has_tax:
            values["taxes"] = read.taxes("tax", facts, money) + values.get("taxes", [])
        lines = parts.lines(rows, money)
        if values.get("total") is None:
            # with a total of the source, a sum among the items is found out
            _check_items(lines)
        if parts.has_charges:
            values["charges"] = parts.charges(rows, money)
        if parts.has_payments:
            values["payments"] = parts.payments(rows, money)
        return Document(
            source_id=source_id,
            customer=self._customer(facts, emails),
            lines=lines,
            **values,
        )

    def _scalars(self, facts: dict[str, Any], money: str) -> dict[str, Any]:
        """Return the texts, days and amounts of the document."""
        values: dict[str, Any] = {}
        get, read = facts.get, self._values
        for name in self._texts:
            if (value := get(name)) is not None:
                values[name] = text_of(name, value)
        for name in self._days:
            if (value := get(name)) is not None:
                values[name] = read.day(name, value)
        for name in self._amounts:
            if (value := get(name)) is not None:
                values[name] = read.amount(name, value, money)
        return values

    def _agreed(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return each fact as the first row that states it; refuse rows that disagree."""
        first = rows[0]
        # one comparison per row: rows of a document repeat its facts in nearly every export
        if len(rows) > 1 and not self._same_facts(rows):
            return self._merged(rows)
        return {name: first[index] for name, index in self._facts if first[index] is not None}

    def _same_facts(self, rows: Sequence[Row]) -> bool:
        pick, stated = self._pick_facts, self._pick_facts(rows[0])
        for row in rows:  # noqa: SIM110 - a third of the time of all() over a generator
            if pick(row) != stated:
                return False
        return True

    def _merged(self, rows: Sequence[Row]) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for name, index in self._facts:
            stated = [row[index] for row in rows if row[index] is not None]
            for value in stated:
                if value != stated[0]:
                    raise InvalidRequest(name, f"is {stated[0]!r} and {value!r} in rows of one document")
            if stated:
                facts[name] = stated[0]
        return facts

    def _installment(self, at: str, one: dict[str, Any], currency: str, prefix: str) -> DocumentInstallment:
        kind = one_of(f"{at} type", one.get(f"{prefix}type") or "percentage", ("percentage", "fixed"))
        value = one.get(f"{prefix}value")
        read = (
            self._values.percentage(at, value)
            if kind == "percentage"
            else self._values.needed(at, value, currency)
        )
        return DocumentInstallment(
            value=read, type=kind, due=self._values.day(f"{at} due", one.get(f"{prefix}due"))
        )

    def _customer(self, facts: dict[str, Any], emails: Any) -> DocumentCustomer:
        values: dict[str, Any] = {}
        for field, name in self._customer_fields:
            if name in facts:
                values[field] = text_of(name, facts[name]).strip()
        if "contact_id" in values:
            id_of("customer_contact_id", values["contact_id"])
        if self._has_address:
            values["address"] = DocumentAddress(
                **{one: text_of(one, facts.get(f"customer_{one}")).strip() for one in _ADDRESS}
            )
        others = [str(one) for one in emails or () if one]
        if "email" in values:
            values["email"], more = emails_in(values["email"])
            others = [*more, *others]
        if others:
            values["additional_emails"] = others
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


def _part(prefix: str, columns: dict[str, int]) -> list[tuple[str, int]]:
    return [(name.removeprefix(prefix), index) for name, index in columns.items() if name.startswith(prefix)]


def _check_items(lines: Sequence[DocumentLine]) -> None:
    for number, line in enumerate(lines, 1):
        if sums_up(line.name):
            problem = f"{line.name!r} looks like a sum, not an item; leave such rows out with WHERE"
            raise InvalidRequest(f"line {number} name", problem)


def _check(names: Sequence[str], label: str) -> None:
    if "source_id" not in names:
        raise SourceError(f"{label}: the column source_id is missing; its value names the document")
    for name in names:
        if name not in COLUMNS and not name.startswith("custom_"):
            # a misspelt column would otherwise be a fact that is silently left out
            near = difflib.get_close_matches(name, COLUMNS, 2, 0.6)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; custom_NAME keeps any other fact"
            raise SourceError(f"{label}: unknown column {name!r}{hint}")
