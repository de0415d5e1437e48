"""Several processes, the fault mix and SIGKILLs; ``benchmarks.once`` is the long form."""

from __future__ import annotations

import pytest

from benchmarks import once
from lengths import long


@pytest.mark.untraced
@pytest.mark.parametrize("duplicates", [True, long(False)])
def test_processes_make_one_contact_per_person_and_change_no_known_one(duplicates: bool) -> None:
    seen = once.contacts(40, 12, 4, 2, seed=5, duplicates=duplicates, lagging=False)
    assert (seen["contacts"], seen["people"], seen["changed"]) == (12, 12, 0)
    assert not {"GAVE UP", "CRASHED"} & set(seen["tally"])


@pytest.mark.parametrize(("keys", "kills"), [(10, 1), long(24, 3)])
@pytest.mark.untraced
def test_two_processes_that_are_killed_make_one_estimate_per_key(keys: int, kills: int) -> None:
    seen = once.estimates(keys, kills, seed=5)
    assert (seen["estimates"], seen["keys"], seen["answered"], seen["disagree"]) == (keys, keys, keys, 0)
    assert not {"GAVE UP", "CRASHED"} & set(seen["tally"])
