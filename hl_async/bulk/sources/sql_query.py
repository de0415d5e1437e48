"""Internal. A query before it runs: its tables, settings and mentioned columns."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from hl_async.bulk.sources.staging import LINE, StagedTable

_TEXT: Final = re.compile(r"(\"(?:[^\"]|\"\")*\")|--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_ALIAS: Final = re.compile(r"\bAS\s+(?:\"[^\"]*\"|[a-z_]\w*)", re.IGNORECASE)


class TableSpec(msgspec.Struct, kw_only=True):
    """The facts that a query knows of one of its tables.

    Attributes:
        name: The table's name in the query.
        columns: Columns that a file needs to be this table; for JSON, keys of its records.
        extra: Further columns; empty where the file lacks them.
        is_json: Whether the table holds JSON records.
        is_optional: Whether the query also works without the file.
        key: Column that names a row's document.
        records: Where records stand inside JSON.
        is_iif: Whether the table is a type of record of an IIF file.
        nested: Columns, and fields inside them, that hold a small table in one cell.
        also: Other names that the system gives its columns, with the column that is meant.
    """

    name: str
    columns: list[str] = []
    extra: list[str] = []
    is_json: bool = False
    is_optional: bool = False
    key: str = ""
    records: list[str] = []
    is_iif: bool = False
    nested: list[str] = []
    also: dict[str, str] = {}

    def renames(self) -> dict[str, str]:
        """Return the columns meant by other names and capitals, by lower-case name."""
        found = {name.lower(): name for name in (*self.columns, *self.extra)}
        return found | {name.lower(): column for name, column in self.also.items()}


class SqlQuery(msgspec.Struct, kw_only=True):
    """A query, the tables it expects and the settings it needs.

    Attributes:
        text: The SELECT.
        label: Its name in errors.
        tables: The tables it expects; others are named after their files.
        settings: Settings that it needs, as ``NAME=VALUE``.
        key: Column that names a row's document, in tables that are not declared.
    """

    text: str
    label: str = "the query"
    tables: list[TableSpec] = []
    settings: list[str] = []
    key: str = ""


def without_text(query: str) -> str:
    """Return a query without comments, texts and the names of its own columns."""
    # an apostrophe in a quoted name begins no text
    return _ALIAS.sub(" ", _TEXT.sub(lambda found: found.group(1) or " ", query))


def mentions(bare: str, column: str) -> bool:
    """Return whether a query mentions a column; ``bare`` is from `without_text`."""
    quoted = '"' + column.replace('"', '""') + '"'
    if quoted.lower() in bare.lower():
        return True
    return re.search(rf"(?<![\w\"]){re.escape(column)}(?![\w\"])", bare, re.IGNORECASE) is not None


def names_its_rows(query: str) -> bool:
    """Return whether a query has the column ``place``, which finds a document's rows."""
    return re.search(r"(?<!\w)place(?!\w)", _TEXT.sub(" ", query), re.IGNORECASE) is not None


def row_text(table: StagedTable, delimiter: str) -> str:
    """Return the SELECT of every row's number and text, as in a table file."""
    sign = "'" + delimiter.replace("'", "''") + "'"
    names = ", ".join('"' + one.replace('"', '""') + '"' for one in table.columns)
    own = '"' + table.name.replace('"', '""') + '"'
    special = f"contains(c, {sign}) OR contains(c, '\"') OR contains(c, chr(10)) OR contains(c, chr(13))"
    cell = f"CASE WHEN {special} THEN '\"' || replace(c, '\"', '\"\"') || '\"' ELSE coalesce(c, '') END"
    row = f"array_to_string([{cell} for c in [{names}]], {sign}) || chr(10)"
    return f"SELECT {LINE} AS _at_, {row} AS _row_ FROM {own}"  # noqa: S608
