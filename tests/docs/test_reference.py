"""The reference shows every public name: pages are made from docstrings, and what they leave out would be missed by nobody."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import hl_async
import hl_async.bulk
import hl_async.bulk.engine
import hl_async.bulk.workers
import hl_async.changes
import hl_async.errors
import hl_async.models
import hl_async.reports
import hl_async.sync
import hl_async.telemetry
import hl_async.webhooks
from hl_async.operations import NEIGHBOURS

ROOT = Path(__file__).parents[2]
REFERENCE = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "docs/reference").rglob("*.md")))


def _shown() -> set[int]:
    found = set()
    for path in re.findall(r"auto(?:class|function):: ([\w.]+)", REFERENCE):
        module, _, name = path.rpartition(".")
        found.add(id(getattr(importlib.import_module(module), name)))
    for path, options in re.findall(r"automodule:: ([\w.]+)\n((?:   :.*\n)*)", REFERENCE):
        module = importlib.import_module(path)
        foreign = ":imported-members:" in options
        names = getattr(module, "__all__", None) or list(vars(module))
        values = [getattr(module, name) for name in names]
        found |= {id(value) for value in values if foreign or is_of(value, path)}
    for room in re.findall(r"^<models: (\w+)>$", REFERENCE, re.MULTILINE):  # expanded by docs/conf.py
        home = hl_async.webhooks if room == "webhooks" else hl_async.models
        values = [getattr(home, name) for name in home.__all__]
        found |= {id(value) for value in values if is_of(value, f"hl_async.models.{room}")}
    return found


def is_of(value: object, module: str) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module


SHOWN = _shown()
PLACES = (
    hl_async,
    hl_async.bulk,
    hl_async.bulk.engine,
    hl_async.errors,
    hl_async.models,
    hl_async.telemetry,
    hl_async.webhooks,
    hl_async.bulk.workers,
    hl_async.changes,
    hl_async.reports,
    hl_async.sync,
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_every_public_name_is_in_the_reference(place: object) -> None:
    names = getattr(place, "__all__", None) or [n for n in vars(place) if n[0].isupper()]
    for name in names:
        value = getattr(place, name)
        if callable(value) and str(getattr(value, "__module__", "")).startswith("hl_async"):
            assert id(value) in SHOWN, name


def test_every_public_name_says_what_it_is() -> None:
    for place in PLACES:
        for name in getattr(place, "__all__", ()):
            value = getattr(place, name)
            if isinstance(value, type):
                assert value.__doc__, f"{place.__name__}.{name} has no docstring"


def test_the_table_of_neighbours_says_what_their_rows_say() -> None:
    repeating = {"safe": "reads only", "idempotent": "the same as once", "unsafe": "twice the effect"}
    homes = {"location.details": "shop.details", "agency.locations": "hl.locations"}
    for row in NEIGHBOURS:
        line = (
            f"| `{homes.get(row.at, f'shop.{row.at}')}` | `{row.method} {row.path}` | `{row.scope}` "
            f"| {repeating[row.replay.value]} |"
        )
        assert line in REFERENCE


def test_every_field_of_a_model_has_a_sentence_and_no_sentence_lost_its_field() -> None:
    sentences = tomllib.loads((ROOT / "docs/fields.toml").read_text("utf-8"))
    fields = {
        f"{name}.{field}"
        for name in hl_async.models.__all__
        if hasattr(model := getattr(hl_async.models, name), "__struct_fields__")
        for field in model.__struct_fields__
    }
    names = {one.partition(".")[2] for one in fields}
    # An event lists what its envelope does not have, so only these need a sentence of their own.
    fields |= {
        f"{name}.{field}"
        for name in hl_async.webhooks.__all__
        if hasattr(event := getattr(hl_async.webhooks, name), "__struct_fields__")
        for field in inspect.get_annotations(event)
    }
    assert {one for one in fields if not {one, one.partition(".")[2]} & set(sentences)} == set()
    assert {one for one in sentences if one not in names and one not in fields} == set()
    assert [text for text in sentences.values() if not text.endswith(".")] == []
