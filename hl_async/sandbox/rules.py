"""What the live API refuses, in its own words; sources: docs/api-facts.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from hl_async.models.money import CURRENCIES

_DAY: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_PHONE: Final = re.compile(r"\+[1-9]\d{6,14}")


class Refusal(Exception):
    """A request the API answers with an error: ``status`` and the members of its body."""

    def __init__(self, status: int, message: str | list[str], error: str | None = None, **more: Any) -> None:
        super().__init__(status, message)
        self.status = status
        self.body: dict[str, Any] = {"statusCode": status, "message": message}
        if error is not None:
            self.body["error"] = error
        self.body |= more


def bad_request(message: str, **more: Any) -> Refusal:
    """400, for business rules; also "not found" on invoices: docs/api-facts.md#api-not-found."""
    return Refusal(400, message, "Bad Request", **more)


def not_found(message: str) -> Refusal:
    """404."""
    return Refusal(404, message, "Not Found")


def unauthorised(message: str) -> Refusal:
    """401, which means many things here: docs/api-facts.md#api-401."""
    return Refusal(401, message, "Unauthorized")


def unprocessable(messages: list[str]) -> Refusal:
    """422 with every violation."""
    return Refusal(422, messages, "Unprocessable Entity")


Rule = Callable[[Any, str], str | None]


def text(value: Any, name: str) -> str | None:
    return None if isinstance(value, str) else f"{name} must be a string"


def filled(value: Any, name: str) -> str | None:
    if not isinstance(value, str):
        return f"{name} must be a string"
    return None if value else f"{name} should not be empty"


def number(value: Any, name: str) -> str | None:
    plain = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return None if plain else f"{name} must be a number conforming to the specified constraints"


def amount(value: Any, name: str) -> str | None:
    return number(value, name) or (None if value >= 0 else f"{name} must not be less than 0")


def truth(value: Any, name: str) -> str | None:
    return None if isinstance(value, bool) else f"{name} must be a boolean value"


def mapping(value: Any, name: str) -> str | None:
    return None if isinstance(value, dict) else f"{name} must be an object"


def sequence(value: Any, name: str) -> str | None:
    return None if isinstance(value, list) else f"{name} must be an array"


def day(value: Any, name: str) -> str | None:
    good = isinstance(value, str) and _DAY.fullmatch(value)
    return None if good else f"{name} must be in YYYY-MM-DD format"


def currency(value: Any, name: str) -> str | None:
    good = isinstance(value, str) and value in CURRENCIES
    return None if good else f"{name} must be a valid ISO4217 currency code"


def one_of(*values: str) -> Rule:
    """A closed list of values."""

    def rule(value: Any, name: str) -> str | None:
        return None if value in values else f"{name} must be one of the following values: {', '.join(values)}"

    return rule


SEND_ACTION: Final = one_of("sms_and_email", "send_manually", "email", "sms")
_DISCOUNT_TYPE: Final = one_of("percentage", "fixed")


def violations(
    body: dict[str, Any], required: dict[str, Rule], optional: dict[str, Rule], at: str = ""
) -> list[str]:
    """Every violation of a body, in the words of the API's validator."""
    found = []
    for name, rule in required.items():
        if name not in body or body[name] is None:
            found.append(rule(None, at + name) or f"{at}{name} should not be null or undefined")
        elif problem := rule(body[name], at + name):
            found.append(problem)
    for name, rule in optional.items():
        if body.get(name) is not None and (problem := rule(body[name], at + name)):
            found.append(problem)
    return found


def line_violations(lines: Any, at: str) -> list[str]:
    """Violations of line items."""
    if not isinstance(lines, list):
        return []
    found = []
    for index, line in enumerate(lines):
        place = f"{at}.{index}."
        if not isinstance(line, dict):
            found.append(f"{at}.{index} must be an object")
            continue
        needed: dict[str, Rule] = {"name": filled, "currency": currency, "amount": number, "qty": amount}
        found += violations(
            line, needed, {"taxes": sequence, "taxInclusive": truth, "description": text}, place
        )
        taxes = line.get("taxes")
        for position, tax in enumerate(taxes if isinstance(taxes, list) else ()):
            at_tax = f"{place}taxes.{position}"
            inner: dict[str, Rule] = {"name": filled, "rate": number}
            problem = mapping(tax, at_tax)
            found += [problem] if problem else violations(tax, inner, {}, f"{at_tax}.")
    return found


def contact_violations(contact: Any, at: str = "contactDetails.") -> list[str]:
    """The contact needs id, name, an E.164 phone number and an e-mail, which may be empty."""
    if not isinstance(contact, dict):
        return []
    found = violations(contact, {"id": filled, "name": text, "phoneNo": text, "email": text}, {}, at)
    phone = contact.get("phoneNo")
    if isinstance(phone, str) and phone and not _PHONE.fullmatch(phone):
        found.append(f"{at}phoneNo must be a valid phone number")
    return found


def discount_violations(discount: Any) -> list[str]:
    """``{"value", "type"}``."""
    if not isinstance(discount, dict):
        return []
    return violations(discount, {}, {"value": amount, "type": _DISCOUNT_TYPE}, "discount.")


# whatever else a body holds, these are objects wherever they stand
_OBJECTS: Final[dict[str, Rule]] = dict.fromkeys(
    ("businessDetails", "contactDetails", "discount", "frequencySettings", "meta", "sentTo"), mapping
)


def check_document(
    body: dict[str, Any], required: dict[str, Rule], optional: dict[str, Rule], lines: str | None
) -> None:
    """Raise 422 with every violation of a document body."""
    found = violations(body, required, {**_OBJECTS, **optional})
    if lines is not None:
        found += line_violations(body.get(lines), lines)
    found += contact_violations(body.get("contactDetails"))
    found += discount_violations(body.get("discount"))
    if found:
        raise unprocessable(found)


ESTIMATE: Final[dict[str, Rule]] = {
    "name": filled,
    "businessDetails": mapping,
    "currency": currency,
    "items": sequence,
    "discount": mapping,
    "contactDetails": mapping,
    "frequencySettings": mapping,
    # optional in the specification, required at run time: docs/api-facts.md#api-required-fields
    "expiryDate": day,
}
ESTIMATE_OPTIONAL: Final[dict[str, Rule]] = {
    "issueDate": day,
    "liveMode": truth,
    "title": text,
    "termsNotes": text,
    "estimateNumber": number,
    "meta": mapping,
    "automaticTaxesEnabled": truth,
    "attachments": sequence,
    "estimateStatus": one_of("all", "draft", "sent", "accepted", "declined", "invoiced", "viewed"),
}
ESTIMATE_TEMPLATE: Final[dict[str, Rule]] = {
    "name": filled,
    "businessDetails": mapping,
    "currency": currency,
    "items": sequence,
    "discount": mapping,
}
INVOICE: Final[dict[str, Rule]] = {
    "name": filled,
    "businessDetails": mapping,
    "currency": currency,
    "items": sequence,
    "discount": mapping,
    "contactDetails": mapping,
    "issueDate": day,
    "sentTo": mapping,
    "liveMode": truth,
}
INVOICE_UPDATE: Final[dict[str, Rule]] = {
    "name": filled,
    "currency": currency,
    "invoiceItems": sequence,
    "issueDate": day,
    "dueDate": day,
    # required at run time: docs/api-facts.md#api-round-trip
    "discount": mapping,
}
INVOICE_OPTIONAL: Final[dict[str, Rule]] = {
    "dueDate": day,
    "invoiceNumber": text,
    "title": text,
    "termsNotes": text,
    "automaticTaxesEnabled": truth,
    "contactDetails": mapping,
    "attachments": sequence,
}
INVOICE_TEMPLATE: Final[dict[str, Rule]] = {
    "name": filled,
    "businessDetails": mapping,
    "currency": currency,
    "items": sequence,
}
SCHEDULE: Final[dict[str, Rule]] = {
    "name": filled,
    "contactDetails": mapping,
    "schedule": mapping,
    "liveMode": truth,
    "businessDetails": mapping,
    "currency": currency,
    "items": sequence,
    "discount": mapping,
}
SEND: Final[dict[str, Rule]] = {"action": SEND_ACTION, "liveMode": truth, "userId": filled}
PAYMENT: Final[dict[str, Rule]] = {"mode": one_of("cash", "card", "cheque", "bank_transfer", "other")}
TEXT2PAY: Final[dict[str, Rule]] = {
    "name": filled,
    "currency": currency,
    "items": sequence,
    "contactDetails": mapping,
    "issueDate": day,
    "sentTo": mapping,
    "liveMode": truth,
    "action": one_of("draft", "send"),
    "userId": filled,
}
