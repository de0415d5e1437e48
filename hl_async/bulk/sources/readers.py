"""Internal. Streamed sources: tables with a mapping, and NDJSON without.

Every document is accounted for once. One that cannot become a request is a reject with the reason; its neighbours are
unaffected. A document is never made from a part of its rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hl_async.bulk.sources.compiler import compile_document
from hl_async.bulk.sources.document import Document, decode_document
from hl_async.bulk.sources.groups import RowGroup, RowGroups, scattered_keys
from hl_async.bulk.sources.locating import at_cell, line_of, named_cells, with_difference
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.names import with_fitting_names
from hl_async.bulk.sources.planning_rules import planning_context, planning_rules
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import MAX_FIELD, REASON, table_text
from hl_async.bulk.sources.row_reader import RowReader
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.tables import WORKBOOKS, TableStart, table_keys, table_rows, table_start
from hl_async.errors import HighLevelError, InvalidRequest, SourceError
from hl_async.models import Estimate, EstimateDraft, expected_total
from hl_async.models.codec import decoder, encode, encode_body
from hl_async.models.preparation import RequestContext, prepared
from hl_async.models.rules import RULE_NAMES

_estimate: Final = decoder(Estimate)
_json: Final = msgspec.json.Decoder(float_hook=Decimal).decode
NDJSON: Final = (".ndjson", ".jsonl")


class SourceFacts(msgspec.Struct):
    """The contents of a source, known once it has been read.

    Attributes:
        documents: Documents that can become requests.
        compared: Of these, how many state a total of their own, which equals ours.
        notes: Additions and conversions, with the number of documents.
        unused_money: Columns that look like money, are not used and are not all zero: rows, and the first value.
        contradictions: Figures about payments that do not fit together: documents, and the first of them.
    """

    documents: int = 0
    compared: int = 0
    notes: Counter[str] = msgspec.field(default_factory=Counter)
    unused_money: dict[str, tuple[int, str]] = {}
    contradictions: dict[str, tuple[int, str]] = {}

    def count(self, item: SourceItem) -> None:
        """Take one item into account."""
        self.documents += 1
        self.compared += item.is_compared
        # Once per document, however many of its lines were converted.
        for note in dict.fromkeys(item.notes):
            self.notes[note] += 1
        for what, figures in item.contradictions:
            count, first = self.contradictions.get(what, (0, f"{item.source_id}: {figures}"))
            self.contradictions[what] = (count + 1, first)

    @property
    def comparison(self) -> str:
        """What the totals were compared with, in words."""
        if not self.compared:
            return "equal to the plan (the source has no totals)"
        if self.compared == self.documents:
            return "equal to the source's totals"
        return f"equal to the source's totals in {self.compared:,} of {self.documents:,} documents"


class Reading(Iterator[SourceItem | Reject]):
    """The documents of a source, one after the other; ``facts`` fills up meanwhile."""

    def __init__(self, records: Iterable[SourceItem | Reject], facts: SourceFacts | None = None) -> None:
        self.facts: SourceFacts = facts or SourceFacts()
        self._records = iter(records)

    def __iter__(self) -> Reading:
        return self

    def __next__(self) -> SourceItem | Reject:
        record = next(self._records)
        if isinstance(record, SourceItem):
            self.facts.count(record)
        return record


def fingerprint(path: Path, *others: Path | None) -> str:
    """Return a source's identity: a hash of the file and of its mapping or query."""
    digest = hashlib.blake2b(digest_size=16)
    for one in (path, *others):
        if one is not None:
            try:
                with one.open("rb") as file:
                    while block := file.read(1 << 20):
                        digest.update(block)
            except OSError as error:
                problem = f"{one}: {error.strerror}"
            else:
                # A separator, so that bytes cannot move from one file to the next unnoticed.
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
    rules_off: Collection[str] | None = None,
) -> Reading:
    """Read every document of a file.

    Args:
        path: ``.ndjson`` and ``.jsonl`` hold documents; everything else is a table.
        mapping: How a table's columns become documents.
        today: The day that issue dates must not pass; now, in UTC.
        settings: Defaults of what the documents lack.
        rules_off: Rules of the client that are switched off; by default those of ``HL_RULES_OFF``.

    Returns:
        The documents of the source, or rejects with their reasons, in the source's order.

    Raises:
        SourceError: The file as a whole cannot be read; before the first document if possible.
    """
    latest = latest_day(today)
    context = planning_context(rules_off)
    if path.suffix.lower() in NDJSON:
        return Reading(read_ndjson(path, latest, settings or SourceSettings(), context))
    if mapping is None:
        raise SourceError(
            f"{path}: a table needs a mapping file (--map), a query (--sql) or a profile (--from); "
            "only .ndjson and .jsonl go without"
        )
    return read_table(path, mapping, latest, settings, context.rules)


def latest_day(today: date | None = None) -> date:
    """Return the last day that may be an issue date (`docs/api-facts.md#api-dates`)."""
    # a calendar is up to fourteen hours ahead of UTC: tomorrow may have come where the location is
    return (today or datetime.now(UTC).date()) + timedelta(days=1)


def header_of(path: Path, mapping: Mapping) -> list[str]:
    """Return a table's columns; raises SourceError if the mapping's are missing."""
    return _start(path, mapping, mapping.settings()).header


def _start(path: Path, mapping: Mapping, settings: SourceSettings) -> TableStart:
    wanted = mapping.columns()
    start = table_start(path, settings, wanted, search=False)
    mapping.check_columns(start.header)
    return start


# ------------------------------------------------------------------------------------------------ tables


def read_table(
    path: Path,
    mapping: Mapping,
    latest: date,
    settings: SourceSettings | None = None,
    rules: Collection[str] = RULE_NAMES,
) -> Reading:
    """Return a lazy reading of a table's documents, none issued after ``latest``."""
    # filled while the documents are read, so that a file of any size is read once
    facts = SourceFacts()
    return Reading(_table_records(path, mapping, latest, mapping.settings(settings), facts, rules), facts)


def _table_records(
    path: Path,
    mapping: Mapping,
    latest: date,
    settings: SourceSettings,
    facts: SourceFacts,
    rules: Collection[str],
) -> Iterator[SourceItem | Reject]:
    start = _start(path, mapping, settings)
    reader = RowReader(mapping, start.header, settings)
    column = start.header.index(mapping.document.group_by)
    is_book = path.suffix.lower() in WORKBOOKS
    groups = RowGroups(start.header, column, reader, pad=is_book, fill_down=settings.fill_down)
    watch = _watching(reader, facts)
    # a first pass over one column tells which documents cannot be streamed
    apart = scattered_keys(table_keys(path, settings, start, column))
    rows = (row for row in table_rows(path, settings, start.delimiter) if row.number > start.row)
    for group in groups.groups(rows, apart):
        if watch is not None:
            for row in group.lines:
                watch(row)
        yield _document(group, mapping, reader, latest, rules)


def first_records(
    path: Path, mapping: Mapping, count: int, settings: SourceSettings
) -> list[SourceItem | Reject]:
    """Return the documents of a table's first rows, without one that may be cut.

    Raises:
        SourceError: The file as a whole cannot be read.
    """
    settings = mapping.settings(settings)
    start = _start(path, mapping, settings)
    reader = RowReader(mapping, start.header, settings)
    after = (row for row in table_rows(path, settings, start.delimiter) if row.number > start.row)
    rows = list(islice(after, count))
    column = start.header.index(mapping.document.group_by)
    pad = path.suffix.lower() in WORKBOOKS
    groups = RowGroups(start.header, column, reader, pad=pad, fill_down=settings.fill_down)
    apart = scattered_keys(row.cells[column] if column < len(row.cells) else "" for row in rows)
    latest, rules = latest_day(), planning_context(None).rules
    found = [_document(one, mapping, reader, latest, rules) for one in groups.groups(rows, apart)]
    return found[:-1] if len(rows) == count and len(found) > 1 else found


def _watching(reader: RowReader, facts: SourceFacts) -> Callable[[list[str]], None] | None:
    """Return a watch for money in columns that the mapping leaves out, or None."""
    columns = reader.unused_money
    if not columns:
        return None

    def watch(row: list[str]) -> None:
        for name, index in columns:
            cell = row[index]
            if cell and cell != "0" and reader.is_money(cell):
                count, first = facts.unused_money.get(name, (0, cell))
                facts.unused_money[name] = (count + 1, first)

    return watch


def _document(
    group: RowGroup, mapping: Mapping, reader: RowReader, latest: date, rules: Collection[str]
) -> SourceItem | Reject:
    # A byte that was not readable stays visible in the reject file.
    raw = table_text(group.rows, mapping.source.delimiter).encode(errors="backslashreplace")
    if group.problem:
        return Reject(group.ordinal, group.key, group.problem, raw, group.place)
    if group.skipped:
        return Reject(group.ordinal, group.key, group.skipped, raw, group.place, skipped=True, by_rule=True)
    excluded = reader.excluded(group.lines)
    if excluded is not None:
        rule, skipped = excluded
        reason = rule.reason or f"{rule.column} matches {rule.matches}"
        return Reject(group.ordinal, group.key, reason, raw, group.place, skipped, by_rule=True)
    try:
        if not group.key.strip():
            raise InvalidRequest(mapping.document.group_by, "is empty: the lines belong to no document")
        return compile_document(
            reader.document(group.key, group.lines),
            reader.settings,
            ordinal=group.ordinal,
            latest=latest,
            place=group.place,
            raw=raw,
            business_name=reader.business(group.lines[0]),
            rules=rules,
        )
    except InvalidRequest as error:
        return Reject(group.ordinal, group.key, _located(error, group, reader), raw, group.place)


def _located(error: InvalidRequest, group: RowGroup, reader: RowReader) -> str:
    """Return the error with the row and the columns of the file that it speaks of."""
    columns = reader.columns_of(error.field)
    # a difference of totals is not the fault of one cell
    if error.problem.startswith("the source says"):
        return with_difference(error, named_cells(reader.header, group.lines))
    # names are composed of several cells
    if not columns or error.field in ("name", "title"):
        return str(error)
    line = line_of(error.field)
    index = line[0] if line is not None and line[0] < len(group.numbers) else 0
    return at_cell(group.numbers[index], columns, error.problem)


# ------------------------------------------------------------------------------------------------ documents


def read_documents(
    documents: Iterable[Document],
    settings: SourceSettings | None = None,
    *,
    today: date | None = None,
    rules_off: Collection[str] | None = None,
) -> Reading:
    """Turn documents made in Python into what a run plans.

    Args:
        documents: The documents, in order.
        settings: Defaults of what they lack.
        today: The day that issue dates must not pass; now, in UTC.
        rules_off: Rules of the client that are switched off; by default those of ``HL_RULES_OFF``.

    Returns:
        The documents of the source, or rejects with their reasons, in the source's order.
    """
    settings, latest, rules = settings or SourceSettings(), latest_day(today), planning_rules(rules_off)

    def records() -> Iterator[SourceItem | Reject]:
        for ordinal, one in enumerate(documents):
            place = f"document {ordinal + 1}"
            raw = encode(one)
            try:
                yield compile_document(
                    one, settings, ordinal=ordinal, latest=latest, place=place, raw=raw, rules=rules
                )
            except InvalidRequest as error:
                yield Reject(ordinal, one.source_id or place, str(error), raw, place)

    return Reading(records())


def read_ndjson(
    path: Path, latest: date, settings: SourceSettings, context: RequestContext
) -> Iterator[SourceItem | Reject]:
    """Yield an item or a reject for each line of documents or estimate bodies.

    A line with the key ``source_id`` is a :class:`~hl_async.bulk.sources.document.Document`. Any other object is an
    estimate body in the wire's spelling, or a document as the API answers it. ``sourceId`` names a body, else
    ``_id``, else its content. ``altId`` of a body names its location, by default the run's. Any other line is a
    reject with its number.
    """
    number = ordinal = 0
    try:
        with path.open("rb") as file:
            # the limit keeps a file without line ends out of the memory
            while line := file.readline(MAX_FIELD + 1):
                number += 1
                if len(line) > MAX_FIELD:
                    break
                text = line.strip().removeprefix(b"\xef\xbb\xbf")
                if text:
                    yield _ndjson_record(ordinal, number, text, latest, settings, context)
                    ordinal += 1
            else:
                return
        problem = f"{path}: line {number} is longer than {MAX_FIELD:,} bytes"
    except OSError as error:
        problem = f"{path}: {error.strerror}"
    raise SourceError(problem, line=number or None)


def _ndjson_record(
    ordinal: int, number: int, text: bytes, latest: date, settings: SourceSettings, context: RequestContext
) -> SourceItem | Reject:
    place = f"line {number}"
    source_id = ""
    try:
        document = _json(text)
        if not isinstance(document, dict):
            raise InvalidRequest(place, "is not a JSON object")
        # a body of the API has no key of this name
        if "source_id" in document:
            source_id = str(document["source_id"])
            kept = {name: value for name, value in document.items() if name != REASON}
            one = decode_document(text if len(kept) == len(document) else encode(kept))
            return compile_document(
                one, settings, ordinal=ordinal, latest=latest, place=place, raw=text, rules=context.rules
            )
        source_id = str(document.get("sourceId") or document.get("_id") or _content_key(text))
        draft, total = _draft_of(document, text)
        notes: list[str] = []
        draft = with_fitting_names(draft, context.rules, cut=settings.cut_names, notes=notes)
        # An answer of the API names the location that it came from, not the one to create in.
        location = "" if "_id" in document else str(document.get("altId") or "")
        item = _item(ordinal, source_id, draft, place, text, location, latest, context, total)
        return msgspec.structs.replace(item, notes=tuple(notes)) if notes else item
    except msgspec.ValidationError as error:
        reason = str(error)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason = f"{place} is not JSON: {error}"
    except HighLevelError as error:
        reason = str(error)
    return Reject(ordinal, source_id or place, reason, text, place)


def _item(
    ordinal: int,
    source_id: str,
    draft: EstimateDraft,
    place: str,
    raw: bytes,
    location: str,
    latest: date,
    context: RequestContext,
    total: Decimal | None = None,
) -> SourceItem:
    """Make the request, with the source's ``total`` or a computed one if possible."""
    if not draft.items:
        raise InvalidRequest("items", "is empty")
    if isinstance(draft.issue_date, date) and draft.issue_date > latest:
        raise InvalidRequest("issue_date", f"{draft.issue_date} is in the future, which the API refuses")
    # completed here, so that the journal holds the body that is sent
    draft = prepared(draft, context)
    if total is None:
        total = expected_total(draft)
    return SourceItem(
        ordinal, source_id, encode_body(draft, b""), (), location, total, draft.currency, place, raw
    )


_WIRE_FIELDS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(EstimateDraft))
_ENVELOPE: Final = frozenset(("altId", "altType", "sourceId", REASON))


def _draft_of(document: dict[str, Any], text: bytes) -> tuple[EstimateDraft, Decimal | None]:
    """Return the draft, and the API's total if the document is from the API."""
    if "_id" in document:
        estimate = _estimate(text)
        return draft_of_estimate(estimate), estimate.total
    unknown = sorted(set(document) - _WIRE_FIELDS - _ENVELOPE)
    if unknown:
        raise InvalidRequest(unknown[0], "is not a field of an estimate; put undeclared fields into extra")
    return msgspec.json.decode(text, type=EstimateDraft, strict=False), None


def draft_of_estimate(estimate: Estimate) -> EstimateDraft:
    """Return a draft that copies ``estimate``, without its number and status."""
    update = estimate.to_update()
    values = {name: getattr(update, name) for name in EstimateDraft.__struct_fields__}
    # The number belongs to the original: docs/api-facts.md#api-validation
    return EstimateDraft(**{**values, "estimate_number": UNSET})


def _content_key(text: bytes) -> str:
    # The same text is the same document, wherever it stands in the file.
    return "content:" + hashlib.blake2b(text, digest_size=12).hexdigest()
