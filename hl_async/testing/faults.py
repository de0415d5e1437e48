"""Faults of the sandbox for the length of a block::

    with lost_answers(box, "estimates.create"):
        ...                                        # the estimate is created, its answer is lost

``operation`` is an operation by any of its names (``hl-async call --list`` prints them), or ``*`` for any. The end of a
block restores the faults from before, and drops those of the block that no request has met.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hl_async.errors import InvalidRequest
from hl_async.sandbox import Fault, Sandbox


@contextmanager
def outage(box: Sandbox, fault: Fault = Fault.HTML_503) -> Iterator[None]:
    """Let every request meet `fault`. With the default, no request is executed."""
    # A copy, because use() replaces the rates of the plan.
    before = dict(box.faults.rates)
    box.faults.use({fault: 1.0})
    try:
        yield
    finally:
        box.faults.use(before)


@contextmanager
def slow(box: Sandbox, seconds: float) -> Iterator[None]:
    """Delay every answer by `seconds`."""
    before = box.latency
    # Added to the present delay, so that blocks can be nested.
    box.latency = before + seconds
    try:
        yield
    finally:
        box.latency = before


@contextmanager
def unreachable_next(box: Sandbox, operation: str = "*", times: int = 1) -> Iterator[None]:
    """Reset the connection of the next `times` requests before they are executed."""
    with _scripted(box, operation, Fault.RESET_BEFORE_COMMIT, times):
        yield


@contextmanager
def lost_answers(box: Sandbox, operation: str = "*", times: int = 1) -> Iterator[None]:
    """Execute the next `times` requests, and reset the connection without an answer."""
    with _scripted(box, operation, Fault.RESET_AFTER_COMMIT, times):
        yield


@contextmanager
def throttled(
    box: Sandbox, operation: str = "*", times: int = 1, *, retry_after: float = 0.05
) -> Iterator[None]:
    """Answer the next `times` requests with a 429, without executing them.

    `retry_after` is the value of `Retry-After`, in seconds.
    """
    before = box.faults.times.retry_after
    box.faults.times.retry_after = retry_after
    try:
        with _scripted(box, operation, Fault.THROTTLE_SECONDS, times):
            yield
    finally:
        box.faults.times.retry_after = before


@contextmanager
def refused_tokens(box: Sandbox, operation: str = "*", times: int = 1) -> Iterator[None]:
    """Answer the next `times` requests with the 401 of an expired token."""
    with _scripted(box, operation, Fault.UNAUTHORISED, times):
        yield


@contextmanager
def gateway_timeouts(
    box: Sandbox, operation: str = "*", times: int = 1, *, executed: bool = True
) -> Iterator[None]:
    """Answer the next `times` requests with the 401 of a gateway's timeout.

    Args:
        box: The sandbox.
        operation: An operation, or `*` for any.
        times: The number of requests.
        executed: Whether the requests are executed nevertheless.
    """
    fault = Fault.TIMED_OUT_AFTER if executed else Fault.TIMED_OUT_BEFORE
    with _scripted(box, operation, fault, times):
        yield


@contextmanager
def _scripted(box: Sandbox, operation: str, fault: Fault, times: int) -> Iterator[None]:
    if times < 1:
        raise InvalidRequest("times", f"{times} is below 1")
    box.faults.script(operation, fault, times=times)
    try:
        yield
    finally:
        # Faults that no request has met would hit the next test.
        box.faults.unscript(operation, fault)
