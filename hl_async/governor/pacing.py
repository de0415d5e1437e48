"""Internal. The speed of bulk: pace, slowdown, margin for other clients, brake.

A process with slots of its own (:mod:`~hl_async.governor.budget`) and a store shared by several processes
(:mod:`~hl_async.governor.shared.allocator`) apply the same rules. They are pure: ``now`` is the caller's clock, and
all times are seconds.
"""

from __future__ import annotations

import math
from typing import Final

BRAKE_AFTER: Final = 10
"""Consecutive failures of the server after which bulk sends probes only."""

PROBE_EVERY: Final = 1.0
"""Seconds between two bulk probes while the brake is on."""

RELAX_AFTER: Final = 100
"""Intervals without a 429 after which the slowdown falls by one step."""

MOST_SLOWDOWN: Final = 9
"""Most steps of the slowdown. They set the pace to 1.1."""

ExternalUse = list[tuple[float, int]]
"""Observed use by other clients, as (moment, slots). Counts decrease along the list, which is mostly empty."""


def margin(external_use: int, factor: float) -> int:
    """Return the slots that bulk leaves free beyond ``external_use``.

    They are ``factor * sqrt(use) + 1``, or none for one use.
    """
    # One foreign request is noise: a retry by a proxy, a colleague's test. A stream of them varies by its square root.
    return 0 if external_use <= 1 else math.ceil(factor * math.sqrt(external_use)) + 1


def gap(pace: float | None, interval: float, slots: int, slowdown: int) -> float:
    """Return the seconds between two bulk requests; 0 when bulk may burst.

    Args:
        pace: The policy's pace; None lets bulk burst unless it was slowed down.
        interval: The budget's interval in seconds.
        slots: The slots that bulk may use; less than one counts as one.
        slowdown: Steps from :func:`slowed`. The first one raises the pace to 1.02, each further one by 0.01.
    """
    factor = pace or 0.0
    if slowdown:
        # A pace of 1 is the exact limit. After a 429 bulk stays 2 to 10 percent below it, whatever its pace was.
        factor = max(factor, 1.01 + 0.01 * slowdown)
    return factor * interval / max(1, slots)


def next_start(earliest: float, start: float, distance: float) -> float:
    """Return when the bulk request after the one sent at ``start`` may go.

    A request later than ``earliest`` lets the next one catch up by one ``distance``. More would be a burst.
    """
    return max(earliest, start - distance) + distance


def slowed(now: float, slowdown: int, since: float, interval: float) -> tuple[int, float]:
    """Return the slowdown after a 429, and when it last changed.

    It grows by at most one step per interval.
    """
    # One overrun refuses every request under way. Their 429s count as one.
    if now - since > interval and slowdown < MOST_SLOWDOWN:
        return slowdown + 1, now
    return slowdown, since


def relaxed(now: float, slowdown: int, since: float, interval: float) -> tuple[int, float]:
    """Return the slowdown after a time without a 429, and when it last changed."""
    if slowdown and now - since > RELAX_AFTER * interval:
        return slowdown - 1, now
    return slowdown, since


def note_external_use(seen: ExternalUse, moment: float, count: int) -> None:
    """Record that other clients used ``count`` slots.

    Only the largest recent counts are kept.
    """
    if count > 0:
        # A later and larger count covers a smaller one for as long as that would last.
        while seen and seen[-1][1] <= count:
            seen.pop()
        seen.append((moment, count))


def largest_external_use(seen: ExternalUse, now: float, interval: float) -> int:
    """Return other clients' largest use over the last interval; forget older ones."""
    while seen and seen[0][0] + interval <= now:
        del seen[0]
    return seen[0][1] if seen else 0


class Brake:
    """Reduces bulk to probes while the server fails repeatedly."""

    __slots__ = ("failures", "next_probe")

    def __init__(self) -> None:
        self.failures: int = 0
        self.next_probe: float = -math.inf

    @property
    def is_on(self) -> bool:
        """Whether bulk sends probes only."""
        return self.failures >= BRAKE_AFTER

    def failed(self, now: float) -> None:
        """Count a failure of the server: a 5xx, no answer, no connection."""
        self.failures += 1
        # Only the failure that puts the brake on sets the probe; later ones must not push it away.
        if self.failures == BRAKE_AFTER:
            self.next_probe = now + PROBE_EVERY

    def holds(self, now: float) -> bool:
        """Return whether bulk has to wait for the next probe."""
        return self.failures >= BRAKE_AFTER and now < self.next_probe

    def probed(self, now: float) -> None:
        """Note that a bulk request was sent; while the brake is on, the next one waits."""
        if self.failures >= BRAKE_AFTER:
            self.next_probe = now + PROBE_EVERY
