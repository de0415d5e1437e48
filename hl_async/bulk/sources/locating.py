"""Internal. Where in a source a value stands that cannot be used, so that a reject names row and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from hl_async.errors import InvalidRequest

_VALUE: Final = re.compile(r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(-?[0-9][0-9.]*) is (?:negative|not )")
_LINE: Final = re.compile(r"line ([0-9]+) (.+)")
# error texts show so much of a value
_LONGEST: Final = 40
_LEAST: Final = 2


def at_cell(number: int, columns: Sequence[str], problem: str) -> str:
    """``line 13, column 'Qty': …``."""
    word = "column" if len(columns) == 1 else "columns"
    return f"line {number}, {word} {' and '.join(map(repr, columns))}: {problem}"


def line_of(field: str) -> tuple[int, str] | None:
    """(index of the line, key) of a field such as ``line 2 qty``; None for a fact of the document."""
    found = _LINE.fullmatch(field)
    return (int(found.group(1)) - 1, found.group(2)) if found else None


def in_rows(error: InvalidRequest, header: Sequence[str], rows: Iterable[tuple[int, Sequence[Any]]]) -> str:
    """Name the one column that holds the value of which an error speaks, and the first row of it.

    Args:
        error: The error.
        header: Names of the columns.
        rows: Numbers and cells of the document's rows.
    """
    shown = _shown(error.problem)
    if shown is None:
        return str(error)
    found: dict[str, int] = {}
    for number, cells in rows:
        for name, cell in zip(header, cells, strict=False):
            if cell is not None and _is_shown(str(cell), shown):
                found.setdefault(name, number)
    # a value that stands in several columns would put the blame on the wrong one
    if len(found) != 1:
        return str(error)
    (name, number), *_ = found.items()
    return at_cell(number, [name], error.problem)


def in_record(error: InvalidRequest, place: str, record: Any) -> str:
    """Name the one key of a JSON record that holds the value of which an error speaks."""
    shown = _shown(error.problem)
    if shown is None:
        return str(error)
    found = [path for path, leaf in _leaves(record, "") if _is_shown(leaf, shown)]
    return f"{place}, key {found[0]!r}: {error.problem}" if len(found) == 1 else str(error)


def _shown(problem: str) -> str | None:
    """Return the value in an error's text, as it is written there."""
    found = _VALUE.match(problem)
    # an empty value stands in too many cells
    if found is None or len(found.group()) < _LEAST:
        return None
    return found.group(1) or found.group(2)


def _is_shown(text: str, shown: str) -> bool:
    plain = text.strip()
    # amounts print without the zeros that the cell has
    return bool(plain) and shown in (
        repr(plain[:_LONGEST]),
        repr(plain),
        plain,
        plain.rstrip("0").rstrip("."),
    )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(one, f"{path}[{index}]")
    elif value is not None:
        yield path, str(value)
