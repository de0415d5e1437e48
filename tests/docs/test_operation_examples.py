"""The reference shows every operation with its route, a statement that ran, and an answer that came."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hl_async.operations import OPERATIONS, Replay

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import operation_examples
import operation_walk

from hl_async import HighLevel
from hl_async.sandbox import Sandbox


async def test_the_walk_calls_every_operation_once_with_success(box: Sandbox, hl: HighLevel) -> None:
    await operation_walk.walk(hl, box)
    assert [(one.operation, one.status) for one in box.requests if one.status >= 300] == []
    assert {one.operation for one in box.requests} == set(OPERATIONS)


def test_every_operation_has_an_example() -> None:
    assert set(operation_examples.statements()) == {row.at for row in OPERATIONS.values()}


@pytest.mark.parametrize(
    ("documented", "operation"),
    [
        ("hl_async.resources.estimates.Estimates.create", "estimates.create"),
        ("hl_async.resources.oauth.OAuth.token", "oauth.token"),
        ("hl_async.client.Location.details", "location.details"),
        ("hl_async.client.HighLevel.locations", "agency.locations"),
        ("hl_async.client.HighLevel.aclose", None),
        ("hl_async.resources.estimates.Estimates.patch", None),
    ],
)
def test_a_coroutine_is_known_by_its_full_name(documented: str, operation: str | None) -> None:
    row = operation_examples.row_of(documented)
    assert (row and row.at) == operation


def test_what_is_shown_says_route_scope_and_what_repeating_does() -> None:
    row = OPERATIONS["create-new-estimate"]
    example = operation_examples.Example("await shop.estimates.create(draft)", '{"name": "K"}', "")
    shown = "\n".join(operation_examples.lines_of(row, example))
    assert "``POST /invoices/estimate`` · scope ``invoices/estimate.write`` · never sent twice" in shown
    assert row.replay is Replay.UNSAFE
    assert "   await shop.estimates.create(draft)" in shown
    assert "<summary>Request body</summary>" in shown
    assert "<summary>Answer</summary>" not in shown
