"""Faults of an API, as blocks of a test::

    with lost_answers(box, "estimates.create"):
        ...                                        # the estimate is created, its answer is lost

``operation`` is an operation of the table in any spelling (``hl-async call --list``); ``*`` stands for any. When a
block ends, the faults that were in force before are back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hl_async.errors import InvalidRequest
from hl_async.sandbox import Fault, Sandbox


@contextmanager
def outage(box: Sandbox, fault: Fault = Fault.HTML_503) -> Iterator[None]:
    """Let every request meet `fault`; with the default one nothing is executed."""
    # A copy: use() replaces what the plan holds.
    before = dict(box.faults.rates)
    box.faults.use({fault: 1.0})
    try:
        yield
    finally:
        box.faults.use(before)


@contextmanager
def slow(box: Sandbox, seconds: float) -> Iterator[None]:
    """Let every answer take `seconds` longer."""
    before = box.latency
    # Added, so that blocks can be nested.
    box.latency = before + seconds
    try:
        yield
    finally:
        box.latency = before


@contextmanager
def unreachable_next(box: Sandbox, operation: str = "*", times: int = 1) -> Iterator[None]:
    """Cut the next `times` requests off before they are executed."""
    with _scripted(box, operation, Fault.RESET_BEFORE_COMMIT, times):
        yield


@contextmanager
def lost_answers(box: Sandbox, operation: str = "*", times: int = 1) -> Iterator[None]:
    """Execute the next `times` requests, and lose their answers on the way."""
    with _scripted(box, operation, Fault.RESET_AFTER_COMMIT, times):
        yield


@contextmanager
def throttled(
    box: Sandbox, operation: str = "*", times: int = 1, *, retry_after: float = 0.05
) -> Iterator[None]:
    """Answer the next `times` requests with 429 and `Retry-After`, in seconds."""
    before = box.faults.times.retry_after
    box.faults.times.retry_after = retry_after
    try:
        with _scripted(box, operation, Fault.THROTTLE_SECONDS, times):
            yield
    finally:
        box.faults.times.retry_after = before


@contextmanager
def refused_tokens(box: Sandbox, operation: str = "*", times: int = 1) -> Iterator[None]:
    """Answer the next `times` requests with the 401 that means "token bad"."""
    with _scripted(box, operation, Fault.UNAUTHORISED, times):
        yield


@contextmanager
def gateway_timeouts(
    box: Sandbox, operation: str = "*", times: int = 1, *, executed: bool = True
) -> Iterator[None]:
    """Answer the next `times` requests with the 401 that is a gateway's time-out.

    Args:
        box: The sandbox.
        operation: An operation, or `*` for any.
        times: How many requests meet it.
        executed: Whether they take effect nevertheless.
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
        # Faults that were announced and not met would hit the next test.
        box.faults.unscript(operation, fault)
