"""Internal. Ctrl-C and SIGTERM as calls on the event loop, on every system."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_signal(handler: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call ``handler`` on the running loop for each SIGINT and SIGTERM in the block.

    Event loops of Windows take no signal handlers; there the interpreter's own handler wakes the loop.
    """
    loop = asyncio.get_running_loop()
    try:
        for number in _NUMBERS:
            loop.add_signal_handler(number, handler, number)
    # Event loops on Windows have no signal handlers.
    except NotImplementedError:
        with _by_interpreter(loop, handler):
            yield
        return
    try:
        yield
    finally:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)


@contextmanager
def _by_interpreter(
    loop: asyncio.AbstractEventLoop, handler: Callable[[signal.Signals], None]
) -> Iterator[None]:
    def passed_on(number: int, frame: FrameType | None) -> None:
        # The interpreter runs this between two instructions of the loop, which may be asleep.
        loop.call_soon_threadsafe(handler, signal.Signals(number))

    before = {number: signal.signal(number, passed_on) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
