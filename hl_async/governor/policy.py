"""The governor's settings."""

from __future__ import annotations

import dataclasses
import math

from hl_async.errors import ConfigurationError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GovernorPolicy:
    """How a scope's rate budget is spent. Durations in seconds.

    ``max`` requests per ``interval`` hold until the server's headers say otherwise. ``pace`` spreads bulk work: two
    bulk requests are at least ``pace * interval / max`` apart; None lets bulk burst. ``share`` is the part of the
    budget that this client may use at all. ``reserve`` slots are kept from bulk while interactive calls were
    seen in the last two intervals. ``linger`` is how long an abandoned request may still be on its way.
    ``daily_reserve`` is the part of the day's budget that bulk leaves alone. ``cold_interactive`` bounds the
    calls in flight before the first answer has told the real budget; bulk sends one.
    """

    max: int = 100
    interval: float = 10.0
    pace: float | None = 0.95
    share: float = 1.0
    reserve: int = 2
    linger: float = 30.0
    daily_reserve: float = 0.05
    cold_interactive: int = 8
    external_margin: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.max, bool) or self.max < 1:
            raise ConfigurationError("governor.max", f"{self.max!r} is below 1")
        if not 0 < self.interval < math.inf:
            raise ConfigurationError(
                "governor.interval", f"{self.interval!r} is not a positive number of seconds"
            )
        if self.pace is not None and not 0 < self.pace <= 2:
            raise ConfigurationError(
                "governor.pace", f"{self.pace!r} is not between 0 and 2; None switches it off"
            )
        if not 0 < self.share <= 1:
            raise ConfigurationError("governor.share", f"{self.share!r} is not between 0 and 1")
        if not 0 <= self.daily_reserve < 1:
            raise ConfigurationError(
                "governor.daily_reserve", f"{self.daily_reserve!r} is not from 0 to below 1"
            )
        if self.reserve < 0 or self.linger < 0 or self.cold_interactive < 1 or self.external_margin < 0:
            raise ConfigurationError(
                "governor", "reserve, linger and margin can't be negative, cold_interactive below 1"
            )
