"""Internal. A connection pool that looks at a connection before it is used again."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.connector import Connection

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

_LOOK: Final = "hl_async_look"


class WatchfulConnector(aiohttp.TCPConnector):
    """A `TCPConnector` that reuses a connection only if nothing has arrived on it since its last answer.

    aiohttp reuses a connection unless the event loop has already read that it was closed, and it takes the first bytes
    on it for the answer. While the loop is busy, a late answer or the end of the connection waits in the kernel: the
    next call would get another call's document, or send a request that no server reads. So before a connection is
    reused this pool checks both places where such bytes can be: what aiohttp has read, and what the kernel holds.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return an open and silent connection; see `aiohttp.BaseConnector.connect`.

        Raises:
            aiohttp.ClientConnectionError: A new connection was closed at once, or the server spoke first.
        """
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None
            transport = protocol.transport
            look = getattr(protocol, _LOOK, None)
            closed = transport is None or transport.is_closing()
            if look is None:
                if not (closed or protocol.should_close):
                    # A new connection is not looked at: TLS session tickets may be waiting on it.
                    setattr(protocol, _LOOK, _look_at(transport))  # type: ignore[arg-type]
                    return connection
                connection.close()
                raise aiohttp.ClientConnectionError(
                    "the connection was closed as soon as it was open"
                    if closed
                    else "the server spoke before it was asked"
                )
            if not (closed or protocol.should_close or look()):
                return connection
            connection.close()

    def _release(self, key: Any, protocol: ResponseHandler, **settings: Any) -> None:
        # The parser of the last answer would swallow the first half of a stale one without a trace. Without a parser
        # every byte that arrives on an idle connection stays visible in `should_close`.
        protocol._parser = None  # noqa: SLF001
        super()._release(key, protocol, **settings)


def _look_at(transport: asyncio.Transport) -> Callable[[], Any]:
    """Return a function whose result is true if the kernel holds bytes, an end or an error for `transport`.

    It does not wait. Epoll has no such question without a descriptor of its own, and `select.select` fails for
    descriptors above 1023 where it is not Windows'.
    """
    socket = transport.get_extra_info("socket")
    descriptor = socket.fileno()
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN | select.POLLPRI)
        return partial(poller.poll, 0)
    return lambda: select.select((descriptor,), (), (descriptor,), 0) != ([], [], [])
