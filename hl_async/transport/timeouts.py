"""Timeouts of attempts: one timer for all that have the usual one, since they end in the order they began."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_TURNS: Final = 3
"""Turns of the loop between a timer and the end of its attempts.

A loop that was busy runs the timer before the attempt has seen an answer that is in the socket already: the first turn
reads it (uvloop runs its timers before it reads, and what they schedule too), the next one wakes the attempt.
"""


class Attempt:
    """One attempt under way: how far it got, who to wake when its time is up, and whether that happened.

    ``sent`` is set before the first byte of the request is written, ``answered`` when the answer's head is here.
    """

    __slots__ = ("answered", "at", "cancelling", "expired", "sent", "task", "timer")

    def __init__(self, task: asyncio.Task[Any], at: float) -> None:
        self.task = task
        self.at = at
        self.cancelling = task.cancelling()
        self.timer: asyncio.Handle | None = None
        self.expired = False
        self.sent = False
        self.answered = False

    def is_up(self) -> bool:
        """Whether a cancellation that arrives now is the watch's doing, and nobody else's; takes it back if so."""
        return self.expired and self.task.uncancel() <= self.cancelling

    def expire(self) -> None:
        """Its time is up."""
        self.expired = True
        self.task.cancel()


class AttemptTimeouts:
    """Ends attempts that outlast ``seconds``, or a time of their own, and all of them when it is closed."""

    __slots__ = ("_loop", "_running", "_seconds", "_timed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._running: dict[Attempt, None] = {}
        self._timed: set[Attempt] = set()
        self._timer: asyncio.Handle | None = None

    def begin(self, seconds: float | None = None) -> Attempt:
        """Watch the running task from now on."""
        task = asyncio.current_task()
        assert task is not None
        if seconds is not None:
            attempt = Attempt(task, self._loop.time() + seconds)
            attempt.timer = self._loop.call_at(attempt.at, self._expire_own, attempt, _TURNS)
            self._timed.add(attempt)
            return attempt
        attempt = Attempt(task, self._loop.time() + self._seconds)
        self._running[attempt] = None
        if self._timer is None:
            self._timer = self._loop.call_at(attempt.at, self._on_timer)
        return attempt

    def end(self, attempt: Attempt) -> None:
        """The attempt is over, however it ended."""
        if attempt.timer is not None:
            attempt.timer.cancel()
            self._timed.discard(attempt)
        else:
            self._running.pop(attempt, None)

    def close(self) -> None:
        """End all attempts now: nothing else would wake one whose connection is closed in the middle of a body."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in (*self._running, *self._timed):
            self.end(attempt)
            attempt.expire()

    def _expire_own(self, attempt: Attempt, turns: int) -> None:
        if turns:
            attempt.timer = self._loop.call_soon(self._expire_own, attempt, turns - 1)
        else:
            attempt.expire()

    def _on_timer(self) -> None:
        self._expire_due(_TURNS, self._loop.time())

    def _expire_due(self, turns: int, now: float) -> None:
        # `now` is when the timer ran: an attempt that became due since then has turns of its own to come
        if turns:
            self._timer = self._loop.call_soon(self._expire_due, turns - 1, now)
            return
        self._timer = None
        while self._running:
            attempt = next(iter(self._running))
            if attempt.at > now:
                self._timer = self._loop.call_at(attempt.at, self._on_timer)
                return
            del self._running[attempt]
            attempt.expire()
