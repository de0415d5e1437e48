"""``llms.txt`` names only what exists, and all operations of a location."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from hl_async import OPERATIONS, HighLevel, Location, PrivateToken

TEXT = (Path(__file__).parents[2] / "llms.txt").read_text("utf-8")
LINES = {
    home: re.findall(r"`(\w+)`", names)
    for home, names in re.findall(r"^- `([\w.]+)`: (.*)$", TEXT, re.MULTILINE)
}


@pytest.mark.parametrize("home", LINES)
def test_every_name_exists(home: str) -> None:
    if home.partition(".")[0] == "shop":
        shop: Location = HighLevel(PrivateToken("pit-x")).location("L1")
        place: object = getattr(shop, home.removeprefix("shop.")) if home != "shop" else shop
    else:
        place = importlib.import_module(home)
    for name in LINES[home]:
        assert hasattr(place, name), f"{home} has no {name}"


def test_every_operation_of_a_location_is_named() -> None:
    for row in OPERATIONS.values():
        resource, _, method = row.at.partition(".")
        if resource == "location":
            assert method in LINES["shop"], row.at
        elif resource not in ("oauth", "agency"):
            assert method in LINES[f"shop.{resource}"], row.at


def test_every_page_exists() -> None:
    for page in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (Path(__file__).parents[2] / page).exists(), page
