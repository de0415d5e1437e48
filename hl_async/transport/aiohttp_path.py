"""Internal. Sends a request once, through aiohttp's ``ClientSession``.

aiohttp by itself sends some requests a second time after a lost connection.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

import aiohttp
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from hl_async.transport.bodies import Answer, read_body, read_on
from hl_async.transport.kernel import may_hold_unsent
from hl_async.transport.request_head import check_fields
from hl_async.transport.timeouts import Attempt

# Larger bodies are written in pieces, at the pace of the connection.
LARGE_BODY: Final = 1 << 20
# aiohttp would add a content type to a POST without a body. It adds none to a GET.
_NO_BODY: Final = ("Content-Type",)


class _Body(payload.BytesPayload):
    """A request body that marks the attempt as sent when its writing starts.

    The server cannot act before that.
    """

    def __init__(self, body: bytes, attempt: Attempt) -> None:
        super().__init__(body)
        self._attempt = attempt
        self.transport: asyncio.Transport | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._begin(writer)
        await super().write_with_length(writer, content_length)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._begin(writer)
        await super().write(writer)

    def _begin(self, writer: AbstractStreamWriter) -> None:
        self._attempt.sent = True
        self.transport = getattr(writer, "transport", None)

    def settle(self, status: int) -> None:
        """Abort the connection if a part of the body may be unsent after the answer."""
        transport = self.transport
        if transport is not None and may_hold_unsent(transport, self.size or 0, status):
            transport.abort()


class _WireTap:
    """A middleware that passes one request on and fails aiohttp's own second try.

    The second try raises the error of the first.
    """

    __slots__ = ("_error",)

    def __init__(self) -> None:
        self._error: BaseException | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        error = self._error
        if error is not None:
            self._error = None
            raise error
        try:
            return await handler(request)
        except BaseException as failure:
            self._error = failure
            raise


class AiohttpPath:
    """A sender through any ``aiohttp.ClientSession``, without its middlewares.

    A middleware would run inside the attempt's timeout and could send the request again.
    """

    __slots__ = ("_proxy", "_ssl", "_timeout")

    def __init__(
        self, *, connect_timeout: float, proxy: str | None, ssl: ssl_module.SSLContext | bool
    ) -> None:
        # Attempts are timed by the session manager. A total of aiohttp would include the wait for the pool.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._proxy = URL(proxy) if proxy else None
        self._ssl = ssl

    async def exchange(
        self,
        session: aiohttp.ClientSession,
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
        check_fields(headers)
        if body is not None and len(body) < LARGE_BODY:
            data: Any = _Body(body, attempt)
        else:
            data = None if body is None else BytesIO(body)
            # Only `_Body` reports the start of the writing, so other requests count as sent from here.
            attempt.sent = True
        try:
            response = await session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                skip_auto_headers=_NO_BODY if data is None and method != "GET" else None,
                data=data,
                # A followed redirect turns POST into GET and passes the token on.
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy,
                ssl=self._ssl,
                middlewares=(_WireTap(),),
            )
            attempt.sent = attempt.answered = True
            try:
                received = await _read(response, limit)
            except BaseException:
                response.close()
                raise
        except BaseException:
            if isinstance(data, _Body) and data.transport is not None:
                data.transport.abort()  # aiohttp's close() would first send the rest of the body
            raise
        if isinstance(data, _Body):
            # aiohttp returns the connection to the pool with the last byte, maybe before the body is fully sent.
            data.settle(response.status)
        response.release()  # closes the connection unless the answer was read to its end
        return response.status, response.headers, received, _discard(response)


def _discard(response: aiohttp.ClientResponse) -> Callable[[], None] | None:
    """Return the function that closes the connection of a fully read response."""
    # The response drops its connection with the last byte. Only its protocol still leads to it.
    protocol = getattr(response, "_protocol", None)
    transport = None if protocol is None else protocol.transport
    return None if transport is None else transport.abort


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Read the body. A complete response has already dropped its connection."""
    protocol = None if response.connection is None else response.connection.protocol
    if protocol is None:
        return await read_body(response.content, response.status, response.headers, limit)
    return await read_on(protocol, response.content, response.status, response.headers, limit)
