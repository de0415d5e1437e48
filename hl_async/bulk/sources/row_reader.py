"""From rows of a table to a document, by a mapping. Compiled once per file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
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
from hl_async.bulk.sources.mapping import COLUMN, ExclusionRule, Mapping
from hl_async.bulk.sources.numbers import DAMAGED, in_major_units, read_day, read_number, read_percentage
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.tables import cell_problem
from hl_async.errors import InvalidRequest

Row = Sequence[str]
_Read = Callable[[Row], str]

TOTALS: Final = re.compile(
    r"\s*(?:sub|grand|net|gross|invoice|order)?[\s-]*totals?\s*(?:due|amount|price)?\s*:?\s*"
    r"|\s*(?:zwischen|gesamt|end)?summe\s*:?\s*|\s*(?:sous[\s-]*)?total\s*:?\s*|\s*balance(?: due)?\s*:?\s*",
    re.IGNORECASE,
)
"""Names of rows that sum others up: they are in many exports, and are not items."""

MONEY: Final = re.compile(
    r"total|amount|price|tax|vat|gst|discount|shipping|freight|delivery charge|\bfees?\b|\btips?\b|surcharge|surch\b"
    r"|balance|\bdue\b(?! date)|paid\b(?! at| date)|\bcosts?\b|deposit|refund|adjust|round.?off|rebate|credit|charge",
    re.IGNORECASE,
)
_NOT_MONEY: Final = re.compile(
    r"date|name|type|number|\bid\b|code|label|status|method|payment term|\bat$|%|rate", re.IGNORECASE
)
_NOTHING: Final = "0.,-+$€£ \u00a0"


def is_money_column(name: str) -> bool:
    """Whether a column's name says that it holds money."""
    return bool(name and MONEY.search(name) and not _NOT_MONEY.search(name))


_CUSTOMER: Final = {
    "external_id": "external_id", "name": "name", "company": "company", "email": "email", "phone_no": "phone",
    "region": "region", "id": "contact_id",
}  # fmt: skip
_ADDRESS: Final = {
    "address_line1": "line1", "address_line2": "line2", "city": "city", "state": "state",
    "postal_code": "postal_code", "country": "country",
}  # fmt: skip


class RowReader:
    """Reads documents out of rows with one header."""

    def __init__(self, mapping: Mapping, header: Sequence[str], settings: SourceSettings) -> None:
        self._header = list(header)
        self._at = {name: index for index, name in enumerate(header)}
        self._mapping = mapping
        self.settings = settings
        self._numbers = settings.numbers
        document, contact, line = mapping.document, mapping.contact, mapping.line
        self._fields = {name: self._template(value) for name, value in _texts(document).items()}
        self._contact = {name: self._template(value) for name, value in _texts(contact).items()}
        given = {name for name, value in _texts(contact).items() if value}
        self._customer_reads = [
            (field, self._contact[key]) for key, field in _CUSTOMER.items() if key in given
        ]
        self._address_reads = [(field, self._contact[key]) for key, field in _ADDRESS.items() if key in given]
        self._line = {name: self._template(value) for name, value in _texts(line).items()}
        self._charges = [
            {name: self._template(value) for name, value in _texts(one).items()} for one in mapping.charge
        ]
        self.business = self._fields["business_name"]
        self.location = self._fields["location"]
        self._agree = self._agreeing()
        self._ids = sorted(self._at[name] for name in mapping.id_columns() if name in self._at)
        used = mapping.columns()
        self._used = sorted(self._at[name] for name in used if name in self._at)
        self.unused_money = [
            (name, index) for name, index in self._at.items() if name not in used and is_money_column(name)
        ]
        self._rules = [(rule, skipped, self._at[rule.column], re.compile(rule.matches)) for rule, skipped in (
            *((one, True) for one in mapping.skip), *((one, False) for one in mapping.reject))]  # fmt: skip
        self._drops = [(self._at[rule.column], re.compile(rule.matches)) for rule in mapping.drop]

    def _template(self, template: str) -> _Read:
        names = COLUMN.findall(template)
        if not names:
            return lambda row: template
        if template == f"{{{names[0]}}}":
            return itemgetter(self._at[names[0]])
        parts = COLUMN.split(template)
        plan = [(part, -1) if n % 2 == 0 else ("", self._at[part]) for n, part in enumerate(parts)]
        return lambda row: "".join(text if index < 0 else row[index] for text, index in plan)

    def _agreeing(self) -> list[tuple[str, int]]:
        section, contact = self._mapping.document, self._mapping.contact
        texts = (
            section.currency,
            section.location,
            section.discount,
            section.total,
            *msgspec.structs.astuple(contact),
        )
        names = dict.fromkeys(name for text in texts for name in COLUMN.findall(text))
        return [(name, self._at[name]) for name in names]

    # ----------------------------------------------------------------------------------------- rows

    def is_dropped(self, row: Row) -> bool:
        """Whether a rule of the mapping leaves this row out."""
        return any(pattern.search(row[index]) for index, pattern in self._drops)

    def problem(self, row: Row, number: int) -> str:
        """What is wrong with a cell that is used."""
        for index in self._used:
            cell = row[index]
            if cell and cell[0] in "#=" and (found := cell_problem(cell)):
                return f"line {number}, column {self._header[index]!r} holds {found}"
        for index in self._ids:
            if DAMAGED.fullmatch(row[index].strip()):
                return (
                    f"line {number}, column {self._header[index]!r}: a spreadsheet has shortened the number "
                    f"{row[index].strip()!r}; export the file again and do not open it, or format the column as text"
                )
        return ""

    def excluded(self, rows: Sequence[Row]) -> tuple[ExclusionRule, bool] | None:
        """(rule, skipped) when a rule leaves the document out."""
        for rule, skipped, index, pattern in self._rules:
            if any(pattern.search(row[index]) for row in rows):
                return rule, skipped
        return None

    def is_money(self, text: str) -> bool:
        """Whether a cell of an unused column holds an amount that is not zero."""
        return bool(text.strip(_NOTHING)) and any(map(str.isdigit, text))

    # ------------------------------------------------------------------------------------ documents

    def document(self, source_id: str, rows: Sequence[Row]) -> Document:
        """The document that rows make.

        Raises:
            InvalidRequest: A cell cannot be read; names row and value.
        """
        head, field = rows[0], self._fields
        self._check_agreement(rows)
        currency = field["currency"](head).strip()
        section = self._mapping.document
        return Document(
            source_id=source_id,
            kind=section.kind or None,
            location=field["location"](head).strip(),
            number=field["number"](head).strip(),
            name=field["name"](head),
            title=field["title"](head),
            currency=currency,
            issue_date=self._day("issue_date", head),
            expiry_date=self._day("expiry_date", head),
            due_date=self._day("due_date", head),
            terms_notes=field["terms_notes"](head),
            po_number=field["po_number"](head).strip(),
            status=field["status"](head).strip(),
            customer=self._customer(head),
            lines=[self._item(row, index, currency) for index, row in enumerate(rows)],
            charges=self._charged(head, currency),
            discount=self._discount("discount", field["discount"](head), section.discount_type, currency),
            taxes=self._taxes("tax", field, head, currency),
            total=self._control("total", head, currency),
            amount_paid=self._control("amount_paid", head, currency),
            amount_due=self._control("amount_due", head, currency),
        )

    def _check_agreement(self, rows: Sequence[Row]) -> None:
        """Refuse rows that name two customers, currencies or totals: they are hardly one document.

        An empty cell agrees with everything; many exports state the document's facts on its first row only.
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
        if self._address_reads:
            values["address"] = DocumentAddress(
                **{one: read(head).strip() for one, read in self._address_reads}
            )
        return DocumentCustomer(**values)

    def _item(self, row: Row, index: int, currency: str) -> DocumentLine:
        read, at = self._line, f"line {index + 1}"
        name = read["name"](row).strip()
        if TOTALS.fullmatch(name):
            raise InvalidRequest(
                f"{at} name", f"{name!r} looks like a sum, not an item; a [[drop]] rule leaves such rows out"
            )
        discount = read["discount"](row)
        return DocumentLine(
            name=name,
            amount=self._amount(f"{at} amount", read["amount"](row), currency),
            qty=read_number(f"{at} qty", read["qty"](row).strip(), self._numbers),
            description=read["description"](row),
            discount=self._discount(f"{at} discount", discount, self._mapping.line.discount_type, currency)
            if discount
            else None,
            taxes=self._taxes(f"{at} tax", read, row, currency),
            tax_inclusive=self._mapping.line.tax_inclusive,
            total=self._amount(f"{at} total", text, currency)
            if (text := read["total"](row).strip())
            else None,
            product_id=read["product_id"](row),
            price_id=read["price_id"](row),
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
        rate, amount = read["tax_rate"](row).strip(), read["tax_amount"](row).strip()
        section: Any = self._mapping.line if read is self._line else self._mapping.document
        if not amount and not rate:
            if read is self._line and section.tax_rate:
                raise InvalidRequest(at, f"{rate!r} is not a number")
            return []
        return [
            DocumentTax(
                name=read["tax_name"](row).strip() or "Tax",
                rate=read_percentage(at, rate, self._numbers) if rate else None,
                amount=self._amount(at, amount, currency) if amount else None,
            )
        ]

    def _discount(self, at: str, text: str, kind: Any, currency: str) -> DocumentDiscount | None:
        text = text.strip()
        if not text:
            return None
        is_share = kind == "percentage"
        value = read_percentage(at, text, self._numbers) if is_share else self._amount(at, text, currency)
        return DocumentDiscount(value=value, type=kind) if value else None

    def _control(self, name: str, head: Row, currency: str) -> Decimal | None:
        text = self._fields[name](head).strip()
        return self._amount(name, text, currency) if text else None

    def _day(self, name: str, head: Row) -> date | None:
        text = self._fields[name](head).strip()
        return read_day(name, text, self.settings.date_format) if text else None


def _texts(section: Any) -> dict[str, str]:
    return {name: value for name, value in msgspec.structs.asdict(section).items() if isinstance(value, str)}
