"""Internal. Search for documents that other runs already made of the source."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from hl_async.bulk.documents import LocationDocuments, nearest, read_location
from hl_async.bulk.journals.protocol import ItemRow
from hl_async.bulk.kinds import location_of
from hl_async.bulk.map import bulk_map
from hl_async.bulk.protocol import State
from hl_async.bulk.source_identity import Relation, source_mark
from hl_async.errors import AlreadyMigrated
from hl_async.storage.sqlite import peek

if TYPE_CHECKING:
    from hl_async.bulk.run import Run
    from hl_async.client import HighLevel

_LOCATIONS_AT_ONCE: Final = 20
_MINUTE: Final = timedelta(minutes=1)
_JOURNALS: Final = 50
"""So many files of a folder are looked at, to name the journal of another run."""


class Earlier(NamedTuple):
    """A document of another run that has the source id of a planned one.

    ``ordinal`` and ``source_id`` are those of the planned document. ``name`` is the other run's name for its source;
    it is empty if its documents do not say. ``created`` is in seconds since the epoch.
    """

    ordinal: int
    source_id: str
    location: str
    document: str
    relation: Relation
    name: str
    run: str
    created: float | None


async def find_earlier(run: Run, hl: HighLevel) -> list[Earlier]:
    """Return other runs' documents in the locations that have a planned source id.

    Args:
        run: A planned run.
        hl: The client.
    """
    planned: dict[str, dict[str, list[ItemRow]]] = {}
    # rejected and skipped documents create nothing, so an earlier copy of them doubles nothing
    for row in await run.each(State.PLANNED):
        planned.setdefault(row.location, {}).setdefault(source_mark(row.source_id), []).append(row)

    async def look(lane: str) -> list[Earlier]:
        documents = LocationDocuments(hl.location(location_of(lane)), run.kinds.operation_of(lane))
        known = await run.journal.known(lane)
        reading = await read_location(documents, run.journal, run.kinds.keys_of(lane), known, run.id)
        found = []
        for other in reading.other_runs:
            if rows := planned[lane].get(other.origin.mark):
                # several planned documents may share a source id; the likeliest one is asked about
                row, related = await nearest(run, rows, other.origin)
                origin, made = other.origin, other.created
                found.append(
                    Earlier(
                        row.ordinal,
                        row.source_id,
                        location_of(lane),
                        other.document,
                        related,
                        origin.name,
                        origin.run,
                        made,
                    )
                )
        return found

    found: list[Earlier] = []
    # each location has a budget of its own, so that reading them one by one would only wait
    async with bulk_map(look, planned, limit=_LOCATIONS_AT_ONCE) as outcomes:
        async for outcome in outcomes:
            found += outcome.result()
    return found


async def require_unmigrated(run: Run, hl: HighLevel, folder: Path, *, is_stated: bool = False) -> None:
    """Refuse to double what other runs created.

    Args:
        run: A run that has sent nothing.
        hl: The client.
        folder: Where journals of other runs may lie.
        is_stated: The user named the source. Documents of a source with another name and other contents are then
            another system's, and no question is left.

    Raises:
        AlreadyMigrated: Documents of this source are there already, or it is unclear whether they are of this source.
    """
    found = [one for one in await find_earlier(run, hl) if not _is_answered(one, is_stated)]
    # with a stated name, another system's documents have been answered about
    if not found:
        return
    names = await asyncio.to_thread(_journals_of, folder, {one.run for one in found})
    planned = (await run.journal.counts(totals=False)).of(State.PLANNED)
    raise AlreadyMigrated(question(found, run.source_name, names, planned))


def _is_answered(one: Earlier, is_stated: bool) -> bool:
    return is_stated and bool(one.name) and one.relation is Relation.OTHER


def question(found: Sequence[Earlier], source_name: str, journals: dict[str, str], planned: int) -> str:
    """Return the question: which documents are there already, and how to answer.

    Args:
        found: The documents of other runs.
        source_name: What this run calls its source.
        journals: Names of journal files by run.
        planned: How many documents this run would create.
    """
    related = Counter(one.relation for one in found)
    their_names = sorted({f"{one.name!r}" for one in found if one.name})
    theirs = f"the source {' and '.join(their_names)}" if their_names else "a source that is not named there"
    since = _when(found)
    files = list(dict.fromkeys(journals[one.run] for one in found if one.run in journals))
    by = f"; their journal is {', '.join(files)}" if files else ""
    number, where = len({one.ordinal for one in found}), _where(found)
    # equal contents under another name are nearly always the same system, called differently this time
    equal = related[Relation.SAME] + related[Relation.RENAMED]
    contents = f"{equal:,} of them have the same contents" if equal else "none of them has the same contents"
    if related[Relation.OTHER] == len(found):
        return (
            f"{number:,} of these {planned:,} documents have source ids of documents that are in {where} already, from "
            f"{theirs}{since}{by}. This source is called {source_name!r}, and {contents}. "
            f"{_name_it(their_names, source_name)}"
        )
    # counted by item: two earlier runs may have made one document each
    text = (
        f"{number:,} of these {planned:,} documents {'is' if number == 1 else 'are'} in {where} already, from another "
        f"run of {theirs}{since}{by}"
    )
    if related[Relation.RENAMED] or related[Relation.OTHER]:
        text += f"; this run calls its source {source_name!r}"
    if equal < len(found):
        text += f"; {contents}"
    text += ". This run would create them again"
    return text if equal else f"{text}. {_name_it([], source_name)}"


def _name_it(their_names: Sequence[str], source_name: str) -> str:
    other = f"If they come from different systems, name this one: --source-name {source_name or 'NAME'}"
    if not their_names:
        return "If they come from different systems, name this one differently: --source-name NAME"
    return f"{other}. If it is the same system, give it that name: --source-name {their_names[0]}"


def _where(found: Sequence[Earlier]) -> str:
    locations = list(dict.fromkeys(one.location for one in found))
    return f"location {locations[0]}" if len(locations) == 1 else f"{len(locations):,} locations"


def _when(found: Sequence[Earlier]) -> str:
    moments = [one.created for one in found if one.created is not None]
    if not moments:
        return ""
    first, last = (datetime.fromtimestamp(one, UTC) for one in (min(moments), max(moments)))
    # a run of seconds has one moment for people
    until = f" to {last:%-d %b %H:%M}" if last - first >= _MINUTE else ""
    return f", created {first:%-d %b %H:%M}{until} UTC"


def _journals_of(folder: Path, runs: set[str]) -> dict[str, str]:
    """Return the journal files in ``folder`` by the id of the run that they hold."""
    found: dict[str, str] = {}
    # the folder may be a home directory: it is looked at for a hint, and not searched
    for path in sorted(folder.glob("*.db*"))[:_JOURNALS]:
        # opening the companion files of a database as databases could break the run that writes them
        if path.name.endswith(("-wal", "-shm", ".lock")):
            continue
        run = _run_of(path)
        if run in runs:
            found[run] = path.name
    return found


def _run_of(path: Path) -> str:
    rows = peek(path, "select value from run where name = 'run'")
    return str(rows[0][0]) if rows else ""
