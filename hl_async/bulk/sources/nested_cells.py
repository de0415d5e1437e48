"""Internal. Small tables inside one cell.

Rows are parted by ``;`` and fields by ``,``. The first row names the fields. A quoted field can hold another such
table. The cell becomes JSON, which a query opens with ``::JSON``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

import msgspec

from hl_async.errors import InvalidRequest

_TOKEN: Final = re.compile(r'"(?:[^"]|"")*"|[^",;]+|[,;]')
_encode: Final = msgspec.json.Encoder().encode


def cell_as_json(column: str, text: str, nested: Collection[str]) -> str:
    """Return a cell with a table as a JSON array of objects.

    Args:
        column: What the error names.
        text: The cell.
        nested: Names of fields that hold tables of their own.

    Raises:
        InvalidRequest: A row has another number of fields than the first one.
    """
    return _encode(_table(column, text, nested)).decode() if text.strip() else ""


def _table(column: str, text: str, nested: Collection[str]) -> list[dict[str, Any]]:
    # the first row names the fields, as in a file
    header, *rows = _rows(column, text)
    found = []
    for number, row in enumerate(rows, 1):
        # exporters end the last row with its separator, or do not
        if row == [""]:
            continue  # the last row may end with its separator
        if len(row) != len(header):
            raise InvalidRequest(
                column,
                f"row {number} of the table in this cell has {len(row)} fields, its first row {len(header)}",
            )
        record: dict[str, Any] = {}
        for name, value in zip(header, row, strict=True):
            record[name] = _table(name, value, nested) if name in nested and value else value
        found.append(record)
    return found


def _rows(column: str, text: str) -> list[list[str]]:
    rows: list[list[str]] = [[""]]
    end = 0
    for token in _TOKEN.finditer(text):
        # a gap between two tokens is a quote without its partner
        if token.start() != end:
            break
        end = token.end()
        part = token.group()
        if part == ";":
            rows.append([""])
        elif part == ",":
            rows[-1].append("")
        elif part[0] == '"':
            rows[-1][-1] += part[1:-1].replace('""', '"')
        else:
            rows[-1][-1] += part
    if end != len(text):
        raise InvalidRequest(column, "a quote in the table in this cell is never closed")
    return rows
