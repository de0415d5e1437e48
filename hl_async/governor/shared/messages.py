"""What a process and the store of a shared budget tell each other: durations only, so that no two clocks must agree."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from hl_async.governor.policy import GovernorPolicy


class Release(NamedTuple):
    """A slot comes back ``cool`` seconds from now; None: it was not used, and is what it was before."""

    lease: int
    cool: float | None


class Observation(NamedTuple):
    """The server had ``remaining`` requests left; told ``age`` seconds ago, after a round trip of ``trip``."""

    remaining: int
    age: float
    trip: float


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How one caller wants the budget spent, from its policy, and what it knows of the budget.

    ``max`` and ``interval`` are news that it ``learned`` from the server, or count while nobody did. ``lease`` is how
    long after the last moment at which it may be sent a request may still be on its way. ``share`` is the part of the
    slots that it may use.
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
    """One process's half of an exchange.

    ``holder`` names the process, ``serial`` grows with every exchange it tries. ``interactive`` and ``bulk`` are how
    many slots to book in each lane; ``bulk_waited`` is for how long bulk has got nothing, ``ahead`` how many bulk
    bookings are at hand. ``in_use`` and ``unused`` name every booking that it has; what it has and doesn't name was
    lost with an answer. ``unreserved_uses`` are requests that went out without a booking: when their slots come
    back. ``pause`` and ``refused`` tell of a 429. ``since_interactive`` is how long ago an interactive call was
    last seen, ``limits_revision`` the number of times that the headers told another budget; ``leaving`` says
    goodbye. ``generation`` repeats what the last answer said.
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
    """The right to send one request between ``delay`` seconds from now and ``ExchangeReply.window`` seconds later."""

    lease: int
    delay: float
    bulk: bool


class ExchangeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The store's half of an exchange.

    ``window`` is for how long after its start a booking is good. ``retry_interactive`` and ``retry_bulk`` say when
    asking again can help those who got nothing. ``blocked`` is for how long nothing may be sent, ``lookahead`` how many
    bulk bookings this process should have at hand, ``others`` how many other processes use the scope,
    ``external_use`` what strangers were seen to spend, ``free`` how many slots nobody has, ``gap`` the distance of
    two bulk requests. ``generation`` names the store's life; ``lost``: the wish comes from a former one, whose
    bookings nobody knows any more.
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

    ``tests/contract/budgets.py`` has its promises as tests. All rules are in
    ``hl_async.governor.shared.allocator``: a store that can replace a value atomically needs no more than
    :class:`PostgresBudget` does.
    """

    async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        """Apply ``request`` to the slots of ``scope``, atomically.

        Raises :class:`BudgetStoreError` when the store can't be used; then it may have been applied or not, or be
        applied later.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...
