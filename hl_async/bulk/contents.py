"""Internal. Compare a listed document with the body that created it. Pure.

Only what the body named is compared: the API fills in the rest. Text is compared without regard to spacing, phone
numbers by their digits, e-mail addresses without case, numbers by value and dates as calendar days.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from hl_async.models.dates import day_of

COMPARED: Final = (
    "name", "title", "number", "currency", "contact", "dates", "lines", "discount", "terms", "total",
)  # fmt: skip
"""The compared fields, in words for reports."""

# Amounts are compared as exact decimals. Binary floats would report differences that the API did not make.
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_TEXTS: Final = (
    ("name", "name", "name"),
    ("title", "title", "title"),
    ("currency", "currency", "currency"),
    ("estimateNumber", "estimate_number", "number"),
    ("invoiceNumber", "invoice_number", "number"),
    ("termsNotes", "terms_notes", "terms"),
)
_DAYS: Final = (
    ("issueDate", "issue_date", "issue date"),
    ("expiryDate", "expiry_date", "expiry date"),
    ("dueDate", "due_date", "due date"),
)
_CONTACT: Final = (
    ("id", "id", "contact id"),
    ("name", "name", "contact name"),
    ("companyName", "company_name", "contact company"),
)
_LINE_TEXTS: Final = (("name", "name"), ("description", "description"), ("currency", "currency"))
_LINE_NUMBERS: Final = (("amount", "amount"), ("qty", "qty"))
_SHOWN: Final = 60


class FieldChange(NamedTuple):
    """One field that differs: the value sent, and the value in the location."""

    field: str
    sent: str
    found: str

    def __str__(self) -> str:
        return f"{self.field}: {self.sent!r} → {self.found!r}"


def compare(body: bytes, document: Any, total: Decimal | None) -> list[FieldChange]:
    """Return the fields in which `document` differs from the request that created it.

    Args:
        body: The request, as the journal holds it.
        document: An `Estimate` or `Invoice` of a list.
        total: The total computed from the source; None to leave totals out.
    """
    sent = _decoder.decode(body) if body else {}
    if not isinstance(sent, dict):
        return []
    changes = [
        *_texts(sent, document, _TEXTS),
        *_days(sent, document),
        *_contact(sent.get("contactDetails"), document.contact_details),
        *_discount(sent.get("discount"), document.discount),
        *_lines(sent.get("items"), _lines_of(document)),
    ]
    # The API computes automatic taxes, so the source's total says nothing: docs/api-facts.md#api-automatic-taxes
    if total is not None and not sent.get("automaticTaxesEnabled") and document.total != total:
        changes.append(FieldChange("total", str(total), _shown(document.total)))
    return changes


def _lines_of(document: Any) -> Any:
    # Invoices answer with another field name than estimates: docs/api-facts.md#api-field-names
    return document.invoice_items if hasattr(document, "invoice_items") else document.items


def _texts(
    sent: dict[str, Any], found: Any, fields: tuple[tuple[str, str, str], ...]
) -> Iterator[FieldChange]:
    for key, attribute, label in fields:
        value = sent.get(key)
        # A field that was not sent is the API's to fill in.
        if value in (None, "") or not hasattr(found, attribute):
            continue
        held = getattr(found, attribute)
        if _plain(value) != _plain(held):
            yield FieldChange(label, _shown(value), _shown(held))


def _days(sent: dict[str, Any], document: Any) -> Iterator[FieldChange]:
    for key, attribute, label in _DAYS:
        day = day_of(str(sent.get(key) or ""))
        if day is None or not hasattr(document, attribute):
            continue
        held: date | None = getattr(document, attribute)
        if held is None and getattr(document, f"{attribute}_text"):
            # The text has several readings, so it proves no difference: docs/api-facts.md#api-dates
            continue
        if held != day:
            yield FieldChange(label, day.isoformat(), _shown(held))


def _contact(sent: Any, found: Any) -> Iterator[FieldChange]:
    if not isinstance(sent, dict) or found is None:
        return
    yield from _texts(sent, found, _CONTACT)
    email, phone = str(sent.get("email") or ""), str(sent.get("phoneNo") or "")
    if email and email.strip().casefold() != str(found.email or "").strip().casefold():
        yield FieldChange("contact e-mail", email, _shown(found.email))
    # Answers may hold separators: docs/api-facts.md#api-contact
    if phone and _digits(phone) != _digits(str(found.phone_no or "")):
        yield FieldChange("contact phone", phone, _shown(found.phone_no))


def _discount(sent: Any, found: Any) -> Iterator[FieldChange]:
    if not isinstance(sent, dict) or found is None:
        return
    value, held = _number(sent.get("value") or 0), _number(found.value or 0)
    # A discount of zero differs in nothing, whatever its type.
    kind, held_kind = sent.get("type") or "percentage", found.type or "percentage"
    if value != held or (value and kind != held_kind):
        yield FieldChange("discount", f"{value} {kind}", f"{held} {held_kind}")


def _lines(sent: Any, found: Any) -> Iterator[FieldChange]:
    # A list that omits the lines says nothing about them.
    if not isinstance(sent, list) or found is None:
        return
    if len(sent) != len(found):
        yield FieldChange("lines", str(len(sent)), str(len(found)))
        return
    for number, (line, held) in enumerate(zip(sent, found, strict=True), 1):
        place = f"line {number} "
        yield from _texts(line, held, tuple((key, name, place + name) for key, name in _LINE_TEXTS))
        for key, name in _LINE_NUMBERS:
            value, there = _number(line.get(key)), _number(getattr(held, name))
            if value is not None and value != there:
                yield FieldChange(place + name, _shown(value), _shown(there))
        rates, there_rates = (
            _rates(line.get("taxes")),
            sorted(_number(tax.rate) or 0 for tax in held.taxes or ()),
        )
        if rates is not None and rates != there_rates:
            yield FieldChange(f"{place}taxes", _shown_list(rates), _shown_list(there_rates))


def _rates(taxes: Any) -> list[Decimal | int] | None:
    if not isinstance(taxes, list):
        return None
    # Sorted, because the order of the taxes of a line changes nothing.
    return sorted(_number(tax.get("rate")) or 0 for tax in taxes if isinstance(tax, dict))


def _number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _plain(value: Any) -> str:
    return " ".join(str("" if value is None else value).split())


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _shown(value: Any) -> str:
    text = _plain(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _shown_list(values: list[Any]) -> str:
    return ", ".join(f"{value} %" for value in values) or "none"
