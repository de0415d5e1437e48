"""Internal. Reject files: the documents that a run left out, with the reasons.

A reject file has the format of the run's input. Once corrected, it is a valid next input.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from hl_async.models.codec import encode

REASON: Final = "reject_reason"
"""The column of a table, or the key of a JSON document, that tells the reason; ignored in an input."""

MAX_FIELD: Final = 10 * 1024 * 1024
"""The longest field of a table and the longest line of NDJSON, in bytes."""


def reject_lines(
    columns: Sequence[str] | None,
    rows: Iterable[tuple[bytes | None, str]],
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> Iterator[bytes]:
    """Yield the lines of a reject file.

    ``columns`` is the header of a table, None for NDJSON; ``rows`` are (original text, reason). A table is written in
    the ``encoding`` of its mapping, so that the same mapping reads it. A line with too few or too many fields keeps
    exactly those: it stays a reject until it is corrected. A line that is not JSON stays as it is, without a reason.
    """
    if columns is None:
        for raw, reason in rows:
            yield _with_reason(raw or b"{}", reason)
        return
    csv.field_size_limit(MAX_FIELD)
    # one encoder for the whole file: UTF-16 begins with one byte order mark, not with one per line
    encoder = codecs.getincrementalencoder(encoding)(errors="backslashreplace")
    # a reject file that is migrated again has the column already
    kept = [name for name in columns if name != REASON]
    yield encoder.encode(table_text([[*kept, REASON]], delimiter))
    for raw, reason in rows:
        text = io.StringIO((raw or b"").decode(), newline="")
        for row in csv.reader(text, delimiter=delimiter or ","):
            yield encoder.encode(table_text([[*_without_reason(row, columns), reason]], delimiter))


def _without_reason(row: list[str], columns: Sequence[str]) -> list[str]:
    """Return the row without an earlier reason."""
    # the first run of a file
    if REASON not in columns:
        return row
    if len(row) == len(columns):
        return [field for name, field in zip(columns, row, strict=True) if name != REASON]
    # a row that does not fit the header has the reason last, where we write it
    return row[:-1] if columns[-1] == REASON else row


def table_text(rows: Iterable[Sequence[str]], delimiter: str) -> str:
    """Return rows as CSV that reads back the same, even carriage returns in fields."""
    delimiter = delimiter or ","
    return "".join([_row_text(row, delimiter) for row in rows])


def _row_text(row: Sequence[str], delimiter: str) -> str:
    plain = delimiter.join(row)
    if (
        plain
        and plain.count(delimiter) == len(row) - 1
        and not ('"' in plain or "\n" in plain or "\r" in plain)
    ):
        return f"{plain}\n"
    text = io.StringIO(newline="")
    # csv quotes the characters of its own line end only
    quoting: Any = csv.QUOTE_ALL if "\r" in plain else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerow(row)
    return text.getvalue()


def _with_reason(raw: bytes, reason: str) -> bytes:
    """Return the line with the reason in its object. A broken line stays as it is."""
    try:
        document = msgspec.json.Decoder(float_hook=Decimal).decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return raw + b"\n"
    if not isinstance(document, dict):
        return raw + b"\n"
    return encode({**document, REASON: reason}) + b"\n"
