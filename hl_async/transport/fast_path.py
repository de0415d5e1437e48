"""A request written straight to a pooled connection of aiohttp's, and its answer read off aiohttp's parser.

What it needs of aiohttp beyond its documentation (``Connection.protocol`` with ``set_response_params`` and ``read``) is
there in the versions of :data:`KNOWN`; with any other one, requests are delegated.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Mapping
from types import FunctionType
from typing import Final

import aiohttp
import aiohttp.client
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from yarl import URL

from hl_async.transport.bodies import Answer, read_body
from hl_async.transport.connector import WatchfulConnector
from hl_async.transport.request_head import check_fields, head, lines
from hl_async.transport.timeouts import Attempt
from hl_async.wire import USER_AGENT, Headers

KNOWN: Final = ("3.14.",)
_NO_TRACES: Final[list[aiohttp.tracing.Trace]] = []

_request: Final = aiohttp.ClientSession._request  # noqa: SLF001 - compared, never called
_public: Final = aiohttp.ClientSession.request
_code: Final = getattr(_request, "__code__", None)
_UNTOUCHED: Final = aiohttp.__version__.startswith(KNOWN) and all(
    type(own) is FunctionType and own.__code__.co_filename == aiohttp.client.__file__
    for own in (_request, _public)
)


def is_unpatched(session: aiohttp.ClientSession) -> bool:
    """Whether nobody but us has a say in the requests of ``session``.

    aioresponses, VCR and the tracers of some vendors replace methods of ``ClientSession``, others add trace
    configurations to every session: their users get what they asked for.
    """
    kind = type(session)
    return (
        _UNTOUCHED
        and getattr(kind, "_request", None) is _request
        and getattr(kind, "request", None) is _public
        and _request.__code__ is _code
        and not session.trace_configs
    )


class FastPath:
    """Sends requests over the connections of ``connector``, which stays its owner's."""

    __slots__ = ("_connector", "_loop", "_origins", "_ssl", "_timeout", "_user_agent")

    def __init__(
        self,
        connector: WatchfulConnector,
        *,
        connect_timeout: float,
        user_agent: str,
        ssl: ssl_module.SSLContext | bool,
    ) -> None:
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        self._origins: dict[str, tuple[str, aiohttp.ClientRequest]] = {}
        self._ssl = ssl
        # not ``connect``: that one includes waiting for the pool, and a full pool is no dead host
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._user_agent = user_agent

    async def exchange(
        self,
        attempt: Attempt,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limit: int,
    ) -> Answer:
        """One request, one answer. Raises aiohttp's exceptions, and ValueError for a header that would be two."""
        slash = url.index("/", 8)  # the one behind https://host
        host, origin = self._origins.get(url[:slash]) or self._origin(url[:slash])
        request = head(method, url[slash:], host + self._fields(headers), body)
        connection, protocol, transport = await self._connected(origin)
        try:
            protocol.set_response_params(read_until_eof=True)
            attempt.sent = True
            transport.write(request if body is None else request + body)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()  # interim answers, such as 103
            attempt.answered = True
            if content.is_eof():
                received = await read_body(content, message.code, message.headers, limit)
            else:
                received = await _read_on(protocol, message, content, limit)
            unsent = body is not None and transport.get_write_buffer_size()
        except BaseException:
            if transport.get_write_buffer_size():
                transport.abort()  # close() would first send what is given up here
            connection.close()
            raise
        if unsent:
            connection.close()  # answered before it was read: what comes next would queue up behind the rest of it
        else:
            connection.release()  # which closes it unless the answer was read to its end
        return message.code, message.headers, received

    async def _connected(
        self, origin: aiohttp.ClientRequest
    ) -> tuple[Connection, ResponseHandler, asyncio.Transport]:
        """Return an open and silent connection: bytes already on it would be taken for the next answer."""
        try:
            connection = await self._connector.connect(origin, _NO_TRACES, self._timeout)
        except TimeoutError:
            pass
        else:
            protocol, transport = connection.protocol, connection.transport
            assert protocol is not None
            assert transport is not None
            return connection, protocol, transport
        raise aiohttp.ConnectionTimeoutError("the host did not accept the connection in time")

    def _origin(self, url: str) -> tuple[str, aiohttp.ClientRequest]:
        """The header field that names a server, and what the pool needs to know about it: made once for each."""
        request = aiohttp.ClientRequest("GET", URL(url), loop=self._loop, ssl=self._ssl)
        origin = self._origins[url] = lines({"Host": request.headers["Host"]}), request
        return origin

    def _fields(self, headers: Mapping[str, str]) -> str:
        """The header fields as they go out; those of :class:`Headers` are written once."""
        if isinstance(headers, Headers):
            if headers.written is None:
                headers.written = self._written(headers)
            return headers.written
        return self._written(headers)

    def _written(self, headers: Mapping[str, str]) -> str:
        check_fields(headers)
        return lines({USER_AGENT: self._user_agent, **headers})


async def _read_on(
    protocol: ResponseHandler, message: RawResponseMessage, content: aiohttp.StreamReader, limit: int
) -> bytes | None:
    """A body that is still arriving. aiohttp alone would not wake its reader when the parser gives it up."""

    def lost(closed: asyncio.Future[None]) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(
                protocol.exception() or aiohttp.ClientPayloadError("the connection was closed")
            )

    closed = protocol.closed
    if closed is not None:
        closed.add_done_callback(lost)
        closed.remove_done_callback(_look_at)
        closed.add_done_callback(_look_at)
    try:
        received = await read_body(content, message.code, message.headers, limit)
    finally:
        if closed is not None:
            closed.remove_done_callback(lost)
    delimited = message.chunked or "Content-Length" in message.headers
    if not delimited and isinstance(protocol.exception(), OSError):
        raise aiohttp.ClientPayloadError("the connection broke where the answer may have gone on")
    return received


def _look_at(closed: asyncio.Future[None]) -> None:
    """A pooled connection that breaks is nobody's error: asyncio is told that it was seen."""
    if not closed.cancelled():
        closed.exception()
