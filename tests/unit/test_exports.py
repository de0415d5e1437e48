"""The public names: what is promised, and what importing them costs."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hl_async
import hl_async.testing
from hl_async import models


def test_every_public_name_is_there() -> None:
    assert set(hl_async.__all__) <= set(dir(hl_async))
    for name in hl_async.__all__:
        assert getattr(hl_async, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        hl_async.nonsense  # noqa: B018


def test_the_tools_that_testing_names_can_be_imported() -> None:
    named = re.findall(r"``(\w+)``", hl_async.testing.__doc__ or "")
    assert "deliveries" in named
    for name in named:
        importlib.import_module(f"hl_async.testing.{name}")


@pytest.mark.parametrize(
    "module", ["hl_async", "hl_async.models", "hl_async.errors", "hl_async.cli.app", "hl_async.operations"]
)
@pytest.mark.untraced
def test_importing_what_needs_no_http_imports_no_http_library(module: str) -> None:
    code = f"import sys, {module}; sys.exit(int('aiohttp' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_models_say_what_they_export() -> None:
    assert sorted(models.__all__) == sorted(set(models.__all__))
    assert {"EstimateDraft", "Invoice", "LineItem"} <= set(models.__all__)


@pytest.mark.parametrize(
    "package", ["hl_async", "hl_async.auth", "hl_async.governor.shared", "hl_async.transport"]
)
def test_type_checkers_see_the_names_that_load_lazily(package: str) -> None:
    module = importlib.import_module(package)
    stub = ast.parse(Path(str(module.__file__)).with_suffix(".pyi").read_text("utf-8"))
    declared = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert set(declared) == set(module.__all__) <= set(dir(module))
    for name, home in declared.items():
        owner, _, original = home.rpartition(".")
        assert getattr(module, name) is getattr(importlib.import_module(owner), original)
