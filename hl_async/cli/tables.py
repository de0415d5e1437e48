"""Internal. Documents of an answer as a table for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import click

from hl_async.cli.app import say

_FIRST: Final = (
    "_id", "id", "estimateNumber", "invoiceNumber", "name", "title", "contactName", "firstName", "lastName", "email",
    "phone", "estimateStatus", "status", "currency", "total", "amount", "amountDue", "amountPaid", "issueDate",
    "dueDate", "expiryDate", "createdAt", "dateAdded",
)  # fmt: skip
"""Fields that say most about a document, in the order of their columns."""

_MOST: Final = 9
_PIPED_WIDTH: Final = 10_000


def columns_of(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields to show: known filled ones, or else the first plain ones."""
    filled: dict[str, None] = {
        name: None for one in documents for name, value in one.items() if is_plain(value) and value != ""
    }
    # The order of an answer's keys is not promised, so the columns have an order of their own.
    known: list[str] = [name for name in _FIRST if name in filled]
    return (known or list(filled))[:_MOST]


def is_plain(value: object) -> bool:
    """Tell whether a value fits into one cell."""
    return isinstance(value, str | int | float | Decimal)


def cell(value: object) -> str:
    """Return a value as the text of a cell; a time is cut after its minutes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return f"{len(value)} fields"
    if isinstance(value, list):
        return f"{len(value)} entries"
    text = str(value)
    is_time = len(text) > 16 and text[4:5] == "-" and text[10:11] == "T"
    return text[:16].replace("T", " ") if is_time else text


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as wide as the terminal, or uncut in a pipe, with numbers right."""
    # Imported here: a command that prints JSON never needs it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kept = [list(row) for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(headers):
        # A column is numeric only if all of its cells are: identifiers may look like numbers.
        is_number = bool(kept) and all(isinstance(row[index], int | float | Decimal | None) for row in kept)
        table.add_column(Text(name), justify="right" if is_number else "left", no_wrap=True)
    for row in kept:
        table.add_row(*(Text(cell(value)) for value in row))
    # rich cuts cells at 80 columns where it finds no terminal, and a program would read cut values.
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    console = Console(width=width)
    # rich pads every line to the table's width; trailing spaces are noise in a pipe.
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_documents(documents: Sequence[Mapping[str, Any]]) -> None:
    """Print a list, one line per document."""
    if not documents:
        say("nothing found")
        return
    headers = columns_of(documents)
    print_table(headers, ([one.get(name) for name in headers] for one in documents))


def print_document(document: Mapping[str, Any]) -> None:
    """Print one document, one line per field."""
    print_table(("field", "value"), ((name, cell(value)) for name, value in document.items()))
