"""Runs a script of the examples as a nightly job does: in a process of its own, against a sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hl_async.sandbox import Sandbox


def run_job(script: Path, box: Sandbox, folder: Path) -> str:
    """Run ``script`` in ``folder`` with the sandbox's account. Return what it printed; a failure fails the test."""
    settings = {
        "HL_TOKEN": box.token,
        "HL_BASE_URL": box.url,
        "HL_LOCATION_ID": box.location_id,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(folder / "dlt"),
    }
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
