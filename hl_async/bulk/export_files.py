"""Internal. Files and streams of an export, as whole documents or flat rows.

A file is collected in ``FILE.part``, one document per line as the API sent it, for every form. A part can therefore
be resumed in any form, and a torn last line is the only damage a crash leaves. At the end ``FILE.new`` is written,
the part removed and ``FILE`` replaced, in this order. A part that outlived its file would be resumed the next day, with
old documents.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

import msgspec

from hl_async.errors import DecodeError, InvalidRequest, SourceError
from hl_async.models import Estimate, Invoice, to_rows
from hl_async.models.codec import decoder, encode
from hl_async.models.rows import columns_of
from hl_async.storage.private_files import create_private, open_private

Form = Literal["ndjson", "csv", "parquet"]
FORMS: Final[tuple[Form, ...]] = ("ndjson", "csv", "parquet")
FORM_OF_ENDING: Final[dict[str, Form]] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".parquet": "parquet",
}

Per = Literal["document", "line"]

PART_LIFE: Final = 24 * 3600.0
"""Seconds after which an unfinished export starts again, because its documents are old."""

_BATCH: Final = 1_000
# DuckDB's widest decimal has 38 digits, so 28 are left before the point.
_DECIMALS: Final = 10
_PARQUET_TYPES: Final[dict[type, str]] = {
    str: "VARCHAR",
    Decimal: f"DECIMAL(38, {_DECIMALS})",
    date: "DATE",
    datetime: "TIMESTAMPTZ",
    int: "BIGINT",
    bool: "BOOLEAN",
}
# A file without line ends is not read whole, only to be refused.
_LONGEST_LINE: Final = 10 * 1024 * 1024

_estimate: Final = decoder(Estimate)
_invoice: Final = decoder(Invoice)
_raw: Final = msgspec.json.Decoder(float_hook=Decimal)

Raw = dict[str, Any]


class ExportForm(msgspec.Struct, frozen=True):
    """The form of an export and the documents it holds.

    Attributes:
        kind: ``estimates`` or ``invoices``.
        form: Whole documents as lines of JSON, or flat rows as CSV or Parquet.
        per: A row per document, or per line.
        since: Only documents that were updated at this moment or later; None for all.
    """

    kind: str
    form: Form
    per: Per = "document"
    since: datetime | None = None

    def holds(self, document: Raw) -> bool:
        """Return whether the document is written. One whose last update is unknown is."""
        if self.since is None:
            return True
        try:
            updated = datetime.fromisoformat(str(document.get("updatedAt")))
        except ValueError:
            return True
        return updated.tzinfo is None or updated >= self.since

    def rows(self, document: Raw) -> Iterator[dict[str, Any]]:
        """Return the flat rows of a document. A field that cannot be read is empty."""
        model = self._read(document)
        return to_rows([model], per=self.per)

    def header(self) -> list[str]:
        """Return the columns of a flat row."""
        return list(columns_of(self.per))

    def _read(self, document: Raw) -> Estimate | Invoice:
        decode = _estimate if self.kind == "estimates" else _invoice
        while True:
            try:
                return decode(encode(document))
            except DecodeError as error:
                # One odd field must not keep the rest of the document out of the export. The id is needed.
                broken = error.path.removeprefix("$.").partition(".")[0].partition("[")[0]
                if broken == "_id" or broken not in document:
                    raise
                document = {name: value for name, value in document.items() if name != broken}


class Sink(Protocol):
    """The target of an export. Blocking: its methods run in a thread."""

    def begin(self, *, refresh: bool) -> set[str]:
        """Return the ids of the documents that an interrupted export has already."""
        ...

    def append(self, documents: Sequence[Raw]) -> None:
        """Add documents."""
        ...

    def finish(self) -> int:
        """Complete the export and return how many documents it holds."""
        ...


class StreamSink:
    """A stream such as standard output."""

    def __init__(self, stream: BinaryIO, wanted: ExportForm) -> None:
        if wanted.form == "parquet":
            raise InvalidRequest("format", "parquet cannot go to a stream; give a FILE")
        self._stream = stream
        self._wanted = wanted
        self._written = 0

    def begin(self, *, refresh: bool) -> set[str]:
        """See :meth:`Sink.begin`; a stream has nothing to resume."""
        del refresh
        if self._wanted.form == "csv":
            self._stream.write(csv_bytes([self._wanted.header()]))
        return set()

    def append(self, documents: Sequence[Raw]) -> None:
        """See :meth:`Sink.append`."""
        held = [one for one in documents if self._wanted.holds(one)]
        self._written += len(held)
        self._stream.write(_lines(held, self._wanted))
        self._stream.flush()

    def finish(self) -> int:
        """See :meth:`Sink.finish`."""
        self._stream.flush()
        return self._written


class FileSink:
    """``FILE.part`` until every document is read, then ``FILE``; both are private.

    Raises:
        InvalidRequest: Parquet needs an extra that is not installed.
    """

    def __init__(self, path: Path, wanted: ExportForm) -> None:
        if wanted.form == "parquet":
            _duckdb()
        self._path = path
        self._wanted = wanted
        self._part = path.with_name(f"{path.name}.part")
        self._new = path.with_name(f"{path.name}.new")

    def begin(self, *, refresh: bool) -> set[str]:
        """See :meth:`Sink.begin`."""
        if not self._path.parent.is_dir():
            raise InvalidRequest("FILE", f"the folder {self._path.parent} does not exist")
        _check_own(self._path, self._wanted)
        if refresh or self._part_age() > PART_LIFE:
            self._part.unlink(missing_ok=True)
        if not self._part.exists():
            with open_private(self._part, "xb"):
                return set()
        ids, whole = set(), 0
        with self._part.open("rb") as file:
            for line in file:
                # A crash may have torn the last line. Its document is read again.
                if line.endswith(b"\n"):
                    ids.add(_id_of(line, self._part))
                    whole += len(line)
        os.truncate(self._part, whole)
        return ids

    def append(self, documents: Sequence[Raw]) -> None:
        """See :meth:`Sink.append`."""
        with open_private(self._part, "ab") as file:
            file.write(b"".join(encode(one) + b"\n" for one in documents))

    def finish(self) -> int:
        """See :meth:`Sink.finish`."""
        try:
            written = self._write_new()
        except (SourceError, DecodeError):
            # The part holds the document that failed. Resuming it would fail again, even after a correction.
            self._part.unlink()
            raise
        with self._new.open("rb") as file:
            # The new file must be on disk before the part goes, or a power cut could lose both.
            os.fsync(file.fileno())
        self._part.unlink()
        self._new.replace(self._path)
        return written

    def _write_new(self) -> int:
        self._new.unlink(missing_ok=True)
        if self._wanted.form == "parquet":
            return self._write_parquet()
        with open_private(self._new, "xb") as file:
            return self._write(file)

    def _write(self, file: Any) -> int:
        written = 0
        if self._wanted.form == "csv":
            file.write(csv_bytes([self._wanted.header()]))
        for documents in self._batches():
            file.write(_lines(documents, self._wanted))
            written += len(documents)
        return written

    def _write_parquet(self) -> int:
        # DuckDB writes Parquet from a file, so the rows are written first. They hold customers, so the file is
        # private.
        rows = self._path.with_name(f"{self._path.name}.rows")
        rows.unlink(missing_ok=True)
        written = 0
        try:
            with open_private(rows, "xb") as file:
                for documents in self._batches():
                    written += len(documents)
                    for one in documents:
                        file.writelines(encode(_exact_cells(row)) + b"\n" for row in self._wanted.rows(one))
            # With the setting in _to_parquet(), DuckDB writes into this file and keeps its mode.
            create_private(self._new)
            _to_parquet(rows, self._new, columns_of(self._wanted.per))
        finally:
            rows.unlink(missing_ok=True)
        return written

    def _batches(self) -> Iterator[list[Raw]]:
        """Yield the part's documents in batches, without those left out."""
        batch: list[Raw] = []
        with self._part.open("rb") as file:
            for line in file:
                document = _raw.decode(line)
                if self._wanted.holds(document):
                    batch.append(document)
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
        yield batch

    def _part_age(self) -> float:
        try:
            return time.time() - self._part.stat().st_mtime
        except FileNotFoundError:
            return 0.0


def csv_bytes(rows: Iterable[Iterable[object]]) -> bytes:
    """Return rows as CSV in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    # JSON may hold a lone surrogate, which strict UTF-8 refuses.
    return text.getvalue().encode("utf-8", "surrogatepass")


def _lines(documents: Sequence[Raw], wanted: ExportForm) -> bytes:
    if wanted.form == "ndjson":
        return b"".join(encode(one) + b"\n" for one in documents)
    return csv_bytes(
        [_cell(value) for value in row.values()] for one in documents for row in wanted.rows(one)
    )


def _cell(value: Any) -> str | None:
    """Return the text of a cell: exact amounts, ISO 8601 days and moments."""
    if value is None:
        return None
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def _exact_cells(row: dict[str, Any]) -> dict[str, str | None]:
    """Return a row's texts. Refuse an amount that the Parquet column would round."""
    for name, value in row.items():
        if isinstance(value, Decimal) and value != round(value, _DECIMALS):
            raise SourceError(
                f"{row['id']}: {name} {value} has more than {_DECIMALS} decimals; export it as csv"
            )
    return {name: _cell(value) for name, value in row.items()}


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise InvalidRequest("format", "parquet needs an extra: pip install 'hl-async[sql]'") from None
    return duckdb


def _to_parquet(rows: Path, target: Path, columns: dict[str, type]) -> None:
    """Turn a file of rows into Parquet, with the type of each column."""
    duckdb = _duckdb()
    texts = ", ".join(f"{name}: 'VARCHAR'" for name in columns)
    cells = ", ".join(f"CAST({name} AS {_PARQUET_TYPES[kind]}) AS {name}" for name, kind in columns.items())
    # By default DuckDB writes a temporary file, which others may read, and renames it over the private one.
    keep_mode = "USE_TMP_FILE false"
    source = f"read_json({_quoted(rows)}, format = 'newline_delimited', columns = {{{texts}}})"
    # Without the setting, DuckDB may download an extension from the network.
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 2})
    try:
        connection.execute(
            f"COPY (SELECT {cells} FROM {source}) TO {_quoted(target)} (FORMAT parquet, COMPRESSION zstd, {keep_mode})"  # noqa: S608
        )
    except duckdb.Error as error:
        problem = str(error).strip().splitlines()[0]
    else:
        return
    finally:
        connection.close()
    raise SourceError(f"{target}: {problem}")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _check_own(path: Path, wanted: ExportForm) -> None:
    """Refuse to replace a file that is not an export of this form."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size and not _is_own(path, wanted):
            raise SourceError(f"{path} exists and is not an export; choose another file")


def _is_own(path: Path, wanted: ExportForm) -> bool:
    if wanted.form == "parquet":
        return _parquet_columns(path)[:2] == wanted.header()[:2]
    with path.open("rb") as file:
        first = file.readline(_LONGEST_LINE)
    if wanted.form == "csv":
        return first.rstrip(b"\r\n").split(b",")[:2] == [name.encode() for name in wanted.header()[:2]]
    try:
        _id_of(first, path)
    except SourceError:
        return False
    return True


def _parquet_columns(path: Path) -> list[str]:
    duckdb = _duckdb()
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 1})
    try:
        found = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({_quoted(path)})")  # noqa: S608
        return [row[0] for row in found.fetchall()]
    except duckdb.Error:
        return []
    finally:
        connection.close()


def _id_of(line: bytes, path: Path) -> str:
    try:
        return str(_raw.decode(line)["_id"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        pass
    raise SourceError(f"{path} exists and is not an export; choose another file")
