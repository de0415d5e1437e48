"""A mapping file: which lines make a document, and which columns become which fields. TOML.

Values are templates: ``{Column}`` stands for a column of the document's first line (of the line itself in
``[line]``), everything else for itself. See ``examples/online_retail.toml``.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hl_async.errors import InvalidRequest, SourceError
from hl_async.models import BusinessDetails, ContactDetails, Discount, EstimateDraft, ItemTax, LineItem
from hl_async.models.money import CURRENCIES

Line = Dict[str, str]

_COLUMN: Final = re.compile(r"\{([^{}]+)\}")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Leaves documents out when a column of any of their lines matches a regular expression."""

    column: str
    matches: str
    reason: str


class SourceSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to read the file. ``encoding`` is utf-8 unless said; a byte order mark is always understood."""

    encoding: str = "utf-8"
    delimiter: str = ","
    sheet: str = ""


class DocumentSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One document: the column whose equal values belong together, and its fields."""

    group_by: str
    name: str
    currency: str
    location: str = ""
    title: str = ""
    terms_notes: str = ""
    issue_date: str = ""
    expiry_date: str = ""
    expiry_days: int = 0
    date_format: str = "%Y-%m-%d"
    discount: str = ""
    discount_type: str = "percentage"
    business_name: str = ""
    allow_zero_total: bool = False


class ContactSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The customer. ``id`` is the contact's id in the location."""

    id: str
    name: str
    phone_no: str = ""
    email: str = ""


class LineSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line item. Numbers are read with ``decimal`` as the decimal sign."""

    name: str
    amount: str
    qty: str
    description: str = ""
    product_id: str = ""
    tax_name: str = ""
    tax_rate: str = ""
    decimal: str = "."


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole mapping file."""

    document: DocumentSection
    contact: ContactSection
    line: LineSection
    source: SourceSection = SourceSection()
    reject: list[Rule] = []
    skip: list[Rule] = []

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read a file; :class:`SourceError` names what is wrong with it."""
        try:
            content = path.read_text("utf-8")
            found = msgspec.convert(tomllib.loads(content), cls)
        except OSError as error:
            problem = f"{path}: {error.strerror}"
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            problem = f"{path}: {error}"
        else:
            found.check(path)
            return found
        raise SourceError(problem)

    def check(self, path: Path) -> None:
        """Refuse what can be refused before the source is opened."""
        constant = not _COLUMN.search(self.document.currency)
        if constant and self.document.currency not in CURRENCIES:
            raise SourceError(
                f"{path}: document.currency: {self.document.currency!r} is no ISO 4217 code, such as USD"
            )
        if not self.document.expiry_date and not (self.document.issue_date and self.document.expiry_days):
            raise SourceError(
                f"{path}: document: give expiry_date, or issue_date with expiry_days; the API requires an expiry date"
            )
        for rule in (*self.reject, *self.skip):
            try:
                re.compile(rule.matches)
            except re.error as error:
                raise SourceError(f"{path}: the rule on {rule.column}: {rule.matches!r}: {error}") from None

    def columns(self) -> set[str]:
        """Every column that the mapping uses."""
        texts = [
            value
            for section in (self.document, self.contact, self.line)
            for value in msgspec.structs.asdict(section).values()
            if isinstance(value, str)
        ]
        used = {name for text in texts for name in _COLUMN.findall(text)}
        return used | {self.document.group_by} | {rule.column for rule in (*self.reject, *self.skip)}

    def check_columns(self, header: Sequence[str]) -> None:
        """Refuse a file that lacks a column, or names one twice."""
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise SourceError(f"the header has {min(twice)!r} more than once")
        for name in sorted(self.columns()):
            if name not in header:
                near = difflib.get_close_matches(name, header, 3, 0.5)
                hint = (
                    f"; did you mean {' or '.join(map(repr, near))}?"
                    if near
                    else f"; it has {', '.join(header)}"
                )
                raise SourceError(f"the file has no column {name!r}{hint}")

    def excluded(self, lines: Sequence[Line]) -> tuple[str, bool] | None:
        """(reason, skipped) when a rule leaves the document out."""
        for rules, skipped in ((self.skip, True), (self.reject, False)):
            for rule in rules:
                if any(re.search(rule.matches, line[rule.column]) for line in lines):
                    return rule.reason, skipped
        return None

    def draft(self, lines: Sequence[Line]) -> EstimateDraft:
        """The estimate that a document's lines make; :class:`InvalidRequest` says why there is none."""
        head, section = lines[0], self.document
        issued = self._day("issue_date", section.issue_date, head)
        expires = self._day("expiry_date", section.expiry_date, head)
        if expires is None:
            if issued is None:
                raise InvalidRequest("expiry_date", "is empty")
            expires = issued + timedelta(days=section.expiry_days)
        currency = fill(section.currency, head)
        return EstimateDraft(
            name=fill(section.name, head),
            currency=currency,
            expiry_date=expires,
            issue_date=UNSET if issued is None else issued,
            title=fill(section.title, head) or UNSET,
            terms_notes=fill(section.terms_notes, head) or UNSET,
            business_details=BusinessDetails(name=fill(section.business_name, head) or None),
            discount=self._discount(head),
            contact_details=ContactDetails(
                id=fill(self.contact.id, head),
                name=fill(self.contact.name, head),
                phone_no=fill(self.contact.phone_no, head),
                email=fill(self.contact.email, head),
            ),
            items=[self._item(line, index, currency) for index, line in enumerate(lines)],
        )

    def _item(self, line: Line, index: int, currency: str) -> LineItem:
        section = self.line
        at = f"line {index + 1}"
        name = fill(section.name, line).strip()
        if not name:
            raise InvalidRequest(f"{at} name", "is empty")
        qty = self._number(f"{at} qty", section.qty, line)
        amount = self._number(f"{at} amount", section.amount, line)
        if qty < 0:
            raise InvalidRequest(f"{at} qty", f"{qty} is negative")
        if amount < 0:
            raise InvalidRequest(f"{at} amount", f"{amount} is negative")
        taxes: Any = UNSET
        if section.tax_rate:
            rate = self._number(f"{at} tax", section.tax_rate, line)
            taxes = [ItemTax(name=fill(section.tax_name, line) or "Tax", rate=rate, calculation="exclusive")]
        return LineItem(
            name=name,
            currency=currency,
            amount=amount,
            qty=qty,
            description=fill(section.description, line) or UNSET,
            product_id=fill(section.product_id, line) or UNSET,
            taxes=taxes,
        )

    def _number(self, field: str, template: str, line: Line) -> Decimal:
        text = fill(template, line).strip()
        plain = text.replace(self.line.decimal, ".") if self.line.decimal != "." else text
        try:
            number = Decimal(plain)
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():
            raise InvalidRequest(field, f"{text!r} is no number")
        return number

    def _day(self, field: str, template: str, line: Line) -> date | None:
        text = fill(template, line).strip()
        if not text:
            return None
        for form in (self.document.date_format, "%Y-%m-%d"):
            try:
                return datetime.strptime(text, form).date()  # noqa: DTZ007 - a calendar day has no zone
            except ValueError:
                continue
        raise InvalidRequest(field, f"{text!r} is no date of the form {self.document.date_format}")

    def _discount(self, line: Line) -> Discount:
        if not self.document.discount:
            return Discount()
        return Discount(
            value=self._number("discount", self.document.discount, line), type=self.document.discount_type
        )


def fill(template: str, line: Line) -> str:
    """The template with the line's columns in place."""
    if "{" not in template:
        return template
    return _COLUMN.sub(lambda found: line[found.group(1)], template)
