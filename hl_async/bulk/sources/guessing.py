"""Internal. A first mapping, guessed from a table's header and first rows; every guess is marked as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from hl_async.bulk.sources.row_reader import is_money_column
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.tables import WORKBOOKS, TableStart, table_rows, table_start
from hl_async.models.money import CURRENCIES

_SAMPLE: Final = 300
_FORMS: Final = (
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
)

_DOCUMENT: Final = (
    ("issue_date", r"(issue|invoice|quote|estimate|order|creat).*date|date.*(issue|creat)|^date$|created at"),
    ("expiry_date", r"expir|valid.*(until|to)|due.*date|date due|^due$"),
    ("number", r"^(invoice|quote|estimate|order|document)?\s*(no\.?|number|#|num)$"),
    ("title", r"^(title|subject|project)"),
    ("status", r"status|^state$|outcome"),
    ("po_number", r"\bp\.?o\.?\b|purchase\s*order"),
    ("terms_notes", r"terms|notes?$|memo"),
    ("total", r"^(grand|invoice|quote|order|document)?\s*total( amount)?$|^amount$|total due"),
)  # fmt: skip
_CONTACT: Final = (
    ("id", r"contact.?id$|ghl.*id"),
    ("name", r"^(customer|client|contact|buyer|billing|bill to)?\s*name$|^(customer|client|contact)$"),
    ("email", r"e-?mail"),
    ("phone_no", r"phone|mobile|tel\b"),
    ("company", r"company|organi[sz]ation"),
)  # fmt: skip
_LINE: Final = (
    ("name", r"(line)?item.*(name|product)?$|^(product|article|service)( name)?$|^lineitem name$|^description$"),
    ("amount", r"unit.*(price|cost|amount)|(item|line)\s*(price|cost|rate)|^(price|rate|cost)$"),
    ("qty", r"qty|quantity|^count$|^hours$"),
    ("description", r"desc|details?$|sku|code"),
    ("tax_rate", r"tax.*(rate|%|percent)|vat.*(rate|%)|^(tax|vat|gst) ?%$"),
    ("tax_amount", r"(line|item)?\s*tax.*amount|^(vat|gst|tax)$"),
    ("discount", r"^(line |item )?discount( %| percent.*)?$"),
)  # fmt: skip
_GROUP: Final = (
    r"^(invoice|quote|estimate|order|document|doc)\W*(no\.?|number|num|#|id)?$|^(no\.?|number|id|name)$"
)


_NO_CONTACT: Final = '# id = ""  # a contact of the location; or give the run one: --set contact_id=ID'


class _Table(NamedTuple):
    start: TableStart
    columns: dict[str, list[str]]


def guess_mapping(path: Path) -> str:
    """Return a commented mapping file for a table.

    Raises:
        SourceError: The file is not a readable table.
    """
    table = _look(path)
    header = [name for name in table.start.header if name]
    left = list(header)

    def take(pattern: str, *, keep: bool = False) -> str:
        found = next((name for name in left if re.search(pattern, name, re.IGNORECASE)), "")
        if found and not keep:
            left.remove(found)
        return found

    group = take(_GROUP, keep=True) or header[0]
    contact = {key: take(pattern) for key, pattern in _CONTACT}
    line = {key: take(pattern) for key, pattern in _LINE}
    document = {key: take(pattern) for key, pattern in _DOCUMENT}
    currency = take(r"currency")
    shipping = take(r"shipping|freight|delivery")
    day = document["issue_date"] or document["expiry_date"]
    out = [
        f"# A first mapping of {path.name}, guessed from its header. Check every line, then:",
        f"#   hl-async migrate {path.name} --map THIS --dry-run",
        "",
        *_source(path, table.start),
        "[document]",
        f"group_by = {_text(group)}  # rows with the same value are one document",
        f"name = {_column(group)}",
        *_currency(currency, table),
        *(f"{key} = {_column(name)}" for key, name in document.items() if name and key != "expiry_date"),
        *_expiry(document),
        *_dates(table.columns.get(day, [])),
        "",
        "[contact]",
        f"id = {_column(contact['id'])}" if contact["id"] else _NO_CONTACT,
        f"name = {_column(contact['name'], 'Customer')}",
        *(f"{key} = {_column(name)}" for key, name in contact.items() if name and key not in ("id", "name")),
        '# region = "US"  # for phone numbers without a country code',
        "",
        "[line]",
        f"name = {_column(line['name'], 'Item')}",
        f"amount = {_column(line['amount'], '0')}  # the price of one",
        f"qty = {_column(line['qty'], '1')}",
        *(f"{key} = {_column(line[key])}" for key in list(line)[3:] if line[key]),
        *_numbers(table.columns.get(line["amount"] or document["total"], [])),
    ]  # fmt: skip
    if shipping:
        out += ["", "[[charge]]", 'name = "Shipping"', f"amount = {_column(shipping)}"]
    out += ["", *_unused(left, group)]
    return "\n".join(out).rstrip() + "\n"


def _look(path: Path) -> _Table:
    """Header and first values; the header is the first row that is as wide as most."""
    settings = SourceSettings()
    start = table_start(path, settings, (), search=True)
    rows = list(islice(table_rows(path, settings, start.delimiter), _SAMPLE))
    widths = [sum(1 for cell in row.cells if cell.strip()) for row in rows]
    usual = max(set(widths), key=lambda width: (widths.count(width), width)) if widths else 0
    first = next((row for row, width in zip(rows, widths, strict=True) if width >= usual and width > 1), None)
    if first is not None and first.number != start.row:
        declared = SourceSettings(header_row=first.number)
        start = table_start(path, declared, (), search=True)._replace(row=first.number)
    columns = {
        name: [row.cells[index].strip() for row in rows if row.number > start.row and index < len(row.cells)]
        for index, name in enumerate(start.header)
        if name
    }
    return _Table(start, columns)


def _source(path: Path, start: TableStart) -> list[str]:
    found = []
    if path.suffix.lower() not in WORKBOOKS and start.delimiter != ",":
        found.append(f"delimiter = {_text(start.delimiter)}")
    if start.row > 1:
        found.append(f"header_row = {start.row}")
    return ["[source]", *found, ""] if found else []


def _currency(column: str, table: _Table) -> list[str]:
    values = [one for one in table.columns.get(column, []) if one]
    if column and values and all(one in CURRENCIES for one in values):
        return [f"currency = {_column(column)}"]
    return ['currency = "USD"  # nothing in the file says it: put the right code here']


def _expiry(document: dict[str, str]) -> list[str]:
    if document["expiry_date"]:
        return [f"expiry_date = {_text('{' + document['expiry_date'] + '}')}"]
    if document["issue_date"]:
        return ["expiry_days = 30  # the file has no last day"]
    return ['expiry_date = "2040-12-31"  # the API wants one, the file has none']


def _dates(values: Sequence[str]) -> list[str]:
    samples = [one.split("T")[0].split(" ")[0] for one in values if one]
    fits = [form for form in _FORMS if samples and all(_is_day(one, form) for one in samples)]
    if not samples or fits[:1] == ["%Y-%m-%d"]:
        return []
    if len(fits) == 1:
        return [f"date_format = {_text(fits[0])}"]
    if fits:
        return [
            f"# date_format = {' or '.join(map(_text, fits))}: {samples[0]!r} has both readings, choose one"
        ]
    return [f'# date_format = "…"  # as for strptime; the first date is {samples[0]!r}']


def _is_day(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007
    except ValueError:
        return False
    return True


def _numbers(values: Sequence[str]) -> list[str]:
    found = []
    samples = [one for one in values if one]
    if any(re.search(r"[0-9],[0-9]{1,2}$", one) for one in samples):
        found.append('decimal = ","')
        if any("." in one for one in samples):
            found.append('thousands = "."')
    elif any("," in one for one in samples):
        found.append('thousands = ","')
    if any(re.search(r"[$€£¥₹]|[A-Z]{3}", one) for one in samples):
        found.append("currency_sign = true")
    if any(one.startswith("(") for one in samples):
        found.append("parentheses = true")
    return found


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
    """A template for one column, or a constant where the file has none."""
    return _text(f"{{{name}}}" if name else otherwise)


def _text(value: str) -> str:
    """A TOML string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n")
    return f'"{escaped}"'
