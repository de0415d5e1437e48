"""Exports that repeat: whole documents or flat rows, all or what changed, in one step or not at all."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import samples
from hl_async import HighLevel
from hl_async.bulk.export import export, moment_of
from hl_async.bulk.export_files import PART_LIFE
from hl_async.cli.export import moment_in
from hl_async.errors import InvalidRequest, SourceError
from hl_async.models import to_rows
from hl_async.models.rows import DOCUMENT_COLUMNS, LINE_COLUMNS
from hl_async.sandbox import Sandbox


async def fill(hl: HighLevel, count: int = 3) -> list[str]:
    lines = [samples.line(), samples.line(name="Sink, steel", amount=Decimal("0.1"), qty=Decimal("2.5"))]
    return [
        (await hl.location().estimates.create(samples.estimate(name=f"Kitchen {n}\nfloor", items=lines))).id
        for n in range(count)
    ]


def dated(box: Sandbox, document_id: str, updated: str | None) -> None:
    (document,) = (one for one in box.ledger.estimates() if one["_id"] == document_id)
    document["updatedAt"] = updated


async def ids_of(hl: HighLevel, path: Path, **settings: Any) -> set[str]:
    await export(hl.location(), "estimates", path, form="csv", **settings)
    return {row["id"] for row in csv.DictReader(io.StringIO(path.read_text()))}


@pytest.mark.parametrize("per", ["document", "line"])
async def test_parquet_holds_the_rows_of_to_rows_with_types_and_to_the_cent(
    hl: HighLevel, tmp_path: Path, per: Any
) -> None:
    await fill(hl)
    path = tmp_path / "all.parquet"
    await export(hl.location(), "estimates", path, per=per)
    wanted = list(to_rows(await hl.location().estimates.list().collect(), per=per))
    frame = pl.read_parquet(path)
    assert frame.to_dicts() == wanted
    assert isinstance(frame["total"].dtype, pl.Decimal)
    assert frame["issue_date"].dtype == pl.Date
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["all.parquet"]


async def test_a_table_has_a_row_per_line_that_pandas_reads(hl: HighLevel, tmp_path: Path) -> None:
    await fill(hl)
    path = tmp_path / "lines.csv"
    found = await export(hl.location(), "estimates", path, per="line")
    assert found.documents == 3
    import pandas as pd

    frame = pd.read_csv(path, dtype=str)
    assert len(frame) == 6
    sums = sum(
        Decimal(qty) * Decimal(amount)
        for qty, amount in zip(frame["line_qty"], frame["line_amount"], strict=True)
    )
    assert sums == 3 * (Decimal("29.97") + Decimal("0.25"))
    assert list(frame.columns) == [*DOCUMENT_COLUMNS, *LINE_COLUMNS]


async def test_an_empty_location_is_a_table_without_rows(hl: HighLevel, tmp_path: Path) -> None:
    await export(hl.location(), "invoices", tmp_path / "none.parquet")
    frame = pl.read_parquet(tmp_path / "none.parquet")
    assert frame.height == 0
    assert frame.columns == list(DOCUMENT_COLUMNS)


async def test_only_what_was_updated_since_is_written_and_the_unknown_is(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    old, new, at, unknown, odd = await fill(hl, 5)
    dated(box, old, "2026-03-01T05:59:59.999Z")
    dated(box, at, "2026-03-01T06:00:00.000Z")
    dated(box, new, "2026-03-02T00:00:00.000Z")
    dated(box, unknown, None)
    dated(box, odd, "yesterday")
    path = tmp_path / "changed.csv"
    moment = datetime(2026, 3, 1, 6, tzinfo=UTC)
    assert await ids_of(hl, path, since=moment) == {new, at, unknown, odd}
    found = await export(hl.location(), "estimates", tmp_path / "c.ndjson", since=moment)
    assert (found.documents, found.unchanged) == (4, 1)
    box.ledger.places[box.location_id].zone = ZoneInfo("America/Chicago")
    assert await ids_of(hl, path, since=date(2026, 3, 1)) == {new, at, unknown, odd}
    assert await ids_of(hl, path, since=date(2026, 3, 2)) == {unknown, odd}
    assert len(await ids_of(hl, path)) == 5


def test_a_day_begins_at_the_location_and_without_its_zone_as_early_as_anywhere() -> None:
    day = date(2026, 3, 1)
    assert moment_of(day, "America/Chicago") == datetime(2026, 3, 1, 6, tzinfo=UTC)
    assert moment_of(day, None) == moment_of(day, "Mars/Olympus") == datetime(2026, 2, 28, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-28", date(2026, 11, 28)),
        ("2026-11-28T06:00:00Z", datetime(2026, 11, 28, 6, tzinfo=UTC)),
        ("24h", datetime(2026, 11, 28, 12, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 22, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_day_a_moment_or_so_long_ago(text: str, found: date) -> None:
    assert moment_in(text, datetime(2026, 11, 29, 12, tzinfo=UTC)) == found


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "24", "h", "-1d"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--since: .* is not a time; give 2026-11-28"):
        moment_in(text, datetime(2026, 11, 29, 12, tzinfo=UTC))


async def test_an_unfinished_export_is_resumed_for_a_day_and_then_read_again(
    hl: HighLevel, tmp_path: Path
) -> None:
    await fill(hl)
    path, part = tmp_path / "all.csv", tmp_path / "all.csv.part"
    stale = b'{"_id":"deleted since","name":"old","updatedAt":"2026-01-01T00:00:00Z"}\n'
    part.write_bytes(stale + b'{"_id":"torn')
    assert (await export(hl.location(), "estimates", path)).resumed == 1
    assert "deleted since" in path.read_text()
    part.write_bytes(stale)
    long_ago = time.time() - PART_LIFE - 60
    os.utime(part, (long_ago, long_ago))
    assert (await export(hl.location(), "estimates", path)).resumed == 0
    assert "deleted since" not in path.read_text()
    assert not part.exists()


async def test_a_field_that_cannot_be_read_is_unknown_in_rows_and_kept_in_documents(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    (odd,) = await fill(hl, 1)
    (document,) = box.ledger.estimates()
    document |= {"contactDetails": [1], "total": "many"}
    await export(hl.location(), "estimates", tmp_path / "all.csv")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text()))
    assert (row["id"], row["total"], row["contact_id"], row["currency"]) == (odd, "", "", "USD")
    await export(hl.location(), "estimates", tmp_path / "all.ndjson")
    assert '"total":"many"' in (tmp_path / "all.ndjson").read_text()


async def test_an_amount_that_parquet_would_round_is_refused_by_name_and_the_old_file_stays(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    await fill(hl, 1)
    path = tmp_path / "all.parquet"
    await export(hl.location(), "estimates", path)
    before = path.read_bytes()
    (document,) = box.ledger.estimates()
    document["total"] = Decimal("1.00000000001")
    with pytest.raises(SourceError, match="total 1.00000000001 has more than 10 decimals; export it as csv"):
        await export(hl.location(), "estimates", path)
    assert path.read_bytes() == before
    document["total"] = Decimal("1.0000000001")
    await export(hl.location(), "estimates", path)
    assert pl.read_parquet(path)["total"].to_list() == [Decimal("1.0000000001")]


async def test_a_list_that_never_comes_to_rest_is_said(box: Sandbox, hl: HighLevel, tmp_path: Path) -> None:
    await fill(hl, 1)
    template = box.ledger.estimates()[0]
    place = box.ledger.places[box.location_id]

    counts: set[int] = set()

    def grow(read: int) -> None:
        """Create a document for each that is read for the first time."""
        if read not in counts:
            counts.add(read)
            name = box.ledger.new_id()
            place.estimates[name] = template | {"_id": name}

    found = await export(hl.location(), "estimates", tmp_path / "all.csv", on_page=grow)
    assert not found.is_settled
    assert found.late > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"form": "xml"}, "unknown form 'xml'; choose ndjson, csv, parquet"),
        ({"per": "page"}, "'page' is not a kind of row"),
        ({"per": "line", "form": "ndjson"}, "a row per line needs csv or parquet"),
        ({"since": datetime(2026, 1, 1)}, "has no time zone"),
    ],
)
async def test_a_mistake_is_refused_before_any_request(
    box: Sandbox, hl: HighLevel, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        await export(hl.location(), "estimates", tmp_path / "all.csv", **settings)
    with pytest.raises(InvalidRequest, match="parquet cannot go to a stream"):
        await export(hl.location(), "estimates", io.BytesIO(), form="parquet")
    assert not box.requests


async def test_a_foreign_file_is_left_alone(hl: HighLevel, tmp_path: Path) -> None:
    await fill(hl, 1)
    for form in ("parquet", "csv", "ndjson"):
        path = tmp_path / f"other.{form}"
        path.write_text("name,total\nA,1\n")
        with pytest.raises(SourceError, match="is not an export"):
            await export(hl.location(), "estimates", path)
        assert path.read_text() == "name,total\nA,1\n"
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "mine.parquet")
    with pytest.raises(SourceError, match="is not an export"):
        await export(hl.location(), "estimates", tmp_path / "mine.parquet")


def test_parquet_without_its_extra_is_refused_with_the_extras_name(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['duckdb'] = None; from hl_async.cli.app import run;"
        f"sys.exit(run(['export', 'estimates', {str(tmp_path / 'all.parquet')!r}, '--base-url', 'http://127.0.0.1:9']))"
    )
    env = {**os.environ, "HL_TOKEN": "pit-x", "HL_LOCATION_ID": "L1"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"pip install 'hl-async[sql]'" in done.stderr


async def test_a_row_per_line_goes_to_a_stream_too(hl: HighLevel) -> None:
    await fill(hl, 2)
    stream = io.BytesIO()
    since = datetime.now(UTC) - timedelta(days=1)
    found = await export(hl.location(), "estimates", stream, form="csv", per="line", since=since)
    assert (found.documents, found.unchanged) == (2, 0)
    assert len(list(csv.DictReader(io.StringIO(stream.getvalue().decode())))) == 4
