"""Sources: CSV and XLSX with a mapping, NDJSON without. Streamed; every document is accounted for once.

Lines with the same value in the grouping column are one document. They usually stand together and are then read in
one pass; those of a document that comes back later in the file are held in memory and given out, merged, at the
end. A document that can't become an estimate is a reject with the reason; its neighbours are unaffected.

A line with too few or too many fields rejects the whole document that it names: a document is never made from a part
of its lines. Where such a line names another document, or none, but stands between two lines of one document, that
one is rejected too, because the line may be its own.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hl_async.bulk.sources.compiler import compile_document
from hl_async.bulk.sources.document import decode_document
from hl_async.bulk.sources.mapping import Line, Mapping, fill
from hl_async.bulk.sources.records import Item, Reject
from hl_async.bulk.sources.rejects import MAX_FIELD, REASON, table_text
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.errors import HighLevelError, InvalidRequest, SourceError
from hl_async.models import Estimate, EstimateDraft, document_total
from hl_async.models.codec import decoder, encode
from hl_async.operations import plain_id

_estimate: Final = decoder(Estimate)
_json: Final = msgspec.json.Decoder(float_hook=Decimal).decode


def fingerprint(path: Path, mapping: Path | None) -> str:
    """What identifies a source: the content of the file and of its mapping."""
    digest = hashlib.blake2b(digest_size=16)
    for one in (path, mapping):
        if one is not None:
            try:
                with one.open("rb") as file:
                    while block := file.read(1 << 20):
                        digest.update(block)
            except OSError as error:
                problem = f"{one}: {error.strerror}"
            else:
                digest.update(b"\x00")
                continue
            raise SourceError(problem)
    return digest.hexdigest()


def read_source(
    path: Path,
    mapping: Mapping | None,
    *,
    today: date | None = None,
    settings: SourceSettings | None = None,
) -> Iterator[Item | Reject]:
    """Every document of a file, by its suffix: ``.csv`` and ``.xlsx`` need a mapping, ``.ndjson``/``.jsonl`` take none.

    ``today`` (now, in UTC) says which issue dates lie in the future: those the API refuses. Raises
    :class:`SourceError` when the file as a whole can't be read, before the first document if possible.
    """
    # a calendar is up to fourteen hours ahead of UTC: tomorrow may have come where the location is
    latest = (today or datetime.now(UTC).date()) + timedelta(days=1)
    if path.suffix.lower() in (".ndjson", ".jsonl"):
        return read_ndjson(path, latest, settings or SourceSettings())
    if mapping is None:
        raise SourceError(f"{path}: a table needs a mapping file (--map); only .ndjson and .jsonl go without")
    return read_table(path, mapping, latest)


def header_of(path: Path, mapping: Mapping) -> list[str]:
    """The columns of a table; :class:`SourceError` when there are none, or the mapping wants others."""
    _, header = next(_rows(path, mapping), (0, []))
    if not any(header):
        raise SourceError(f"{path} is empty: a header line with the column names is needed")
    mapping.check_columns(header)
    return header


# ------------------------------------------------------------------------------------------------ tables


class _Group:
    """The lines of one document, with their numbers in the file; ``problem`` when one of them is broken."""

    __slots__ = ("first", "key", "last", "lines", "ordinal", "problem", "rows")

    def __init__(self, key: str, ordinal: int, number: int) -> None:
        self.key = key
        self.ordinal = ordinal
        self.first = self.last = number
        self.problem = ""
        self.lines: list[Line] = []
        self.rows: list[list[str]] = []

    @property
    def place(self) -> str:
        return f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"


def read_table(path: Path, mapping: Mapping, latest: date) -> Iterator[Item | Reject]:
    """Documents of a table. The first row is the header; no document is issued after ``latest``."""
    header = header_of(path, mapping)
    column = header.index(mapping.document.group_by)
    groups = _groups(_rows(path, mapping), header, column, _scattered(path, mapping, column))
    return (_document(group, mapping, latest) for group in groups)


def _groups(
    rows: Iterator[tuple[int, list[str]]], header: list[str], column: int, scattered: set[str]
) -> Iterator[_Group]:
    """The file's documents; those whose lines stand apart come at the end."""
    next(rows, None)
    ordinal = 0
    held: dict[str, _Group] = {}
    group: _Group | None = None
    whole: _Group | None = None  # that of the last line that fits the header
    stray = ""  # what is wrong with a line since then that names another document, or none
    for number, row in rows:
        if not any(row):
            continue
        fits = len(row) == len(header)
        problem = "" if fits else f"line {number} has {len(row)} fields where the header has {len(header)}"
        if column >= len(row):
            target = _Group("", ordinal, number)
            ordinal += 1
        elif row[column] in scattered:
            found = held.get(row[column])
            if found is None:
                found = held[row[column]] = _Group(row[column], ordinal, number)
                ordinal += 1
            target = found
        else:
            if group is None or group.key != row[column]:
                if group is not None:
                    yield group
                group = _Group(row[column], ordinal, number)
                ordinal += 1
            target = group
        target.rows.append(row)
        target.last = number
        if fits:
            target.lines.append(dict(zip(header, row, strict=True)))
            if stray and target is whole:
                target.problem = target.problem or f"{stray}, between the lines of this document"
            whole, stray = target, ""
        else:
            target.problem = target.problem or problem
            stray = stray if target is whole else problem
        if column >= len(row):
            yield target
    if group is not None:
        yield group
    yield from held.values()


def _scattered(path: Path, mapping: Mapping, column: int) -> set[str]:
    """Documents whose lines don't stand together: a first pass over the grouping column."""
    rows = _rows(path, mapping)
    next(rows, None)
    seen: set[int] = set()
    scattered: set[str] = set()
    previous: str | None = None
    for _, row in rows:
        if not any(row):
            continue
        key = row[column] if column < len(row) else ""
        if key != previous:
            mark = hash(key)
            if mark in seen:
                scattered.add(key)
            seen.add(mark)
            previous = key
    return scattered


def _document(group: _Group, mapping: Mapping, latest: date) -> Item | Reject:
    raw = table_text(group.rows, mapping.source.delimiter).encode()
    if group.problem:
        return Reject(group.ordinal, group.key, group.problem, raw, group.place)
    excluded = mapping.excluded(group.lines)
    if excluded is not None:
        reason, skipped = excluded
        return Reject(group.ordinal, group.key, reason, raw, group.place, skipped, by_rule=True)
    try:
        if not group.key.strip():
            raise InvalidRequest(mapping.document.group_by, "is empty: the lines belong to no document")
        draft = mapping.draft(group.lines)
        location = fill(mapping.document.location, group.lines[0]).strip()
        if location:
            plain_id("location", location)
        item = _item(group.ordinal, group.key, draft, group.place, raw, location, latest)
        if not item.total and not mapping.document.allow_zero_total:
            raise InvalidRequest("total", "is zero")
        return item
    except InvalidRequest as error:
        return Reject(group.ordinal, group.key, str(error), raw, group.place)


def _item(
    ordinal: int, source_id: str, draft: EstimateDraft, place: str, raw: bytes, location: str, latest: date
) -> Item:
    if not draft.items:
        raise InvalidRequest("items", "is empty")
    if isinstance(draft.issue_date, date) and draft.issue_date > latest:
        raise InvalidRequest("issue_date", f"{draft.issue_date} is in the future, which the API refuses")
    total = document_total(draft.items, draft.currency, draft.discount)
    return Item(ordinal, source_id, encode(draft), (), location, total, draft.currency, place, raw)


def _rows(path: Path, mapping: Mapping) -> Iterator[tuple[int, list[str]]]:
    return _xlsx_rows(path, mapping) if path.suffix.lower() == ".xlsx" else _csv_rows(path, mapping)


def _csv_rows(path: Path, mapping: Mapping) -> Iterator[tuple[int, list[str]]]:
    """(number of the row's last line, fields). Decoding and quoting errors name the line."""
    encoding = "utf-8-sig" if mapping.source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else ""
    encoding = encoding or mapping.source.encoding
    csv.field_size_limit(MAX_FIELD)
    number = 0
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=mapping.source.delimiter, strict=True)
            for row in reader:
                number = reader.line_num
                yield number, row
            return
    except UnicodeDecodeError as error:
        marked = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
        problem = (
            f"is not {mapping.source.encoding}: byte {error.object[error.start]:#04x} after line {number}; say what it "
            f'is in the mapping, such as encoding = "{"utf-16" if marked else "cp1252"}"'
        )
    except LookupError:
        problem = f"{mapping.source.encoding!r} is no encoding that is known"
    except csv.Error as error:
        problem = f"line {number + 1}: {error}"
    except OSError as error:
        problem = str(error.strerror)
    except TypeError as error:
        problem = f"delimiter {mapping.source.delimiter!r}: {error}"
    raise SourceError(f"{path}: {problem}", line=number)


def _xlsx_rows(path: Path, mapping: Mapping) -> Iterator[tuple[int, list[str]]]:
    """Rows of a sheet, cells as text: dates in the mapping's format, numbers with its decimal sign."""
    try:
        import openpyxl
    except ModuleNotFoundError:
        openpyxl = None
    if openpyxl is None:
        raise SourceError("reading .xlsx needs an extra: pip install 'hl-async[xlsx]'")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book[mapping.source.sheet] if mapping.source.sheet else book.active
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            yield number, [_cell(value, mapping) for value in row]
        book.close()
        return
    except KeyError:
        problem = f"there is no sheet {mapping.source.sheet!r}"
    except OSError as error:
        problem = str(error.strerror or error)
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever its parser stumbles over
        problem = f"is no readable workbook: {error}"
    raise SourceError(f"{path}: {problem}")


def _cell(value: Any, mapping: Mapping) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime(mapping.document.date_format)
    if isinstance(value, float):
        # a sheet shows fifteen digits; those beyond are noise of its binary numbers
        return format(value, ".15g").replace(".", mapping.line.decimal)
    return str(value)


# ------------------------------------------------------------------------------------------------ ndjson


def read_ndjson(path: Path, latest: date, settings: SourceSettings) -> Iterator[Item | Reject]:
    """One canonical document per line, one estimate body in the wire's spelling, or documents as the API answers them.

    A line with the key ``source_id`` is a :class:`~hl_async.bulk.sources.document.Document`.

    ``sourceId`` names the document, else ``_id``, else its content; ``altId`` of a body names its location, where
    there is none it is the run's. A line that is no such document is a reject with its number.
    """
    number = ordinal = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_FIELD + 1):
                number += 1
                if len(line) > MAX_FIELD:
                    break
                text = line.strip().removeprefix(b"\xef\xbb\xbf")
                if text:
                    yield _ndjson_record(ordinal, number, text, latest, settings)
                    ordinal += 1
            else:
                return
        problem = f"{path}: line {number} is longer than {MAX_FIELD:,} bytes"
    except OSError as error:
        problem = f"{path}: {error.strerror}"
    raise SourceError(problem, line=number or None)


def _ndjson_record(
    ordinal: int, number: int, text: bytes, latest: date, settings: SourceSettings
) -> Item | Reject:
    place = f"line {number}"
    source_id = ""
    try:
        document = _json(text)
        if not isinstance(document, dict):
            raise InvalidRequest(place, "is no JSON object")
        if "source_id" in document:
            source_id = str(document["source_id"])
            text_of = {name: value for name, value in document.items() if name != REASON}
            one = decode_document(text if len(text_of) == len(document) else encode(text_of))
            return compile_document(one, settings, ordinal=ordinal, latest=latest, place=place, raw=text)
        source_id = str(document.get("sourceId") or document.get("_id") or _content_key(text))
        draft = _draft_of(document, text)
        location = "" if "_id" in document else str(document.get("altId") or "")
        return _item(ordinal, source_id, draft, place, text, location, latest)
    except msgspec.ValidationError as error:
        reason = str(error)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason = f"{place} is not JSON: {error}"
    except HighLevelError as error:
        reason = str(error)
    return Reject(ordinal, source_id or place, reason, text, place)


_WIRE_FIELDS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(EstimateDraft))
_ENVELOPE: Final = frozenset(("altId", "altType", "sourceId", REASON))


def _draft_of(document: dict[str, Any], text: bytes) -> EstimateDraft:
    if "_id" in document:
        return draft_of_estimate(_estimate(text))
    unknown = sorted(set(document) - _WIRE_FIELDS - _ENVELOPE)
    if unknown:
        raise InvalidRequest(unknown[0], "is no field of an estimate; put undeclared fields into extra")
    return msgspec.json.decode(text, type=EstimateDraft, strict=False)


def draft_of_estimate(estimate: Estimate) -> EstimateDraft:
    """A new draft with everything a copy of ``estimate`` can keep; its number and status are left behind."""
    update = estimate.to_update()
    values = {name: getattr(update, name) for name in EstimateDraft.__struct_fields__}
    return EstimateDraft(**{**values, "estimate_number": UNSET})


def _content_key(text: bytes) -> str:
    return "content:" + hashlib.blake2b(text, digest_size=12).hexdigest()
