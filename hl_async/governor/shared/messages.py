"""Internal. Messages between a process and the store of a shared budget.

They carry durations only, so no two clocks have to agree.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from hl_async.governor.policy import GovernorPolicy


class Release(NamedTuple):
    """The end of a reservation: its slot is free again in ``cool`` seconds.

    None means that the reservation was not used.
    """

    lease: int
    cool: float | None


class Observation(NamedTuple):
    """A ``Remaining`` header that arrived ``age`` seconds ago.

    ``trip`` is the round trip of its request in seconds.
    """

    remaining: int
    age: float
    trip: float


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Policy of one process, and the limits it knows.

    Attributes:
        max: Requests per interval. The store adopts it if ``learned`` is true, or if no process has learned the
            limits yet.
        interval: The interval in seconds, adopted under the same condition.
        learned: The limits come from the server's headers.
        lease: Seconds for which a request may be on its way after it is sent: the attempt timeout plus the linger.
        pace: Distance of two bulk requests in units of ``interval / max``. None lets bulk burst.
        reserve: Slots kept back for interactive calls.
        external_margin: Factor of the slots that bulk leaves free beyond other clients' use; see
            `hl_async.governor.pacing.margin`.
        cold_interactive: Most reservations at a time before the server's limits are known.
        share: Part of the slots that the process may use, above 0 and at most 1.
    """

    max: int
    interval: float
    learned: bool
    lease: float
    pace: float | None
    reserve: int
    external_margin: float
    cold_interactive: int
    share: float

    @classmethod
    def of(cls, policy: GovernorPolicy, *, limit: int, interval: float, learned: bool, lease: float) -> Terms:
        """Return the terms of ``policy`` with the limits that the process knows."""
        return cls(
            max=limit,
            interval=interval,
            learned=learned,
            lease=lease,
            pace=policy.pace,
            reserve=policy.reserve,
            external_margin=policy.external_margin,
            cold_interactive=policy.cold_interactive,
            share=policy.share,
        )


class ExchangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The reports of one process, and the slots it asks for. All times are seconds.

    Attributes:
        holder: Name of the process.
        serial: Grows with every exchange that the process tries.
        terms: Its policy and the limits it knows.
        interactive: Slots to reserve for interactive calls.
        bulk: Slots to reserve for bulk.
        bulk_waited: Time since bulk last got a slot, or since its oldest waiter arrived if that is later.
        ahead: Bulk reservations that the process holds and has not used.
        in_use: Reservations whose requests are on their way.
        unused: Reservations still to be used.
        releases: Reservations that ended. The store takes back a reservation that is in none of these three tuples:
            its reply was lost.
        unreserved_uses: Requests sent without a reservation, as times until their slots return.
        seen: The lowest ``Remaining`` header since the last exchange.
        pause: Rest of the pause after a 429.
        refused: A 429 was received.
        since_interactive: Time since the last interactive call.
        warm: The server has stated its limits, or has answered a request with success.
        limits_revision: Number of times that headers changed the limits.
        leaving: The process closes its scope.
        generation: The store's generation in its last reply, None before the first.
    """

    holder: str
    serial: int
    terms: Terms
    interactive: int = 0
    bulk: int = 0
    bulk_waited: float = 0.0
    ahead: int = 0
    in_use: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    releases: tuple[Release, ...] = ()
    unreserved_uses: tuple[float, ...] = ()
    seen: Observation | None = None
    pause: float = 0.0
    refused: bool = False
    since_interactive: float | None = None
    warm: bool = False
    limits_revision: int = 0
    leaving: bool = False
    generation: float | None = None


class Reservation(NamedTuple):
    """The right to send one request in a window of time.

    The window opens ``delay`` seconds from now and lasts ``ExchangeReply.window`` seconds.
    """

    lease: int
    delay: float
    bulk: bool


class ExchangeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The store's answer to one exchange. All times are seconds.

    Attributes:
        max: Requests per interval.
        interval: The interval.
        window: Time for which a reservation may be used after its start.
        reservations: The new reservations.
        retry_interactive: Time to wait before the process asks again for interactive slots.
        retry_bulk: The same for bulk slots.
        blocked: Time for which no request may be sent.
        lookahead: Most bulk reservations that this process should hold.
        others: Other processes that use the scope.
        external_use: Requests of other clients in the last interval.
        free: Slots that are neither reserved nor cooling.
        gap: Distance between two bulk requests.
        warm: The server has stated its limits, or has answered a request with success.
        generation: Creation time of the store on its own clock. It changes only after the store lost its data.
        lost: The request belongs to an earlier generation, whose reservations are gone.
    """

    max: int
    interval: float
    window: float
    reservations: tuple[Reservation, ...] = ()
    retry_interactive: float = 0.0
    retry_bulk: float = 0.0
    blocked: float = 0.0
    lookahead: int = 1
    others: int = 0
    external_use: int = 0
    free: int = 0
    gap: float = 0.0
    warm: bool = False
    generation: float = -math.inf
    lost: bool = False


@runtime_checkable
class BudgetStore(Protocol):
    """Keeps the slots of scopes for several processes.

    All rules are in ``hl_async.governor.shared.allocator``. A store needs one operation: to replace a value
    atomically, as :class:`PostgresBudget` does. ``tests/contract/budgets.py`` tests any store against this contract.
    """

    async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        """Apply ``request`` to the slots of ``scope``, atomically.

        Raises:
            BudgetStoreError: The store cannot be used. The request may have been applied, or may still be applied.
        """
        ...

    async def aclose(self) -> None:
        """Release the store's own resources."""
        ...
