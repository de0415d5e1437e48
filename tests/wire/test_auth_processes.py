"""Several processes on one token store, and processes that are killed; ``benchmarks.credentials`` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import credentials
from lengths import long


@pytest.mark.parametrize("rounds", [3, long(8)])
@pytest.mark.untraced
def test_four_processes_that_see_one_expiry_refresh_once(tmp_path: Path, rounds: int) -> None:
    with credentials.setup(tmp_path) as here:
        assert credentials.expiries(here, rounds=rounds) == [1] * rounds


@pytest.mark.parametrize("kills", [2, long(6)])
@pytest.mark.untraced
def test_whatever_a_killed_process_leaves_behind_the_store_can_be_used(tmp_path: Path, kills: int) -> None:
    with credentials.setup(tmp_path) as here:
        seen = credentials.kills(here, kills, random.Random(3))
    assert (seen["kills"], seen["unusable"]) == (kills, 0)
