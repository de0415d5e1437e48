"""Internal. A stage as a lane runs it, before or after the documents of its location."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from hl_async.bulk.journals.protocol import LaneJournal


class SliceEnd(NamedTuple):
    """Why a slice ended: done, or go on at ``again`` (the lane's clock, seconds); ``reason`` when it can't go on."""

    done: bool
    again: float = 0.0
    reason: str = ""


class LaneStage(Protocol):
    """One stage in one location, slice by slice."""

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Work until the monotonic time ``until``, or until there is nothing to do or to wait for."""
        ...
