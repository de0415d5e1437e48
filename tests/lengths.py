"""Short and long forms of one promise: `make test` runs the short ones, `make long` the long ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def long(*values: Any) -> Any:
    """One set of parameters of a test that belongs to the long runs."""
    return pytest.param(*values, marks=pytest.mark.long)


def short_of(values: Iterable[Any], short: Collection[Any]) -> list[Any]:
    """Parameters of which all but the short ones belong to the long runs."""
    return [value if value in short else long(value) for value in values]
