"""Internal. A mapping compiled once per file, which makes documents of rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import msgspec

from hl_async.bulk.sources.document import (
    Document,
    DocumentAddress,
    DocumentCharge,
    DocumentCustomer,
    DocumentDiscount,
    DocumentLine,
    DocumentTax,
)
from hl_async.bulk.sources.emails import emails_in
from hl_async.bulk.sources.locating import line_of
from hl_async.bulk.sources.mapping import COLUMN, ExclusionRule, Mapping
from hl_async.bulk.sources.money_columns import is_money_column
from hl_async.bulk.sources.numbers import DAMAGED, in_major_units, read_day, read_number, read_percentage
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.tables import cell_problem
from hl_async.bulk.sources.words import kind_of
from hl_async.errors import InvalidRequest

Row = Sequence[str]
_Read = Callable[[Row], str]

# as items they would double the document, and its own total would agree with neither
TOTALS: Final = re.compile(
    r"\s*(?:sub|grand|net|gross|invoice|order)?[\s-]*totals?\s*(?:due|amount|price)?\s*:?\s*"
    r"|\s*(?:zwischen|gesamt|end)?summe\s*:?\s*|\s*(?:sous[\s-]*)?total\s*:?\s*|\s*balance(?: due)?\s*:?\s*",
    re.IGNORECASE,
)
"""Names of rows that sum others up: they are in many exports, and are not items."""

_NOTHING: Final = "0.,-+$€£ \u00a0"


_HEAD_TEXTS: Final = (
    "location", "number", "name", "title", "currency", "terms_notes", "po_number", "status",
)  # fmt: skip
_HEAD_DAYS: Final = ("issue_date", "expiry_date", "due_date")
_HEAD_AMOUNTS: Final = ("total", "amount_paid", "amount_due")
_LINE_TEXTS: Final = ("description", "product_id", "price_id")
_MANY: Final = 1000
_CUSTOMER: Final = {
    "external_id": "external_id", "name": "name", "company": "company", "email": "email", "phone_no": "phone",
    "region": "region", "id": "contact_id",
}  # fmt: skip
_ADDRESS: Final = {
    "address_line1": "line1", "address_line2": "line2", "city": "city", "state": "state",
    "postal_code": "postal_code", "country": "country",
}  # fmt: skip


class RowReader:
    """A reader of documents out of rows with one header."""

    def __init__(self, mapping: Mapping, header: Sequence[str], settings: SourceSettings) -> None:
        self.header: list[str] = list(header)
        self._at = {name: index for index, name in enumerate(header)}
        self._mapping = mapping
        self.settings = settings
        self._numbers = settings.numbers
        # only keys that the mapping gives have a read: calls for empty keys cost more than all arithmetic
        self._head = _reads(mapping.document, self._at)
        self._line = _reads(mapping.line, self._at)
        self._charges = [_reads(one, self._at) for one in mapping.charge]
        contact = _reads(mapping.contact, self._at)
        self._head_texts = _chosen(self._head, _HEAD_TEXTS)
        self._head_days = _chosen(self._head, _HEAD_DAYS)
        self._head_amounts = _chosen(self._head, _HEAD_AMOUNTS)
        self._line_texts = _chosen(self._line, _LINE_TEXTS)
        self._customer_reads = [(field, contact[key]) for key, field in _CUSTOMER.items() if key in contact]
        self._address_reads = [(field, contact[key]) for key, field in _ADDRESS.items() if key in contact]
        self._head_taxed = bool({"tax_rate", "tax_amount"} & set(self._head))
        self._line_taxed = bool({"tax_rate", "tax_amount"} & set(self._line))
        self._rates: dict[tuple[str, str], DocumentTax] = {}
        self.business = self._head.get("business_name", _empty)
        # two customers under one key are two documents that share a number
        self._agree = self._agreeing()
        self._ids = sorted(self._at[name] for name in mapping.id_columns() if name in self._at)
        used = mapping.columns()
        self._used = sorted(self._at[name] for name in used if name in self._at)
        self.unused_money: list[tuple[str, int]] = [
            (name, index) for name, index in self._at.items() if name not in used and is_money_column(name)
        ]
        self._rules = [(rule, skipped, self._at[rule.column], re.compile(rule.matches)) for rule, skipped in (
            *((one, True) for one in mapping.skip), *((one, False) for one in mapping.reject))]  # fmt: skip
        self._drops = [(self._at[rule.column], re.compile(rule.matches)) for rule in mapping.drop]

    def _agreeing(self) -> list[tuple[str, int]]:
        section, contact = self._mapping.document, self._mapping.contact
        texts = (
            section.currency,
            section.kind,
            section.location,
            section.discount,
            section.total,
            *msgspec.structs.astuple(contact),
        )
        names = dict.fromkeys(name for text in texts for name in COLUMN.findall(text))
        return [(name, self._at[name]) for name in names]

    # ----------------------------------------------------------------------------------------- rows

    def is_dropped(self, row: Row) -> bool:
        """Return whether a rule of the mapping leaves this row out."""
        return bool(self._drops) and any(pattern.search(row[index]) for index, pattern in self._drops)

    def problem(self, row: Row, number: int) -> str:
        """Return the problem of a used cell, or an empty text."""
        # one search over the row instead of one per cell: almost no row has either sign
        text = "\n".join(row)
        if "#" in text or "=" in text:
            for index in self._used:
                cell = row[index]
                if cell and cell[0] in "#=" and (found := cell_problem(cell)):
                    return f"line {number}, column {self.header[index]!r} holds {found}"
        if "E+" in text:
            for index in self._ids:
                cell = row[index].strip()
                if DAMAGED.fullmatch(cell):
                    return (
                        f"line {number}, column {self.header[index]!r}: a spreadsheet has shortened the number "
                        f"{cell!r}; export the file again and do not open it, or format the column as text"
                    )
        return ""

    def excluded(self, rows: Sequence[Row]) -> tuple[ExclusionRule, bool] | None:
        """Return (rule, skipped) when a rule leaves the document out."""
        for rule, skipped, index, pattern in self._rules:
            if any(pattern.search(row[index]) for row in rows):
                return rule, skipped
        return None

    def is_money(self, text: str) -> bool:
        """Return whether a cell of an unused column holds an amount that is not zero."""
        return bool(text.strip(_NOTHING)) and any(map(str.isdigit, text))

    # ------------------------------------------------------------------------------------ documents

    def document(self, source_id: str, rows: Sequence[Row]) -> Document:
        """Return the document that rows make.

        Raises:
            InvalidRequest: A cell cannot be read; names field and value.
        """
        head = rows[0]
        self._check_agreement(rows)
        values: dict[str, Any] = {field: read(head).strip() for field, read in self._head_texts}
        currency: str = values["currency"]
        for field, read in self._head_days:
            if text := read(head).strip():
                values[field] = read_day(field, text, self.settings.date_format)
        for field, read in self._head_amounts:
            if text := read(head).strip():
                values[field] = self._amount(field, text, currency)
        section = self._mapping.document
        if section.kind:
            values["kind"] = kind_of(self._head["kind"](head))
        if section.discount:
            values["discount"] = self._discount(
                "discount", self._head["discount"](head), section.discount_type, currency
            )
        if self._head_taxed:
            values["taxes"] = self._taxes("tax", self._head, head, currency)
        # charges are facts of the document: they stand on its first row, or on all of them
        if self._charges:
            values["charges"] = self._charged(head, currency)
        return Document(
            source_id=source_id,
            customer=self._customer(head),
            lines=[self._item(row, index, currency) for index, row in enumerate(rows)],
            **values,
        )

    def columns_of(self, field: str) -> list[str]:
        """Return the columns of a field such as ``line 2 qty``, as errors name it."""
        line = line_of(field)
        section: Any = self._mapping.document if line is None else self._mapping.line
        key = field if line is None else line[1]
        template = getattr(section, {"tax": "tax_rate"}.get(key, key), "")
        return COLUMN.findall(template) if isinstance(template, str) else []

    def _check_agreement(self, rows: Sequence[Row]) -> None:
        """Refuse rows with two customers, currencies or totals for one document.

        An empty cell agrees with everything: many exports state the document's facts on its first row only.
        """
        if len(rows) == 1:
            return
        for column, index in self._agree:
            first = rows[0][index]
            for row in rows:
                if row[index] != first and row[index].strip():
                    found = [one for one in dict.fromkeys(row[index] for row in rows) if one.strip()]
                    if len(found) > 1:
                        raise InvalidRequest(
                            column, f"is {found[0]!r} and {found[1]!r} in lines of one document"
                        )

    def _customer(self, head: Row) -> DocumentCustomer:
        values: dict[str, Any] = {field: read(head).strip() for field, read in self._customer_reads}
        if "email" in values:
            values["email"], values["additional_emails"] = emails_in(values["email"])
        if self._address_reads:
            values["address"] = DocumentAddress(
                **{one: read(head).strip() for one, read in self._address_reads}
            )
        return DocumentCustomer(**values)

    def _item(self, row: Row, index: int, currency: str) -> DocumentLine:
        try:
            return self._line_of(row, currency)
        except InvalidRequest as error:
            raise InvalidRequest(f"line {index + 1} {error.field}", error.problem) from None

    def _line_of(self, row: Row, currency: str) -> DocumentLine:
        read, section = self._line, self._mapping.line
        name = read["name"](row).strip()
        if sums_up(name):
            raise InvalidRequest(
                "name", f"{name!r} looks like a sum, not an item; a [[drop]] rule leaves such rows out"
            )
        more: dict[str, Any] = {field: one(row) for field, one in self._line_texts}
        if section.discount and (text := read["discount"](row)):
            more["discount"] = self._discount("discount", text, section.discount_type, currency)
        if self._line_taxed:
            more["taxes"] = self._taxes("tax", read, row, currency)
            more["tax_inclusive"] = section.tax_inclusive
        if section.total and (text := read["total"](row).strip()):
            more["total"] = self._amount("total", text, currency)
        return DocumentLine(
            name=name,
            amount=self._amount("amount", read["amount"](row), currency),
            qty=read_number("qty", read["qty"](row).strip(), self._numbers),
            **more,
        )

    def _charged(self, head: Row, currency: str) -> list[DocumentCharge]:
        found = []
        for read in self._charges:
            text = read["amount"](head).strip()
            if not text:
                continue
            name = read["name"](head).strip()
            amount = self._amount(f"charge {name!r}", text, currency)
            if amount:
                taxes = self._taxes(f"charge {name!r} tax", read, head, currency)
                found.append(DocumentCharge(name=name, amount=amount, taxes=taxes))
        return found

    def _amount(self, at: str, text: str, currency: str) -> Decimal:
        value = read_number(at, text.strip(), self._numbers, currency)
        return in_major_units(value, currency) if self.settings.minor_units else value

    def _taxes(self, at: str, read: dict[str, _Read], row: Row, currency: str) -> list[DocumentTax]:
        rate = read["tax_rate"](row).strip() if "tax_rate" in read else ""
        amount = read["tax_amount"](row).strip() if "tax_amount" in read else ""
        if not amount and not rate:
            if read is self._line and "tax_rate" in read and "total" not in self._head:
                # with a total of the source, a rate that was forgotten is found out
                problem = "is empty; write 0 for no tax, or map the total so that it is compared"
                raise InvalidRequest(at, problem)
            return []
        name = read["tax_name"](row).strip() if "tax_name" in read else ""
        # rates repeat in nearly every row, taxes as amounts do not
        if not amount and (known := self._rates.get((name, rate))) is not None:
            return [known]
        tax = DocumentTax(
            name=name or "Tax",
            rate=read_percentage(at, rate, self._numbers) if rate else None,
            amount=self._amount(at, amount, currency) if amount else None,
        )
        if not amount and len(self._rates) < _MANY:
            self._rates[(name, rate)] = tax
        return [tax]

    def _discount(self, at: str, text: str, kind: Any, currency: str) -> DocumentDiscount | None:
        text = text.strip()
        if not text:
            return None
        is_share = kind == "percentage"
        value = read_percentage(at, text, self._numbers) if is_share else self._amount(at, text, currency)
        return DocumentDiscount(value=value, type=kind) if value else None


def _empty(row: Row) -> str:
    return ""


def _reads(section: Any, at: dict[str, int]) -> dict[str, _Read]:
    """Return a read for each key of a section that the mapping gives."""
    return {name: _template(value, at) for name, value in _texts(section).items() if value}


def _chosen(reads: dict[str, _Read], names: Sequence[str]) -> list[tuple[str, _Read]]:
    return [(name, reads[name]) for name in names if name in reads]


def _template(template: str, at: dict[str, int]) -> _Read:
    names = COLUMN.findall(template)
    if not names:
        return lambda row: template
    if template == f"{{{names[0]}}}":
        return itemgetter(at[names[0]])
    parts = COLUMN.split(template)
    plan = [(part, -1) if n % 2 == 0 else ("", at[part]) for n, part in enumerate(parts)]
    return lambda row: "".join([text if index < 0 else row[index] for text, index in plan])


@lru_cache(4096)
def sums_up(name: str) -> bool:
    """Return whether an item's name says that its row sums up others."""
    return TOTALS.fullmatch(name) is not None


def _texts(section: Any) -> dict[str, str]:
    return {name: value for name, value in msgspec.structs.asdict(section).items() if isinstance(value, str)}
