"""Internal. A lane of an embedded journal: the items of one location."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hl_async.bulk.journals.protocol import LaneRelease, LaneStatus
from hl_async.bulk.journals.rows import lane_facts, lane_status
from hl_async.bulk.journals.sqlite_run import SqliteRun
from hl_async.bulk.journals.sqlite_steps import SqliteLaneSteps
from hl_async.bulk.journals.stored import StoredLane
from hl_async.bulk.protocol import LaneFacts

_RENEW_EVERY: Final = 5.0
_LANE_FACT: Final = "lane "
_SETTLING: Final = "settling"


class SqliteLane(StoredLane):
    """The items of one location of a run in a file; see :class:`LaneJournal`."""

    renew_every = _RENEW_EVERY

    def __init__(self, run: SqliteRun, location: str) -> None:
        super().__init__(run, location)
        self._run = run

    def lasts(self, seconds: float) -> bool:
        """Return True: the lane lasts as long as the lock of the file."""
        return True

    async def renew(self, rate: float) -> bool:
        # longer than one period: a renewal that is late must not show the lane as idle
        await self._note_lane(_LaneNote(rate, self.now() + 2 * _RENEW_EVERY, os.getpid()))
        return True

    async def release(self, release: LaneRelease) -> None:
        # slices end every few seconds: only a release that needs an explanation is worth a write
        if release.done or release.reason or release.wake_in:
            await self._note_lane(_LaneNote(reason=release.reason, wake_at=self.now() + release.wake_in))

    async def facts(self) -> LaneFacts:
        (row,) = await self._run.query("lane_facts", location=self.location)
        return lane_facts((*row, self._run.is_resumed(self.location), self._run.unclean))

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        # the main file has to say that items are sent before the first one is, or a lost -wal would hide it
        await self._run.announce()
        return await self._change("intend", ordinal, attempt=attempt, at=at)

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        return await self._change("created", ordinal, attempt=attempt, document=document)

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._change("rejected", ordinal, attempt=attempt, reason=reason)

    async def unanswered(self, ordinal: int, attempt: int, words: str) -> bool:
        return await self._change("unanswered", ordinal, attempt=attempt, words=words)

    async def mark_planned(self, ordinal: int, attempt: int, *, listed: bool = False) -> bool:
        return await self._change("planned", ordinal, attempt=attempt, listed=listed)

    async def mark_unknown(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._change("unknown", ordinal, attempt=attempt, reason=reason)

    async def adopt(self, ordinal: int, document: str) -> bool:
        return await self._change("adopt", ordinal, document=document)

    async def listed(self) -> None:
        # in memory alone: the next process must list the location again
        self._run.note_listed(self.location)

    async def delete_intended(self, document: str, key: str, reason: str) -> int:
        return await self._run.record_deletion_intent(self.location, document, key, reason)

    def steps(self, stage: str) -> SqliteLaneSteps:
        return SqliteLaneSteps(self._run, stage, self.location)

    async def _change(self, name: str, ordinal: int, **values: Any) -> bool:
        return await self._run.change(name, ordinal=ordinal, **values) == 1

    async def _note(self, name: str, **values: Any) -> None:
        # without a lease to check: the file is locked for this process
        await self._run.change(name, location=self.location, **values)

    async def _note_lane(self, note: _LaneNote) -> None:
        await self._run.note(**{_LANE_FACT + self.location: msgspec.json.encode(note).decode()})


class _LaneNote(msgspec.Struct, omit_defaults=True):
    """A lane as its last holder left it; ``until`` and ``wake_at`` are times of day."""

    rate: float = 0.0
    until: float = 0.0
    process: int = 0
    reason: str = ""
    wake_at: float = 0.0


def lane_statuses(
    counts: Mapping[str, dict[str, int]], header: Mapping[str, str], now: float, *, is_held: bool
) -> list[LaneStatus]:
    """Return the status of every location.

    Args:
        counts: Items in each state, by location.
        header: The facts of the run.
        now: The time of the journal's clock.
        is_held: Whether a process works on the journal. The notes of a process that ended are over.
    """
    return [
        _status(location, found, header.get(_LANE_FACT + location), now if is_held else math.inf)
        for location, found in counts.items()
    ]


def _status(location: str, counts: dict[str, int], text: str | None, now: float) -> LaneStatus:
    note = _LaneNote() if text is None else msgspec.json.decode(text, type=_LaneNote)
    # a process that was killed leaves its note, so the note holds for a time only
    working = note.until > now
    return lane_status(
        location,
        counts,
        rate=note.rate if working else 0.0,
        holder=f"process {note.process}" if working else "",
        wakes_in=max(0.0, note.wake_at - now),
        # a process that ended waits for nothing; its other reasons are still true
        reason="" if note.reason == _SETTLING and now == math.inf else note.reason,
    )
