"""Internal. A mapping file in TOML, which makes documents of a table's rows.

It says which rows make a document, and which columns become which fields. Values are templates: ``{Column}`` stands
for a column of the document's first row (of the row itself in ``[line]``), everything else for itself. A column whose
name stands twice is ``{Name#1}`` and ``{Name#2}``. See ``examples/online_retail.toml``.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.words import kind_of
from hl_async.errors import InvalidRequest, SourceError
from hl_async.models.money import CURRENCIES

COLUMN: Final = re.compile(r"\{([^{}]+)\}")
_LONGEST: Final = 36_500


# unknown keys are refused in every section: a misspelled one would be a setting that silently does nothing
class ExclusionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule on documents or rows where a column matches a regular expression.

    ``skip`` and ``reject`` leave out documents, ``drop`` leaves out rows.
    """

    column: str
    matches: str
    reason: str = ""


class SourceSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The way to read the file.

    A byte order mark and a line ``sep=;`` are always understood. The keys are those of
    :class:`~hl_async.bulk.sources.settings.SourceSettings`.
    """

    encoding: str = "utf-8"
    delimiter: str = ""
    sheet: str = ""
    header_row: int = 0
    no_header: bool = False
    fill_down: bool = False
    # rows that a filter hid in the spreadsheet: left out on purpose or forgotten, which only a person knows
    hidden: Literal["reject", "keep", "skip"] = "reject"
    multiline: bool = False
    formula_text: bool = False


class DocumentSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One document: the column whose equal values belong together, and its fields.

    ``kind`` is estimate or invoice, or a column that says which. ``total``, ``amount_paid`` and ``amount_due`` are the
    source's own figures; ours are compared with them.
    """

    group_by: str
    name: str
    currency: str
    kind: str = ""
    location: str = ""
    title: str = ""
    number: str = ""
    status: str = ""
    po_number: str = ""
    terms_notes: str = ""
    issue_date: str = ""
    expiry_date: str = ""
    due_date: str = ""
    expiry_days: int = 0
    date_format: str = "%Y-%m-%d"
    discount: str = ""
    discount_type: Literal["percentage", "fixed"] = "percentage"
    tax_name: str = ""
    tax_rate: str = ""
    tax_amount: str = ""
    total: str = ""
    amount_paid: str = ""
    amount_due: str = ""
    business_name: str = ""
    allow_zero_total: bool = False
    cut_names: bool = False


class ContactSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The customer, by contact ``id``. National phone numbers need ``region``."""

    name: str
    id: str = ""
    phone_no: str = ""
    email: str = ""
    company: str = ""
    external_id: str = ""
    region: str = ""
    address_line1: str = ""
    address_line2: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""


class LineSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line item.

    Numbers are read with ``decimal`` as the decimal sign and ``thousands`` between groups. Any other text is not a
    number: ``1.234`` may be a thousand or one and a quarter, so nothing is guessed.
    """

    name: str
    amount: str
    qty: str = "1"
    description: str = ""
    product_id: str = ""
    price_id: str = ""
    discount: str = ""
    discount_type: Literal["percentage", "fixed"] = "percentage"
    tax_name: str = ""
    tax_rate: str = ""
    tax_amount: str = ""
    tax_inclusive: bool = False
    total: str = ""
    decimal: str = "."
    thousands: str = ""
    currency_sign: bool = False
    parentheses: bool = False
    trailing_minus: bool = False
    minor_units: bool = False


class ChargeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document's charge, such as shipping: a line of its own unless empty or zero."""

    name: str
    amount: str
    tax_name: str = ""
    tax_rate: str = ""
    tax_amount: str = ""


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole mapping file."""

    document: DocumentSection
    contact: ContactSection
    line: LineSection
    source: SourceSection = SourceSection()
    charge: list[ChargeSection] = []
    reject: list[ExclusionRule] = []
    skip: list[ExclusionRule] = []
    drop: list[ExclusionRule] = []

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read a mapping file.

        Returns:
            The mapping, checked on its own.

        Raises:
            SourceError: The file cannot be read, or a setting in it is not valid.
        """
        try:
            # editors on Windows put a mark before the first key
            content = path.read_text("utf-8-sig")
            found = msgspec.convert(tomllib.loads(content), cls)
        except OSError as error:
            problem = f"{path}: {error.strerror}"
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            problem = f"{path}: {_with_hint(str(error))}"
        else:
            found.check(path)
            return found
        raise SourceError(problem)

    def check(self, path: Path) -> None:
        """Refuse mistakes that show before the source is opened.

        Args:
            path: The mapping file, for the message.

        Raises:
            SourceError: A setting contradicts another one, or lacks one.
        """
        # a currency out of a column is checked row by row
        constant = not COLUMN.search(self.document.currency)
        if constant and self.document.currency not in CURRENCIES:
            raise SourceError(
                f"{path}: document.currency: {self.document.currency!r} is not an ISO 4217 code, such as USD"
            )
        if self.document.kind and not COLUMN.search(self.document.kind):
            try:
                # checked here, or every single document would be rejected for the same word
                kind_of(self.document.kind)
            except InvalidRequest as error:
                raise SourceError(f"{path}: document.{error}; or name the column that says it") from None
        if (
            not self.document.expiry_date
            and not self.document.due_date
            and not (self.document.issue_date and self.document.expiry_days)
        ):
            raise SourceError(
                f"{path}: document: give expiry_date, or issue_date with expiry_days; the API requires an expiry date"
            )
        if not 0 <= self.document.expiry_days <= _LONGEST:
            raise SourceError(
                f"{path}: document.expiry_days: {self.document.expiry_days} is not 0 to {_LONGEST}"
            )
        try:
            # the same decimal sign for thousands would read every amount wrongly, not one
            self.settings().numbers.check()
        except InvalidRequest as error:
            raise SourceError(f"{path}: line: {error}") from None
        # a broken pattern must not show up at the ten-thousandth row
        for rule in (*self.reject, *self.skip, *self.drop):
            try:
                re.compile(rule.matches)
            except re.error as error:
                raise SourceError(f"{path}: the rule on {rule.column}: {rule.matches!r}: {error}") from None

    def settings(self, base: SourceSettings | None = None) -> SourceSettings:
        """Return the settings of the source: ``base`` with what this file declares."""
        document, line = self.document, self.line
        base = base or SourceSettings()
        return msgspec.structs.replace(
            base,
            **msgspec.structs.asdict(self.source),
            # an id that is the same for all customers is the run's, and says nothing about their names
            contact_id=base.contact_id if not self.contact.id or "{" in self.contact.id else self.contact.id,
            date_format=document.date_format,
            expiry_days=document.expiry_days,
            allow_zero_total=document.allow_zero_total,
            cut_names=document.cut_names or base.cut_names,
            decimal=line.decimal,
            thousands=line.thousands,
            currency_sign=line.currency_sign,
            parentheses=line.parentheses,
            trailing_minus=line.trailing_minus,
            minor_units=line.minor_units,
        )

    def columns(self) -> set[str]:
        """Return every column that the mapping uses."""
        texts = [
            value
            for section in (self.document, self.contact, self.line, *self.charge)
            for value in msgspec.structs.asdict(section).values()
            if isinstance(value, str)
        ]
        used = {name for text in texts for name in COLUMN.findall(text)}
        rules = (*self.reject, *self.skip, *self.drop)
        return used | {self.document.group_by} | {rule.column for rule in rules}

    def id_columns(self) -> set[str]:
        """Return columns whose values are ids.

        A number that a spreadsheet shortened must not stand there.
        """
        texts = (
            self.document.location,
            self.document.number,
            self.contact.id,
            self.contact.external_id,
            self.line.product_id,
            self.line.price_id,
        )
        return {name for text in texts for name in COLUMN.findall(text)} | {self.document.group_by}

    def check_columns(self, header: Sequence[str]) -> None:
        """Refuse a file that lacks a column that is used, or has it twice.

        Args:
            header: The columns of the table.

        Raises:
            SourceError: A column is missing, or is there twice.
        """
        for name in sorted(self.columns()):
            if name in header:
                continue
            if f"{name}#1" in header:
                raise SourceError(
                    f"the header has {name!r} more than once; write {name}#1 for the first, {name}#2 for the second"
                )
            # headers differ by a blank or a capital more often than a column is missing
            near = difflib.get_close_matches(name, header, 3, 0.5)
            hint = (
                f"; did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"; its first line is {', '.join(header)[:200]}"
            )
            raise SourceError(f"the file has no column {name!r}{hint}")


_UNKNOWN: Final = re.compile(r"unknown field `(\w+)` - at `\$\.(\w+)")
_UNKNOWN_SECTION: Final = re.compile(r"unknown field `(\w+)`$")
_SECTION_NAMES: Final = ("document", "contact", "line", "source", "charge", "skip", "reject", "drop")
_SECTIONS: Final[dict[str, Any]] = {
    "document": DocumentSection,
    "contact": ContactSection,
    "line": LineSection,
    "source": SourceSection,
    "charge": ChargeSection,
}


def _with_hint(problem: str) -> str:
    """Return the problem, with the key that an unknown one probably means."""
    if unknown := _UNKNOWN_SECTION.search(problem):
        near = difflib.get_close_matches(unknown.group(1), _SECTION_NAMES, 1, 0.5)
        hint = f"did you mean [{near[0]}]?" if near else f"sections are {', '.join(_SECTION_NAMES)}"
        return f"unknown section {unknown.group(1)!r}; {hint}"
    found = _UNKNOWN.search(problem)
    section = _SECTIONS.get(found.group(2)) if found else None
    if found is None or section is None:
        return problem
    near = difflib.get_close_matches(found.group(1), section.__struct_fields__, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; keys are {', '.join(section.__struct_fields__)}"
    return f"[{found.group(2)}] has no key {found.group(1)!r}: unknown field{hint}"
