"""Internal. Writes requests directly to pooled connections of aiohttp.

aiohttp's parser reads the answers. This path uses parts of aiohttp that are not documented: ``set_response_params``
and ``read`` of a connection's protocol, the buffer of a body, and the pool's lists of connections. The versions in
:data:`KNOWN` have them. With any other version, requests are delegated to aiohttp.
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
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from hl_async.config import ClientConfig
from hl_async.transport.bodies import Answer, arrived_body, read_body, read_on
from hl_async.transport.connector import WatchfulConnector
from hl_async.transport.kernel import may_hold_unsent
from hl_async.transport.request_head import check_fields, head, lines
from hl_async.transport.timeouts import Attempt
from hl_async.wire import USER_AGENT, Headers

# This path uses parts of aiohttp that are not public, so it takes tested versions only.
KNOWN: Final = ("3.14.",)

_request: Final = aiohttp.ClientSession._request  # noqa: SLF001 - compared, never called
_public: Final = aiohttp.ClientSession.request
_code: Final = getattr(_request, "__code__", None)
# A library that was imported before this module may have replaced the methods. Their code is then in another file.
_UNTOUCHED: Final = aiohttp.__version__.startswith(KNOWN) and all(
    type(own) is FunctionType and own.__code__.co_filename == aiohttp.client.__file__
    for own in (_request, _public)
)


def is_unpatched(session: aiohttp.ClientSession) -> bool:
    """Return whether no other library intercepts the requests of ``session``.

    aioresponses, VCR and some tracers replace methods of ``ClientSession``. Others add trace configurations to every
    session. The fast path would bypass them, so it is not used then.
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
    """Return why aiohttp makes the requests of `session`; empty for the fast path."""
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
    """Sends requests over the connections of ``connector``, which its owner closes."""

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
        self._origins: dict[str, tuple[str, ConnectionKey, aiohttp.ClientRequest]] = {}
        self._ssl = ssl
        # Not ``connect``, which includes the wait for the pool: a full pool is not a dead host.
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
        """Send one request and read its answer, whose body may have ``limit`` bytes.

        Raises aiohttp's exceptions, and ValueError for an invalid header.
        """
        slash = url.index("/", 8)  # the one behind https://host
        host, key, origin = self._origins.get(url[:slash]) or self._origin(url[:slash])
        if not isinstance(headers, Headers) or headers.written is None:
            headers = self._written(headers)
        connector = self._connector
        protocol = connector.take(key)
        if protocol is None:
            protocol = await self._opened(origin)
        transport = protocol.transport
        assert transport is not None
        try:
            # An answer without a length ends with its connection: aiohttp's own default of a request.
            protocol.set_response_params(read_until_eof=True)
            attempt.sent = True
            # Not a local variable: this frame is in every traceback, and the request contains the token.
            transport.write(_encoded(method, url[slash:], host, headers, body))
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()  # interim answers, such as 103
            attempt.answered = True
            received = None
            if content.is_eof():
                if message.code < 400:
                    received = arrived_body(content, message.headers, limit)
                if received is None:
                    received = await read_body(content, message.code, message.headers, limit)
            else:
                received = await read_on(protocol, content, message.code, message.headers, limit)
            # If the server answered early, the rest of this request is still to be sent, and the next request on the
            # connection would wait behind it.
            unsent = body is not None and may_hold_unsent(transport, len(body), message.code)
        except BaseException:
            transport.abort()  # close() would first send the rest of the request
            connector.give_back(key, protocol, close=True)
            raise
        connector.give_back(key, protocol, close=unsent)
        return message.code, message.headers, received, transport.abort

    async def _opened(self, origin: aiohttp.ClientRequest) -> ResponseHandler:
        """Return an open connection without pending bytes."""
        try:
            return await self._connector.open(origin, self._timeout)
        except TimeoutError:
            pass
        raise aiohttp.ConnectionTimeoutError("the host did not accept the connection in time")

    def _origin(self, url: str) -> tuple[str, ConnectionKey, aiohttp.ClientRequest]:
        """Return the Host header and the pool's key of a server, built once per server."""
        request = aiohttp.ClientRequest("GET", URL(url), loop=self._loop, ssl=self._ssl)
        host = lines({"Host": request.headers["Host"]})
        origin = self._origins[url] = host, request.connection_key, request
        return origin

    def _written(self, headers: Mapping[str, str]) -> Headers:
        """Check header fields and encode them. Shared headers are encoded once."""
        check_fields(headers)
        if not isinstance(headers, Headers):
            headers = Headers(headers)
        headers.written = lines({USER_AGENT: self._user_agent, **headers})
        return headers


def _encoded(method: str, target: str, host: str, headers: Headers, body: bytes | None) -> bytes:
    front = head(method, target, f"{host}{headers.written}", body)
    return front if body is None else front + body
