"""The promises of the store of a shared rate budget as tests, for a store of your own.

Subclass :class:`BudgetStoreContract` in a test module, say how to open your store, and run pytest::

    class TestMyBudget(BudgetStoreContract):
        async def open_store(self):
            return MyBudget(await connect(URL))

Every test opens stores in an event loop of its own and spends from scopes of its own names.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from hl_async.governor.shared.messages import (
    BudgetStore,
    ExchangeReply,
    ExchangeRequest,
    Observation,
    Release,
    Reservation,
    Terms,
)

TERMS = Terms(
    max=10, interval=100.0, learned=False, lease=20.0, pace=None, reserve=0, external_margin=1.0, cold_interactive=3,
    share=1.0,
)  # fmt: skip
"""What the callers of these tests ask for, unless a test says otherwise: ten requests in a hundred seconds, unpaced."""

PATIENCE = 8.0
"""By how much durations may be off in a store with a clock of its own: it is asked in real time."""


class Caller:
    """One process that exchanges with the store for one scope; it names what it has, as the client does."""

    def __init__(self, store: BudgetStore, scope: str, **terms: Any) -> None:
        self.store = store
        self.scope = scope
        self.name = secrets.token_hex(6)
        self.serial = 0
        self.terms = msgspec.structs.replace(TERMS, **terms)
        self.generation: float | None = None
        self.unused: list[int] = []
        self.in_use: list[int] = []

    async def ask(self, *, learned: bool = False, **request: Any) -> ExchangeReply:
        """Exchange; what is granted is at hand afterwards."""
        self.serial += 1
        told = {release.lease for release in request.get("releases", ())}
        self.unused = [lease for lease in self.unused if lease not in told]
        self.in_use = [lease for lease in self.in_use if lease not in told]
        known: dict[str, Any] = {
            "holder": self.name, "serial": self.serial, "warm": True, "in_use": tuple(self.in_use),
            "unused": tuple(self.unused), "terms": msgspec.structs.replace(self.terms, learned=learned),
            "generation": self.generation,
        }  # fmt: skip
        grant = await self.store.exchange(self.scope, ExchangeRequest(**{**known, **request}))
        self.generation = grant.generation
        self.unused += [booking.lease for booking in grant.reservations]
        return grant

    async def calls(self, count: int) -> tuple[Reservation, ...]:
        """Book slots for interactive calls."""
        return (await self.ask(interactive=count)).reservations


class BudgetStoreContract:
    """One test per promise of :class:`~hl_async.governor.shared.BudgetStore`.

    ``open_store`` gives an open store; ``open_again`` another one on the same data, as another process would, or None
    when that cannot be; ``lose`` loses all data as a crash would, and says whether it could; ``pass_time`` waits.
    """

    async def open_store(self) -> BudgetStore:
        """An open store."""
        raise NotImplementedError("say how to open your store: override open_store")

    async def open_again(self) -> BudgetStore | None:
        """Another store on the data of the last ``open_store``; None when data isn't shared."""
        return None

    async def lose(self, store: BudgetStore) -> bool:
        """Lose all data; False when this store can't but with its process."""
        return False

    async def pass_time(self, seconds: float) -> None:
        """Let ``seconds`` of the store's clock pass."""
        await asyncio.sleep(seconds)

    # ------------------------------------------------------------------------------------------- slots

    def test_there_are_as_many_slots_as_the_budget_has(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            reservations = await a.calls(6)
            assert [booking.delay for booking in reservations] == [0.0] * 6
            reservations = await b.calls(6)
            assert len(reservations) == 4
            grant = await a.ask(interactive=1, bulk=1)
            assert grant.reservations == ()
            assert min(grant.retry_interactive, grant.retry_bulk) > 0
            assert grant.free == 0

        self._run(check)

    def test_a_used_slot_comes_back_when_its_holder_said(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            booked = await a.calls(10)
            await a.ask(
                releases=tuple(
                    Release(one.lease, 60.0 + 10.0 * place) for place, one in enumerate(booked[:2])
                )
            )
            first, second = await b.calls(2)
            assert 60.0 - PATIENCE <= first.delay <= 60.0
            assert 70.0 - PATIENCE <= second.delay <= 70.0
            assert await b.calls(1) == ()

        self._run(check)

    def test_an_unused_slot_is_what_it_was_before(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            booked = await a.calls(10)
            await a.ask(releases=(Release(booked[0].lease, 60.0), Release(booked[1].lease, None)))
            fresh, cooling = await b.calls(2)
            assert fresh.delay == 0.0
            await b.ask(releases=(Release(cooling.lease, None),))
            (again,) = await a.calls(1)
            assert 60.0 - PATIENCE <= again.delay <= 60.0

        self._run(check)

    def test_of_many_at_once_each_slot_goes_to_one(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            callers = [Caller(place.store, a.scope) for place in (a, b) for _ in range(10)]
            booked = await asyncio.gather(*(caller.calls(1) for caller in callers))
            assert sum(len(one) for one in booked) == 10

        self._run(check)

    def test_scopes_have_nothing_to_do_with_each_other(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            other = Caller(b.store, a.scope + "/other")
            assert len(await a.calls(10)) == len(await other.calls(10)) == 10

        self._run(check)

    def test_a_request_without_a_booking_takes_a_slot_too(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            await a.ask(unreserved_uses=(50.0, 50.0))
            booked = await b.calls(10)
            assert sum(booking.delay > 0 for booking in booked) == 2

        self._run(check)

    # --------------------------------------------------------------------------- what gets lost on the way

    def test_a_release_that_comes_too_late_changes_nothing(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            (first,) = await a.calls(1)
            await a.ask(releases=(Release(first.lease, 50.0),))
            await a.ask(releases=(Release(first.lease, 0.0),))  # said before, of a lease that is over
            booked = await b.calls(10)
            assert sum(booking.delay > 0 for booking in booked) == 1
            await a.ask(releases=tuple(Release(booking.lease, 0.0) for booking in booked))  # another's
            assert await a.calls(1) == ()

        self._run(check)

    def test_bookings_that_were_lost_with_an_answer_are_free_again(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            await a.calls(10)
            a.unused = a.unused[:4]  # it never heard of the others
            await a.ask()
            assert [booking.delay for booking in await b.calls(10)] == [0.0] * 6

        self._run(check)

    def test_an_exchange_that_is_repeated_books_once(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            first = await a.calls(4)
            a.serial, a.unused = a.serial - 1, []
            assert await a.calls(4) == first
            assert len(await b.calls(10)) == 6

        self._run(check)

    def test_an_exchange_that_was_overtaken_takes_nothing_from_the_later_one(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            a.serial += 1
            await a.calls(4)
            a.serial, a.unused = 0, []
            await a.ask()
            assert len(await b.calls(10)) == 6

        self._run(check)

    def test_the_slots_of_a_holder_that_died_come_back_when_nothing_of_it_can_be_on_its_way(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            quick = {"interval": 1.0, "lease": 0.5}
            a, b = Caller(a.store, a.scope, **quick), Caller(b.store, b.scope, **quick)
            assert len(await a.calls(10)) == 10
            assert await b.calls(10) == ()
            await self.pass_time(1.65)  # the window in which to send, the lease, the interval
            assert [booking.delay for booking in await b.calls(10)] == [0.0] * 10
            await a.ask(releases=tuple(Release(lease, 0.0) for lease in a.unused))
            assert await a.calls(1) == ()

        self._run(check)

    def test_a_holder_that_is_heard_of_keeps_what_it_uses(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            a = Caller(a.store, a.scope, interval=1.0, lease=1.0)
            await a.calls(10)
            a.in_use, a.unused = a.unused, []
            for _ in range(3):
                await self.pass_time(0.75)
                await a.ask()
            assert await b.calls(1) == ()

        self._run(check)

    def test_after_a_loss_of_all_data_slots_come_back_one_after_the_other_within_an_interval(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            await a.calls(5)
            if not await self.lose(a.store):
                return
            booked = await b.calls(10)
            assert len(booked) == 10
            assert all(abs(one.delay - 10 * place) <= PATIENCE for place, one in enumerate(booked, 1))

        self._run(check)

    def test_after_a_loss_bulk_waits_for_an_interval_and_who_had_bookings_is_told(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            await a.calls(2)
            if not await self.lose(a.store):
                return
            newcomer = await b.ask(bulk=1)
            assert (newcomer.reservations, newcomer.lost) == ((), False)
            assert abs(newcomer.retry_bulk - 100.0) <= PATIENCE
            former = a.generation
            assert (await a.ask()).lost, "it comes from the former life"
            a.generation = former
            assert (await a.ask()).lost, "the answer may have been lost"
            assert not (await a.ask()).lost

        self._run(check)

    # ------------------------------------------------------------------------------------------- lanes

    def test_bulk_of_all_processes_together_keeps_its_pace(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            a, b = Caller(a.store, a.scope, pace=1.0), Caller(b.store, b.scope, pace=1.0)
            moments = [one.delay for caller in (a, b, a) for one in (await caller.ask(bulk=1)).reservations]
            assert moments == sorted(moments)
            # one gap of catching up is allowed in the beginning
            assert abs(moments[2] - moments[1] - 10.0) <= PATIENCE

        self._run(check)

    def test_bulk_books_far_ahead_alone_and_a_short_way_beside_others(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            grant = await a.ask(bulk=10)
            assert (len(grant.reservations), grant.lookahead, grant.others) == (5, 5, 0)
            assert (await b.ask(bulk=10)).others == 1
            grant = await a.ask(ahead=5)
            assert (grant.lookahead, grant.others) == (1, 1)
            await b.ask(leaving=True)
            assert (await a.ask(ahead=5)).lookahead == 5

        self._run(check)

    def test_bulk_leaves_a_reserve_while_anybody_makes_interactive_calls(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            bulk = Caller(a.store, a.scope, reserve=2)
            await b.ask(since_interactive=1.0, unreserved_uses=(90.0,) * 6)
            booked: list[Reservation] = []
            for _ in range(4):
                booked += (await bulk.ask(bulk=1)).reservations
            assert sum(booking.delay == 0.0 for booking in booked) == 1
            assert [booking.delay for booking in await b.calls(3)] == [0.0] * 3

        self._run(check)

    def test_bulk_that_got_nothing_for_an_interval_may_take_one_of_the_reserve(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            bulk = Caller(a.store, a.scope, reserve=9)
            await b.ask(since_interactive=0.0)
            assert (await bulk.ask(bulk=3)).reservations == ()
            assert len((await bulk.ask(bulk=3, bulk_waited=100.0)).reservations) == 1

        self._run(check)

    def test_a_caller_with_a_share_uses_no_more_of_the_slots(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            a = Caller(a.store, a.scope, share=0.35)
            booked = await a.calls(10)
            assert len(booked) == 3
            await a.ask(releases=tuple(Release(one.lease, 50.0) for one in booked))
            (later,) = await a.calls(1)
            assert later.delay >= 50.0 - PATIENCE
            assert len(await b.calls(10)) == 9

        self._run(check)

    def test_nobody_knows_a_scope_in_the_beginning_so_few_are_sent(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            assert len((await a.ask(bulk=5, warm=False)).reservations) == 1
            assert (await b.ask(bulk=5, warm=False)).reservations == ()
            assert len((await b.ask(interactive=5, warm=False)).reservations) == 2
            assert not (await b.ask(warm=False)).warm
            await a.ask()
            assert (await b.ask(warm=False)).warm
            assert len((await b.ask(interactive=5, warm=False)).reservations) == 5

        self._run(check)

    # ------------------------------------------------------------------------------- what the server told

    def test_what_one_learned_of_the_budget_holds_for_all(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            await b.ask()
            a.terms = msgspec.structs.replace(a.terms, max=4, interval=5.0)
            await a.ask(learned=True)
            grant = await b.ask(interactive=10)
            assert (grant.max, grant.interval, len(grant.reservations)) == (4, 5.0, 4)

        self._run(check)

    def test_a_refusal_of_one_stops_all_and_slows_bulk_down(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            before = await a.ask()
            await a.ask(pause=60.0, refused=True)
            grant = await b.ask(interactive=1, bulk=1)
            assert grant.reservations == ()
            assert 60.0 - PATIENCE <= grant.blocked <= 60.0
            assert grant.retry_interactive == grant.retry_bulk == grant.blocked
            assert before.gap == 0.0
            assert grant.gap > 10.0

        self._run(check)

    def test_what_strangers_spend_is_left_to_them_by_all(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            await a.calls(2)
            grant = await a.ask(seen=Observation(remaining=8, age=0.0, trip=0.1))
            assert grant.external_use == 0, "our own requests are not a stranger's"
            await a.ask(seen=Observation(remaining=4, age=0.0, trip=0.1))
            grant = await b.ask(interactive=10)
            assert (grant.external_use, len(grant.reservations)) == (4, 4)

        self._run(check)

    # --------------------------------------------------------------------------------------- life cycle

    def test_closing_twice_is_harmless(self) -> None:
        async def check(a: Caller, b: Caller) -> None:
            await a.store.aclose()
            await a.store.aclose()

        self._run(check)

    # ------------------------------------------------------------------------ the frame around a test

    def _run(self, check: Callable[[Caller, Caller], Awaitable[Any]]) -> None:
        async def main() -> None:
            store = await self.open_store()
            second = await self.open_again()
            scope = f"contract/{secrets.token_hex(8)}"
            try:
                await check(Caller(store, scope), Caller(second or store, scope))
            finally:
                await store.aclose()
                if second is not None:
                    await second.aclose()

        asyncio.run(main())
