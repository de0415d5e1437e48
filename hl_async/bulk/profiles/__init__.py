"""Internal. Profiles: one query per system, with a header about its export.

The header lines are comments of the form ``-- key: value``: ``name``, ``export``, ``kind``, ``table NAME`` (columns
that a file needs), ``columns NAME`` (further columns, empty where the file lacks them), ``also NAME`` (other names of
columns), ``optional table NAME``, ``json NAME`` (keys of its records), ``iif NAME`` (columns of a type of record),
``nested NAME`` (columns with a table in each cell), ``records`` (their place inside JSON), ``key`` (the column of a
document's name), ``set`` (a setting), ``left out``, ``seen`` (evidence for the columns), ``variant NAME`` (see
:func:`parse_profiles`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from hl_async.bulk.sources.document import Kind
from hl_async.bulk.sources.iif import IIF, iif_columns
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql_query import SqlQuery, TableSpec
from hl_async.bulk.sources.staging import JSON, json_values, unwrapped
from hl_async.bulk.sources.tables import DELIMITERS, ENCODINGS, WORKBOOKS, renamed, table_rows, unique_names
from hl_async.errors import ConfigurationError, SourceError

_HEADER: Final = re.compile(r"-- ([a-z]+(?: [a-z]+)?(?: [a-z_]+)?): (.*)")
_VARIANT: Final = re.compile(r"^-- variant ([a-z]+): (.*)\n", re.MULTILINE)
# reports print a title, the company and the period above the header
_TITLES: Final = 20


class Profile(msgspec.Struct, frozen=True):
    """One system's export.

    Attributes:
        id: Its name on the command line.
        name: The system's name.
        export: The export to choose there, and how.
        kind: The kind of its documents.
        left_out: Data that the profile does not take over.
        query: The query with its tables and settings.
    """

    id: str
    name: str
    export: str
    kind: Kind
    left_out: str
    query: SqlQuery

    @property
    def main(self) -> TableSpec:
        """The table of documents."""
        return next(one for one in self.query.tables if not one.is_optional)

    def settings(self, base: SourceSettings | None = None) -> SourceSettings:
        """Return the settings of this profile on top of ``base``."""
        settings = msgspec.structs.replace(base or SourceSettings(), kind=self.kind)
        return settings.with_values(self.query.settings)


class ProfileFit(msgspec.Struct, frozen=True):
    """A file's fit with a profile: the columns it has and those it lacks.

    Attributes:
        profile: The profile's id.
        found: Number of columns that the file has.
        missing: Columns that it lacks.
    """

    profile: str
    found: int
    missing: list[str]

    @property
    def is_complete(self) -> bool:
        """Whether the file has every column."""
        return not self.missing

    def __str__(self) -> str:
        of = self.found + len(self.missing)
        return f"{self.profile} ({self.found} of {of}; without {', '.join(self.missing[:3])})"


@cache
def profiles() -> dict[str, Profile]:
    """Return all bundled profiles, by id."""
    files = sorted(
        (one for one in resources.files(__name__).iterdir() if one.name.endswith(".sql")),
        key=lambda one: one.name,
    )
    found = (profile for one in files for profile in parse_profiles(one.name[:-4], one.read_text("utf-8")))
    return {one.id: one for one in found}


def parse_profiles(name: str, text: str) -> list[Profile]:
    """Read a file that is one profile, or has variants that differ in a few names.

    A line ``-- variant quotes: Document=Quote | kind=estimate`` makes a profile of its own, in which ``{Document}``
    and ``{kind}`` stand for these values.

    Raises:
        SourceError: A line of the header is not understood.
    """
    variants = _VARIANT.findall(text)
    # most systems export one kind of document, or both in one form
    if not variants:
        return [parse_profile(name, text)]
    # --show prints the query as it runs, without the lines that made it
    common = _VARIANT.sub("", text)
    found = []
    for variant, pairs in variants:
        own = common
        for pair in pairs.split(" | "):
            key, _, value = pair.partition("=")
            own = own.replace(f"{{{key.strip()}}}", value.strip())
        found.append(parse_profile(f"{name}-{variant}", own))
    return found


def parse_profile(name: str, text: str) -> Profile:
    """Read a query with its header of comments.

    Raises:
        SourceError: A line of the header is not understood.
    """
    values: dict[str, Any] = {"name": name, "export": "", "kind": "estimate", "left out": "", "seen": ""}
    tables: dict[str, TableSpec] = {}
    settings: list[str] = []
    own_key = ""
    for line in text.splitlines():
        if not line.strip():
            continue
        if not line.startswith("--"):
            break
        # a comment that is not a header line is a note for the reader
        found = _HEADER.fullmatch(line)
        if found is None:
            continue
        key, value = found.group(1), found.group(2).strip()
        parts = [one.strip() for one in value.split(" | ")]
        word, _, table = key.rpartition(" ")
        if word in ("table", "optional table", "json", "iif"):
            tables[table] = TableSpec(
                name=table,
                columns=parts,
                is_json=word == "json",
                is_iif=word == "iif",
                is_optional=word.startswith("optional"),
            )
        elif word == "columns" and table in tables:
            tables[table].extra = parts
        elif word == "nested" and table in tables:
            tables[table].nested = parts
        elif word == "also" and table in tables:
            pairs = (one.partition(" = ") for one in parts)
            tables[table].also = {other.strip(): column.strip() for other, _, column in pairs}
        elif key in ("key", "records") and tables:
            setattr(next(iter(tables.values())), key, value if key == "key" else parts)
        elif key == "key":
            own_key = value
        elif key == "set":
            settings.append(value)
        elif key in values:
            values[key] = value
        else:
            raise SourceError(f"{name}: unknown header line {line!r}")
    query = SqlQuery(
        text=text, label=f"{name}.sql", tables=list(tables.values()), settings=settings, key=own_key
    )
    return Profile(name, values["name"], values["export"], values["kind"], values["left out"], query)


def profile_of(name: str, path: Path | None = None) -> Profile:
    """Return a profile by its id, or by the system's name and an exported file.

    Args:
        name: The id or the system's name.
        path: The exported file, which shows which of the system's exports is meant.

    Raises:
        ConfigurationError: The profile is unknown, or the system has several exports. The message names the nearest.
    """
    known = profiles()
    if name in known:
        return known[name]
    family = [one for one in known if one.startswith(f"{name}-")]
    if family and path is not None:
        fits = [fit for fit in fits_of(path) if fit.profile in family]
        if not fits:
            raise ConfigurationError(
                "--from", f"{path.name} is not an export of {name!r}: {_exports_of(family)}"
            )
        # the first of the family wins a tie: files put the usual export first
        return known[max(fits, key=lambda fit: (fit.is_complete, fit.found)).profile]
    if family:
        raise ConfigurationError("--from", f"{name!r} has several exports: {', '.join(family)}")
    near = difflib.get_close_matches(name, known, 3, 0.4)
    raise ConfigurationError(
        "--from", f"unknown profile {name!r}; did you mean {' or '.join(near) or ', '.join(known)}?"
    )


def _exports_of(family: list[str]) -> str:
    """Return what to export, for each profile of a system."""
    return " or ".join(f"{one} ({profiles()[one].export.rstrip('.')})" for one in family)


def fits_of(path: Path) -> list[ProfileFit]:
    """Return a file's fit with each profile, best first.

    Raises:
        SourceError: The file cannot be read.
    """
    is_json, is_iif = path.suffix.lower() in JSON, path.suffix.lower() == IIF
    found = []
    seen: dict[tuple[str, ...], list[set[str]]] = {}
    for profile in profiles().values():
        spec = profile.main
        if (spec.is_json, spec.is_iif) != (is_json, is_iif):
            continue
        records = tuple(spec.records)
        # profiles of one form share the reading of the file
        if records not in seen:
            seen[records] = list(_names_of(path, spec))
        # Titles and notes may stand above the header, so the row with the most known names counts as header.
        renames = {} if spec.is_json or spec.is_iif else spec.renames()
        rows = [{*names, *(renamed(one, renames, list(names)) for one in names)} for names in seen[records]]
        best = max(rows, key=lambda names: len(names & set(spec.columns)), default=set())
        missing = [one for one in spec.columns if one not in best]
        found.append(ProfileFit(profile.id, len(spec.columns) - len(missing), missing))
    return sorted(found, key=lambda fit: (not fit.is_complete, -fit.found / (fit.found + len(fit.missing))))


def detected(path: Path) -> Profile | None:
    """Return the profile with the most columns of those that a file fits completely."""
    complete = [fit for fit in fits_of(path) if fit.is_complete]
    # the profile with most columns knows most of the file
    return profiles()[max(complete, key=lambda fit: fit.found).profile] if complete else None


def unknown_header(path: Path) -> str:
    """Return the message for a file that fits no profile, with the closest ones."""
    fits = [fit for fit in fits_of(path) if fit.found][:3]
    if not fits:
        return f"{path.name} fits none of the profiles: {', '.join(profiles())}"
    return f"{path.name} fits no profile; the closest are {'; '.join(map(str, fits))}"


def _names_of(path: Path, spec: TableSpec) -> Iterator[set[str]]:
    if spec.is_json:
        return _keys_of(path, spec)
    if spec.is_iif:
        return iter([set(iif_columns(path, SourceSettings()).get(spec.name, ()))])
    return _headers_of(path)


def _headers_of(path: Path) -> Iterator[set[str]]:
    """Yield the rows that may be a header, as sets of names."""
    problems: list[SourceError] = []
    rows = 0
    for encoding in ENCODINGS:
        settings = SourceSettings(encoding=encoding)
        # a wrong delimiter makes one wide cell of the header or breaks its quotes, and fits no profile
        for delimiter in ("",) if path.suffix.lower() in WORKBOOKS else DELIMITERS:
            try:
                for row in table_rows(path, settings, delimiter):
                    if row.number > _TITLES:
                        break
                    rows += 1
                    yield set(unique_names(row.cells))
            except SourceError as error:
                problems.append(error)
        if rows or not any("encoding" in str(one) for one in problems):
            break
    if problems and not rows:
        raise problems[0]


def _keys_of(path: Path, spec: TableSpec) -> Iterator[set[str]]:
    """Yield the keys of the first records, at any depth."""
    for _, _, value in json_values(path):
        for index, record in enumerate(unwrapped(value, spec.records)):
            yield set(_all_keys(record))
            # records of one export have the same keys; optional ones show up among the first
            if index >= _TITLES:
                return
        return


def _all_keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _all_keys(one)
    elif isinstance(value, list):
        for one in value[:3]:
            yield from _all_keys(one)
