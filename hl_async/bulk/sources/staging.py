"""Internal. Files as tables of a database.

Every cell is text. So is every number of JSON, as it stands in the file.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from hl_async.bulk.sources.nested_cells import cell_as_json
from hl_async.bulk.sources.rejects import MAX_FIELD
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.tables import (
    WORKBOOKS,
    TableRow,
    fitted,
    is_note,
    renamed,
    repeats_header,
    table_rows,
    table_start,
)
from hl_async.errors import InvalidRequest, SourceError

JSON: Final = (".json", ".ndjson", ".jsonl")
LINE: Final = "_line"
RECORD: Final = "record"


class StagedTable(msgspec.Struct):
    """One file, as a table is made from it.

    Attributes:
        name: Name of the table.
        source: The file.
        staged: What the database reads.
        columns: Names of the columns; none of JSON and Parquet.
        rejected: Records that could not be read: (number, text, reason).
        spoilt: Keys of documents with a broken row, and the reason.
    """

    name: str
    source: Path
    staged: Path
    columns: list[str] = []
    rejected: list[tuple[int, bytes, str]] = []
    spoilt: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """csv, json or parquet."""
        return "csv" if self.columns else "parquet" if self.staged == self.source else "json"


def table_name(path: Path) -> str:
    """Return a file's table name: ``Quotes 2024.csv`` is ``quotes_2024``."""
    # a corrected reject file goes into the same query as its source
    name = re.sub(r"\W+", "_", path.stem.removesuffix(".rejects")).strip("_").lower() or "source"
    return name if name[0].isalpha() else f"t_{name}"


def stage(
    path: Path,
    name: str,
    folder: Path,
    settings: SourceSettings,
    *,
    wanted: Iterable[str] = (),
    key: str = "",
    records: Sequence[str] = (),
    nested: Sequence[str] = (),
    renames: Mapping[str, str] | None = None,
) -> StagedTable:
    """Bring a file into a form that a database reads without guessing.

    Args:
        path: The file.
        name: Name of its table.
        folder: Where the staged copy goes.
        settings: How the file is written.
        wanted: Columns by which its header is found below title rows.
        key: Column that names a row's document; a broken row then spoils that document alone.
        records: Where records stand inside JSON, such as ``data`` or ``QueryResponse.Estimate``.
        nested: Columns, and fields inside them, that hold a small table in one cell.
        renames: Columns by other names, in lower case.

    Raises:
        SourceError: The file cannot be read.
    """
    # the database would report a missing file by the name of our copy
    if not path.is_file():
        raise SourceError(f"{path}: No such file or directory")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return StagedTable(name, path, path)
    # the database reads a copy that our own strict reader wrote, so that both agree about quotes and line ends
    staged = folder / f"{name}.staged"
    if suffix in JSON:
        table = StagedTable(name, path, staged, rejected=[])
        _stage_records(table, records)
        return table
    renames = renames or {}
    start = table_start(
        path, settings, wanted, search=bool(wanted) or not settings.header_row, renames=renames
    )
    # the file may have both names of a column, and then means both
    header = [one if one in wanted else renamed(one, renames, start.header) for one in start.header]
    if missing := [one for one in wanted if one not in header]:
        raise SourceError(
            f"{path} lacks the columns {', '.join(missing)}; line {start.row} has {', '.join(start.header)[:200]}"
        )
    table = StagedTable(name, path, staged, columns=column_names(header), spoilt={})
    rows: Iterator[TableRow] = (
        row for row in table_rows(path, settings, start.delimiter) if row.number > start.row
    )
    # a column may lack a name
    index = header.index(key) if key and key in header else -1
    if nested:
        rows = _opened_cells(rows, header, nested)
    _stage_rows(table, rows, start.header, index, pad=path.suffix.lower() in WORKBOOKS)
    return table


def column_names(header: Sequence[str]) -> list[str]:
    """Return names that are unique in a database, which does not tell capitals apart."""
    seen: set[str] = {LINE}
    found = []
    for number, name in enumerate(header, 1):
        unique = name or f"column{number}"
        # DuckDB does not distinguish capitals in names
        while unique.lower() in seen:
            unique += "_"
        seen.add(unique.lower())
        found.append(unique)
    return found


def _opened_cells(
    rows: Iterable[TableRow], header: Sequence[str], nested: Sequence[str]
) -> Iterator[TableRow]:
    """Turn tables inside cells into JSON; one that is broken makes its row unusable."""
    columns = [(index, name) for index, name in enumerate(header) if name in nested]
    for row in rows:
        cells, problem = list(row.cells), row.problem
        for index, name in columns:
            if index < len(cells) and cells[index]:
                try:
                    cells[index] = cell_as_json(name, cells[index], nested)
                except InvalidRequest as error:
                    problem = problem or f"line {row.number}, column {name!r}: {error.problem}"
        yield row._replace(cells=cells, problem=problem)


def _stage_rows(
    table: StagedTable, rows: Iterable[TableRow], header: Sequence[str], key: int, *, pad: bool
) -> None:
    width = len(header)
    above = ""
    notes: list[tuple[TableRow, str]] = []
    with table.staged.open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file).writerow
        for row in rows:
            number, cells, problem = row
            if repeats_header(cells, header):
                continue
            if len(cells) != width or problem:
                if not any(cell.strip() for cell in cells):
                    continue
                is_alone = not problem and is_note(cells, width)
                if is_alone:
                    notes.append((fitted(row, header, pad=False), above))
                number, cells, problem = fitted(row, header, pad=pad or is_alone)
            if problem:
                _spoil(table, TableRow(number, cells, problem), key, above)
                continue
            if key >= 0:
                above = cells[key].strip() or above
            write([number, *cells])
    if notes and not pad:
        for row, before in _cut_rows(table, notes):
            _spoil(table, row, key, before)


def _spoil(table: StagedTable, row: TableRow, key: int, above: str) -> None:
    """Reject the documents that a broken row may belong to; without a key, the file."""
    if key < 0:
        what = "correct the line, or name the column of the documents in the query: -- key: COLUMN"
        raise SourceError(f"{table.source}: {row.problem}; {what}", line=row.number)
    own = row.cells[key].strip() if key < len(row.cells) else ""
    # the broken row may belong to the document above, whose lines would then be incomplete
    for spoilt in {own, above} - {""}:
        table.spoilt.setdefault(spoilt, row.problem)


def _cut_rows(table: StagedTable, notes: Sequence[tuple[TableRow, str]]) -> Iterator[tuple[TableRow, str]]:
    """Yield notes that may be cut rows: others begin alike, or the file ends there."""
    texts = {row.cells[0].strip() for row, _ in notes}
    numbers = {str(row.number) for row, _ in notes}
    known: set[str] = set()
    last = ""
    with table.staged.open(encoding="utf-8", newline="") as file:
        for cells in csv.reader(file):
            last = cells[0]
            if last not in numbers and cells[1].strip() in texts:
                known.add(cells[1].strip())
    for row, above in notes:
        is_end = str(row.number) == last and not _ends_with_a_line(table.source)
        if is_end or row.cells[0].strip() in known:
            yield row, above


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        # two bytes, because UTF-16 puts a zero on either side of the line end
        file.seek(max(0, path.stat().st_size - 2))
        return b"\n" in file.read()


# ------------------------------------------------------------------------------------------------ JSON


def _no_constant(text: str) -> NoReturn:
    problem = f"{text} is not a number of JSON"
    raise ValueError(problem)


# the standard library's scanner hands over the text of every number, without a way through a double
_loads: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant).decode
_dumps: Final = msgspec.json.Encoder().encode


def _stage_records(table: StagedTable, records: Sequence[str]) -> None:
    with table.staged.open("wb") as file:
        for number, text, value in json_values(table.source):
            if isinstance(value, str) and value.startswith("\x00"):
                table.rejected.append((number, text, value[1:]))
                continue
            for record in unwrapped(value, records):
                file.write(_dumps(record) + b"\n")


def json_values(path: Path) -> Iterator[tuple[int, bytes, Any]]:
    """Yield (number, text, value) of a JSON file, or of each line of NDJSON.

    Numbers inside a value come as text. The value of a broken line is NUL and the reason.
    """
    try:
        if path.suffix.lower() == ".json":
            text = path.read_bytes().decode("utf-8-sig")
            try:
                value = _loads(text)
            except ValueError:
                # some exporters write one object per line into a file called .json
                if "\n" not in text.strip() or text.lstrip()[:1] == "[":
                    raise
            else:
                yield from (
                    (n, b"", one) for n, one in enumerate(value if isinstance(value, list) else [value], 1)
                )
                return
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_FIELD + 1), b""), 1):
                line = line.strip().removeprefix(b"\xef\xbb\xbf")
                if line:
                    yield number, line, _line_value(line, number)
        return
    except OSError as error:
        problem = str(error.strerror)
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON: {error}"
    raise SourceError(f"{path}: {problem}")


def json_value(text: bytes) -> Any:
    """Return a JSON value with its numbers as text; None if it is broken."""
    try:
        return _loads(text.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None


def _line_value(line: bytes, number: int) -> Any:
    try:
        return _loads(line.decode())
    except (ValueError, RecursionError) as error:
        return f"\x00line {number} is not JSON: {error}"


def unwrapped(value: Any, records: Sequence[str]) -> Iterator[Any]:
    """Yield the records in a value: those of an array, or at one of ``records``."""
    if isinstance(value, list):
        for one in value:
            yield from unwrapped(one, records)
        return
    for path in records:
        found = value
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(found, list):
            yield from found
            return
        if isinstance(found, dict):
            yield found
            return
    yield value
