"""The destination of dlt creates each document once, however often dlt loads; needs dlt, which is installed for docs."""

from __future__ import annotations

from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from example_jobs import run_job
from hl_async.sync import HighLevel
from hl_async.testing.serving import served

pytestmark = pytest.mark.skipif(find_spec("dlt") is None, reason="needs dlt")

EXAMPLE = Path(__file__).parents[2] / "examples" / "dlt_destination.py"


@pytest.mark.long  # dlt itself takes seconds
def test_what_dlt_loads_twice_is_created_once(tmp_path: Path) -> None:
    with served() as box, HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        for _ in range(2):
            assert "done: 2 created, 0 rejected" in run_job(EXAMPLE, box, tmp_path)
        found = list(hl.location().estimates.list())
    assert sorted(one.total or 0 for one in found) == [Decimal("149.95"), Decimal(9400)]
