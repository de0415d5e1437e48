"""Internal. SQL as a source: the rows of a query over named files are documents.

Text columns reach the query as text and leave it as text. The usual strict parsers read their numbers and dates. The
query sees the named files and nothing else: no other file, no network, no extension.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from hl_async.bulk.sources.compiler import compile_document
from hl_async.bulk.sources.iif import IIF, stage_iif
from hl_async.bulk.sources.locating import in_record, in_rows
from hl_async.bulk.sources.money_columns import is_money_column
from hl_async.bulk.sources.planning_rules import planning_rules
from hl_async.bulk.sources.readers import Reading, SourceFacts, latest_day
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import table_text
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql_columns import RowAssembler
from hl_async.bulk.sources.sql_numbers import number_macros
from hl_async.bulk.sources.sql_query import SqlQuery, TableSpec, mentions, row_text, without_text
from hl_async.bulk.sources.staging import LINE, RECORD, StagedTable, json_value, stage, table_name
from hl_async.errors import InvalidRequest, SourceError

_FETCH: Final = 4096


def read_sql(
    query: SqlQuery | str,
    files: Mapping[str, Path] | Sequence[Path],
    settings: SourceSettings | None = None,
    *,
    today: date | None = None,
    memory: str = "256MB",
    rules_off: Collection[str] | None = None,
) -> Reading:
    """Read documents by a SELECT whose columns have the canonical names.

    Args:
        query: The SELECT, or a profile's query.
        files: The files, by table name; without names, a file's table is named after it.
        settings: Defaults of what the documents lack.
        today: The day that issue dates must not pass; now, in UTC.
        memory: Memory of the database, as in ``256MB``. It spills to disk above that.
        rules_off: Rules of the client that are switched off; by default those of ``HL_RULES_OFF``.

    Returns:
        The documents of the source, or rejects with their reasons, in the source's order.

    Raises:
        SourceError: A file or the query cannot be used.
    """
    if isinstance(query, str):
        query = SqlQuery(text=query)
    if not isinstance(files, Mapping):
        files = {table_name(one): one for one in files}
    base = settings or SourceSettings()
    facts = SourceFacts()
    rules = planning_rules(rules_off)
    return Reading(_records(query, dict(files), base, latest_day(today), facts, memory, rules), facts)


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise SourceError("SQL needs an extra: pip install 'hl-async[sql]'") from None
    return duckdb


def _records(
    query: SqlQuery,
    files: dict[str, Path],
    settings: SourceSettings,
    latest: date,
    facts: SourceFacts,
    memory: str,
    rules: frozenset[str],
) -> Iterator[SourceItem | Reject]:
    duckdb = _duckdb()
    # a database of its own: a path of the user could hold a table of the same name
    folder = Path(tempfile.mkdtemp(prefix="hl-async-sql-"))
    connection = None
    try:
        connection = duckdb.connect(
            str(folder / "source.duckdb"),
            config={
                # a query must not fetch code from the network
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "memory_limit": memory,
                "temp_directory": str(folder / "spill"),
                # more threads hold more rows in memory at once
                "threads": 2,
            },
        )
        connection.execute(number_macros(settings.numbers))
        tables = _load(connection, query, files, settings, folder)
        # the file is deleted at the end: tidying it up first is work for nothing
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        # only after the named files are loaded: from here on the query can read nothing else
        connection.execute("SET enable_external_access = false")
        # a query could otherwise switch the access on again
        connection.execute("SET lock_configuration = true")
        yield from _Documents(connection, query, tables, settings, latest, facts, rules).records()
    except duckdb.PermissionException as error:
        problem = f"{_first_line(error)}; a query may read only the files that the command names"
    except duckdb.OutOfMemoryException as error:
        problem = f"{_first_line(error)}; order or aggregate less, or give it more memory"
    except duckdb.Error as error:
        problem = str(error).strip()
    else:
        return
    finally:
        if connection is not None:
            connection.close()
        shutil.rmtree(folder, ignore_errors=True)
    raise SourceError(f"{query.label}: {problem}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


# ------------------------------------------------------------------------------------------------ tables


def _load(
    connection: Any, query: SqlQuery, files: dict[str, Path], settings: SourceSettings, folder: Path
) -> list[StagedTable]:
    """Make a table of each file, and empty ones for missing optional files."""
    specs = {spec.name: spec for spec in query.tables}
    tables: list[StagedTable] = []
    for name, path in files.items():
        undeclared = TableSpec(name=name, key=query.key)
        for table in _staged(specs.get(name, undeclared), name, path, settings, folder):
            spec = specs.get(table.name, TableSpec(name=table.name))
            _create(connection, table, is_raw=spec.is_json)
            if table.staged != path:
                table.staged.unlink()
            known = {one.lower() for one in table.columns}
            for column in spec.extra:
                if column.lower() not in known:
                    connection.execute(
                        f"ALTER TABLE {_quoted(table.name)} ADD COLUMN {_quoted(column)} VARCHAR"
                    )
            tables.append(table)
    made = {table.name for table in tables}
    for spec in query.tables:
        if spec.name not in made:
            if not spec.is_optional:
                raise SourceError(f"{query.label}: the file for the table {spec.name!r} is missing")
            columns = [
                f"{_quoted(LINE)} BIGINT",
                *(f"{_quoted(one)} VARCHAR" for one in (*spec.columns, *spec.extra)),
            ]
            connection.execute(f"CREATE TABLE {_quoted(spec.name)} ({', '.join(columns)})")
    return tables


def _staged(
    spec: TableSpec, name: str, path: Path, settings: SourceSettings, folder: Path
) -> list[StagedTable]:
    """Return the tables of one file: several of an IIF file, one of every other."""
    if path.suffix.lower() == IIF:
        tables = stage_iif(path, folder, settings)
        held = next((one.columns for one in tables if one.name == name), [])
        if spec.is_iif and (missing := [one for one in spec.columns if one not in held]):
            raise SourceError(f"{path} lacks the columns {', '.join(missing)} of !{name.upper()}")
        return tables
    wanted = () if spec.is_json else spec.columns
    return [
        stage(
            path,
            name,
            folder,
            settings,
            wanted=wanted,
            key=spec.key,
            records=spec.records,
            nested=spec.nested,
            renames={} if spec.is_json else spec.renames(),
        )
    ]


def _create(connection: Any, table: StagedTable, *, is_raw: bool) -> None:
    name, path = _quoted(table.name), _text(str(table.staged))
    if table.kind == "csv":
        columns = ", ".join(f"{_text(one)}: 'VARCHAR'" for one in table.columns)
        connection.execute(
            f"CREATE TABLE {name} AS SELECT * FROM read_csv({path}, columns = {{{_text(LINE)}: 'BIGINT', {columns}}}, "  # noqa: S608 - names are quoted
            "header = false, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
            "new_line = '\\r\\n', max_line_size = 20000000)"
        )
    elif table.kind == "parquet":
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet({path})")  # noqa: S608
    else:
        base = name if is_raw else _quoted(f"{table.name}__records")
        connection.execute(
            f"CREATE TABLE {base} AS SELECT row_number() OVER () AS {LINE}, json AS {RECORD} "  # noqa: S608
            f"FROM read_ndjson_objects({path}, maximum_object_size = 20000000)"
        )
        if not is_raw:
            _create_nested(connection, table, name, base)


def _create_nested(connection: Any, table: StagedTable, name: str, base: str) -> None:
    """Create a view with one nested column per key of the records, leaves as text."""
    (shape,) = connection.execute(f"SELECT json_group_structure({RECORD})::VARCHAR FROM {base}").fetchone()  # noqa: S608
    structure = _as_text(msgspec.json.decode(shape)) if shape else {}
    if shape is None:
        raise SourceError(f"{table.source} holds no records")
    names = [one.lower() for one in structure] if isinstance(structure, dict) else []
    # names that differ in capitals only are one name to the database; `record` still has both
    if not names or len(set(names)) < len(names):
        connection.execute(f"CREATE VIEW {name} AS SELECT {LINE}, {RECORD} FROM {base}")  # noqa: S608
        return
    for own in (LINE, RECORD):
        structure.pop(own, None)
    typed = _text(msgspec.json.encode(structure).decode())
    connection.execute(
        f"CREATE VIEW {name} AS SELECT {LINE}, {RECORD}, unnest(from_json({RECORD}, {typed})) FROM {base}"  # noqa: S608
    )


def _as_text(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {key: _as_text(value) for key, value in shape.items()}
    if isinstance(shape, list):
        return [_as_text(one) for one in shape]
    return "JSON" if shape == "JSON" else "VARCHAR"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# ------------------------------------------------------------------------------------------------ documents


class _Documents:
    """The rows of a query as documents, sorted by the database."""

    def __init__(
        self,
        connection: Any,
        query: SqlQuery,
        tables: list[StagedTable],
        settings: SourceSettings,
        latest: date,
        facts: SourceFacts,
        rules: frozenset[str],
    ) -> None:
        self._connection, self._query, self._tables = connection, query, tables
        self._settings, self._latest, self._facts, self._rules = settings, latest, facts, rules
        declared = {spec.name: spec.key for spec in query.tables}
        keys = ((one, declared.get(one.name, query.key)) for one in tables)
        self._keyed = next(((one, key) for one, key in keys if key and key in one.columns), None)
        # the table whose rows a document is made of, if that is certain
        alone = tables[0] if len(tables) == 1 and tables[0].columns else None
        self._origin = self._keyed[0] if self._keyed is not None else alone
        self._text = _one_select(query)
        connection.execute(f"DESCRIBE {self._text}")
        names = [row[0] for row in connection.fetchall()]
        self._has_rows = self._origin is not None and "place" in names and "raw" not in names
        self._assembler = RowAssembler(names, settings, query.label)
        self._id = names.index("source_id")
        self._has_raw = "raw" in names

    def _watch(self) -> None:
        """Name money of tables that the query does not mention."""
        bare = without_text(self._query.text)
        declared = {(one.name, name) for one in self._query.tables for name in (*one.columns, *one.extra)}
        for table in self._tables:
            # only names that the query does not mention: a mentioned column was at least looked at
            for name in table.columns:
                if (table.name, name) in declared or not is_money_column(name) or mentions(bare, name):
                    continue
                count, first = self._connection.execute(
                    f"SELECT count(*), any_value({_quoted(name)}) FROM {_quoted(table.name)} "  # noqa: S608
                    f"WHERE regexp_matches({_quoted(name)}, '[1-9]')"
                ).fetchone()
                if count:
                    self._facts.unused_money[name] = (count, first)

    def records(self) -> Iterator[SourceItem | Reject]:
        """Yield every document once, as an item or a reject."""
        self._watch()
        spoilt = {key: reason for table in self._tables for key, reason in table.spoilt.items()}
        if spoilt:
            self._check_ids(spoilt)
        ordinal = 0
        for source_id, rows in self._groups():
            reason = spoilt.pop(source_id, "")
            yield (
                self._rejected(ordinal, source_id, reason, rows)
                if reason
                else self._record(ordinal, source_id, rows)
            )
            ordinal += 1
        # a document whose every row is broken has no row in the database
        for source_id, reason in spoilt.items():
            yield self._rejected(ordinal, source_id, reason, [])
            ordinal += 1
        for table in self._tables:
            for number, text, reason in table.rejected:
                yield Reject(ordinal, f"line {number}", reason, text, f"line {number}")
                ordinal += 1

    def _check_ids(self, spoilt: dict[str, str]) -> None:
        """Refuse the file if a spoilt document's intact rows have another ``source_id``."""
        if self._keyed is None:
            return
        table, key = self._keyed
        cursor = self._connection.cursor()
        cursor.execute(
            f"SELECT DISTINCT trim({_quoted(key)}) FROM {_quoted(table.name)} "  # noqa: S608
            f"WHERE trim({_quoted(key)}) IN (SELECT unnest(?)) "
            f"EXCEPT SELECT trim(source_id::VARCHAR) FROM (\n{self._text}\n)",
            [list(spoilt)],
        )
        for (found,) in cursor.fetchall():
            raise SourceError(
                f"{table.source}: {spoilt[found]}; correct it, because the query gives the document {found!r} "
                f"of the column {key!r} another source_id"
            )

    def _groups(self) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        # the database sorts, and spills to disk beyond its memory, so that only one document is in memory here
        query = f"SELECT *, row_number() OVER () AS _n_ FROM (\n{self._text}\n)"  # noqa: S608
        if self._has_rows and self._origin is not None:
            # a document that the API rejects later goes into the reject file as it stands in the source
            origin = row_text(self._origin, self._settings.delimiter or ",")
            query = f"SELECT q.*, _row_ FROM ({query}) AS q LEFT JOIN ({origin}) ON _at_ = try_cast(place AS BIGINT)"  # noqa: S608
        cursor = self._connection.cursor()
        cursor.execute(f"SELECT * EXCLUDE (_n_) FROM ({query}) ORDER BY source_id NULLS FIRST, _n_")  # noqa: S608

        rows = chain.from_iterable(iter(lambda: cursor.fetchmany(_FETCH), []))
        for source_id, group in groupby(rows, itemgetter(self._id)):
            yield str(source_id if source_id is not None else "").strip(), list(group)

    def _record(self, ordinal: int, source_id: str, rows: list[tuple[Any, ...]]) -> SourceItem | Reject:
        assembler = self._assembler
        verdict = assembler.verdict(rows)
        if verdict is not None:
            reason, skipped = verdict
            return self._rejected(ordinal, source_id, reason, rows, skipped=skipped, by_rule=True)
        try:
            document = assembler.document(source_id, rows)
            return compile_document(
                document,
                self._settings,
                ordinal=ordinal,
                latest=self._latest,
                place=assembler.place(rows),
                raw=self._original(rows),
                business_name=assembler.text("business_name", rows),
                rules=self._rules,
                note=assembler.text("note", rows),
            )
        except InvalidRequest as error:
            return self._rejected(ordinal, source_id, self._located(error, rows), rows)

    def _original(self, rows: list[tuple[Any, ...]]) -> bytes:
        """Return the document's source text, as far as the query's rows hold it."""
        if self._has_rows:
            # a join repeats a row of the source
            return "".join(dict.fromkeys(row[-1] for row in rows if row[-1] is not None)).encode()
        return self._assembler.raw(rows) if self._has_raw else b""

    def _located(self, error: InvalidRequest, rows: list[tuple[Any, ...]]) -> str:
        """Return the error with the row and column, or the key, that holds the value."""
        if own := self._assembler.raw(rows):
            return in_record(error, self._assembler.place(rows), json_value(own))
        numbers = self._assembler.numbers(rows)
        tables = [one for one in self._tables if one.columns]
        if not numbers or not tables:
            return str(error)
        table = self._keyed[0] if self._keyed is not None else tables[0]
        columns = ", ".join(map(_quoted, table.columns))
        cursor = self._connection.cursor()
        cursor.execute(
            f"SELECT {LINE}, {columns} FROM {_quoted(table.name)} WHERE {LINE} IN (SELECT unnest(?)) ORDER BY 1",  # noqa: S608
            [numbers],
        )
        return in_rows(error, table.columns, ((row[0], row[1:]) for row in cursor.fetchall()))

    def _rejected(
        self,
        ordinal: int,
        source_id: str,
        reason: str,
        rows: list[tuple[Any, ...]],
        *,
        skipped: bool = False,
        by_rule: bool = False,
    ) -> Reject:
        place = self._assembler.place(rows)
        raw = self._raw(source_id, rows)
        return Reject(ordinal, source_id, reason, raw, place, skipped, by_rule)

    def _raw(self, source_id: str, rows: list[tuple[Any, ...]]) -> bytes:
        """Return the document's source text if the query can tell, else its rows."""
        if own := self._assembler.raw(rows):
            return own
        if self._keyed is not None:
            table, key = self._keyed
            columns = ", ".join(map(_quoted, table.columns))
            cursor = self._connection.cursor()
            # by line too: rows without a key belong to the document above, and a query may fill it down
            cursor.execute(
                f"SELECT {columns} FROM {_quoted(table.name)} "  # noqa: S608
                f"WHERE trim({_quoted(key)}) = ? OR {LINE} IN (SELECT unnest(?::BIGINT[])) ORDER BY {LINE}",
                [source_id, self._assembler.numbers(rows)],
            )
            found = [["" if cell is None else str(cell) for cell in row] for row in cursor.fetchall()]
            if found:
                return table_text(found, self._settings.delimiter or ",").encode(errors="backslashreplace")
        return self._original(rows) or self._assembler.as_json(rows)


def _one_select(query: SqlQuery) -> str:
    """Return the query without its end; refuses anything but one SELECT."""
    duckdb = _duckdb()
    found = duckdb.extract_statements(query.text)
    if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
        raise SourceError(f"{query.label}: exactly one SELECT is needed")
    # an end of line closes a comment behind the last word
    return re.sub(r";\s*(?:--[^\n]*\s*)*\Z", "", str(found[0].query).strip()) + "\n"
