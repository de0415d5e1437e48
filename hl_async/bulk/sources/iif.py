"""Internal. QuickBooks Desktop's IIF: one file with a table per type of record.

IIF is its interchange format. A line that begins with ``!`` declares the columns of a type. ``TRNS`` begins a
document, ``SPL`` is a line of it and ``ENDTRNS`` ends it. Each type becomes a table, where ``_document`` is the
number of the line that begins the document.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.staging import StagedTable, column_names
from hl_async.bulk.sources.tables import TableRow, table_rows
from hl_async.errors import SourceError

IIF: Final = ".iif"
DOCUMENT: Final = "_document"
_BEGIN, _LINE, _END = "TRNS", "SPL", "ENDTRNS"


def iif_columns(path: Path, settings: SourceSettings) -> dict[str, list[str]]:
    """Return the columns of each type of record, by the type in lower case."""
    found: dict[str, list[str]] = {}
    for row in table_rows(path, settings, "\t"):
        kind = row.cells[0].strip() if row.cells else ""
        if kind.startswith("!"):
            # a file joined from several exports declares a type more than once, with other columns
            known = found.setdefault(kind[1:].lower(), [])
            known += [one for one in _names(row.cells) if one and one not in known]
    return found


def stage_iif(path: Path, folder: Path, settings: SourceSettings) -> list[StagedTable]:
    """Bring each type of record into a form that a database reads without guessing.

    Args:
        path: The file.
        folder: Where the staged copies go.
        settings: How the file is written.

    Raises:
        SourceError: The file is not of this format, or a record is broken.
    """
    columns = iif_columns(path, settings)
    if "trns" not in columns:
        raise SourceError(f"{path} has no line !TRNS: it is not an IIF file with transactions")
    tables = [
        StagedTable(
            kind, path, folder / f"iif_{number}.staged", columns=column_names([DOCUMENT, *names]), spoilt={}
        )
        for number, (kind, names) in enumerate(columns.items())
        if names
    ]
    files = {table.name: table.staged.open("w", encoding="utf-8", newline="") for table in tables}
    try:
        writers = {name: csv.writer(file).writerow for name, file in files.items()}
        for number, kind, document, record in _records(path, settings):
            if kind in writers:
                writers[kind]([number, document, *(record.get(one, "") for one in columns[kind])])
    finally:
        for file in files.values():
            file.close()
    return tables


def _records(path: Path, settings: SourceSettings) -> Iterator[tuple[int, str, int, dict[str, str]]]:
    """Yield (line, type, line of its document, cells by column)."""
    declared: dict[str, list[str]] = {}
    document = 0
    for row in table_rows(path, settings, "\t"):
        kind = row.cells[0].strip() if row.cells else ""
        if not kind:
            continue
        if kind.startswith("!"):
            declared[kind[1:]] = _names(row.cells)
            continue
        if kind == _END:
            # the next SPL needs a TRNS of its own
            document = 0
            continue
        # the format has no keys: a broken line cannot be put down to one document, so the file is refused
        if problem := row.problem or _problem(row, kind, declared, document):
            raise SourceError(f"{path}: {problem}", line=row.number)
        if kind == _BEGIN:
            document = row.number
        pairs = zip(declared[kind], row.cells[1:], strict=False)
        yield row.number, kind.lower(), document, {name: cell for name, cell in pairs if name}
    # a truncated file ends inside a document, whose lines would be missing
    if document:
        raise SourceError(
            f"{path} ends inside the document that begins in line {document}: ENDTRNS is missing"
        )


def _problem(row: TableRow, kind: str, declared: dict[str, list[str]], document: int) -> str:
    """Return the problem that would make a document from a part of its lines."""
    if kind not in declared:
        return f"line {row.number}: no line !{kind} above it declares the columns of {kind}"
    if len(row.cells) - 1 > len(declared[kind]) and any(
        cell.strip() for cell in row.cells[len(declared[kind]) + 1 :]
    ):
        return (
            f"line {row.number} has {len(row.cells) - 1} fields where !{kind} declares {len(declared[kind])}"
        )
    if kind == _LINE and not document:
        return f"line {row.number}: SPL belongs to no TRNS"
    if kind == _BEGIN and document:
        return f"line {row.number}: the document that begins in line {document} has no ENDTRNS"
    return ""


def _names(cells: list[str]) -> list[str]:
    # programs that write IIF disagree about capitals
    return [one.strip().upper() for one in cells[1:]]
