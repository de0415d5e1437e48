"""Internal. Messages between a process and the store of a shared budget.

They carry durations only, so no two clocks have to agree.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from hl_async.governor.policy import GovernorPolicy


class Release(NamedTuple):
    """A slot that returns ``cool`` seconds from now. None means that it was not used."""

    lease: int
    cool: float | None


class Observation(NamedTuple):
    """A ``Remaining`` header of ``age`` seconds ago; its round trip took ``trip``."""

    remaining: int
    age: float
    trip: float


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Policy of one process, and the limits it knows.

    Attributes:
        max: Requests per interval. It counts if ``learned``, or while no process has learned it.
        interval: Seconds. It counts under the same condition.
        learned: The limits come from the server's headers.
        lease: Seconds after the last possible send in which a request may still be on its way.
        pace: Part of the rate at which bulk is spread, None without pacing.
        reserve: Slots kept back for interactive calls.
        external_margin: Part of other clients' use that is withheld in addition.
        cold_interactive: Interactive calls in flight before the first answer.
        share: Part of the slots that the process may use.
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
        """Return the terms of a policy, with what the process knows of the budget."""
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
    """Half of an exchange that one process sends. All times are seconds.

    Attributes:
        holder: Name of the process.
        serial: Grows with every exchange that the process tries.
        terms: Its policy and the limits it knows.
        interactive: Slots to reserve for interactive calls.
        bulk: Slots to reserve for bulk.
        bulk_waited: Time for which bulk has got no slot.
        ahead: Bulk reservations that the process holds.
        in_use: Reservations whose requests are on their way.
        unused: Reservations still to be used. A reservation in neither tuple was lost with a reply.
        releases: Reservations that ended.
        unreserved_uses: Requests sent without a reservation, as times until their slots return.
        seen: The last ``Remaining`` header.
        pause: Time for which a 429 forbids requests.
        refused: A 429 was received.
        since_interactive: Time since the last interactive call.
        warm: The server has stated its limits, or has answered a request with success.
        limits_revision: Number of changed limits that the headers have shown.
        leaving: The process closes its scope.
        generation: Generation of the store in its last reply.
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

    The window is between ``delay`` seconds from now and ``ExchangeReply.window`` seconds later.
    """

    lease: int
    delay: float
    bulk: bool


class ExchangeReply(msgspec.Struct, frozen=True, kw_only=True):
    """Half of an exchange that the store returns. All times are seconds.

    Attributes:
        max: Requests per interval.
        interval: The interval.
        window: Time after its start in which a reservation may be used.
        reservations: The new reservations.
        retry_interactive: Time after which asking again for interactive slots may succeed.
        retry_bulk: The same for bulk slots.
        blocked: Time for which no request may be sent.
        lookahead: Bulk reservations that this process should hold.
        others: Other processes that use the scope.
        external_use: Requests of other clients in the last interval.
        free: Slots that no process has reserved.
        gap: Distance between two bulk requests.
        warm: The server has stated its limits, or has answered a request with success.
        generation: Identifies the store since its last loss.
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
    atomically, as :class:`PostgresBudget` does. ``tests/contract/budgets.py`` tests the promises of every store.
    """

    async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        """Apply ``request`` to the slots of ``scope``, atomically.

        Raises:
            BudgetStoreError: The store cannot be used. The request may have been applied, or may be applied later.
        """
        ...

    async def aclose(self) -> None:
        """Release the store's own resources."""
        ...
