"""Internal. Rows of text tables and workbooks, each cell as the text people see.

A row is (number in the file, cells, problem). The problem makes the row unusable. The reader decides which document
it spoils, because only the reader knows which rows belong together.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

from hl_async.bulk.sources.rejects import MAX_FIELD, REASON
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.workbooks import workbook_rows
from hl_async.errors import SourceError

WORKBOOKS: Final = (".xlsx", ".xlsm")
DELIMITERS: Final = (",", ";", "\t", "|")
# text that is valid UTF-8 is hardly anything else, and cp1252 reads almost every byte
ENCODINGS: Final = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")
"""Tried in this order where a file is only looked at."""
_FORMULA_TEXT: Final = re.compile(r'="([^"]*)"')
_ERROR: Final = re.compile(r"#(?:REF!|N/A|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|SPILL!|CALC!|FORMULA!.*)")
_HEAD: Final = 1 << 16
_TITLES: Final = 20
"""So many lines may stand before the header."""
_LEAST: Final = 3
"""Rows of fewer columns are too short to tell a note from a row that was cut."""
_SEP: Final = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC: Final = (
    (b"PK\x03\x04", "is a workbook or an archive; save it as .xlsx and keep that ending"),
    (b"\xd0\xcf\x11\xe0", "is a workbook of Excel 97-2003; save it as .xlsx"),
    (b"%PDF", "is a PDF; export a table instead"),
    (b"\x1f\x8b", "is compressed; unpack it first"),
)
_FOREIGN: Final = {
    ".xls": "is a workbook of Excel 97-2003; save it as .xlsx",
    ".xlsb": "is a binary workbook; save it as .xlsx",
    ".ods": "is an OpenDocument sheet; save it as .xlsx",
    ".numbers": "is a Numbers document; export it as .xlsx",
}


class TableRow(NamedTuple):
    """One row of a table. ``number`` is that of its last line in the file."""

    number: int
    cells: list[str]
    problem: str = ""


class TableStart(NamedTuple):
    """The start of a table: header with unique names, its row, and the delimiter."""

    header: list[str]
    row: int
    delimiter: str


def table_rows(path: Path, settings: SourceSettings, delimiter: str = "") -> Iterator[TableRow]:
    """Yield all rows of a table, title rows and header included.

    Raises:
        SourceError: The file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _FOREIGN and path.exists():
        raise SourceError(f"{path} {_FOREIGN[suffix]}")
    if suffix in WORKBOOKS:
        return (TableRow(*row) for row in workbook_rows(path, settings))
    return _text_rows(path, settings, delimiter)


def table_start(
    path: Path,
    settings: SourceSettings,
    wanted: Iterable[str],
    *,
    search: bool,
    renames: Mapping[str, str] | None = None,
) -> TableStart:
    """Find the header.

    Args:
        path: The table.
        settings: Header row and delimiter, where they are declared.
        wanted: Columns that the header has to have.
        search: Look for the header below title rows and with other delimiters; otherwise only hint at it.
        renames: Columns by other names, in lower case.

    Raises:
        SourceError: No header has these columns; names the nearest, or the setting that would find it.
    """
    wanted = set(wanted)
    is_text = path.suffix.lower() not in WORKBOOKS
    first = settings.delimiter or (declared_delimiter(path, settings) if is_text else ",")
    if not first:
        first = _widest(path, settings) if search and not wanted else ","
    if settings.no_header and (bare := _without_header(path, settings, first)) is not None:
        return bare
    tried = [first]
    if is_text and not settings.delimiter:
        tried += [one for one in DELIMITERS if one != first]
    problems: list[SourceError] = []
    fallback: TableStart | None = None
    found: TableStart | None = None
    for start in (one for delimiter in tried for one in _starts(path, settings, delimiter, problems)):
        fallback = fallback or start
        if wanted <= {*start.header, *(renamed(one, renames or {}, start.header) for one in start.header)}:
            found = start
            break
    if fallback is None and problems:
        raise problems[0]
    if fallback is None:
        raise SourceError(f"{path} is empty: a header line with the column names is needed")
    if found is None:
        return fallback
    if not search and found != fallback:
        what = (
            f"header_row = {found.row}"
            if found.row != fallback.row
            else f'delimiter = "{found.delimiter}"'.replace("\t", "\\t")
        )
        raise SourceError(
            f"{path}: line {fallback.row} is not the header: {', '.join(fallback.header)[:120]!r}; the columns "
            f"stand in line {found.row}, set {what} under [source]"
        )
    return found


def _starts(
    path: Path, settings: SourceSettings, delimiter: str, problems: list[SourceError]
) -> Iterator[TableStart]:
    """Yield the rows that may be the header."""
    for row in _titles(path, settings, delimiter, problems):
        # a reject file begins with its header, whatever stood above that of its source
        if settings.header_row in (0, row.number) or REASON in row.cells:
            yield TableStart(unique_names(row.cells), row.number, delimiter)


def _without_header(path: Path, settings: SourceSettings, delimiter: str) -> TableStart | None:
    """Return the start of a table without a header; None for its reject file."""
    sign = delimiter if settings.delimiter else _widest(path, settings)
    row = next(_titles(path, settings, sign, []), None)
    # a reject file has a header, whatever its source has
    if row is None or REASON in row.cells:
        return None
    return TableStart([f"column{number}" for number in range(1, len(row.cells) + 1)], 0, sign)


def _widest(path: Path, settings: SourceSettings) -> str:
    """Return the delimiter that parts the first row into most cells."""
    widths = {}
    for delimiter in DELIMITERS:
        row = next(_titles(path, settings, delimiter, []), None)
        widths[delimiter] = len(row.cells) if row else 0
    return max(DELIMITERS, key=lambda one: widths[one])


def _titles(
    path: Path, settings: SourceSettings, delimiter: str, problems: list[SourceError]
) -> Iterator[TableRow]:
    """Yield the rows that may be a header, up to the first that cannot be read."""
    last = max(_TITLES, settings.header_row)
    try:
        for row in table_rows(path, settings, delimiter):
            if row.number > last:
                return
            if any(row.cells):
                yield row
    except SourceError as error:
        # a wrong delimiter makes quotes look broken; the declared one says so itself
        if settings.delimiter:
            raise
        problems.append(error)


def table_keys(path: Path, settings: SourceSettings, start: TableStart, column: int) -> Iterator[str]:
    """Yield one column of a table, empty where a row is too short."""
    if path.suffix.lower() in WORKBOOKS:
        for row in table_rows(path, settings):
            if row.number > start.row:
                yield row.cells[column] if column < len(row.cells) else ""
        return
    with _opened(path, settings) as file:
        for _ in range(start.row):
            file.readline()
        try:
            for cells in csv.reader(file, delimiter=start.delimiter):
                yield cells[column] if column < len(cells) else ""
        except (csv.Error, UnicodeError):
            return  # the reading of whole rows meets it too, and says where


def renamed(name: str, renames: Mapping[str, str], header: Sequence[str]) -> str:
    """Return the column that a name means, or the name if the header has both."""
    found = renames.get(name.lower(), name)
    return name if found in header else found


def unique_names(cells: Sequence[str]) -> list[str]:
    """Return unique names: doubles become ``Name#1`` and ``Name#2``, empty ones stay."""
    # joined files carry a second mark in the middle
    names = [name.strip().replace("\ufeff", "") for name in cells]
    # sheets keep empty columns behind the last one
    while names and not names[-1]:
        names.pop()
    doubled = {name for name in names if name and names.count(name) > 1}
    seen: dict[str, int] = {}
    found = []
    for name in names:
        if name in doubled:
            seen[name] = seen.get(name, 0) + 1
            found.append(f"{name}#{seen[name]}")
        else:
            found.append(name)
    return found


def fitted(row: TableRow, header: Sequence[str], *, pad: bool) -> TableRow:
    """Bring a row to the header's width. ``pad`` adds the cells that are missing."""
    cells = row.cells
    # almost every row
    width = len(header)
    if len(cells) == width:
        return row
    # spreadsheets write separators for cells that were used once
    if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
        return row._replace(cells=cells[:width])
    if len(cells) < width and pad:
        return row._replace(cells=cells + [""] * (width - len(cells)))
    fields = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
    problem = f"line {row.number} has {fields} where the header has {width}"
    return row._replace(problem=row.problem or problem)


def repeats_header(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Return whether a row is the header again, as on every page of a report."""
    # one comparison for almost every row: data is hardly ever the name of its column
    for index, name in enumerate(header):
        if name:
            cell = cells[index].strip() if index < len(cells) else ""
            return (
                bool(cell)
                and name.partition("#")[0] == cell.partition("#")[0]
                and unique_names(cells) == header
            )
    return False


def is_note(cells: Sequence[str], width: int) -> bool:
    """Return whether a short row is one text, such as ``Page 1 of 2`` or a day."""
    return (
        len(cells) < width
        and width >= _LEAST
        and bool(cells[0].strip())
        and not any(one.strip() for one in cells[1:])
    )


def cell_problem(cell: str) -> str:
    """Return a cell's problem: a spreadsheet's error, or text written as a formula."""
    if cell[:1] == "#" and _ERROR.fullmatch(cell):
        if cell.startswith("#FORMULA!"):
            return (
                f"a formula without a value ({cell[10:]}); open the file in a spreadsheet program and save it"
            )
        return f"{cell}, an error of the spreadsheet"
    if cell[:2] == '="' and _FORMULA_TEXT.fullmatch(cell):
        return f"{cell}; set formula_text = true to read the text inside"
    return ""


# ------------------------------------------------------------------------------------------------ text


def declared_delimiter(path: Path, settings: SourceSettings) -> str:
    """Return the delimiter that a first line ``sep=;`` declares, or none."""
    with _opened(path, settings) as file:
        return sign.group(1) if (sign := _sep(file)) else ""


def _sep(file: IO[str]) -> re.Match[str] | None:
    try:
        return _SEP.fullmatch(file.readline(16))
    except UnicodeError:
        return None  # the reading of rows meets it too, and says where


def encoding_of(path: Path, settings: SourceSettings) -> str:
    """Return a text file's encoding. A byte order mark wins over the declared one.

    Raises:
        SourceError: The file is not text, or surely of another encoding.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None
    # people rename files, and a workbook read as text gives rows of noise
    for magic, problem in _MAGIC:
        if head.startswith(magic):
            raise SourceError(f"{path} {problem}")
    if re.match(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|table|\?xml)", head, re.IGNORECASE):
        raise SourceError(f"{path} is a page, not a table; open it in a spreadsheet and save it as .xlsx")
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    declared = settings.encoding
    try:
        name = codecs.lookup(declared).name
    except LookupError:
        raise SourceError(f"{path}: {declared!r} is not a known encoding") from None
    if not name.startswith(("utf-16", "utf-32")) and head.count(0) > len(head) // 5:
        little = head[1::2].count(0) > head[::2].count(0)
        raise SourceError(
            f"{path} is not {declared}: every other byte is zero; set encoding = "
            f'"utf-16-{"le" if little else "be"}"'
        )
    # read as cp1252 every umlaut would become two wrong letters, without an error
    if not name.startswith("utf") and _is_utf8(head):
        raise SourceError(f'{path} is not {declared}: all its text is valid UTF-8; set encoding = "utf-8"')
    return declared


def _is_utf8(head: bytes) -> bool:
    """Return whether there are bytes above ASCII, and all are valid UTF-8."""
    if head.isascii():
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _opened(path: Path, settings: SourceSettings) -> IO[str]:
    encoding = encoding_of(path, settings)
    try:
        return path.open(encoding=encoding, newline="")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None


def _undecodable(path: Path, encoding: str, read: int) -> str:
    """Name the line that cannot be decoded, after ``read`` rows that could be."""
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii"):  # where a line ends with one byte
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode(encoding)
                except UnicodeDecodeError:
                    return f"line {number} is not {encoding}"
    return f"is not {encoding} after line {read}"


def _text_rows(path: Path, settings: SourceSettings, delimiter: str) -> Iterator[TableRow]:
    """Yield rows of a text table. Decoding and quoting errors name the line."""
    sign = delimiter or settings.delimiter or declared_delimiter(path, settings) or ","
    csv.field_size_limit(MAX_FIELD)
    number = skipped = 0
    try:
        with _opened(path, settings) as file:
            if _sep(file):
                skipped = 1
            else:
                file.seek(0)
            reader = csv.reader(file, delimiter=sign, strict=True)
            width = 0
            for cells in reader:
                before, number = number, reader.line_num + skipped
                width = width or (len(cells) if any(cells) else 0)
                problem = ""
                if number - before > 1 and not settings.multiline:
                    problem = _swallowed(cells, sign, width, before + 1, number)
                if "\x00" in sign.join(cells):
                    problem = problem or f"line {number} holds a zero byte, as damaged files do"
                # exporters protect numbers from spreadsheets with ="00123"
                if settings.formula_text:
                    cells = [_FORMULA_TEXT.sub(r"\1", cell) if cell[:1] == "=" else cell for cell in cells]
                yield TableRow(number, cells, problem)
            return
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        problem = (
            f"{_undecodable(path, settings.encoding, number)} (byte {byte:#04x}); say what it is, such as "
            f'encoding = "{_other(error.object, settings.encoding)}"'
        )
    except UnicodeError as error:
        problem = f"is not {settings.encoding}: {error}"
    except csv.Error as error:
        problem = f"line {number + 1}: {error}"
        if "unexpected end of data" in str(error):
            problem += "; a quote that opens in or after this line is never closed"
        if "expected after" in str(error):
            problem += '; a quote inside a quoted cell has to be doubled: ""'
    except OSError as error:
        problem = str(error.strerror)
    except TypeError as error:
        problem = f"delimiter {sign!r}: {error}"
    raise SourceError(f"{path}: {problem}", line=number)


def _other(content: bytes, failed: str) -> str:
    """Return an encoding that reads the bytes, and is not the one that failed."""
    name = codecs.lookup(failed).name
    for one in ("utf-8", "cp1252", "latin-1"):
        if codecs.lookup(one).name != name:
            try:
                content.decode(one)
            except UnicodeDecodeError:
                continue
            return one
    return "cp1252" if name != "cp1252" else "latin-1"


def _swallowed(cells: Sequence[str], delimiter: str, width: int, first: int, last: int) -> str:
    """Return the problem of a quoted field that swallowed rows for lack of a quote."""
    if width < 3:
        return ""
    for cell in cells:
        if "\n" in cell and any(one.count(delimiter) >= width - 1 for one in cell.splitlines()[1:-1] or ()):
            return (
                f"lines {first}-{last}: a quoted field holds whole rows, so a quote is missing or too many; "
                "correct it, or set multiline = true if the text is meant"
            )
    return ""
