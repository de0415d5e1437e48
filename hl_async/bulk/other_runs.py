"""Find documents that other runs created from the same documents of a source, before they are created again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hl_async.bulk.documents import LocationDocuments
from hl_async.bulk.keys import MetaKey, source_mark
from hl_async.bulk.map import bulk_map
from hl_async.bulk.protocol import State
from hl_async.errors import AlreadyMigrated

if TYPE_CHECKING:
    from hl_async.bulk.run import Run
    from hl_async.client import HighLevel

_LOCATIONS_AT_ONCE: Final = 20
_MINUTE: Final = timedelta(minutes=1)
_JOURNALS: Final = 50
"""So many files of a folder are looked at, to name the journal of another run."""


class _Others(msgspec.Struct):
    """Documents of other runs: how many by run, and when the first and the last were created."""

    runs: Counter[str]
    moments: list[datetime]


async def require_unmigrated(run: Run, hl: HighLevel, folder: Path) -> None:
    """List the locations of a new run, and refuse to double what other runs created.

    Args:
        run: A run that has sent nothing.
        hl: The client.
        folder: Where journals of other runs may lie.

    Raises:
        AlreadyMigrated: Documents of this source are there already.
    """
    if not isinstance(run.keys, MetaKey):
        return
    marks: dict[str, set[str]] = {}
    rows = await run.each(State.PLANNED)
    for row in rows:
        marks.setdefault(row.location, set()).add(source_mark(row.source_id))

    async def look(location: str) -> _Others:
        found = _Others(Counter(), [])
        async for document in LocationDocuments(hl.location(location), run.operation).listing():
            _note(found, run.keys.read_source(document), document, marks[location], run.id)
        return found

    found = _Others(Counter(), [])
    async with bulk_map(look, marks, limit=_LOCATIONS_AT_ONCE) as outcomes:
        async for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                found.runs.update(outcome.value.runs)
                found.moments += outcome.value.moments
    if found.runs:
        names = await asyncio.to_thread(_journals_of, folder, set(found.runs))
        raise AlreadyMigrated(_words(found, names, len(rows), list(marks)))


def _note(found: _Others, source: tuple[str, str] | None, document: Any, marks: set[str], run: str) -> None:
    if source is None or source[0] not in marks or source[1] == run:
        return
    found.runs[source[1]] += 1
    if document.created_at is not None:
        found.moments.append(document.created_at)


def _words(found: _Others, names: dict[str, str], of: int, locations: list[str]) -> str:
    number = found.runs.total()
    where = f"location {locations[0]}" if len(locations) == 1 else f"{len(locations):,} locations"
    when = ""
    if found.moments:
        first, last = (moment.astimezone(UTC) for moment in (min(found.moments), max(found.moments)))
        when = f", created {first:%-d %b %H:%M}"
        when += f" to {last:%-d %b %H:%M} UTC" if last - first >= _MINUTE else " UTC"
    journals = [names[run] for run in found.runs if run in names]
    by = f"; their journal is {', '.join(journals)}" if journals else ""
    is_are = "is" if number == 1 else "are"
    return (
        f"{number:,} of these {of:,} documents {is_are} in {where} already, from another run of this source{when}{by}. "
        "This run would create them again"
    )


def _journals_of(folder: Path, runs: set[str]) -> dict[str, str]:
    """Return the journal files of runs by the run's id, as far as they lie in ``folder``."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.db*"))[:_JOURNALS]:
        if path.name.endswith(("-wal", "-shm", ".lock")):
            continue
        run = _run_of(path)
        if run in runs:
            found[run] = path.name
    return found


def _run_of(path: Path) -> str:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            rows = connection.execute("select value from run where name = 'run'").fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return ""
    return str(rows[0][0]) if rows else ""
