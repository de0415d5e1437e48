"""Internal. What the kernel holds for a connection, asked without waiting.

Epoll and kqueue have no such question without a descriptor of their own, and `select.select` refuses descriptors above
1023 everywhere but on Windows, which has no `poll`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial
from typing import Any, Final

_SURELY_TAKEN: Final = 8 * 1024
"""Bytes that an idle connection's send buffer takes at once on every system."""


def arrivals(transport: asyncio.Transport) -> Callable[[], Any]:
    """Return a function whose result is true if bytes, an end or an error wait for `transport`.

    The function is prepared once per connection, which halves the price of a call (about 1 µs).
    """
    descriptor = transport.get_extra_info("socket").fileno()
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN | select.POLLPRI)
        return partial(poller.poll, 0)
    return lambda: select.select((descriptor,), (), (descriptor,), 0) != ([], [], [])


def may_hold_unsent(transport: asyncio.Transport, size: int, status: int) -> bool:
    """Return whether a part of a request of `size` bytes may still wait in the process after its answer.

    A TLS transport does not count what lies below the encryption. There an error may have come before the body was
    read, and anything else only while the kernel takes no more.
    """
    if transport.get_write_buffer_size():
        return True
    if size < _SURELY_TAKEN or transport.get_extra_info("sslcontext") is None:
        return False
    return status >= 300 or not _takes_more(transport)


def _takes_more(transport: asyncio.Transport) -> bool:
    descriptor = transport.get_extra_info("socket").fileno()
    if descriptor < 0:
        return False
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT)
        return bool(poller.poll(0))
    return bool(select.select((), (descriptor,), (), 0)[1])
