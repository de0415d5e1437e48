"""The slots under arbitrary schedules: hypothesis plays the network, the callers and the clock; exact servers judge."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hl_async import wire
from hl_async.governor.budget import Budget
from hl_async.governor.policy import GovernorPolicy
from hl_async.sandbox.rate_limits import FixedWindow, SlidingLog, TokenBucket, Window

MAX, INTERVAL, LINGER = 5, 10.0, 4.0


class Schedules(RuleBasedStateMachine):
    """Requests are sent, travel for any time, are received in any order, answered, lost, abandoned or cancelled."""

    @initialize(phase=st.floats(0, INTERVAL), pace=st.sampled_from([None, 0.95]), reserve=st.integers(0, 2))
    def start(self, phase: float, pace: float | None, reserve: int) -> None:
        self.now = 100.0
        policy = GovernorPolicy(max=MAX, interval=INTERVAL, pace=pace, reserve=reserve, linger=LINGER)
        self.budget = Budget(policy)
        self.windows: list[Window] = [
            FixedWindow(MAX, INTERVAL, phase),
            SlidingLog(MAX, INTERVAL),
            TokenBucket(MAX, INTERVAL),
        ]
        self.travelling: list[float] = []
        self.marks: list[int] = []
        self.received = 0
        self.orphans: list[float] = []
        self.refused = 0

    def receive(self) -> None:
        self.refused += sum(not window.admit(self.now) for window in self.windows)

    @rule(seconds=st.floats(0, 6))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        # what was abandoned arrives at the latest before its linger time is over
        for late in [one for one in self.orphans if one + LINGER <= self.now]:
            self.orphans.remove(late)
            clock, self.now = self.now, late + LINGER
            self.receive()
            self.now = clock

    @rule(bulk=st.booleans())
    def a_call_wants_to_go(self, bulk: bool) -> None:
        taken = (
            self.budget.try_take_bulk(self.now, self.now)
            if bulk
            else self.budget.try_take_interactive(self.now)
        )
        if taken:
            self.travelling.append(self.now)
            self.marks.append(self.budget.expired)
            assert self.budget.held + self.budget.cooling <= self.budget.max

    @rule(newest=st.booleans())
    def the_server_receives_one(self, newest: bool) -> None:
        if self.travelling:
            self.travelling.pop(-1 if newest else 0)
            self.received += 1
            self.receive()

    @rule(
        status=st.sampled_from([200, 404, 429, 500]),
        told=st.sampled_from([str(MAX), str(MAX), "3", "0", "many", "-1", None]),
        remaining=st.integers(-1, MAX),
    )
    def an_answer_arrives(self, status: int, told: str | None, remaining: int) -> None:
        """Its headers may be true, may shrink or grow the budget, may tell of strangers, may be junk or missing."""
        if self.received:
            self.received -= 1
            headers = {
                wire.RATE_INTERVAL_MS: str(int(INTERVAL * 1000)),
                wire.RATE_REMAINING: str(remaining),
            }
            if told is not None:
                headers[wire.RATE_LIMIT] = told
            self.budget.answered(self.now, status, headers, self.marks.pop(0))
            if status == 429:
                self.budget.pause(self.now, None)

    @rule()
    def an_answer_is_lost_and_the_call_abandoned(self) -> None:
        if self.received:
            self.received -= 1
            self.marks.pop(0)
            self.budget.abandoned(self.now)

    @rule()
    def a_call_is_cancelled_while_its_request_travels(self) -> None:
        if self.travelling:
            self.travelling.pop()
            self.marks.pop()
            self.orphans.append(self.now)
            self.budget.abandoned(self.now)

    @rule()
    def a_call_is_cancelled_before_anything_left(self) -> None:
        if self.travelling:
            self.travelling.pop()
            self.marks.pop()
            self.budget.returned()

    @invariant()
    def the_server_refuses_nothing(self) -> None:
        assert getattr(self, "refused", 0) == 0

    @invariant()
    def slots_are_neither_lost_nor_made(self) -> None:
        if hasattr(self, "budget"):
            assert self.budget.held == len(self.travelling) + self.received
            assert 0 <= self.budget.held <= MAX
            assert self.budget.free(self.now) <= MAX


Schedules.TestCase.settings = settings(
    deadline=None, max_examples=100, stateful_step_count=60, derandomize=True
)
TestSchedules = pytest.mark.untraced(Schedules.TestCase)
