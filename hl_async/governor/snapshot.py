"""Internal. The state of a scope at one moment."""

from __future__ import annotations

import msgspec


class ScopeSnapshot(msgspec.Struct, frozen=True):
    """The state of a scope at one moment. Times are seconds.

    Attributes:
        max: Requests per interval that this client may send.
        interval: The interval.
        free: Slots that are neither in use nor cooling. Use by other clients is not deducted.
        cooling: Slots that were used and have not returned.
        in_flight: Requests under way.
        waiting_interactive: Interactive calls that wait for a slot.
        waiting_bulk: Bulk calls that wait for a slot.
        external_use: Slots that other clients were seen to use.
        daily_remaining: Rest of the daily quota in requests, None if unknown.
        braked: Bulk sends probes only, because the server failed repeatedly.
        pace: Time between two bulk requests, 0 if they may burst.
    """

    max: int
    interval: float
    free: int
    cooling: int
    in_flight: int
    waiting_interactive: int
    waiting_bulk: int
    external_use: int
    daily_remaining: int | None
    braked: bool
    pace: float
