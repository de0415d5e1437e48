"""Internal. Timeouts of attempts.

One timer serves all attempts with the default timeout, which end in order.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

_TURNS: Final = 3
"""Turns of the loop between a timer and the end of its attempts.

A busy loop runs the timer before it reads an answer that is already in the socket. The first turn reads it, a later one
wakes the attempt. uvloop runs timers, and the callbacks they schedule, before it reads.
"""


class Attempt:
    """Progress of one attempt, and the task to cancel when its time is up.

    ``sent`` is set before the first byte of the request is written, ``answered`` after the head of the answer arrived.
    """

    __slots__ = ("answered", "at", "cancelling", "expired", "sent", "task", "timer")

    def __init__(self, task: asyncio.Task[Any], at: float) -> None:
        self.task: asyncio.Task[Any] = task
        self.at: float = at
        self.cancelling: int = task.cancelling()
        self.timer: asyncio.Handle | None = None
        self.expired: bool = False
        self.sent: bool = False
        self.answered: bool = False

    def is_up(self) -> bool:
        """Return whether only the timeout caused this cancellation; take it back if so."""
        return self.expired and self.task.uncancel() <= self.cancelling

    def expire(self) -> None:
        """Cancel the attempt's task, because its time is up."""
        self.expired = True
        self.task.cancel()


class AttemptTimeouts:
    """Timers that end attempts after ``seconds``, or after their own time."""

    __slots__ = ("_loop", "_running", "_seconds", "_timed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._running: dict[Attempt, None] = {}
        self._timed: set[Attempt] = set()
        self._timer: asyncio.Handle | None = None

    def begin(self, seconds: float | None = None) -> Attempt:
        """Start to time the running task; ``seconds`` replaces the default time."""
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
        """Stop timing an attempt that has ended."""
        if attempt.timer is not None:
            attempt.timer.cancel()
            self._timed.discard(attempt)
        else:
            self._running.pop(attempt, None)

    def close(self) -> None:
        """End all attempts now.

        A closed connection alone does not wake an attempt that reads a body.
        """
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
        # `now` is the time of the timer. An attempt that became due since then gets turns of its own.
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
