"""What a scope looks like at one moment."""

from __future__ import annotations

import msgspec


class ScopeSnapshot(msgspec.Struct, frozen=True):
    """What a scope looks like at one moment; times in seconds.

    ``free`` and ``cooling`` count slots, ``external_use`` what others were seen to spend of them; ``pace`` is how
    far two bulk requests are kept apart, 0 when they may burst.
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
