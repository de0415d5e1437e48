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
from yarl import URL

from hl_async.session.answers import Answer, read_body
from hl_async.session.requests import check_fields, head, lines
from hl_async.session.watch import Attempt
from hl_async.wire import USER_AGENT, Headers

KNOWN: Final = ("3.14.",)
# more idle connections than a pool holds
_MOST_STALE: Final = 1000
_NO_TRACES: Final[list[aiohttp.tracing.Trace]] = []

_request: Final = aiohttp.ClientSession._request  # noqa: SLF001 - compared, never called
_UNTOUCHED: Final = (
    aiohttp.__version__.startswith(KNOWN)
    and type(_request) is FunctionType
    and _request.__code__.co_filename == aiohttp.client.__file__
)


def is_free(session: aiohttp.ClientSession) -> bool:
    """Whether nobody but us has a say in the requests of ``session``.

    aioresponses, VCR and the tracers of some vendors replace ``ClientSession._request``, others add trace
    configurations to every session: their users get what they asked for.
    """
    return _UNTOUCHED and type(session)._request is _request and not session.trace_configs  # noqa: SLF001


class Direct:
    """Sends requests over the connections of ``connector``, which stays its owner's."""

    __slots__ = ("_connector", "_loop", "_origins", "_ssl", "_timeout", "_user_agent")

    def __init__(
        self,
        connector: aiohttp.BaseConnector,
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
            received = await read_body(content, message.code, message.headers, limit)
        except BaseException:
            connection.close()
            raise
        connection.release()  # which closes it unless the answer was read to its end
        return message.code, message.headers, received

    async def _connected(
        self, origin: aiohttp.ClientRequest
    ) -> tuple[aiohttp.connector.Connection, aiohttp.client_proto.ResponseHandler, asyncio.Transport]:
        """A connection that is open and silent: bytes that wait on it already are no answer to what is asked next."""
        for _ in range(_MOST_STALE):
            try:
                connection = await self._connector.connect(origin, _NO_TRACES, self._timeout)
            except TimeoutError:
                break
            protocol, transport = connection.protocol, connection.transport
            if protocol is not None and transport is not None and not protocol.should_close:
                return connection, protocol, transport
            connection.close()
        else:
            raise aiohttp.ClientConnectionError("every connection held bytes that nobody had asked for")
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
