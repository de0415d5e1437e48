"""Internal. A connection pool that checks a connection before it is reused."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.connector import Connection

from hl_async.transport.kernel import arrivals

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey

_LOOK: Final = "hl_async_look"
_NO_TRACES: Final[list[aiohttp.tracing.Trace]] = []


class WatchfulConnector(aiohttp.TCPConnector):
    """A `TCPConnector` that reuses a connection only if it is silent.

    Nothing may have arrived on it since its last answer. aiohttp reuses a connection unless the event loop has
    already read its end, and takes the first bytes on it for the answer. While the loop is busy, a late answer or
    the end of the connection waits in the kernel. The next call would then get another call's document, or send a
    request that no server reads. Before reuse, this pool therefore checks both places that can hold such bytes:
    aiohttp's buffers and the kernel's.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return an open and silent connection; see `aiohttp.BaseConnector.connect`.

        Raises:
            aiohttp.ClientConnectionError: A new connection was closed at once, or the server sent bytes before any
                request.
        """
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None
            look = getattr(protocol, _LOOK, None)
            # A connection without the check is new: the pool has not admitted it yet.
            if look is None:
                try:
                    await self._admit(protocol)
                except BaseException:
                    connection.close()
                    raise
                return connection
            transport = protocol.transport
            if not (transport is None or transport.is_closing() or protocol.should_close or look()):
                return connection
            connection.close()

    def take(self, key: ConnectionKey) -> ResponseHandler | None:
        """Return an idle connection that is open and silent, or None.

        Return it with `give_back`. This checks an idle connection as `connect` does, at a third of the cost: no
        coroutine, no `Connection`, and the pool's key is made once per server. The connection is registered in the
        pool, so both ways may be used together.
        """
        idle = self._conns.get(key)
        if not idle:
            return None
        oldest = monotonic() - (self._keepalive_timeout or 0.0)
        while idle:
            protocol, since = idle.popleft()
            self._acquired.add(protocol)  # it counts towards the pool's limit until it is released
            transport = protocol.transport
            look = getattr(protocol, _LOOK, None)
            if (
                since >= oldest
                and look is not None
                and transport is not None
                and not (transport.is_closing() or protocol.should_close or look())
            ):
                return protocol
            self._release(key, protocol, should_close=True)
        return None

    async def open(self, request: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout) -> ResponseHandler:
        """Wait for a connection, like `connect`. Return it with `give_back`."""
        connection = await self.connect(request, _NO_TRACES, timeout)
        protocol = connection.protocol
        assert protocol is not None
        # aiohttp's Connection closes its protocol when it is garbage-collected, so it must let go of it.
        connection._protocol = None  # noqa: SLF001
        return protocol

    def give_back(self, key: ConnectionKey, protocol: ResponseHandler, *, close: bool) -> None:
        """Return a connection to the pool, which may close it.

        The pool closes it if asked, or if the answer was not read to the end.
        """
        self._release(key, protocol, should_close=close)

    async def _admit(self, protocol: ResponseHandler) -> None:
        """Check a new connection, and prepare the later checks.

        The kernel is not asked yet: TLS session tickets may be waiting there.
        """
        await asyncio.sleep(0)  # uvloop delivers bytes that arrive with the end of a handshake one turn later
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionError("the connection was closed as soon as it was open")
        if protocol.should_close:
            raise aiohttp.ClientConnectionError("the server sent bytes before any request")
        setattr(protocol, _LOOK, arrivals(transport))

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        # The parser of the last answer would swallow the first half of a stale one without a trace. Without a parser
        # every byte that arrives on an idle connection stays visible in `should_close`.
        protocol._parser = None  # noqa: SLF001
        super()._release(key, protocol, should_close=should_close)
