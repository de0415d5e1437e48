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
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET

from hl_async.errors import InvalidRequest, SourceError
from hl_async.models import BusinessDetails, ContactDetails, Discount, EstimateDraft, ItemTax, LineItem
from hl_async.models.money import CURRENCIES

Line = Dict[str, str]

_COLUMN: Final = re.compile(r"\{([^{}]+)\}")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST: Final = 36_500
_LAST_YEAR: Final = 9000


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
    discount_type: Literal["percentage", "fixed"] = "percentage"
    business_name: str = ""
    allow_zero_total: bool = False


class ContactSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The customer. ``id`` is the contact's id in the location; ``phone_no`` is empty or in the form +12145596993."""

    id: str
    name: str
    phone_no: str = ""
    email: str = ""


class LineSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line item. Numbers are read with ``decimal`` as the decimal sign and ``thousands`` between groups of three.

    What does not look like that is no number: ``1.234`` may be a thousand or one and a quarter, so nobody guesses.
    """

    name: str
    amount: str
    qty: str
    description: str = ""
    product_id: str = ""
    tax_name: str = ""
    tax_rate: str = ""
    decimal: str = "."
    thousands: str = ""


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
        if not 0 <= self.document.expiry_days <= _LONGEST:
            raise SourceError(
                f"{path}: document.expiry_days: {self.document.expiry_days} is not 0 to {_LONGEST}"
            )
        signs = (self.line.decimal, self.line.thousands)
        if len(signs[0]) != 1 or len(signs[1]) > 1 or signs[0] == signs[1] or any(map(str.isalnum, signs)):
            raise SourceError(
                f"{path}: line: decimal must be one character, thousands none or another one, such as , and ."
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
        """Refuse a file that lacks a column that is used, or has it twice."""
        for name in sorted(self.columns()):
            if name not in header:
                near = difflib.get_close_matches(name, header, 3, 0.5)
                hint = (
                    f"; did you mean {' or '.join(map(repr, near))}?"
                    if near
                    else f"; its first line is {', '.join(header)[:200]}"
                )
                raise SourceError(f"the file has no column {name!r}{hint}")
            if header.count(name) > 1:
                raise SourceError(f"the header has {name!r} more than once")

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
        self._agreed(lines)
        issued = self._day("issue_date", section.issue_date, head)
        expires = self._day("expiry_date", section.expiry_date, head)
        if expires is None:
            if issued is None:
                raise InvalidRequest("expiry_date", "is empty")
            if issued.year > _LAST_YEAR:
                raise InvalidRequest("issue_date", f"{issued} is too far away")
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
            contact_details=self._contact(head),
            items=[self._item(line, index, currency) for index, line in enumerate(lines)],
        )

    def _agreed(self, lines: Sequence[Line]) -> None:
        """Refuse lines that name two customers, currencies or locations: they are hardly one document.

        An empty cell agrees with everything; many exports tell the document's facts on its first line only.
        """
        if len(lines) == 1:
            return
        section = self.document
        contact = msgspec.structs.astuple(self.contact)
        for template in (section.currency, section.location, section.discount, *contact):
            for column in _COLUMN.findall(template):
                found = dict.fromkeys(line[column] for line in lines if line[column].strip())
                if len(found) > 1:
                    first, second, *_ = found
                    raise InvalidRequest(column, f"is {first!r} and {second!r} in lines of one document")

    def _contact(self, line: Line) -> ContactDetails:
        contact_id, phone = fill(self.contact.id, line).strip(), fill(self.contact.phone_no, line).strip()
        if not contact_id:
            raise InvalidRequest("contact id", "is empty")
        if phone and not _PHONE.fullmatch(phone):
            raise InvalidRequest("contact phone_no", f"{phone!r} is not of the form +12145596993")
        return ContactDetails(
            id=contact_id,
            name=fill(self.contact.name, line),
            phone_no=phone,
            email=fill(self.contact.email, line),
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
            if rate < 0:
                raise InvalidRequest(f"{at} tax", f"{rate} is negative")
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
        decimal, thousands = self.line.decimal, self.line.thousands
        if not _numeric(decimal, thousands).fullmatch(text):
            how = f", with {decimal!r} as its decimal sign" if any(map(str.isdigit, text)) else ""
            raise InvalidRequest(field, f"{text[:40]!r} is no number{how}")
        return Decimal((text.replace(thousands, "") if thousands else text).replace(decimal, "."))

    def _day(self, field: str, template: str, line: Line) -> date | None:
        text = fill(template, line).strip()
        if not text:
            return None
        own = self.document.date_format
        # a day in ISO form is taken as such, unless the mapping's form could mean another day by it
        for form in (own,) if own.startswith(("%Y-%d", "%y-%d")) else (own, "%Y-%m-%d"):
            try:
                return datetime.strptime(text, form).date()  # noqa: DTZ007 - a calendar day has no zone
            except ValueError:
                continue
        raise InvalidRequest(field, f"{text!r} is no date of the form {self.document.date_format}")

    def _discount(self, line: Line) -> Discount:
        if not fill(self.document.discount, line).strip():
            return Discount()
        value = self._number("discount", self.document.discount, line)
        if value < 0 or (value > 100 and self.document.discount_type == "percentage"):
            raise InvalidRequest("discount", f"{value} is no {self.document.discount_type} to take off")
        return Discount(value=value, type=self.document.discount_type)


@cache
def _numeric(decimal: str, thousands: str) -> re.Pattern[str]:
    """What a number looks like; the exponent is for sheets, which write very small ones so."""
    point = re.escape(decimal)
    whole = rf"[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+|[0-9]+" if thousands else "[0-9]+"
    return re.compile(rf"[+-]?(?:(?:{whole})(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]{{1,3}})?")


def fill(template: str, line: Line) -> str:
    """The template with the line's columns in place."""
    if "{" not in template:
        return template
    return _COLUMN.sub(lambda found: line[found.group(1)], template)
