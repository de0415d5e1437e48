"""What the package says about itself; ``.ci/packages`` proves it on built wheels."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import hl_async

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = ("dev", "bench", "docs")


def test_every_dependency_of_the_product_has_a_lowest_version() -> None:
    lists = [PROJECT["dependencies"]]
    lists += [lines for name, lines in PROJECT["optional-dependencies"].items() if name not in OURS]
    for line in (line for lines in lists for line in lines):
        assert ">=" in line or line.startswith("hl-async["), line


def test_the_extra_all_names_extras_of_the_product() -> None:
    named = set(re.findall(r"[\w-]+", PROJECT["optional-dependencies"]["all"][0].partition("[")[2]))
    assert named
    assert named <= set(PROJECT["optional-dependencies"]) - {*OURS, "all"}


def test_every_address_of_the_project_is_one_that_its_documentation_cites() -> None:
    """An address that nobody checked would lead the readers of an index page nowhere."""
    facts = (ROOT / "docs/api-facts.md").read_text("utf-8")
    assert PROJECT["urls"]
    for label, address in PROJECT["urls"].items():
        assert address in facts, label


def test_types_are_shipped() -> None:
    assert (Path(hl_async.__file__).parent / "py.typed").exists()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_constraints_pin_exactly_and_name_no_place() -> None:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:]:
        assert re.fullmatch(r"[\w.-]+==[\w.+]+", line), line


def test_the_newest_aiohttp_that_we_know_of_takes_the_fast_path() -> None:
    """A newer one is delegated to until it was tested: a release has to follow it."""
    from importlib.metadata import version

    from hl_async.transport.fast_path import KNOWN

    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    (pinned,) = [line.partition("==")[2] for line in lines if line.startswith("aiohttp==")]
    for one in (pinned, version("aiohttp")):
        assert one.startswith(KNOWN), f"aiohttp {one} is not in KNOWN of hl_async/transport/fast_path.py"
