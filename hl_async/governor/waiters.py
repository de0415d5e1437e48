"""Internal. Calls that wait in a lane of a scope, in the order of their arrival."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias


class Waiter:
    """A call that waits for a permit.

    Attributes:
        future: Receives the permit, or the error that ends the wait.
        since: When the wait began, by the governor's clock in seconds.
        bulk: Whether the call is of the bulk lane.
        owner: The client's transport. A client that closes ends the waits of its own calls only.
        timer: Ends the wait at the call's deadline.
    """

    __slots__ = ("bulk", "future", "owner", "since", "timer")

    def __init__(self, future: asyncio.Future[Any], since: float, bulk: bool, owner: object) -> None:
        self.bulk = bulk
        self.future = future
        self.owner = owner
        self.since = since
        self.timer: asyncio.TimerHandle | None = None


WaitQueue: TypeAlias = OrderedDict[Waiter, None]
"""Waiters by arrival, with O(1) removal from the middle."""


def first_of(queue: WaitQueue) -> Waiter | None:
    """Return the first call that still waits."""
    while queue:
        waiter = next(iter(queue))
        if not waiter.future.done():
            return waiter
        del queue[waiter]  # cancelled in this turn of the loop, so it has not left the queue itself
    return None


def fail(queue: WaitQueue, error: Callable[[], Exception], owner: object = None) -> None:
    """End the waits of ``owner`` with an error each; without an owner, all waits."""
    for waiter in [one for one in queue if owner is None or one.owner is owner]:
        del queue[waiter]
        if not waiter.future.done():
            waiter.future.set_exception(error())
