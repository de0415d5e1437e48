"""Internal. Files of left-out documents: rejected, or skipped by the mapping.

They hold customers and amounts, so only their owner may read them.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hl_async.bulk.journals.protocol import ItemRow
from hl_async.bulk.protocol import State
from hl_async.bulk.run import Run
from hl_async.bulk.sources.rejects import reject_lines
from hl_async.errors import ConfigurationError
from hl_async.storage.private_files import open_private


class LeftOut(msgspec.Struct):
    """Documents that a run left out.

    Attributes:
        reasons: Rejected documents by reason.
        rejects: The file of the rejected documents.
        skipped: The file of the skipped documents.
        problem: Why a file could not be written.
        by_api: Rejected documents that had been sent.
    """

    reasons: Counter[str]
    rejects: Path | None = None
    skipped: Path | None = None
    problem: str = ""
    by_api: int = 0


async def write_left_out(run: Run, journal: Path, rejects: Path | None) -> LeftOut:
    """Write the files of rejected and skipped documents, if there are any.

    Args:
        run: The run.
        journal: The journal's path.
        rejects: The reject file; by default beside the source.
    """
    header = await run.journal.header()
    found = LeftOut(Counter())
    if rows := await run.each(State.REJECTED):
        found.reasons.update(row.reason or "" for row in rows)
        # An attempt is counted when a request leaves, so the others were rejected while planning.
        found.by_api = sum(row.attempt > 0 for row in rows)
        path = rejects
        if path is None:
            path = await asyncio.to_thread(_beside, header, journal, "rejects")
        found.problem = await asyncio.to_thread(_write, path, rows, header, journal)
        found.rejects = None if found.problem else path
    if rows := await run.each(State.SKIPPED):
        skipped = await asyncio.to_thread(_beside, header, journal, "skipped")
        problem = await asyncio.to_thread(_write, skipped, rows, header, journal)
        found.problem = found.problem or problem
        found.skipped = None if problem else skipped
    return found


def reject_text(rows: list[ItemRow], header: dict[str, str]) -> Iterator[bytes]:
    """Return lines of a reject file, in the format that the journal's header names."""
    columns = msgspec.json.decode(header.get("columns", "null"))
    texts = ((row.raw, row.reason or "") for row in rows)
    return reject_lines(columns, texts, header.get("delimiter", ","), header.get("encoding", "utf-8"))


def check_rejects(path: Path, source: Path | None) -> None:
    """Refuse a reject file that cannot be written or is the source itself.

    Raises:
        ConfigurationError: It is refused.
    """
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise ConfigurationError("--rejects", "is the source itself; give another file")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError("--rejects", f"{path} cannot be written; give another file")


def _beside(header: dict[str, str], journal: Path, kind: str) -> Path:
    """Return where a file of left-out documents goes: beside its source, if possible."""
    # orders.csv gets orders.rejects.csv beside it, or beside the journal if its folder is missing.
    source = Path(header.get("source", str(journal)))
    folder = source.parent if source.parent.is_dir() else journal.parent
    # Rejects keep the form of their source, so that they can be corrected and migrated like it.
    suffix = ".csv" if header.get("columns", "null") != "null" else ".ndjson"
    return folder / f"{source.stem}.{kind}{suffix}"


def _write(path: Path, rows: list[ItemRow], header: dict[str, str], journal: Path) -> str:
    """Write a file. Return the problem, if any; the documents stay in the journal."""
    try:
        # Replaced, not rewritten: an older file may have a mode that lets others read it.
        path.unlink(missing_ok=True)
        with open_private(path, "wb") as file:
            file.writelines(reject_text(rows, header))
    except OSError as error:
        return f"{path} cannot be written: {error.strerror}; try: hl-async rejects {journal} > FILE"
    return ""
