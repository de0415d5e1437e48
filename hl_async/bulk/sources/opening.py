"""Internal. The files that a command names, opened as one source.

They come with a mapping, a query or a profile, or hold documents as NDJSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from hl_async.bulk.profiles import Profile, detected, fits_of, parse_profile, profile_of, unknown_header
from hl_async.bulk.source_identity import derived_source_name
from hl_async.bulk.sources.document import Kind
from hl_async.bulk.sources.iif import IIF
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import NDJSON, Reading, fingerprint, header_of, read_source
from hl_async.bulk.sources.rejects import REASON
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql import read_sql
from hl_async.bulk.sources.sql_query import SqlQuery, TableSpec, names_its_rows
from hl_async.bulk.sources.staging import JSON, column_names, json_values, table_name, unwrapped
from hl_async.bulk.sources.tables import table_start
from hl_async.errors import ConfigurationError, SourceError

_JSON_ONLY: Final = (*JSON, ".parquet")


class ReadSource(Protocol):
    """A callable that reads a source from the start."""

    def __call__(self, *, rules_off: Collection[str] | None = None) -> Reading:
        """Return its documents; see `read_source`."""
        ...


class OpenedSource(msgspec.Struct):
    """A source that was looked at and can be read.

    Attributes:
        path: The main file.
        fingerprint: Identifies files, mapping or query, and settings.
        columns: Header of its reject file; None if that is NDJSON.
        delimiter: Delimiter of its reject file.
        encoding: Encoding of its reject file.
        settings: Everything that was declared about it.
        names_locations: Whether its documents may name their location.
        read: Reads it from the start; takes the rules of the client that are switched off.
        title: What it is, for people.
        source_name: Name of the system it comes from, as far as profile, query, mapping or file tell.
    """

    path: Path
    fingerprint: str
    columns: list[str] | None
    delimiter: str
    encoding: str
    settings: SourceSettings
    names_locations: bool
    read: ReadSource
    title: str = ""
    source_name: str = ""

    @property
    def kind(self) -> Kind:
        """What the run creates."""
        return self.settings.kind


def open_source(
    files: Sequence[str | Path],
    *,
    mapping: Path | None = None,
    sql: Path | None = None,
    profile: str | None = None,
    pairs: Sequence[str] = (),
    kind: Kind | None = None,
) -> OpenedSource:
    """Look at a source without reading it whole. Blocking.

    Args:
        files: The files; with a query or profile ``NAME=FILE`` names a table.
        mapping: A mapping file, for one table.
        sql: A file with a SELECT.
        profile: Id of a profile, or the name of its system.
        pairs: Settings, as ``NAME=VALUE``.
        kind: Create this, and convert documents of the other kind.

    Returns:
        The source with its way of reading, ready to be planned.

    Raises:
        SourceError: A file cannot be used, or does not say what it is.
        ConfigurationError: Unknown profile, or two ways at once.
    """
    # two ways would read the file twice, in two ways
    if sum(one is not None for one in (mapping, sql, profile)) > 1:
        raise ConfigurationError("source", "give one of --map, --sql and --from")
    if not files:
        raise ConfigurationError("source", "give at least one file")
    if sql is not None or profile is not None:
        return _query_source(files, sql, profile, pairs, kind)
    path = Path(files[0])
    if len(files) > 1:
        raise ConfigurationError("source", "several files need a query (--sql) or a profile (--from)")
    # options of the command win over the defaults, a mapping's own keys over both
    declared = _with_kind(SourceSettings(), kind).with_values(pairs)
    mark = _mark(fingerprint(path, mapping), pairs, kind)
    if mapping is not None:
        found = Mapping.load(mapping)
        # rejects go back in the form of the source, so that the corrected file is read the same way
        columns = None if path.suffix.lower() in NDJSON else header_of(path, found)
        return OpenedSource(
            path,
            mark,
            columns,
            found.source.delimiter or ",",
            found.source.encoding,
            found.settings(declared),
            bool(found.document.location or declared.location),
            partial(read_source, path, found, settings=declared),
            "a table",
            derived_source_name(path, rules=mapping),
        )
    if path.suffix.lower() in NDJSON and not _is_foreign(path):
        read = partial(read_source, path, None, settings=declared)
        name = derived_source_name(path)
        return OpenedSource(path, mark, None, ",", "utf-8", declared, True, read, "documents", name)
    raise SourceError(_advice(path))


def _is_foreign(path: Path) -> bool:
    """Return whether NDJSON holds records of another system rather than documents."""
    for _, _, value in json_values(path):
        # the first record decides: a file of one system has one shape
        if not isinstance(value, dict) or {"source_id", "sourceId", "_id"} & set(value):
            return False
        return detected(path) is not None
    return False


def _advice(path: Path) -> str:
    """Return advice on a file that does not say what its columns mean."""
    if path.suffix.lower() == ".parquet":
        return f"{path}: a Parquet file needs a query (--sql)"
    found = detected(path)
    if found is not None:
        return f"{path}: this looks like the export of {found.name}: add --from {found.id}"
    if path.suffix.lower() in (*JSON, IIF):
        return (
            f"{path}: records need a query (--sql) or a profile (--from). {unknown_header(path)}. "
            "A query opens them; documents of your own stand in .ndjson, one per line (--schema)"
        )
    return (
        f"{path}: a table needs a mapping file (--map), a query (--sql) or a profile (--from). "
        f"{unknown_header(path)}. hl-async map {path} writes a first mapping"
    )


def _with_kind(settings: SourceSettings, kind: Kind | None) -> SourceSettings:
    # a kind that is named holds for every document, those of the other kind too
    return settings if kind is None else msgspec.structs.replace(settings, kind=kind, convert=True)


def _mark(base: str, pairs: Sequence[str], kind: Kind | None) -> str:
    if not pairs and kind is None:
        return base
    return hashlib.blake2b("\x00".join((base, *pairs, kind or "")).encode(), digest_size=16).hexdigest()


def _query_source(
    files: Sequence[str | Path],
    sql: Path | None,
    profile: str | None,
    pairs: Sequence[str],
    kind: Kind | None,
) -> OpenedSource:
    named = [_named(one) for one in files]
    first = named[0][1]
    if sql is not None:
        try:
            text = sql.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{sql}: {getattr(error, 'strerror', None) or error}") from None
        found = parse_profile(sql.stem, text)
        query = found.query
        # errors then name the file that the user wrote, not the name of a profile
        query.label = str(sql)
    else:
        found = profile_of(profile or "", first)
        _check_form(first, found)
        query = found.query
    settings = _with_kind(found.settings(), kind).with_values(pairs)
    tables = _tables(named, query)
    # the fingerprint covers the query and the settings too: another query makes other documents of the same file
    mark = fingerprint(first, *(path for _, path in named[1:]))
    mark = _mark(mark, [query.text, *pairs], kind)
    columns = _reject_columns(first, found, settings, is_alone=len(named) == 1)
    name = found.id if sql is None else derived_source_name(first, rules=sql)
    read = partial(read_sql, query, tables, settings)
    # the reject file is read with the settings of its source
    sign, encoding = (settings.delimiter or ",", settings.encoding) if columns else (",", "utf-8")
    return OpenedSource(first, mark, columns, sign, encoding, settings, True, read, found.name, name)


def _check_form(path: Path, profile: Profile) -> None:
    """Refuse a file of another form than the profile's, or with few of its keys."""
    suffix, spec = path.suffix.lower(), profile.main
    # the database would speak of its own columns
    if path.is_file() and (suffix in JSON, suffix == IIF) != (spec.is_json, spec.is_iif):
        raise SourceError(f"{path} is not an export of {profile.name}. Export there: {profile.export}")
    if not spec.is_json or not path.is_file():
        return
    records = (one for _, _, value in json_values(path) for one in unwrapped(value, spec.records))
    if not isinstance(next(records, None), dict):
        return
    fit = next(one for one in fits_of(path) if one.profile == profile.id)
    # an API leaves out keys without a value
    if fit.found < len(fit.missing):
        raise SourceError(
            f"{path} lacks the keys {', '.join(fit.missing)} of {profile.name}; {unknown_header(path)}"
        )


def _named(text: str | Path) -> tuple[str, Path]:
    name, sign, path = str(text).partition("=")
    # a file may have an equals sign in its name
    if sign and name.isidentifier() and not Path(text).exists():
        return name, Path(path)
    return "", Path(text)


def _tables(named: Sequence[tuple[str, Path]], query: SqlQuery) -> dict[str, Path]:
    """Return files by table name. Files without one take the query's, in order."""
    expected = [spec.name for spec in query.tables]
    tables: dict[str, Path] = {}
    for given, path in named:
        # in the order in which the query names them, as people list the files
        name = given or next((one for one in expected if one not in tables), table_name(path))
        if name in tables:
            raise ConfigurationError("source", f"two files are the table {name!r}; write NAME={path}")
        tables[name] = path
    return tables


def _reject_columns(
    path: Path, profile: Profile, settings: SourceSettings, *, is_alone: bool
) -> list[str] | None:
    """Return a reject file's header in the source's form; None if it has another."""
    if path.suffix.lower() in (*_JSON_ONLY, IIF) or not path.is_file():
        return None
    query = profile.query
    spec = profile.main if query.tables else TableSpec(name="", key=query.key)
    # the rows of a document are known by their numbers, in the table that has the key or is the only one
    if spec.is_json or spec.is_iif or not (spec.key or is_alone) or not names_its_rows(query.text):
        return None
    start = table_start(path, settings, spec.columns, search=True, renames=spec.renames())
    return [one for one in column_names(start.header) if one != REASON]
