"""The destination of dlt creates each document once, however often dlt loads; needs dlt, which is installed for docs."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from hl_async.sandbox import Sandbox
from hl_async.sync import HighLevel
from hl_async.testing.serving import served

pytest.importorskip("dlt")

EXAMPLE = Path(__file__).parents[2] / "examples" / "dlt_destination.py"


def load(box: Sandbox, folder: Path) -> str:
    settings = {
        "HL_TOKEN": box.token,
        "HL_BASE_URL": box.url,
        "HL_LOCATION_ID": box.location_id,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(folder / "dlt"),
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.untraced
def test_what_dlt_loads_twice_is_created_once(tmp_path: Path) -> None:
    with served() as box, HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        for _ in range(2):
            assert "done: 2 created, 0 rejected" in load(box, tmp_path)
        found = list(hl.location().estimates.list())
    assert sorted(one.total or 0 for one in found) == [Decimal("149.95"), Decimal(9400)]
