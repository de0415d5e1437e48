"""Internal. The lanes of a run in this process, which take turns until all end."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from hl_async.bulk.engine import LocalEngine, Slice
from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.kinds import kind_in, location_of
from hl_async.bulk.lane import LaneRunner
from hl_async.errors import AuthError, CallError, LaneLost

_SLICE: Final = 5.0
_LANES_AT_ONCE: Final = 50
_ELSEWHERE: Final = 1.0
"""Seconds until a lane that another process leases is requested again."""


class LocalWork:
    """The work of one execution.

    Args:
        run: The id of the run.
        journal: The journal of the run.
        lanes: The runner of each lane.
        stop: Set it to end after the requests in flight.

    Attributes:
        reasons: Why lanes ended before they were done.
    """

    def __init__(self, run: str, journal: Journal, lanes: dict[str, LaneRunner], stop: asyncio.Event) -> None:
        self._run = run
        self._journal = journal
        self._lanes = lanes
        self._engine = LocalEngine(stop)
        self._waits: dict[str, float] = {}
        self._working: set[str] = set()
        self._stuck: set[str] = set()
        self.reasons: list[str] = []

    async def serve(self) -> None:
        """Work on the lanes in turns, until all are done, stopped or ended for a reason."""
        for name in self._lanes:
            await self._engine.submit(Slice(self._run, name))
        await self._engine.serve(self._turn, at_once=_LANES_AT_ONCE)

    def waits_until(self) -> float | None:
        """Return the time of day at which the next lane goes on; None while one works."""
        return min(self._waits.values()) if self._waits and not self._working else None

    async def _turn(self, slice_: Slice) -> Slice | None:
        """Work on a lane for one slice. Return the next slice if it is due at once."""
        name = slice_.location
        lane = await self._journal.lease(name)
        # Another process leases the lane. It may die, so this one asks again.
        if lane is None:
            self._engine.submit_later(slice_, _ELSEWHERE)
            return None
        self._waits.pop(name, None)
        self._working.add(name)
        try:
            end = await self._lanes[name].work(lane, _SLICE)
        except LaneLost:
            self._engine.submit_later(slice_, _ELSEWHERE)
            return None
        except (CallError, AuthError) as error:
            # A listing failed. Every item is in the journal, so the next execution continues from here.
            self._ended(name, str(error))
            return None
        finally:
            self._working.discard(name)
        if end.reason:
            self._ended(name, end.reason)
        elif end.again:
            # A lane that ended early does not resolve the customers that this one may wait for.
            if not (kind_in(name) and location_of(name) in self._stuck):
                wait = end.again - lane.now()
                self._waits[name] = time.time() + wait
                self._engine.submit_later(slice_, wait)
        elif not end.done:
            return slice_
        return None

    def _ended(self, name: str, reason: str) -> None:
        self.reasons.append(reason)
        self._stuck.add(name)
