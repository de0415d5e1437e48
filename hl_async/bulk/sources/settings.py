"""Internal. Settings of a source: defaults of missing fields, and text formats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from hl_async.bulk.sources.document import Kind
from hl_async.bulk.sources.numbers import NumberFormat
from hl_async.errors import InvalidRequest
from hl_async.models.money import CURRENCIES

_LONGEST: Final = 36_500
"""Days; a hundred years."""


class SourceSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Defaults and formats of a source.

    Attributes:
        kind: What the run creates.
        convert: Documents of the other kind become this kind too; otherwise both kinds are created.
        invoice_when: Statuses of estimates, with commas between them, beside which an invoice is created.
        states: Where a status that the run cannot set is kept: ``meta`` of estimates, ``notes`` or ``tag``.
        marks_sent: The run marks invoices as sent, and voids them, where the old system did.
        location: Location of documents that name none.
        currency: ISO 4217 code of documents that name none.
        contact_id: Contact of customers whose contact is unknown.
        region: ISO 3166 code for national phone numbers.
        title: Title of documents without one.
        expiry_days: Days from issue to expiry (or due date) of documents without one.
        allow_zero_total: Accept documents whose total is zero.
        cut_names: Cut names and titles that are longer than the API takes; otherwise they are rejected.
        decimal: Decimal sign of numbers.
        thousands: Sign between groups of digits; a space stands for every kind of space.
        currency_sign: Accept a currency sign or code around amounts.
        parentheses: Read ``(5.00)`` as minus five.
        trailing_minus: Read ``5.00-`` as minus five.
        minor_units: Amounts count cents (or what the currency has).
        date_format: How dates are written, as for ``strptime``; ISO dates always work. ``serial`` reads the day
            numbers of spreadsheets, ``unix`` and ``unix_ms`` seconds and milliseconds since 1970.
        header_row: Number of the line that holds the column names; 0 finds it.
        no_header: The table has no line of column names; they are ``column1``, ``column2`` and so on.
        fill_down: A row without a key belongs to the document above it.
        encoding: Encoding of text files.
        delimiter: Delimiter of text tables; empty finds it.
        sheet: Sheet of a workbook; empty takes the active one.
        hidden: What to do with hidden rows of a workbook: reject, keep or skip.
        multiline: Quoted fields may hold lines that look like rows of the table.
        formula_text: Read ``="5001"`` as 5001.
    """

    kind: Kind = "estimate"
    convert: bool = False
    invoice_when: str = ""
    states: str = "meta"
    marks_sent: bool = False
    location: str = ""
    currency: str = ""
    contact_id: str = ""
    region: str = ""
    title: str = ""
    expiry_days: int = 30
    allow_zero_total: bool = False
    cut_names: bool = False
    decimal: str = "."
    thousands: str = ""
    currency_sign: bool = False
    parentheses: bool = False
    trailing_minus: bool = False
    minor_units: bool = False
    date_format: str = "%Y-%m-%d"
    header_row: int = 0
    no_header: bool = False
    fill_down: bool = False
    encoding: str = "utf-8"
    delimiter: str = ""
    sheet: str = ""
    hidden: str = "reject"
    multiline: bool = False
    formula_text: bool = False

    @property
    def numbers(self) -> NumberFormat:
        """How amounts are written."""
        return NumberFormat(
            self.decimal, self.thousands, self.currency_sign, self.parentheses, self.trailing_minus
        )

    @property
    def invoiced(self) -> frozenset[str]:
        """The statuses of `invoice_when`, in small letters."""
        return frozenset(" ".join(one.split()).lower() for one in self.invoice_when.split(",")) - {""}

    def check(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            InvalidRequest: A value is not valid; names the setting.
        """
        if self.currency and self.currency not in CURRENCIES:
            raise InvalidRequest("currency", f"{self.currency!r} is not an ISO 4217 code, such as USD")
        if not 0 <= self.expiry_days <= _LONGEST:
            raise InvalidRequest("expiry_days", f"{self.expiry_days} is not 0 to {_LONGEST}")
        if self.states not in ("meta", "notes", "tag"):
            raise InvalidRequest("states", f"{self.states!r} is not meta, notes or tag")
        # Checked here, because a mapping, a profile and an option all end in these settings.
        if self.hidden not in ("reject", "keep", "skip"):
            raise InvalidRequest("hidden", f"{self.hidden!r} is not reject, keep or skip")
        self.numbers.check()

    def with_values(self, pairs: Iterable[str]) -> SourceSettings:
        """Return these settings with ``NAME=VALUE`` pairs applied.

        Raises:
            InvalidRequest: An unknown name, or a value of the wrong type.
        """
        # starting from the settings at this point, so that an option overrides a profile's own
        values: dict[str, Any] = msgspec.structs.asdict(self)
        for pair in pairs:
            name, sign, value = pair.partition("=")
            name = name.strip()
            if not sign or name not in values:
                raise InvalidRequest(
                    "setting", f"unknown setting {pair!r}; write NAME=VALUE, NAME one of {', '.join(values)}"
                )
            # A delimiter may be a tab or a blank; quotes keep it alive on the command line.
            values[name] = value.strip().strip('"') or value.strip('"')
        try:
            # options are text: the types of the settings decide what they mean
            made = msgspec.convert(values, SourceSettings, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidRequest("setting", str(error)) from None
        made.check()
        return made
