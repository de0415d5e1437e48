"""Promises of booked slots, as one process has them; the book beside them runs by another clock."""

from __future__ import annotations

import math

import pytest

from hl_async import wire
from hl_async.governor.policy import GovernorPolicy
from hl_async.governor.shared.allocator import SlotAllocator
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest
from hl_async.governor.shared.reservations import ReservedBudget

STORE_CLOCK = 5_000.0
ANSWER = {wire.RATE_LIMIT: "20", wire.RATE_INTERVAL_MS: "10000"}


class Shared:
    """One process's slots, and the book they are booked from."""

    def __init__(self, **policy: float) -> None:
        settings = GovernorPolicy(**{"max": 20, "interval": 10.0, "pace": None, "reserve": 0, **policy})  # type: ignore[arg-type]
        self.slots = ReservedBudget(settings, holder="me", lease=60.0)
        self.slots.warm = True
        self.book: SlotAllocator | None = None
        self.last: ExchangeRequest | None = None
        self.exchange(0.0)

    def exchange(self, now: float, *, calls: int = 0, bulk: int = 0, took: float = 0.0) -> ExchangeReply:
        request = self.last = self.slots.request(now, calls, bulk, now)
        if self.book is None:
            self.book = SlotAllocator.opened(request.terms, -math.inf, now)
        reply = self.book.exchange(now + STORE_CLOCK, request)
        self.slots.apply_reply(now, now + took, request, reply)
        return reply


def test_a_booking_is_used_between_its_start_and_its_end_or_given_back() -> None:
    shared = Shared(pace=1.0)
    slots = shared.slots
    shared.exchange(0.0, bulk=3, took=0.2)
    assert not slots.try_take_bulk(0.1, 0.0), "the answer is what its start counts from"
    assert slots.try_take_bulk(0.2, 0.0)
    assert slots.try_take_bulk(0.2, 0.0), "one gap of catching up"
    assert slots.next_change(0.2, bulk=True) == pytest.approx(0.7)
    assert not slots.try_take_bulk(1.6, 0.0), "its end counts from the wish"
    request = slots.request(1.6, 0, 1, 0.0)
    assert [release.cool for release in request.releases] == [None]
    assert len(request.in_use) == 2


def test_an_interactive_call_takes_a_bulk_booking_rather_than_wait() -> None:
    shared = Shared()
    shared.exchange(0.0, bulk=1)
    assert not shared.slots.try_take_bulk(-1.0, 0.0)
    assert shared.slots.try_take_interactive(0.0)
    assert not shared.slots.try_take_interactive(0.0)
    shared.exchange(1.0)
    assert shared.last is not None
    assert shared.last.since_interactive == 1.0, "the store keeps a reserve for those to come"


def test_a_slot_is_booked_again_an_interval_after_its_answer_by_any_clock() -> None:
    shared = Shared(max=1)
    shared.exchange(0.0, calls=1)
    ticket = shared.slots.try_take_interactive(0.0)
    shared.slots.answered(0.5, 200, {}, ticket)
    (booking,) = shared.exchange(3.0, calls=1).reservations
    assert booking.delay == pytest.approx(7.5)
    assert shared.slots.earliest(3.0, 0, bulk=False) == pytest.approx(10.5)
    assert shared.slots.earliest(3.0, 2, bulk=False) == pytest.approx(13.0)


def test_an_abandoned_request_lingers_and_a_refused_connection_costs_no_slot() -> None:
    shared = Shared(linger=30.0)
    slots = shared.slots
    shared.exchange(0.0, calls=2)
    first, second = slots.try_take_interactive(0.0), slots.try_take_interactive(0.0)
    slots.abandoned(1.0, first)
    slots.refused_connection(1.0, second)
    assert (slots.held, slots.cooling) == (0, 1)
    shared.exchange(2.0)
    assert shared.last is not None
    assert [release.cool for release in shared.last.releases] == [39.0, None]
    assert shared.last.unreserved_uses == ()
    assert slots.free(2.0) == 19
    assert slots.free(50.0) == 19, "as the store said last"
    shared.exchange(50.0)
    assert slots.free(50.0) == 20


def test_what_was_told_to_a_store_that_did_not_answer_is_told_again() -> None:
    shared = Shared()
    slots = shared.slots
    shared.exchange(0.0, calls=1)
    ticket = slots.try_take_interactive(0.0)
    slots.answered(0.5, 200, {**ANSWER, wire.RATE_LIMIT: "30"}, ticket)
    lost = slots.request(1.0, 0, 0, 1.0)
    slots.failed()
    assert slots.is_store_down
    again = slots.request(2.0, 0, 0, 2.0)
    assert lost.terms.learned
    assert again.terms.learned
    assert (lost.releases[0].cool, again.releases[0].cool) == (9.5, 8.5)
    reply = shared.exchange(3.0)
    assert reply.max == slots.max == 30
    assert not slots.is_store_down
    assert not slots.request(4.0, 0, 0, 4.0).terms.learned


def test_a_longer_interval_makes_what_was_booked_by_the_shorter_one_void() -> None:
    shared = Shared()
    slots = shared.slots
    shared.exchange(0.0, bulk=4)
    ticket = slots.try_take_bulk(0.0, 0.0)
    under_way = slots.request(0.1, 2, 0, 0.1)
    assert shared.book is not None
    reply = shared.book.exchange(STORE_CLOCK, under_way)
    slots.answered(0.2, 200, {**ANSWER, wire.RATE_INTERVAL_MS: "20000"}, ticket)
    assert not slots.try_take_bulk(0.2, 0.2)
    slots.apply_reply(0.1, 0.3, under_way, reply)
    assert not slots.try_take_interactive(0.3), "booked before the store knew"
    assert slots.next_exchange_at(0.3, 0, 0) == 0.3
    assert shared.exchange(0.3).interval == slots.interval == 20.0


def test_bulk_books_no_further_ahead_than_it_could_use_lately() -> None:
    shared = Shared()
    slots = shared.slots
    shared.exchange(0.0, bulk=20)
    assert shared.exchange(0.1, bulk=20).lookahead == 10
    shared.exchange(5.0, bulk=20)  # none was used in time
    assert shared.last is not None
    assert 0 < shared.last.bulk <= 5
    for _ in range(40):
        while slots.try_take_bulk(5.0, 5.0):
            slots.returned(slots._ticket)
        shared.exchange(5.0, bulk=20)
    assert len(slots._bulk) >= 9


def test_bookings_that_nobody_waits_for_go_back_soon() -> None:
    shared = Shared()
    slots = shared.slots
    shared.exchange(0.0, bulk=5, calls=3)
    assert slots.next_exchange_at(0.0, 3, 5) > 0.0
    assert slots.next_exchange_at(0.1, 0, 0) == pytest.approx(0.5, abs=0.1)
    shared.exchange(0.6)
    assert shared.last is not None
    assert len(shared.last.releases) == 7, "all but one for the next call"
    assert slots.next_exchange_at(0.7, 0, 0) == pytest.approx(1.0)
    shared.exchange(1.1)
    assert slots.next_exchange_at(1.2, 0, 0) == math.inf


def test_while_the_server_fails_bulk_only_probes() -> None:
    shared = Shared()
    slots = shared.slots
    for n in range(10):
        shared.exchange(float(n), calls=1)
        slots.answered(n + 0.1, 503, {}, slots.try_take_interactive(float(n)))
    assert slots.braked
    shared.exchange(9.5, bulk=5)
    assert not slots.try_take_bulk(9.5, 9.5)
    assert slots.next_change(9.5, bulk=True) == pytest.approx(10.1)
    ticket = slots.try_take_bulk(10.2, 9.5)
    assert ticket
    slots.answered(10.3, 200, ANSWER, ticket)
    assert not slots.braked


def test_a_request_that_takes_long_is_spoken_of_before_its_lease_ends() -> None:
    shared = Shared()
    shared.exchange(0.0, calls=1)
    assert shared.slots.try_take_interactive(0.0)
    assert shared.slots.next_exchange_at(0.1, 0, 0) == pytest.approx(30.0)
    shared.exchange(30.0)
    assert shared.slots.next_exchange_at(30.0, 0, 0) == pytest.approx(60.0)


def test_a_holder_that_died_may_have_sent_until_its_window_and_its_lease_are_over() -> None:
    shared = Shared(max=1)
    shared.exchange(0.0, calls=1)
    request = ReservedBudget(GovernorPolicy(max=1), holder="other", lease=60.0).request(0.0, 1, 0, 0.0)
    assert shared.book is not None
    assert not shared.book.exchange(STORE_CLOCK + 1.0 + 60.0 + 9.9, request).reservations
    assert shared.book.exchange(STORE_CLOCK + 1.0 + 60.0 + 10.0, request).reservations[0].delay == 0.0


def test_who_never_asked_has_nothing_to_say_in_the_end() -> None:
    assert ReservedBudget(GovernorPolicy(), holder="me", lease=60.0).closing_request(0.0) is None
    shared = Shared()
    shared.exchange(0.0, bulk=3)
    goodbye = shared.slots.closing_request(1.0)
    assert goodbye is not None
    assert goodbye.leaving
    assert len(goodbye.releases) == 3


def test_a_store_that_was_made_anew_is_told_every_use_that_is_not_back_and_no_booking_of_the_former_is_used() -> (
    None
):
    shared = Shared()
    slots = shared.slots
    shared.exchange(0.0, calls=4)
    tickets = [slots.try_take_interactive(0.0) for _ in range(3)]
    slots.answered(1.0, 200, {}, tickets[0])
    shared.exchange(2.0)
    slots.answered(2.5, 200, {}, tickets[1])
    assert shared.book is not None
    shared.book = SlotAllocator.opened(
        slots.request(2.5, 0, 0, 2.5).terms, 3.0 + STORE_CLOCK, 3.0 + STORE_CLOCK, lost=True
    )
    unheard = shared.book.exchange(3.0 + STORE_CLOCK, slots.request(3.0, 0, 0, 3.0))
    slots.failed()
    assert unheard.lost
    request = slots.request(4.0, 1, 5, 4.0)
    reply = shared.book.exchange(4.0 + STORE_CLOCK, request)
    slots.answered(4.05, 200, {}, tickets[2])  # while the answer is on its way
    slots.apply_reply(4.0, 4.1, request, reply)
    assert reply.lost, "nobody heard it when it was told first"
    assert [booking.bulk for booking in reply.reservations] == [False], "bulk rests"
    assert not slots.try_take_bulk(4.1, 4.1)
    told = slots.request(4.2, 0, 0, 4.2)
    assert told.releases == ()
    assert sorted(told.unreserved_uses) == pytest.approx([6.8, 8.3, 9.85])
    assert not shared.exchange(4.2).lost
    assert shared.exchange(14.0, bulk=1).reservations
