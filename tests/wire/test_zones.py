"""Promise about dates on the wire: patch, copy, export, re-import and verify keep the day, wherever the location is."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import pytest

import samples
from hl_async import HighLevel, Location
from hl_async import operations as op
from hl_async.bulk import Run, read_source
from hl_async.bulk.export import copy_source, export
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.target import LocationTarget
from hl_async.errors import InvalidRequest
from hl_async.models import Estimate
from hl_async.sandbox import Sandbox
from lengths import short_of
from zones import TWO_READINGS, ZONES

# summer time begins or ends between the two days, north and south
FIRST, LAST = date(2026, 3, 5), date(2026, 10, 28)
UNUSUAL = {"America/St_Johns", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "Europe/London"}


async def days(shop: Location) -> list[tuple[date | None, date | None]]:
    return [(one.issue_date, one.expiry_date) async for one in shop.estimates.list()]


@pytest.mark.parametrize("zone", short_of(ZONES, {*TWO_READINGS, *UNUSUAL}))
async def test_every_way_of_a_document_keeps_its_days(zone: str, tmp_path: Path) -> None:
    async with Sandbox(timezone=zone, rate_max=10_000) as box, HighLevel(box.token, base_url=box.url) as hl:
        shop = hl.location(box.location_id)
        other = box.add_location()
        made = await shop.estimates.create(samples.estimate(issue_date=FIRST, expiry_date=LAST))
        assert (made.issue_date, made.expiry_date) == (FIRST, LAST)
        for number in range(2):
            changed = await shop.estimates.patch(made.id, terms_notes=f"note {number}")
            assert (changed.issue_date, changed.expiry_date) == (FIRST, LAST)
        invoice = await shop.invoices.create(samples.invoice(issue_date=FIRST, due_date=LAST))
        invoice = await shop.invoices.patch(invoice.id, terms_notes="note")
        assert (invoice.issue_date, invoice.due_date) == (FIRST, LAST)

        table, lines = tmp_path / "all.csv", tmp_path / "all.ndjson"
        for path in (table, lines):
            await export(shop, "estimates", path)
        (row,) = csv.DictReader(table.read_text().splitlines())
        assert (row["issue_date"], row["last_date"]) == (FIRST.isoformat(), LAST.isoformat())
        (again,) = read_source(lines, None)
        assert isinstance(again, SourceItem), again
        body = json.loads(again.body)
        assert (body["issueDate"], body["expiryDate"]) == (FIRST.isoformat(), LAST.isoformat())

        async with await Run.create(tmp_path / "copy.db", fingerprint="f", location=other) as run:
            await run.plan(copy_source(shop))
            await run.execute(
                lambda name: LocationTarget(hl.location(name), run.operation, run.keys), settle=0.1
            )
            report = await run.verify(hl)
        assert report.differences == []
        assert await days(hl.location(other, timezone=zone)) == [(FIRST, LAST)]


@pytest.mark.parametrize("zone", sorted(TWO_READINGS - {"America/Adak"}))
async def test_a_day_with_two_readings_is_asked_for_or_refused_and_never_shifted(zone: str) -> None:
    async with Sandbox(timezone=zone, rate_max=10_000) as box:
        async with HighLevel(box.token, base_url=box.url) as hl:
            made = await hl.location(box.location_id).estimates.create(
                samples.estimate(issue_date=date(2026, 1, 5), expiry_date=date(2026, 2, 5))
            )
        async with HighLevel(box.token, base_url=box.url) as hl:  # another process: it has seen nothing
            shop = hl.location(box.location_id)
            found = await shop.estimates.find(made.id)
            assert found is not None
            assert found.issue_date is None
            with pytest.raises(InvalidRequest, match="pass the location's time zone"):
                found.to_update()
            patched = await shop.estimates.patch(made.id, title="Second offer")  # asks for the zone
            assert (patched.issue_date, patched.expiry_date) == (date(2026, 1, 5), date(2026, 2, 5))
        async with HighLevel(box.token, base_url=box.url) as hl:
            told = hl.location(box.location_id, timezone=zone)
            assert await days(told) == [(date(2026, 1, 5), date(2026, 2, 5))]
            answer = await told._at.call(op.LIST_ESTIMATES, query={"limit": 1, "offset": 0})
            assert isinstance(answer.entries[0], Estimate)
            assert answer.entries[0].timezone == zone
