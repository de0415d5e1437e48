"""The source for dlt runs night after night, against a sandbox over real sockets; needs dlt, which is installed for docs."""

from __future__ import annotations

from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import samples
from example_jobs import run_job
from hl_async.sandbox import Sandbox
from hl_async.sync import HighLevel
from hl_async.testing.serving import served

pytestmark = pytest.mark.skipif(not (find_spec("dlt") and find_spec("duckdb")), reason="needs dlt and duckdb")

EXAMPLE = Path(__file__).parents[2] / "examples" / "dlt_source.py"


def night(box: Sandbox, folder: Path) -> None:
    """Run the example as a nightly job does."""
    assert "no failed jobs" in run_job(EXAMPLE, box, folder)


def asked(folder: Path, query: str) -> list[Any]:
    import duckdb

    with duckdb.connect(str(folder / "highlevel.duckdb"), read_only=True) as connection:
        found: list[Any] = connection.execute(query).fetchall()
        return found


@pytest.mark.long  # dlt itself takes seconds
def test_a_second_night_loads_what_changed_and_nothing_twice(tmp_path: Path) -> None:
    with served() as box, HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        shop = hl.location()
        kept, changed = (shop.estimates.create(samples.estimate()) for _ in range(2))
        shop.invoices.create(samples.invoice())
        night(box, tmp_path)
        total = "select sum(total), count(*), count(distinct id) from crm.estimates"
        assert asked(tmp_path, total) == [(Decimal("59.94"), 2, 2)]
        two = [samples.line(qty=Decimal(1)), samples.line(qty=Decimal(2))]
        shop.estimates.patch(changed.id, items=two, terms_notes="now in two lines")
        new = shop.estimates.create(samples.estimate())
        night(box, tmp_path)
        assert asked(tmp_path, total) == [(Decimal("89.91"), 3, 3)]
        lines = "select id, count(*) from crm.estimates_lines group by id"
        assert dict(asked(tmp_path, lines)) == {kept.id: 1, changed.id: 2, new.id: 1}
        one = [samples.line(qty=Decimal(7))]
        shop.estimates.patch(changed.id, items=one)
        night(box, tmp_path)
        assert dict(asked(tmp_path, lines)) == {kept.id: 1, changed.id: 1, new.id: 1}
        assert asked(tmp_path, "select count(*), sum(amount_due) from crm.invoices") == [
            (1, Decimal("29.97"))
        ]
