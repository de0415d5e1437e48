"""Internal. Places of unusable values, so that a reject names row and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from hl_async.bulk.sources.money_columns import is_money_column
from hl_async.errors import InvalidRequest

_VALUE: Final = re.compile(
    r"(?:a spreadsheet has shortened the number )?('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(-?[0-9][0-9.]*) is (?:negative|not )"
)
_TOTALS: Final = re.compile(r"the source says (-?[0-9.]+) [A-Z]{3}, the lines give (-?[0-9.]+) [A-Z]{3}")
_LINE: Final = re.compile(r"line ([0-9]+) (.+)")
# error texts show so much of a value
_LONGEST: Final = 40
_LEAST: Final = 2
_MOST: Final = 3


def at_cell(number: int, columns: Sequence[str], problem: str) -> str:
    """Return a problem with its place, such as ``line 13, column 'Qty': …``."""
    word = "column" if len(columns) == 1 else "columns"
    return f"line {number}, {word} {' and '.join(map(repr, columns))}: {problem}"


def line_of(field: str) -> tuple[int, str] | None:
    """Return (index, key) of a field like ``line 2 qty``; None for a document's fact."""
    found = _LINE.fullmatch(field)
    return (int(found.group(1)) - 1, found.group(2)) if found else None


def in_rows(error: InvalidRequest, header: Sequence[str], rows: Iterable[tuple[int, Sequence[Any]]]) -> str:
    """Name the columns that hold the value of which an error speaks, and the row.

    Args:
        error: The error.
        header: Names of the columns.
        rows: Numbers and cells of the document's rows.
    """
    shown = _shown(error.problem)
    if shown is None:
        return with_difference(error, named_cells(header, (row for _, row in rows)))
    found: dict[int, list[str]] = {}
    places: list[int] = []
    for number, cells in rows:
        places.append(number)
        names = [one for one, cell in zip(header, cells, strict=False) if _holds(cell, shown)]
        if names:
            found[number] = names
    if not found:
        return str(error)
    line = line_of(error.field)
    number = places[line[0]] if line is not None and line[0] < len(places) else -1
    if number not in found:
        number = min(found)
    # a value that stands everywhere says nothing about its column
    return str(error) if len(found[number]) > _MOST else at_cell(number, found[number], error.problem)


def in_record(error: InvalidRequest, place: str, record: Any) -> str:
    """Name the one key of a JSON record that holds the value of an error."""
    shown = _shown(error.problem)
    if shown is None:
        return str(error)
    found = [path for path, leaf in _leaves(record, "") if _holds(leaf, shown)]
    return f"{place}, key {found[0]!r}: {error.problem}" if len(found) == 1 else str(error)


def with_difference(error: InvalidRequest, cells: Iterable[tuple[str, str]]) -> str:
    """Add the columns that hold the difference of two totals to an error's text.

    Args:
        error: The error.
        cells: Names of columns or keys, and their texts.
    """
    found = _TOTALS.fullmatch(error.problem)
    if found is None:
        return str(error)
    stated, ours = Decimal(found.group(1)), Decimal(found.group(2))
    off = abs(stated - ours)
    # the difference is mostly in a column that the mapping does not use
    names = dict.fromkeys(name for name, text in cells if is_money_column(name) and off in _readings(text))
    shown = " and ".join(map(repr, names)) if 0 < len(names) <= _MOST else ""
    return f"{error}; the difference, {off}, stands in {shown}" if shown else str(error)


def named_cells(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name of the column and the text of every cell."""
    for row in rows:
        for name, cell in zip(header, row, strict=False):
            if cell is not None:
                yield name, str(cell)


def _readings(text: str) -> set[Decimal]:
    """Return the amounts that a cell may mean, with point or comma as decimal sign."""
    digits = re.sub(r"[^0-9.,]", "", text)
    texts = (digits.replace(",", ""), digits.replace(".", "").replace(",", "."))
    return {Decimal(one) for one in texts if re.fullmatch(r"[0-9]{1,15}(?:\.[0-9]{1,10})?", one)}


def _shown(problem: str) -> str | None:
    """Return the value in an error's text, as it is written there."""
    found = _VALUE.match(problem)
    # an empty value stands in too many cells
    if found is None or len(found.group()) < _LEAST:
        return None
    return found.group(1) or found.group(2)


def _holds(cell: Any, shown: str) -> bool:
    if cell is None:
        return False
    plain = str(cell).strip()
    # amounts print without the zeros that the cell has
    if not plain:
        return False
    if shown[0] in "'\"":
        return shown in (repr(plain[:_LONGEST]), repr(plain))
    # amounts print without the zeros, the groups and the currency that the cell has
    bare = re.sub(r"[^0-9.-]", "", plain)
    return shown in (plain, plain.rstrip("0").rstrip("."), bare)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(one, f"{path}[{index}]")
    elif value is not None:
        yield path, str(value)
