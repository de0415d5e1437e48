"""A lane of an embedded journal: the items of one location. Internal."""

from __future__ import annotations

import math
import os
import sqlite3
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hl_async.bulk.journals.protocol import LaneRelease, LaneStatus, PlannedItem, SentItem
from hl_async.bulk.journals.rows import DAMAGED, intact, lane_status
from hl_async.bulk.journals.sqlite_steps import SqliteLaneSteps
from hl_async.bulk.protocol import Control, KnownItem, LaneFacts

if TYPE_CHECKING:
    from hl_async.bulk.journals.sqlite import SqliteJournal

_RENEW_EVERY: Final = 5.0
_LANE_FACT: Final = "lane "
_SETTLING: Final = "settling"


class SqliteLane:
    """The items of one location of a :class:`SqliteJournal`; see
    :class:`~hl_async.bulk.journals.protocol.LaneJournal`."""

    renew_every = _RENEW_EVERY

    def __init__(self, journal: SqliteJournal, location: str) -> None:
        self.location = location
        self._journal = journal

    def now(self) -> float:
        return self._journal.clock.now()

    def lasts(self, seconds: float) -> bool:
        """As long as the file is ours."""
        return True

    async def renew(self, rate: float) -> bool:
        await self._note(_LaneNote(rate, self.now() + 2 * _RENEW_EVERY, os.getpid()))
        return True

    async def release(self, release: LaneRelease) -> None:
        # slices end every few seconds: only what somebody may wonder about is worth a write
        if release.done or release.reason or release.wake_in:
            await self._note(_LaneNote(reason=release.reason, wake_at=self.now() + release.wake_in))

    async def facts(self) -> LaneFacts:
        def read(db: sqlite3.Connection) -> LaneFacts:
            counts = dict(
                db.execute(
                    "select state, count(*) from item where location = ? group by state", (self.location,)
                )
            )
            (last,) = db.execute(
                "select max(sent_at) from item where location = ? and state = 'sent'", (self.location,)
            ).fetchone()
            lane = db.execute(
                "select proven, swept_at, ambiguous_at from lane where location = ?", (self.location,)
            ).fetchone()
            proven, swept_at, noted = lane or (0, None, None)
            ever = max((moment for moment in (last, noted) if moment is not None), default=None)
            return LaneFacts(
                counts.get("planned", 0), counts.get("sent", 0), bool(proven), last, ever, swept_at,
                self._journal.is_resumed(self.location), self._journal.unclean,
            )  # fmt: skip

        return await self._journal.read(read)

    async def take(self, after: int, limit: int) -> list[PlannedItem]:
        def read(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return db.execute(
                "select ordinal, key, ids, body, attempt, location, digest from item"
                " where location = ? and state = 'planned' and ordinal > ? order by ordinal limit ?",
                (self.location, after, limit),
            ).fetchall()

        while rows := await self._journal.read(read):
            items, damaged = intact(rows)
            for ordinal in damaged:
                await self._journal.change(
                    "update item set state = 'rejected', reason = ? where ordinal = ? and state = 'planned'",
                    (DAMAGED, ordinal),
                )
            if items:
                return items
        return []

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        await self._journal.announce()
        # a sent item's next request belongs to a call that repeats only what was provably not executed
        return await self._journal.change(
            "update item set possible = possible + (state = 'planned'), state = 'sent', attempt = attempt + 1,"
            " sent_at = ?1, first_sent = coalesce(first_sent, ?1), ambiguous = 1, reason = null"
            " where ordinal = ?2 and attempt = ?3 and state in ('planned', 'sent')",
            (at, ordinal, attempt),
        )

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        return await self._journal.change(
            "update item set state = 'created', document = ?, reason = null, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state = 'sent'",
            (document, ordinal, attempt),
        )

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._journal.change(
            "update item set possible = possible - (state = 'sent'), state = 'rejected', reason = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state in ('planned', 'sent')",
            (reason, ordinal, attempt),
        )

    async def unanswered(self, ordinal: int, attempt: int, words: str) -> bool:
        return await self._journal.change(
            "update item set reason = ? where ordinal = ? and attempt = ? and state = 'sent'",
            (words, ordinal, attempt),
        )

    async def mark_planned(self, ordinal: int, attempt: int, *, listed: bool = False) -> bool:
        return await self._journal.change(
            "update item set state = 'planned', ambiguous = 0, "
            " failures = failures + (?1 and reason is not null), possible = possible - (?1 = 0)"
            " where ordinal = ?2 and attempt = ?3 and state = 'sent'",
            (listed, ordinal, attempt),
        )

    async def mark_unknown(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._journal.change(
            "update item set state = 'unknown', reason = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state = 'sent'",
            (reason, ordinal, attempt),
        )

    async def adopt(self, ordinal: int, document: str) -> bool:
        return await self._journal.change(
            "update item set state = 'created', document = ?, reason = null, ambiguous = 0,"
            " possible = max(possible, 1)"
            " where ordinal = ? and state in ('rejected', 'unknown', 'planned') and key is not null",
            (document, ordinal),
        )

    async def note_ambiguous(self, at: float) -> None:
        await self._latest("ambiguous_at", at)

    async def prove(self) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "insert into lane (location, proven) values (?, 1) on conflict (location) do update set proven = 1",
                (self.location,),
            )

        await self._journal.run(write)

    async def swept(self, at: float) -> None:
        await self._latest("swept_at", at)

    async def listed(self) -> None:
        self._journal.note_listed(self.location)

    async def controls(self, since: float | None, limit: int) -> list[Control]:
        def read(db: sqlite3.Connection) -> list[Control]:
            rows = db.execute(
                "select key, document, coalesce(sent_at, 0) from item"
                " where location = ? and state = 'created' and document is not null"
                " and coalesce(sent_at, 0) >= ? order by sent_at desc, ordinal desc limit ?",
                (self.location, since or 0.0, limit),
            )
            return [Control(*row) for row in rows]

        return await self._journal.read(read)

    async def delete_intended(self, document: str, key: str, reason: str) -> int:
        return await self._journal.record_deletion_intent(self.location, document, key, reason)

    async def delete_ended(self, deletion: int, outcome: str) -> None:
        await self._journal.record_deletion_result(deletion, outcome)

    async def ambiguous(self) -> list[SentItem]:
        def read(db: sqlite3.Connection) -> list[SentItem]:
            rows = db.execute(
                "select ordinal, key, attempt, sent_at, failures, reason from item"
                " where location = ? and state = 'sent'",
                (self.location,),
            )
            return [SentItem(*row) for row in rows]

        return await self._journal.read(read)

    def steps(self, stage: str) -> SqliteLaneSteps:
        return SqliteLaneSteps(self._journal, stage, self.location)

    async def known(self) -> dict[str, KnownItem]:
        return await self._journal.known(self.location)

    async def _latest(self, column: str, at: float) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(
                f"insert into lane (location, {column}) values (?, ?)"  # noqa: S608
                f" on conflict (location) do update set {column} = max(coalesce({column}, 0), excluded.{column})",
                (self.location, at),
            )

        await self._journal.run(write)

    async def _note(self, note: _LaneNote) -> None:
        await self._journal.note(**{_LANE_FACT + self.location: msgspec.json.encode(note).decode()})


class _LaneNote(msgspec.Struct, omit_defaults=True):
    """What the last holder said of a lane; ``until`` and ``wake_at`` are times of day."""

    rate: float = 0.0
    until: float = 0.0
    process: int = 0
    reason: str = ""
    wake_at: float = 0.0


def lane_statuses(db: sqlite3.Connection, now: float, *, is_held: bool) -> list[LaneStatus]:
    """Read every location as it stands, in the order of the source.

    Args:
        db: The journal.
        now: The time of its clock.
        is_held: Whether a process works on it: what a process that ended said of its lanes is over.
    """
    counts: dict[str, dict[str, int]] = {location: {} for location in locations_of(db)}
    rows = db.execute(
        "select location, state, count(*) from item where key is not null group by location, state"
    )
    for location, state, number in rows:
        counts[location][state] = number
    notes = {
        name.removeprefix(_LANE_FACT): msgspec.json.decode(value, type=_LaneNote)
        for name, value in db.execute(
            "select name, value from run where name >= ? and name < ?", (_LANE_FACT, "lane!")
        )
    }
    return [
        _status(location, found, notes.get(location), now if is_held else math.inf)
        for location, found in counts.items()
    ]


def _status(location: str, counts: dict[str, int], note: _LaneNote | None, now: float) -> LaneStatus:
    note = note or _LaneNote()
    working = note.until > now
    return lane_status(
        location,
        counts,
        rate=note.rate if working else 0.0,
        holder=f"process {note.process}" if working else "",
        wakes_in=max(0.0, note.wake_at - now),
        reason="" if note.reason == _SETTLING and now == math.inf else note.reason,
    )


def locations_of(db: sqlite3.Connection) -> list[str]:
    """Read the locations with items, in the order of the source."""
    rows = db.execute(
        "select location from item where key is not null group by location order by min(ordinal)"
    )
    return [location for (location,) in rows]
