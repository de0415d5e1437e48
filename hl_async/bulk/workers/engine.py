"""Who works on a lane next: engines hand out slices, the journal keeps the truth.

A *slice* is one location for a bounded time. An engine knows three verbs: it takes slices (:meth:`LaneEngine.submit`),
has them worked on (:meth:`LaneEngine.serve`), and says what became of some (:meth:`LaneEngine.overview`). It may lose
slices, run them twice or late: who holds a lane is decided by the lease in the journal alone, never by an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from typing import Any, NamedTuple, Protocol


class Slice(NamedTuple):
    """A turn of one location of a run. ``epoch`` is the number of leases that the lane had seen when it was due; a
    slice of another epoch is an old one, and nothing comes of it. ``number`` tells runs of one name apart that came one
    after the other."""

    run: str
    location: str
    epoch: int = 0
    number: int = 0


class SliceState(Enum):
    """What an engine knows of a slice."""

    QUEUED = "queued"
    RUNNING = "running"
    """Somebody took it, and may have died with it."""
    OVER = "over"
    """It ended, or was never there."""


Handler = Callable[[Slice], Coroutine[Any, Any, Slice | None]]
"""Works on a slice, and returns the lane's next one if that is due at once."""


class LaneEngine(Protocol):
    """The three verbs."""

    async def submit(self, piece: Slice) -> None:
        """Have a slice worked on, after those that were submitted before it; the same slice twice is one."""
        ...

    async def serve(self, handler: Handler, *, at_once: int) -> None:
        """Work on slices, so many at a time, until there is no reason to go on; see each engine."""
        ...

    async def overview(self, pieces: Iterable[Slice]) -> dict[Slice, SliceState]:
        """What became of these."""
        ...


__all__ = ["Handler", "LaneEngine", "Slice", "SliceState"]
