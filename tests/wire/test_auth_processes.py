"""Several processes on one token store, and processes that are killed; ``benchmarks.credentials`` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import credentials


@pytest.mark.untraced
def test_four_processes_that_see_one_expiry_refresh_once(tmp_path: Path) -> None:
    with credentials.setup(tmp_path) as here:
        assert credentials.expiries(here, rounds=8) == [1] * 8


@pytest.mark.untraced
def test_whatever_a_killed_process_leaves_behind_the_store_can_be_used(tmp_path: Path) -> None:
    with credentials.setup(tmp_path) as here:
        seen = credentials.kills(here, 6, random.Random(3))
    assert (seen["kills"], seen["unusable"]) == (6, 0)
