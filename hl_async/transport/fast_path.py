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
from yarl import URL

from hl_async.config import ClientConfig
from hl_async.transport.bodies import Answer, read_body, read_on
from hl_async.transport.connector import WatchfulConnector
from hl_async.transport.kernel import may_hold_unsent
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


def why_delegated(session: aiohttp.ClientSession, config: ClientConfig, *, given: bool) -> str:
    """Return the reason why aiohttp makes the requests of `session`; empty if the fast path takes them."""
    if given:
        return "a session was passed in; its pool may reuse a connection that holds a late answer"
    if config.proxy is not None:
        return "a proxy is configured"
    if not aiohttp.__version__.startswith(KNOWN):
        return f"aiohttp {aiohttp.__version__} is not one of the tested versions ({', '.join(KNOWN)}*)"
    if session.trace_configs:
        return "a tracer watches aiohttp's sessions"
    return "" if is_unpatched(session) else "another library replaced methods of aiohttp's ClientSession"


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
        if not isinstance(headers, Headers) or headers.written is None:
            headers = self._written(headers)
        connection, protocol, transport = await self._connected(origin)
        try:
            protocol.set_response_params(read_until_eof=True)
            attempt.sent = True
            # never a local variable: this frame is in every traceback, and the request holds the token
            transport.write(_encoded(method, url[slash:], host, headers, body))
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()  # interim answers, such as 103
            attempt.answered = True
            if content.is_eof():
                received = await read_body(content, message.code, message.headers, limit)
            else:
                received = await read_on(protocol, content, message.code, message.headers, limit)
            unsent = body is not None and may_hold_unsent(transport, len(body), message.code)
        except BaseException:
            transport.abort()  # close() would first send what is given up here
            connection.close()
            raise
        if unsent:
            connection.close()  # answered before it was read: what comes next would queue up behind the rest of it
        else:
            connection.release()  # which closes it unless the answer was read to its end
        return message.code, message.headers, received, transport.abort

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

    def _written(self, headers: Mapping[str, str]) -> Headers:
        """Check header fields and write them as they go out; those of shared headers only once."""
        check_fields(headers)
        if not isinstance(headers, Headers):
            headers = Headers(headers)
        headers.written = lines({USER_AGENT: self._user_agent, **headers})
        return headers


def _encoded(method: str, target: str, host: str, headers: Headers, body: bytes | None) -> bytes:
    front = head(method, target, f"{host}{headers.written}", body)
    return front if body is None else front + body
