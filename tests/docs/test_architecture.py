"""The architecture page leads to files that exist, and leaves no room out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "hl_async"
PAGE = (PACKAGE.parent / "docs/architecture.md").read_text("utf-8")
LISTING = re.search(r"```text\n(client\.py.*?)```", PAGE, re.DOTALL)
ROOMS = {line.split()[0].rstrip("/") for line in (LISTING[1] if LISTING else "").splitlines()}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAGE)) - {"hl_async/"}))
def test_every_path_on_the_page_exists(path: str) -> None:
    assert (PACKAGE / path).exists()


def test_every_file_that_is_named_without_its_room_exists_once() -> None:
    for name in set(re.findall(r"`(\w+\.py)`", PAGE)):
        assert len(list(PACKAGE.rglob(name))) == 1, name


def test_the_listing_has_every_room_and_every_file_of_the_root() -> None:
    rooms = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    files = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "_version.py"}
    assert rooms | files == ROOMS
