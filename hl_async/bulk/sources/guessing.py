"""Internal. A first mapping, guessed from a table's header and first rows.

Every guess is marked as one. A name alone says little: a column is taken for an amount only if its cells are numbers,
for a day only if they are days, and for a key only if they are stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from hl_async.bulk.sources.guess_trial import GuessTrial, trial_of
from hl_async.bulk.sources.guess_words import (
    ANY,
    CHARGES,
    CONTACT,
    CURRENCY,
    DAY,
    DOCUMENT,
    GROUPS,
    LINE,
    NUMBER,
    TEXT,
    fits,
)
from hl_async.bulk.sources.guessed_values import (
    currency_of,
    day_forms,
    day_words,
    is_day,
    is_number,
    is_text,
    number_settings,
)
from hl_async.bulk.sources.iif import IIF
from hl_async.bulk.sources.money_columns import is_money_column
from hl_async.bulk.sources.row_reader import TOTALS
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.staging import JSON
from hl_async.bulk.sources.tables import (
    ENCODINGS,
    WORKBOOKS,
    TableStart,
    repeats_header,
    table_rows,
    table_start,
)
from hl_async.errors import SourceError
from hl_async.models.money import CURRENCIES

# more rows change no guess, and a large file must answer at once
_SAMPLE: Final = 300
_LEAST: Final = 3
_KINDS: Final = {NUMBER: is_number, DAY: is_day, TEXT: is_text, ANY: lambda cell: True}
"""A name says less than the cells: a column called Amount with words in it is a note."""
_NO_CONTACT: Final = '# id = ""  # not needed: customers are found by e-mail or phone number, or created'


class _Table(NamedTuple):
    start: TableStart
    encoding: str
    columns: dict[str, list[str]]
    rows: list[list[str]]


class _Guess(msgspec.Struct, frozen=True):
    """Columns for the keys of a mapping."""

    group: str
    is_group_sure: bool
    line: dict[str, str]
    document: dict[str, str]
    contact: dict[str, str]
    currency: str
    charges: list[str]
    left: list[str]
    is_inclusive: bool = False
    is_fixed: bool = False


def guess_mapping(path: Path) -> str:
    """Return a commented mapping file, the best guess by trials on the first rows.

    Raises:
        SourceError: The file is not a readable table.
    """
    if path.suffix.lower() in (*JSON, IIF, ".parquet"):
        raise SourceError(f"{path} is not one table; it needs a query (--sql) or a profile (--from)")
    table = _look(path)
    tried: list[tuple[GuessTrial, str]] = []
    for guess in _variants(_guessed(table)):
        text = _written(path, table, guess)
        tried.append((trial_of(text, path, table.encoding), text))
        # nothing is better than all
        if tried[-1][0].is_perfect:
            break
    # the first of equals: the plain reading
    trial, text = max(tried, key=lambda one: one[0].agreed)
    head = (
        f"# A first mapping of {path.name}, guessed from its header and first rows. Check every line, then:\n"
        f"#   hl-async migrate {path.name} --map THIS --dry-run\n"
    )
    return f"{head}# {trial}\n\n{text}"


def _guessed(table: _Table) -> _Guess:
    found = _Columns(table)
    sure = next((one for one in (found.take(pattern, ANY, keep=True) for pattern in GROUPS) if one), "")
    # lines first: an amount of a line must not be taken for the document's
    line = found.choose(LINE)
    document = found.choose(DOCUMENT)
    contact = found.choose(CONTACT)
    if "name" not in contact and "company" in contact:
        # a document wants a name (docs/api-facts.md#api-contact), and business customers often have only their
        # company
        contact["name"] = contact["company"]
    is_list = _settle(line, document, found)
    currency = found.take(CURRENCY, TEXT)
    charges = [] if is_list else [one for one in (found.take(one, NUMBER) for one in CHARGES) if one]
    group = sure or table.start.header[0] or found.left[0]
    return _Guess(
        group, bool(sure), line, document, contact, currency, charges, found.left,
        is_fixed=_is_money_discount(line.get("discount", "")),
    )  # fmt: skip


def _variants(guess: _Guess) -> Iterator[_Guess]:
    """Yield readings that no name tells: taxes inside, fixed discounts, taxed sums."""
    taxed = bool({"tax_rate", "tax_amount"} & set(guess.line))
    bases = [guess]
    if total := guess.line.get("total"):
        without = {key: name for key, name in guess.line.items() if key != "total"}
        bases.append(msgspec.structs.replace(guess, line=without, left=[*guess.left, total]))
    for base in bases:
        for inclusive in (False, True) if taxed else (False,):
            for fixed in (base.is_fixed, not base.is_fixed) if "discount" in base.line else (base.is_fixed,):
                yield msgspec.structs.replace(base, is_inclusive=inclusive, is_fixed=fixed)


def _written(path: Path, table: _Table, guess: _Guess) -> str:
    line, document, contact, group = dict(guess.line), guess.document, guess.contact, guess.group
    money = [table.columns[one] for one in (line.get("amount"), document.get("total")) if one]
    # days that are not used tell how those that are used are written
    is_dated = bool({"issue_date", "expiry_date"} & set(document))
    days = [cells for cells in table.columns.values() if is_dated and _are_days(cells)]
    # both kinds of rows lack a key, but one belongs to a document and the other to none
    fills, sums = _rows_without_key(table, group)
    key = "rows with the same value are one document"
    unsure = "unsure: no column looks like the number of a document, this is the first one"
    out = [
        *_source(path, table, fills=fills),
        "[document]",
        f"group_by = {_text(group)}  # {key if guess.is_group_sure else unsure}",
        f"name = {_column(document.get('title') or group)}",
        *_currency(guess.currency, table, money),
        *(f"{key} = {_column(name)}" for key, name in document.items() if key != "expiry_date"),
        *([f"number = {_column(group)}"] if group not in document.values() else []),
        *_expiry(document),
        *_dates(days),
        "",
        "[contact]",
        f"id = {_column(contact['id'])}" if "id" in contact else _NO_CONTACT,
        f"name = {_column(contact.get('name', ''), 'Customer')}",
        *(f"{key} = {_column(name)}" for key, name in contact.items() if key not in ("id", "name")),
        '# region = "US"  # for phone numbers without a country code',
        "",
        "[line]",
        f"name = {_column(line.pop('name', '') or document.get('title', ''), 'Item')}",
        _amount(line.pop("amount", "")),
        f"qty = {_column(line.pop('qty', ''), '1')}",
        *(f"{key} = {_column(name)}" for key, name in line.items()),
        *(["tax_inclusive = true  # the totals say so"] if guess.is_inclusive else []),
        *(['discount_type = "fixed"'] if guess.is_fixed and "discount" in line else []),
        *number_settings(cell for cells in money for cell in cells),
    ]
    for name in guess.charges:
        out += ["", "[[charge]]", f"name = {_text(name)}", f"amount = {_column(name)}"]
    if sums:
        out += ["", "[[drop]]  # a row of sums", f"column = {_text(sums)}", f"matches = {_text(_SUMS)}"]
    out += ["", *_unused(guess.left, group)]
    return "\n".join(out).rstrip() + "\n"


def _amount(column: str) -> str:
    if column:
        return f"amount = {_column(column)}  # the price of one"
    return 'amount = "0"  # unsure: no column looks like the price of one, put it here'


_SUMS: Final = r"(?i)^\s*(grand |sub)?(total|totals|summe|sum)\b"


class _Columns:
    """The columns that no key has taken yet."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self.left = [name for name in table.start.header if name]

    def take(self, pattern: str, kind: str, *, keep: bool = False) -> str:
        """Return the first column whose name and cells fit."""
        for name in self.left:
            if fits(pattern, name) and self._holds(name, kind):
                if not keep:
                    self.left.remove(name)
                return name
        return ""

    def choose(self, keys: Iterable[tuple[str, str, str]]) -> dict[str, str]:
        """Return columns for keys; the first that fits a key has it."""
        found: dict[str, str] = {}
        for key, pattern, kind in keys:
            if key not in found and (name := self.take(pattern, kind)):
                found[key] = name
        return found

    def _holds(self, name: str, kind: str) -> bool:
        cells = [one for one in self._table.columns.get(name, []) if one]
        fits = sum(map(_KINDS[kind], cells))
        # a row of sums and a stray note do not make a column another one
        return not cells or fits * 10 >= len(cells) * 7


def _settle(line: dict[str, str], document: dict[str, str], found: _Columns) -> bool:
    """Use the total as the line where a table lacks lines. Return whether it does."""
    if "amount" in line:
        return False
    total = line.pop("total", "") or document.get("total", "")
    if not total:
        return False
    # with the total mapped, a wrong guess of the amount cannot go unnoticed
    document.setdefault("total", total)
    line["amount"] = total
    # a total contains them already, and a quantity without a unit price would multiply it
    for key in ("tax_amount", "discount"):
        if name := line.pop(key, ""):
            found.left.append(name)
    line.pop("qty", None)
    line.pop("tax_rate", None)
    return True


def _look(path: Path) -> _Table:
    """Return header and first values; the header is the first row as wide as most."""
    problem: SourceError | None = None
    for encoding in ENCODINGS:
        try:
            return _table(path, SourceSettings(encoding=encoding))
        except SourceError as error:
            problem = problem or error
            # another encoding cannot cure any other problem
            if "encoding" not in str(error):
                break
    assert problem is not None
    raise problem


def _table(path: Path, settings: SourceSettings) -> _Table:
    start = table_start(path, settings, (), search=True)
    rows = list(islice(table_rows(path, settings, start.delimiter), _SAMPLE))
    # title rows and notes fill one or two cells; the table fills most
    widths = [sum(1 for cell in row.cells if cell.strip()) for row in rows]
    usual = max(set(widths), key=lambda width: (widths.count(width), width)) if widths else 0
    first = next((row for row, width in zip(rows, widths, strict=True) if width >= usual and width > 1), None)
    if first is not None and first.number != start.row and not settings.no_header:
        start = table_start(
            path,
            SourceSettings(encoding=settings.encoding, header_row=first.number, delimiter=start.delimiter),
            (),
            search=True,
        )._replace(row=first.number)
    # data in the place of names: the first document would be lost as a header
    if not settings.no_header and _looks_like_data(start.header):
        return _table(path, SourceSettings(encoding=settings.encoding, no_header=True))
    after = [
        row.cells for row in rows if row.number > start.row and not repeats_header(row.cells, start.header)
    ]
    body = [cells for cells in after if any(cell.strip() for cell in cells)]
    columns = {
        name: [cells[index].strip() for cells in body if index < len(cells)]
        for index, name in enumerate(start.header)
        if name
    }
    return _Table(start, settings.encoding, columns, body)


def _are_days(cells: Sequence[str]) -> bool:
    used = [one for one in cells if any(map(str.isdigit, one))]
    return bool(used) and sum(map(is_day, used)) * 10 >= len(used) * 7


def _looks_like_data(header: Sequence[str]) -> bool:
    """Return whether most names of a header are numbers or days."""
    values = [one for one in header if is_number(one) or is_day(one)]
    return len(header) >= _LEAST and len(values) * 2 >= len(header)


def _rows_without_key(table: _Table, group: str) -> tuple[bool, str]:
    """Return whether rows without a key continue others, and the column of sums."""
    at = table.start.header.index(group)
    fills, sums = False, ""
    for cells in table.rows:
        # a row of sums has no key of its own, and must not be taken for a continuation
        named = next((index for index, cell in enumerate(cells) if cell and TOTALS.fullmatch(cell)), None)
        if named is not None and named < len(table.start.header):
            sums = sums or table.start.header[named]
        elif at < len(cells) and not cells[at].strip():
            fills = True
    return fills, sums


def _source(path: Path, table: _Table, *, fills: bool) -> list[str]:
    found = []
    if path.suffix.lower() not in WORKBOOKS:
        if table.encoding != "utf-8":
            found.append(f"encoding = {_text(table.encoding)}")
        if table.start.delimiter != ",":
            found.append(f"delimiter = {_text(table.start.delimiter)}")
    if table.start.row == 0:
        found.append("no_header = true  # the first line looks like data, not like names of columns")
    if table.start.row > 1:
        found.append(f"header_row = {table.start.row}")
    if fills:
        found.append("fill_down = true  # rows without a key belong to the document above")
    return ["[source]", *found, ""] if found else []


def _currency(column: str, table: _Table, money: Sequence[Sequence[str]]) -> list[str]:
    values = [one for one in table.columns.get(column, []) if one]
    if column and values and all(one in CURRENCIES for one in values):
        return [f"currency = {_column(column)}"]
    if found := currency_of(cell for cells in money for cell in cells):
        return [f"currency = {_text(found)}  # by the sign of the amounts"]
    return ['currency = "USD"  # nothing in the file says it: put the right code here']


def _expiry(document: dict[str, str]) -> list[str]:
    if "expiry_date" in document:
        days = ["expiry_days = 30  # where the last day is missing"] if "issue_date" in document else []
        return [f"expiry_date = {_column(document['expiry_date'])}", *days]
    if "issue_date" in document:
        return ["expiry_days = 30  # the file has no last day"]
    return ['expiry_date = "2040-12-31"  # the API wants one, the file has none']


def _dates(columns: Sequence[Sequence[str]]) -> list[str]:
    # a row of sums may have its name where others have a day
    samples = [one for cells in columns for one in cells if any(map(str.isdigit, one))]
    if not samples or all(map(day_words, samples)):
        return []
    fits = day_forms(samples)
    if len(fits) == 1:
        return [f"date_format = {_text(fits[0])}"]
    # choosing for the user would swap day and month in every document, and nothing would look wrong
    if fits:
        return [
            f"# date_format = {' or '.join(map(_text, fits))}: {samples[0]!r} has both readings, choose one"
        ]
    return [f'# date_format = "…"  # as for strptime; the first date is {samples[0]!r}']


def _is_money_discount(name: str) -> bool:
    return bool(re.search("amount|value", name, re.IGNORECASE))


def _unused(left: Sequence[str], group: str) -> list[str]:
    rest = [name for name in left if name != group]
    money = [name for name in rest if is_money_column(name)]
    found = []
    if money:
        found.append(f"# not used, and they look like money: {', '.join(money)}")
    if others := [name for name in rest if name not in money]:
        found.append(f"# not used: {', '.join(others)}")
    return found


def _column(name: str, otherwise: str = "") -> str:
    """Return a template for one column, or a constant where the file has none."""
    return _text(f"{{{name}}}" if name else otherwise)


def _text(value: str) -> str:
    """Return a TOML string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n")
    return f'"{escaped}"'
