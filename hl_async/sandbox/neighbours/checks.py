"""Internal. Checks of bodies and queries, with the messages of the API.

A check returns None, or the message of the violation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from hl_async.sandbox.refusals import unprocessable

Check = Callable[[Any, str], str | None]

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE: Final = re.compile(r"\+[1-9]\d{6,14}")


def text(value: Any, name: str) -> str | None:
    return None if isinstance(value, str) else f"{name} must be a string"


def filled(value: Any, name: str) -> str | None:
    return text(value, name) or (None if value.strip() else f"{name} should not be empty")


def email(value: Any, name: str) -> str | None:
    good = isinstance(value, str) and _EMAIL.fullmatch(value)
    return None if good else f"{name} must be an email"


def phone(value: Any, name: str) -> str | None:
    good = isinstance(value, str) and _PHONE.fullmatch(value)
    return None if good else f"{name} must be a valid phone number"


def country(value: Any, name: str) -> str | None:
    good = isinstance(value, str) and len(value) == 2 and value.isascii() and value.isupper()
    return None if good else f"{name} must be a valid enum value"


def truth(value: Any, name: str) -> str | None:
    return None if isinstance(value, bool) else f"{name} must be a boolean value"


def number(value: Any, name: str) -> str | None:
    plain = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return None if plain else f"{name} must be a number conforming to the specified constraints"


def texts(value: Any, name: str) -> str | None:
    good = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return None if good else f"each value in {name} must be a string"


def mapping(value: Any, name: str) -> str | None:
    return None if isinstance(value, dict) else f"{name} must be an object"


def entries(value: Any, name: str) -> str | None:
    good = isinstance(value, list) and all(isinstance(one, dict) for one in value)
    return None if good else f"{name} must be an array of objects"


def anything(value: Any, name: str) -> str | None:
    return None


def one_of(*values: str) -> Check:
    """Return a check that accepts these values only."""

    def check(value: Any, name: str) -> str | None:
        return None if value in values else f"{name} must be one of the following values: {', '.join(values)}"

    return check


def check_body(
    body: dict[str, Any], needed: dict[str, Check], known: dict[str, Check], *, strict: bool = True
) -> None:
    """Check a body.

    Args:
        body: The body.
        needed: Checks of required keys.
        known: Checks of optional keys; null counts as missing.
        strict: Whether undeclared keys are violations.

    Raises:
        Refusal: A 422 with every violation.
    """
    # All violations at once, as the API's validator does: docs/api-facts.md#api-validation
    found = []
    for name, check in needed.items():
        if problem := check(body.get(name), name):
            found.append(problem)
    for name, check in known.items():
        if body.get(name) is not None and (problem := check(body[name], name)):
            found.append(problem)
    if strict:
        found += [f"property {name} should not exist" for name in body if name not in needed | known]
    if found:
        raise unprocessable(found)


def count(query: dict[str, str], name: str, default: int) -> int:
    """Return a whole number from a query. Raises `Refusal` (422) for other text."""
    given = query.get(name)
    if given is None:
        return default
    # int() would also accept digits of other scripts, and texts of any length.
    if not given.isascii() or not given.isdecimal() or len(given) > 9:
        raise unprocessable([f"{name} must be a number string"])
    return int(given)
