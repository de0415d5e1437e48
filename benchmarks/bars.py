"""The bars that the measurements have to hold, what was measured, and the one table of both."""

from __future__ import annotations

import dataclasses
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_PACKAGES = ("aiohttp", "msgspec", "httpx", "pydantic", "orjson", "uvloop", "gohighlevel-api-client")


@dataclasses.dataclass(frozen=True)
class Row:
    """One promise. ``noise`` is how far the measurement may be off by chance, in its own unit."""

    what: str
    measured: float
    bar: float
    unit: str = "x"
    at_least: bool = False
    noise: float = 0.0

    @property
    def held(self) -> bool:
        """Whether the bar is held, or missed by no more than noise."""
        if self.at_least:
            return self.measured + self.noise >= self.bar
        return self.measured - self.noise <= self.bar

    @property
    def verdict(self) -> str:
        """held, within noise, or MISSED."""
        if not self.held:
            return "MISSED"
        plain = self.measured >= self.bar if self.at_least else self.measured <= self.bar
        return "held" if plain else "within noise"

    def cells(self) -> tuple[str, str, str, str]:
        """The row as text."""
        sign = "≥" if self.at_least else "≤"
        spread = f" ± {_number(self.noise)}" if self.noise else ""
        return (
            self.what,
            f"{sign} {_number(self.bar)} {self.unit}",
            f"{_number(self.measured)}{spread} {self.unit}",
            self.verdict,
        )


TABLE: list[Row] = []
"""What this process has measured so far."""


def note(row: Row) -> bool:
    """Put a row into the table; whether its bar is held."""
    TABLE.append(row)
    return row.held


def of_ratios(ratios: Sequence[float]) -> tuple[float, float]:
    """The median of ratios measured side by side, and twice its standard error (from the quartiles)."""
    middle = statistics.median(ratios)
    if len(ratios) < 4:
        return middle, 0.1 * middle
    low, _, high = statistics.quantiles(ratios, n=4)
    return middle, 2 * 1.2533 * (high - low) / 1.349 / len(ratios) ** 0.5


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def table() -> str:
    """All rows, in Markdown."""
    lines = ["| what | bar | measured | |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in TABLE]
    return "\n".join(lines)


def machine() -> str:
    """Processor, memory, system and versions, without a name of the machine."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next(
        (int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0.0
    )
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores of {model}, {memory:.0f} GiB, {platform.system()}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
