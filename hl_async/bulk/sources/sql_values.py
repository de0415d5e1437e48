"""Values of a query's rows: text, exact numbers, ids and truth values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hl_async.bulk.sources.numbers import DAMAGED
from hl_async.bulk.sources.tables import cell_problem
from hl_async.errors import InvalidRequest


def text_of(at: str, value: Any) -> str:
    """Return a value as text; refuse errors of a spreadsheet and floating-point numbers."""
    if value is None:
        return ""
    if isinstance(value, str):
        if value[:1] in ("#", "=") and (problem := cell_problem(value)):
            raise InvalidRequest(at, f"holds {problem}")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        exact_of(at, value)
    return str(value)


def exact_of(at: str, value: Any) -> Decimal:
    """Return a number as Decimal; refuse floating-point numbers."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float):
        raise InvalidRequest(
            at, f"{value!r} is a floating-point number; cast the column to VARCHAR or DECIMAL"
        )
    raise InvalidRequest(at, f"{value!r} is not a number")


def id_of(at: str, value: str) -> str:
    """Return an id; refuse one that a spreadsheet has shortened."""
    if DAMAGED.fullmatch(value):
        raise InvalidRequest(
            at, f"a spreadsheet has shortened the number {value!r}; export the file again and do not open it"
        )
    return value


def flag_of(at: str, value: Any) -> bool:
    """Return a truth value."""
    if isinstance(value, bool):
        return value
    found = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}.get(
        str(value).lower()
    )
    if found is None:
        raise InvalidRequest(at, f"{value!r} is not true or false")
    return found


def one_of(at: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Return a value that is one of a few."""
    if value not in allowed:
        raise InvalidRequest(at, f"{value!r} is not {' or '.join(allowed)}")
    return value
