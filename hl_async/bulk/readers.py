"""Sources: CSV and XLSX with a mapping, NDJSON without. Streamed; every document is accounted for once.

Lines with the same value in the grouping column are one document. They usually stand together and are then read in
one pass; those of a document that comes back later in the file are held in memory and given out, merged, at the
end. A document that can't become an estimate is a reject with the reason; its neighbours are unaffected.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hl_async.bulk.mapping import Line, Mapping, fill
from hl_async.bulk.records import Item, Reject
from hl_async.errors import HighLevelError, InvalidRequest, SourceError
from hl_async.models import Estimate, EstimateDraft, document_total
from hl_async.models.codec import decoder, encode
from hl_async.operations import plain_id

_MAX_FIELD: Final = 10 * 1024 * 1024
_REASON: Final = "reject_reason"

_estimate: Final = decoder(Estimate)


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


def read_source(path: Path, mapping: Mapping | None) -> Iterator[Item | Reject]:
    """Every document of a file, by its suffix: ``.csv`` and ``.xlsx`` need a mapping, ``.ndjson``/``.jsonl`` take none.

    Raises :class:`SourceError` when the file as a whole can't be read, before the first document if possible.
    """
    suffix = path.suffix.lower()
    if suffix in (".ndjson", ".jsonl"):
        return read_ndjson(path)
    if mapping is None:
        raise SourceError(f"{path}: a table needs a mapping file (--map); only .ndjson and .jsonl go without")
    if suffix == ".xlsx":
        return read_table(path, _xlsx_rows(path, mapping), mapping)
    return read_table(path, _csv_rows(path, mapping), mapping)


def header_of(path: Path, mapping: Mapping) -> list[str]:
    """The columns of a table; :class:`SourceError` when there are none, or the mapping wants others."""
    rows = _xlsx_rows(path, mapping) if path.suffix.lower() == ".xlsx" else _csv_rows(path, mapping)
    _, header = next(rows, (0, []))
    if not any(header):
        raise SourceError(f"{path} is empty: a header line with the column names is needed")
    mapping.check_columns(header)
    return header


# ------------------------------------------------------------------------------------------------ tables


class _Group:
    """The lines of one document, with their numbers in the file."""

    __slots__ = ("first", "key", "last", "lines", "ordinal", "rows")

    def __init__(self, key: str, ordinal: int, number: int) -> None:
        self.key = key
        self.ordinal = ordinal
        self.first = self.last = number
        self.lines: list[Line] = []
        self.rows: list[list[str]] = []

    @property
    def place(self) -> str:
        return f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"


def read_table(
    path: Path, rows: Iterator[tuple[int, list[str]]], mapping: Mapping
) -> Iterator[Item | Reject]:
    """Documents of a table. The first row is the header."""
    header = header_of(path, mapping)
    column = header.index(mapping.document.group_by)
    scattered = _scattered(path, mapping, column)
    next(rows, None)
    return _documents(rows, header, column, scattered, mapping)


def _documents(
    rows: Iterator[tuple[int, list[str]]],
    header: list[str],
    column: int,
    scattered: set[str],
    mapping: Mapping,
) -> Iterator[Item | Reject]:
    ordinal = 0
    held: dict[str, _Group] = {}
    group: _Group | None = None
    for number, row in rows:
        if not any(row):
            continue
        if len(row) != len(header):
            yield Reject(
                ordinal,
                row[column] if column < len(row) else "",
                f"has {len(row)} fields where the header has {len(header)}",
                _as_csv([row], mapping),
                f"line {number}",
            )
            ordinal += 1
            continue
        key = row[column]
        if key in scattered:
            target = held.get(key)
            if target is None:
                target = held[key] = _Group(key, ordinal, number)
                ordinal += 1
        else:
            if group is None or group.key != key:
                if group is not None:
                    yield _document(group, mapping)
                group = _Group(key, ordinal, number)
                ordinal += 1
            target = group
        target.lines.append(dict(zip(header, row, strict=True)))
        target.rows.append(row)
        target.last = number
    if group is not None:
        yield _document(group, mapping)
    for merged in held.values():
        yield _document(merged, mapping)


def _scattered(path: Path, mapping: Mapping, column: int) -> set[str]:
    """Documents whose lines don't stand together: a first pass over the grouping column."""
    rows = _xlsx_rows(path, mapping) if path.suffix.lower() == ".xlsx" else _csv_rows(path, mapping)
    next(rows, None)
    seen: set[int] = set()
    scattered: set[str] = set()
    previous: str | None = None
    for _, row in rows:
        key = row[column] if column < len(row) else ""
        if key != previous:
            mark = hash(key)
            if mark in seen:
                scattered.add(key)
            seen.add(mark)
            previous = key
    return scattered


def _document(group: _Group, mapping: Mapping) -> Item | Reject:
    raw = _as_csv(group.rows, mapping)
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
        return _item(
            group.ordinal, group.key, draft, group.place, raw, location, mapping.document.allow_zero_total
        )
    except InvalidRequest as error:
        return Reject(group.ordinal, group.key, str(error), raw, group.place)


def _item(
    ordinal: int, source_id: str, draft: EstimateDraft, place: str, raw: bytes, location: str, zero: bool
) -> Item:
    total = document_total(draft.items, draft.currency, draft.discount)
    if not draft.items:
        raise InvalidRequest("items", "is empty")
    if not zero and total == 0:
        raise InvalidRequest("total", "is zero")
    return Item(ordinal, source_id, encode(draft), (), location, total, draft.currency, place, raw)


def _csv_rows(path: Path, mapping: Mapping) -> Iterator[tuple[int, list[str]]]:
    """(number of the row's last line, fields). Decoding and quoting errors name the line."""
    encoding = "utf-8-sig" if mapping.source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else ""
    encoding = encoding or mapping.source.encoding
    csv.field_size_limit(_MAX_FIELD)
    number = 0
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=mapping.source.delimiter, strict=True)
            for row in reader:
                number = reader.line_num
                yield number, row
            return
    except UnicodeDecodeError as error:
        problem = (
            f"is not {mapping.source.encoding}: byte {error.object[error.start]:#04x} after line {number}; "
            'say what it is in the mapping, such as encoding = "cp1252"'
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
    """Rows of a sheet, cells as text: dates in ISO form, numbers as they are stored."""
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
            yield number, [_cell(value) for value in row]
        book.close()
        return
    except KeyError:
        problem = f"there is no sheet {mapping.source.sheet!r}"
    except OSError as error:
        problem = str(error.strerror or error)
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever its parser stumbles over
        problem = f"is no readable workbook: {error}"
    raise SourceError(f"{path}: {problem}")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _as_csv(rows: Sequence[Sequence[str]], mapping: Mapping) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=mapping.source.delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


# ------------------------------------------------------------------------------------------------ ndjson


def read_ndjson(path: Path) -> Iterator[Item | Reject]:
    """One estimate body per line, in the wire's spelling; or documents as the API answers them (``hl-async export``).

    ``sourceId`` names the document, else ``_id``, else its content; ``altId`` the location, if the run has none. A line
    that is no such document is a reject with its number.
    """
    try:
        with path.open("rb") as file:
            ordinal = 0
            for number, line in enumerate(file, 1):
                text = line.strip().removeprefix(b"\xef\xbb\xbf")
                if text:
                    yield _ndjson_record(ordinal, number, text)
                    ordinal += 1
        return
    except OSError as error:
        problem = f"{path}: {error.strerror}"
    raise SourceError(problem)


def _ndjson_record(ordinal: int, number: int, text: bytes) -> Item | Reject:
    place = f"line {number}"
    source_id = ""
    try:
        document = msgspec.json.decode(text)
        if not isinstance(document, dict):
            raise InvalidRequest(place, "is no JSON object")
        source_id = str(document.get("sourceId") or document.get("_id") or _content_key(text))
        draft = _draft_of(document, text)
        location = "" if "_id" in document else str(document.get("altId") or "")
        return _item(ordinal, source_id, draft, place, text, location, zero=True)
    except msgspec.ValidationError as error:
        reason = str(error)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason = f"{place} is not JSON: {error}"
    except HighLevelError as error:
        reason = str(error)
    return Reject(ordinal, source_id or place, reason, text, place)


_WIRE_FIELDS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(EstimateDraft))
_ENVELOPE: Final = frozenset(("altId", "altType", "sourceId", _REASON))


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


# ----------------------------------------------------------------------------------------------- rejects


def reject_lines(
    columns: Sequence[str] | None, rows: Iterable[tuple[bytes | None, str]], delimiter: str
) -> Iterator[bytes]:
    """A reject file: the input's format with the reason added, so that it is a valid next input once mended.

    ``columns`` is the header of a table, None for NDJSON; ``rows`` are (original text, reason).
    """
    kept = [name for name in columns or () if name != _REASON]
    if columns is not None:
        yield _csv_line([*kept, _REASON], delimiter)
    for raw, reason in rows:
        if columns is None:
            yield _with_reason(raw or b"{}", reason)
            continue
        for row in csv.reader(io.StringIO((raw or b"").decode()), delimiter=delimiter):
            fields = dict(zip(columns, row, strict=False))
            yield _csv_line([*(fields.get(name, "") for name in kept), reason], delimiter)


def _csv_line(row: Sequence[str], delimiter: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def _with_reason(raw: bytes, reason: str) -> bytes:
    """The line with the reason in front, when it is an object; a broken line stays as it is, to be mended."""
    try:
        document = msgspec.json.Decoder(float_hook=Decimal).decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return raw + b"\n"
    if not isinstance(document, dict):
        return raw + b"\n"
    return encode({**document, _REASON: reason}) + b"\n"
