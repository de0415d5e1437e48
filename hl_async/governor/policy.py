"""Internal. The governor's settings."""

from __future__ import annotations

import math

import msgspec

from hl_async.errors import ConfigurationError


class GovernorPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Rules for spending a scope's rate budget. Durations are seconds.

    Attributes:
        max: Requests per interval until the server's headers name another number.
        interval: The interval until the headers name another one.
        pace: Spreads bulk: two bulk requests are at least ``pace * interval / max`` apart. None lets bulk burst.
        share: Part of the budget that this client may use, above 0 and at most 1.
        reserve: Slots kept from bulk if an interactive call was seen in the last two intervals.
        linger: Time for which an abandoned request may still be on its way.
        daily_reserve: Part of the daily quota that bulk leaves to interactive calls, from 0 to below 1.
        cold_interactive: Most interactive calls in flight before the first answer. Bulk sends one.
        external_margin: Factor of the slots that bulk leaves free beyond other clients' use. Bulk leaves
            ``external_margin * sqrt(use) + 1`` slots.

    Raises:
        ConfigurationError: A value is out of range.
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
                "governor.pace", f"{self.pace!r} is not above 0 and at most 2; None switches it off"
            )
        if not 0 < self.share <= 1:
            raise ConfigurationError("governor.share", f"{self.share!r} is not above 0 and at most 1")
        if not 0 <= self.daily_reserve < 1:
            raise ConfigurationError(
                "governor.daily_reserve", f"{self.daily_reserve!r} is not from 0 to below 1"
            )
        for name, least in (("reserve", 0), ("linger", 0), ("cold_interactive", 1), ("external_margin", 0)):
            value = getattr(self, name)
            if value < least:
                raise ConfigurationError(f"governor.{name}", f"{value!r} is below {least}")
