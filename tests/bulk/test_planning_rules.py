"""Rules of the client that are switched off by name hold in plans too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hl_async.bulk import Reject, SourceItem, read_source
from hl_async.bulk.sources.planning_rules import planning_context

LONG = "A kitchen with a name of more than forty characters"


def planned(folder: Path) -> SourceItem | Reject:
    body = {
        "name": LONG, "title": "Quote", "currency": "USD", "expiryDate": "2040-01-01", "sourceId": "d1",
        "contactDetails": {"id": "c", "name": "Alex"},
        "items": [{"name": "Door", "currency": "USD", "amount": 1, "qty": 1}],
    }  # fmt: skip
    path = folder / "a.ndjson"
    path.write_text(json.dumps(body) + "\n")
    (found,) = read_source(path, None)
    return found


def test_a_rule_that_is_off_refuses_no_document_of_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planning_context.cache_clear()
    refused = planned(tmp_path)
    assert isinstance(refused, Reject)
    assert "name_at_most_40" in refused.reason
    monkeypatch.setenv("HL_RULES_OFF", "name_at_most_40")
    planning_context.cache_clear()
    try:
        assert isinstance(planned(tmp_path), SourceItem)
    finally:
        planning_context.cache_clear()
