"""References from the code to the facts about the API."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANCHOR = re.compile(r"^\((api-[\w-]+)\)=$", re.MULTILINE)
REFERENCE = re.compile(r"docs/api-facts\.md#([\w-]+)")


def _sources() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (ROOT / "hl_async").rglob("*.py")
    }


def test_every_reference_to_a_fact_has_its_anchor() -> None:
    anchors = set(ANCHOR.findall((ROOT / "docs" / "api-facts.md").read_text("utf-8")))
    missing = {
        (name, anchor)
        for name, text in _sources().items()
        for anchor in REFERENCE.findall(text)
        if anchor not in anchors
    }
    assert not missing


def test_no_anchor_is_given_twice() -> None:
    anchors = ANCHOR.findall((ROOT / "docs" / "api-facts.md").read_text("utf-8"))
    assert len(anchors) == len(set(anchors))


def test_the_package_names_no_fact_sheet_outside_the_repository() -> None:
    assert [name for name, text in _sources().items() if re.search(r"(?<![\w-])API\.md", text)] == []
