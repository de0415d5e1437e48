"""Internal. Checks of JSON values, in the words of the API's validator.

A check takes a value, its name and the settings in force, and returns every violation.
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
    """Which rules are in force, and whether undeclared keys are refused."""

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
    # bool is a subclass of int in Python, and true is not a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not _is_modest(value):
        return [f"{name} must be a number conforming to the specified constraints"]
    return []


def _is_modest(value: float | Decimal) -> bool:
    # "1e999999" is eight bytes of JSON, and minutes of exact arithmetic.
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
    """Return whether a value is a day of the calendar, written `YYYY-MM-DD`."""
    # The end of the year 9999 has no instant in zones west of Greenwich.
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
    """Check for an E.164 number, or an empty text."""
    if not isinstance(value, str):
        return [f"{name} must be a string"]
    # An empty text is how clients send a missing number.
    good = not value or not strict.is_on("phone_e164") or _PHONE.fullmatch(value)
    return [] if good else [f"{name} must be a valid phone number"]


def one_of(*values: str) -> Check:
    """Return a check for a closed list of values."""

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        good = isinstance(value, str) and value in values
        return [] if good else [f"{name} must be one of the following values: {', '.join(values)}"]

    return check


def enum(*values: str) -> Check:
    """Return a check for a closed list. Its message does not name the values."""

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        good = isinstance(value, str) and value in values
        return [] if good else [f"{name} must be a valid enum value"]

    return check


def at_most(limit: int, rule: str, then: Check) -> Check:
    """Return a check for text of at most `limit` characters while a rule is in force.

    Args:
        limit: The largest number of characters.
        rule: The rule's name.
        then: The check for the text itself.
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
        rule: The rule that the limit belongs to.
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
    """Return a check that passes if one of several does."""

    def check(value: Any, name: str, strict: Strictness) -> list[str]:
        found = [one(value, name, strict) for one in checks]
        # The first check is the declared form, so its words are the answer.
        return [] if any(not problems for problems in found) else found[0]

    return check


def while_on(rule: str, check: Check) -> Check:
    """Return a check that holds while a rule is in force."""

    def guarded(value: Any, name: str, strict: Strictness) -> list[str]:
        return check(value, name, strict) if strict.is_on(rule) else []

    return guarded


def unless_empty(rule: str, check: Check) -> Check:
    """Return a check that an empty object passes unless a rule is in force."""

    def lenient(value: Any, name: str, strict: Strictness) -> list[str]:
        return [] if value == {} and not strict.is_on(rule) else check(value, name, strict)

    return lenient


class Member(NamedTuple):
    """One key of an object. `rule` names the rule that makes it required."""

    check: Check
    required: bool = False
    rule: str = ""


def need(check: Check, rule: str = "") -> Member:
    """Declare a required key; with `rule`, required while that rule is in force."""
    return Member(check, required=True, rule=rule)


def may(check: Check) -> Member:
    """Declare an optional key. A null counts as missing."""
    return Member(check)


class Shape:
    """An object with declared keys."""

    def __init__(self, **members: Member) -> None:
        self.members = members

    def __call__(self, value: Any, name: str, strict: Strictness) -> list[str]:
        """Return every violation; the object that is the whole body has an empty name."""
        if not isinstance(value, dict):
            return [f"{name} must be an object"]
        at = f"{name}." if name else ""
        found = []
        for key, member in self.members.items():
            inner = value.get(key)
            if inner is not None:
                found += member.check(inner, at + key, strict)
            elif member.required and (not member.rule or strict.is_on(member.rule)):
                # The check of a null names the expected type, as the live validator does.
                found += member.check(None, at + key, strict) or [
                    f"{at}{key} should not be null or undefined"
                ]
        if strict.refuse_unknown:
            found += [f"{at}property {key} should not exist" for key in value if key not in self.members]
        return found

    def and_also(self, **members: Member) -> Shape:
        """Return a shape with further or other keys."""
        return Shape(**{**self.members, **members})

    def without(self, *names: str) -> Shape:
        """Return a shape that lacks some keys."""
        return Shape(**{key: member for key, member in self.members.items() if key not in names})
