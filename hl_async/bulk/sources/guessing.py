"""Internal. A first mapping, guessed from a table's header and first rows; every guess is marked as one.

A name alone says little: a column is taken for an amount only if its cells are numbers, for a day only if they are
days, and for a key only if they are stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

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
from hl_async.bulk.sources.tables import ENCODINGS, WORKBOOKS, TableStart, table_rows, table_start
from hl_async.errors import SourceError
from hl_async.models.money import CURRENCIES

# more rows change no guess, and a large file must answer at once
_SAMPLE: Final = 300
_NUMBER, _DAY, _TEXT, _ANY = "number", "day", "text", "any"

# a name says less than the cells: a column called Amount with words in it is a note
_KINDS: Final = {_NUMBER: is_number, _DAY: is_day, _TEXT: is_text, _ANY: lambda cell: True}
_GROUP: Final = (
    r"(invoice|quote|estimate|order|document|doc|quotation|proposal|bill)\W*(no\.?|nr\.?|number|num|#|id|ref(erence)?)$"
    r"|(beleg|rechnungs?|angebots?|auftrags?)\W*(nr\.?|nummer)$|(num[ée]ro|n°)( (de )?(devis|facture))?$"
    r"|^(no\.?|nr\.?|number|id|#)$"
    r"|^(invoice|quote|estimate|order|name)$"
)
_CONTACT: Final = (
    ("id", r"contact.?id$|ghl.*id", _TEXT),
    ("email", r"e-?mail|courriel", _TEXT),
    ("phone_no", r"phone|mobile|\btel\b|telefon|t[ée]l[ée]phone", _ANY),
    ("company", r"company|organi[sz]ation|firma$|soci[ée]t[ée]", _TEXT),
    ("name",
     (r"(customer|client|contact|buyer|billing|bill to)\W*(full )?name$|^(customer|client|"
     r"contact|kunde|buyer)$"),
     _TEXT),
    ("name", r"^name$|^(client|kunden?)\W*name", _TEXT),
)  # fmt: skip
_DOCUMENT: Final = (
    ("issue_date",
     (r"((issue|invoice|quote|estimate|order|creat|document|txn|beleg|rechnungs).*(date|datum))|"
     r"(date|datum).*(issue|creat)|^(date|datum|created|issued)( at| on)?$"),
     _DAY),
    ("expiry_date", r"expir|valid.*(until|to|till)|due.*date|date due|^due$|f[äa]llig|[ée]ch[ée]ance", _DAY),
    ("total",
     (r"^(grand|invoice|quote|estimate|order|document|net)?\W*total\W*(amount|due|ttc|\(.*\))?$|"
     r"gesamt.*brutto|^gesamt(betrag|summe)?$|total ttc|^amount$|grand total"),
     _NUMBER),
    ("amount_paid", r"amount\W*paid|^paid( amount)?$|paid to date", _NUMBER),
    ("amount_due", r"amount\W*due|balance( due)?$|outstanding", _NUMBER),
    ("title", r"^(title|subject|project|job title|betreff|objet)", _TEXT),
    ("status", r"status|^state$|outcome", _TEXT),
    ("po_number",
     (r"\bp\.?o\.?\b(?! ?box)(?!address|city|region|postal|country)\W*(no|number|#)?$|"
     r"purchase\s*order|^reference$"),
     _ANY),
    ("terms_notes", r"^terms|notes?$|^memo$", _TEXT),
)  # fmt: skip
# the order matters: a column that fits a key is gone for those below
_LINE: Final = (
    ("name",
     (r"(line\W*)?items?\W*(/ ?product|name|product|title)?$|lines?/(product|name)|^(product|"
     r"article|service|position|artikel|libell[ée])\W*(name|/service)?$|^lineitem name$|"
     r"^product/service$"),
     _TEXT),
    ("name", r"^description$|^details?$|designation|bezeichnung", _TEXT),
    ("amount",
     (r"unit\W*(price|cost|amount|rate)|einzelpreis|pu ht|prix unitaire|(item|line|"
     r"lineitem)\W*(price|cost|rate)|sales price|^(price|rate|cost|preis|prix)"),
     _NUMBER),
    ("qty", r"qty|quantity|menge|qt[ée]|quantit[ée]|^(count|hours|anzahl)$", _NUMBER),
    ("description", r"desc(ription)?$|^details?$|memo/description|beschreibung", _TEXT),
    ("tax_rate",
     (r"(tax|vat|gst|ust|mwst|tva).*(rate|%|percent|satz)|^(tax|vat|gst|ust|mwst|tva) ?%?$|"
     r"lines?/tax"),
     _NUMBER),
    ("tax_amount", r"(line|item)\W*tax\W*(amount)?$|^tax\W*amount$|^(vat|gst|tax)$", _NUMBER),
    ("discount",
     (r"^(line |item )?(discount|rabatt|remise)\W*(%|percent.*|\(%\))?$|discount.?\(?%|"
     r"lines?/discount"),
     _NUMBER),
    ("total", r"^(line|item)\W*(total|amount|sum)$|^amount$", _NUMBER),
)  # fmt: skip
_CHARGES: Final = (
    r"(shipping|freight|delivery|versand)( (charge|cost|amount|fee))?$",
    r"^tips?$",
    r"^fees?$",
)
_NO_CONTACT: Final = '# id = ""  # not needed: customers are found by e-mail or phone number, or created'


class _Table(NamedTuple):
    start: TableStart
    encoding: str
    columns: dict[str, list[str]]
    rows: list[list[str]]


def guess_mapping(path: Path) -> str:
    """Return a commented mapping file for a table.

    Raises:
        SourceError: The file is not a readable table.
    """
    if path.suffix.lower() in (*JSON, IIF, ".parquet"):
        raise SourceError(f"{path} is not one table; it needs a query (--sql) or a profile (--from)")
    table = _look(path)
    found = _Columns(table)
    group = found.take(_GROUP, _ANY, keep=True) or found.first()
    # lines first: an amount of a line must not be taken for the document's
    line = found.choose(_LINE)
    document = found.choose(_DOCUMENT)
    contact = found.choose(_CONTACT)
    if "name" not in contact and "company" in contact:
        contact["name"] = contact["company"]
    _settle(line, document, found)
    currency = found.take(r"currency|w[äa]hrung|devise", _TEXT)
    charges = [one for one in (found.take(pattern, _NUMBER) for pattern in _CHARGES) if one]
    money = [table.columns[one] for one in (line.get("amount"), document.get("total")) if one]
    days = [table.columns[one] for one in (document.get("issue_date"), document.get("expiry_date")) if one]
    # both kinds of rows lack a key, but one belongs to a document and the other to none
    fills, sums = _rows_without_key(table, group)
    out = [
        f"# A first mapping of {path.name}, guessed from its header and first rows. Check every line, then:",
        f"#   hl-async migrate {path.name} --map THIS --dry-run",
        "",
        *_source(path, table, fills=fills),
        "[document]",
        f"group_by = {_text(group)}  # rows with the same value are one document",
        f"name = {_column(document.get('title') or group)}",
        *_currency(currency, table, money),
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
        f"amount = {_column(line.pop('amount', ''), '0')}  # the price of one",
        f"qty = {_column(line.pop('qty', ''), '1')}",
        *(f"{key} = {_column(name)}" for key, name in line.items()),
        *(['discount_type = "fixed"'] if _is_money_discount(line.get("discount", "")) else []),
        *number_settings(cell for cells in money for cell in cells),
    ]
    for name in charges:
        out += ["", "[[charge]]", f"name = {_text(name)}", f"amount = {_column(name)}"]
    if sums:
        out += ["", "[[drop]]  # a row of sums", f"column = {_text(sums)}", f"matches = {_text(_SUMS)}"]
    out += ["", *_unused(found.left, group)]
    return "\n".join(out).rstrip() + "\n"


_SUMS: Final = r"(?i)^\s*(grand |sub)?(total|totals|summe|sum)\b"


class _Columns:
    """The columns that no key has taken yet."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self.left = [name for name in table.start.header if name]

    def first(self) -> str:
        """Return the first column."""
        return self.left[0]

    def take(self, pattern: str, kind: str, *, keep: bool = False) -> str:
        """Return the first column whose name and cells fit."""
        for name in self.left:
            if re.search(pattern, name, re.IGNORECASE) and self._holds(name, kind):
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


def _settle(line: dict[str, str], document: dict[str, str], found: _Columns) -> None:
    """Tables without lines: the document's total is its one line."""
    if "amount" in line:
        return
    total = line.pop("total", "") or document.get("total", "")
    if not total:
        return
    # with the total mapped, a wrong guess of the amount cannot go unnoticed
    document.setdefault("total", total)
    line["amount"] = total
    # a quantity without a unit price would multiply the total
    line.pop("qty", None)
    line.pop("tax_rate", None)
    if tax := line.pop("tax_amount", ""):
        found.left.append(tax)


def _look(path: Path) -> _Table:
    """Header and first values; the header is the first row that is as wide as most."""
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
    if first is not None and first.number != start.row:
        start = table_start(
            path,
            SourceSettings(encoding=settings.encoding, header_row=first.number, delimiter=start.delimiter),
            (),
            search=True,
        )._replace(row=first.number)
    body = [row.cells for row in rows if row.number > start.row and any(cell.strip() for cell in row.cells)]
    columns = {
        name: [cells[index].strip() for cells in body if index < len(cells)]
        for index, name in enumerate(start.header)
        if name
    }
    return _Table(start, settings.encoding, columns, body)


def _rows_without_key(table: _Table, group: str) -> tuple[bool, str]:
    """Return whether rows without a key belong to those above, and a column in which sums have a name."""
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
    samples = [one for cells in columns for one in cells if one]
    if not samples or all(map(day_words, samples)):
        return []
    fits = day_forms(samples)
    if len(fits) == 1:
        return [f"date_format = {_text(fits[0])}"]
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
