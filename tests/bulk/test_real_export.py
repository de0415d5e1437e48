"""The real, dirty export, when it lies beside the repository: every document accounted for, to the cent, no refusal."""

from __future__ import annotations

import asyncio
import csv
import os
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from hl_async import HighLevel
from hl_async.bulk import LocationTarget, Mapping, Run, read_source
from hl_async.bulk.protocol import State
from hl_async.models.money import rounded
from hl_async.sandbox import Sandbox
from lengths import long

ROOT = Path(__file__).parents[2]
EXPORT = Path(os.environ.get("HL_SHARED", ROOT.parent / "shared")) / "data" / "online_retail_sample.csv"

pytestmark = pytest.mark.skipif(not EXPORT.exists(), reason="the real export is not here")


async def migrated(window: str, mapping: Mapping, path: Path) -> tuple[set[str], Decimal, Decimal]:
    """Source ids of what was created, its total in the sandbox, its total in the report."""
    async with (
        Sandbox(rate_max=1000, rate_interval=2.0, window=window) as box,
        HighLevel(box.token, base_url=box.url) as hl,
        await Run.create(path, fingerprint="real", location=box.location_id) as run,
    ):
        await run.plan(read_source(EXPORT, mapping))
        report = await run.execute(lambda one: LocationTarget(hl.location(one), run.operation, run.keys))
        assert report.created + report.rejected == report.source == 2093
        assert box.refused == 0
        assert len(box.ledger.estimates()) == report.created
        created = {row.source_id for row in await run.each(State.CREATED)}
        found = sum((one["total"] for one in box.ledger.estimates()), Decimal(0))
        return created, found, report.total_created["GBP"]


@pytest.mark.parametrize("window", ["fixed", long("sliding")])
@pytest.mark.untraced
def test_the_real_export_becomes_estimates_to_the_cent(window: str, tmp_path: Path) -> None:
    mapping = Mapping.load(ROOT / "examples" / "online_retail.toml")
    created, found, reported = asyncio.run(migrated(window, mapping, tmp_path / "run.db"))
    # the source's own sum, computed here from its lines under the written rounding rule
    sums: dict[str, Decimal] = defaultdict(Decimal)
    with EXPORT.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            sums[line["InvoiceNo"]] += rounded(Decimal(line["Quantity"]) * Decimal(line["UnitPrice"]), "GBP")
    assert sum((sums[one] for one in created), Decimal(0)) == found == reported
