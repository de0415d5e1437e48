"""Internal. Checks of JSON values, with the messages of the API's validator.

A check takes a value, its name and the rules in force. It returns the messages of all violations.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from hl_async.sandbox.arithmetic import ISO_4217

_DAY: Final = re.compile(r"[1-9]\d{3}-\d\d-\d\d")
_PHONE: Final = re.compile(r"\+[1-9]\d{6,14}")
_DIGITS: Final = 40


class Strictness(NamedTuple):
    """The rules in force: `is_on` by name, and whether undeclared keys are refused."""

    is_on: Callable[[str], bool]
    refuse_unknown: bool = False


Check = Callable[[Any, str, Strictness], list[str]]


def anything(value: Any, name: str, strict: Strictness) -> list[str]:
    return []


def text(value: Any, name: str, strict: Strictness) -> list[str]:
    return [] if isinstance(value, str) else [f"{name} must be a string"]


def filled(value: Any, name: str, strict: Strictness) -> list[str]:
    if not isinstance(value, str):
        return [f"{name} must be a string"]
    return [] if value else [f"{name} should not be empty"]


def number(value: Any, name: str, strict: Strictness) -> list[str]:
    # bool is a subclass of int, but true is not a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not _is_modest(value):
        return [f"{name} must be a number conforming to the specified constraints"]
    return []


def _is_modest(value: float | Decimal) -> bool:
    # 1e999999 is eight bytes of JSON, and would take minutes of exact arithmetic.
    if isinstance(value, int):
        return bool(abs(value) < 10**_DIGITS)
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return (
        exact.is_finite() and abs(exact.adjusted()) < _DIGITS and len(exact.as_tuple().digits) <= 2 * _DIGITS
    )


def amount(value: Any, name: str, strict: Strictness) -> list[str]:
    found = number(value, name, strict)
    return found or ([] if value >= 0 else [f"{name} must not be less than 0"])


def truth(value: Any, name: str, strict: Strictness) -> list[str]:
    return [] if isinstance(value, bool) else [f"{name} must be a boolean value"]


def mapping(value: Any, name: str, strict: Strictness) -> list[str]:
    return [] if isinstance(value, dict) else [f"{name} must be an object"]


def sequence(value: Any, name: str, strict: Strictness) -> list[str]:
    return [] if isinstance(value, list) else [f"{name} must be an array"]


def day(value: Any, name: str, strict: Strictness) -> list[str]:
    return [] if is_day(value) else [f"{name} must be in YYYY-MM-DD format"]


def is_day(value: Any) -> bool:
    """Return whether a value is a day of the calendar, written as `YYYY-MM-DD`."""
    # In zones west of Greenwich, the last day of the year 9999 ends in the year 10000 of UTC.
    if not isinstance(value, str) or not _DAY.fullmatch(value) or value[:4] == "9999":
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def currency(value: Any, name: str, strict: Strictness) -> list[str]:
    good = isinstance(value, str) and value in ISO_4217
    return [] if good else [f"{name} must be a valid ISO4217 currency code"]


def phone(value: Any, name: str, strict: Strictness) -> list[str]:
    """Return a violation unless the value is an E.164 number or an empty text."""
    if not isinstance(value, str):
        return [f"{name} must be a string"]
    # Clients send an empty text for a missing number: docs/api-facts.md#api-contact
    good = not value or not strict.is_on("phone_e164") or _PHONE.fullmatch(value)
    return [] if good else [f"{name} must be a valid phone number"]


def one_of(*values: str) -> Check:
    """Return a check that accepts these values only."""

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        good = isinstance(value, str) and value in values
        return [] if good else [f"{name} must be one of the following values: {', '.join(values)}"]

    return check


def enum(*values: str) -> Check:
    """Return a check that accepts these values only, and whose message lists none."""

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        good = isinstance(value, str) and value in values
        return [] if good else [f"{name} must be a valid enum value"]

    return check


def at_most(limit: int, rule: str, then: Check) -> Check:
    """Return a check for text that limits its length while a rule is in force.

    Args:
        limit: The largest number of characters.
        rule: The name of the rule.
        then: The check of the text itself.
    """

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        found = then(value, name, strict)
        if not found and isinstance(value, str) and len(value) > limit and strict.is_on(rule):
            found = [f"{name} must be shorter than or equal to {limit} characters"]
        return found

    return check


def each(entry: Check, *, limit: int | None = None, rule: str = "") -> Check:
    """Return a check for a list whose entries pass a check.

    Args:
        entry: The check of an entry.
        limit: The largest number of entries.
        rule: The name of the rule that limits the number.
    """

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        if not isinstance(value, list):
            return [f"{name} must be an array"]
        if limit is not None and len(value) > limit and strict.is_on(rule):
            return [f"{name} must contain no more than {limit} elements"]
        return [
            problem for index, one in enumerate(value) for problem in entry(one, f"{name}.{index}", strict)
        ]

    return check


def either(*checks: Check) -> Check:
    """Return a check that passes if one of several checks does."""

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        found = [one(value, name, strict) for one in checks]
        # The first check is that of the declared form, so its messages are returned.
        return [] if any(not problems for problems in found) else found[0]

    return check


def while_on(rule: str, check: Check) -> Check:
    """Return a check that accepts everything unless a rule is in force."""

    def guarded(value: Any, name: str, strict: Strictness) -> list[str]:
        return check(value, name, strict) if strict.is_on(rule) else []

    return guarded


def unless_empty(rule: str, check: Check) -> Check:
    """Return a check that also accepts an empty object unless a rule is in force."""

    def lenient(value: Any, name: str, strict: Strictness) -> list[str]:
        return [] if value == {} and not strict.is_on(rule) else check(value, name, strict)

    return lenient


class Member(NamedTuple):
    """One key of an object.

    A required key with a `rule` is required only while that rule is in force.
    """

    check: Check
    required: bool = False
    rule: str = ""


def need(check: Check, rule: str = "") -> Member:
    """Return a required key; with `rule`, it is required while that rule is in force."""
    return Member(check, required=True, rule=rule)


def may(check: Check) -> Member:
    """Return an optional key. Null counts as missing."""
    return Member(check)


class Shape:
    """The check of an object with declared keys."""

    def __init__(self, **members: Member) -> None:
        self.members = members

    def __call__(self, value: Any, name: str, strict: Strictness) -> list[str]:
        """Return the messages of all violations; the whole body has an empty name."""
        if not isinstance(value, dict):
            return [f"{name} must be an object"]
        at = f"{name}." if name else ""
        found = []
        for key, member in self.members.items():
            inner = value.get(key)
            if inner is not None:
                found += member.check(inner, at + key, strict)
            elif member.required and (not member.rule or strict.is_on(member.rule)):
                # Checking None names the expected type, as the live validator does for a missing key.
                found += member.check(None, at + key, strict) or [
                    f"{at}{key} should not be null or undefined"
                ]
        if strict.refuse_unknown:
            found += [f"{at}property {key} should not exist" for key in value if key not in self.members]
        return found

    def and_also(self, **members: Member) -> Shape:
        """Return a copy with more keys, or with other checks of keys."""
        return Shape(**{**self.members, **members})

    def without(self, *names: str) -> Shape:
        """Return a copy without some keys."""
        return Shape(**{key: member for key, member in self.members.items() if key not in names})
