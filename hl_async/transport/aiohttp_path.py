"""A request handed to aiohttp's ``ClientSession``, as one would make it by hand, except that it is made once."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable, Coroutine, Mapping
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

# a larger one is written piece by piece, as the connection takes it
LARGE_BODY: Final = 1 << 20
# a body-less POST is not given a content type by aiohttp; for a GET it invents none
_NO_BODY: Final = ("Content-Type",)


class _Body(payload.BytesPayload):
    """A request body that tells the attempt when its writing begins: before that the server cannot have acted."""

    def __init__(self, body: bytes, attempt: Attempt) -> None:
        super().__init__(body)
        self._attempt = attempt
        self.transport: asyncio.Transport | None = None

    def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> Coroutine[Any, Any, None]:
        self._begin(writer)
        return super().write_with_length(writer, content_length)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._begin(writer)
        await super().write(writer)

    def _begin(self, writer: AbstractStreamWriter) -> None:
        self._attempt.sent = True
        self.transport = getattr(writer, "transport", None)

    def settle(self, status: int) -> None:
        """Abort the connection if a part of the body may still wait in the process after the answer."""
        transport = self.transport
        if transport is not None and may_hold_unsent(transport, self.size or 0, status):
            transport.abort()


class _WireTap:
    """Lets one request through and answers aiohttp's hidden second try with the first one's error."""

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
    """Sends requests through any ``aiohttp.ClientSession``; middlewares of its own are not applied.

    A middleware would run inside the attempt's timeout and could re-send.
    """

    __slots__ = ("_proxy", "_ssl", "_timeout")

    def __init__(
        self, *, connect_timeout: float, proxy: str | None, ssl: ssl_module.SSLContext | bool
    ) -> None:
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
        """One request, one answer. Raises aiohttp's exceptions, and ValueError for a header that would be two."""
        check_fields(headers)
        if body is not None and len(body) < LARGE_BODY:
            data: Any = _Body(body, attempt)
        else:
            data = None if body is None else BytesIO(body)
            attempt.sent = True  # without a body of ours, nothing proves the contrary
        try:
            response = await session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                skip_auto_headers=_NO_BODY if data is None and method != "GET" else None,
                data=data,
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
                data.transport.abort()  # aiohttp's close() would first send what is given up here
            raise
        if isinstance(data, _Body):
            data.settle(
                response.status
            )  # the pool may have the connection already: aiohttp returns it with the last byte
        response.release()  # which closes the connection unless the answer was read to its end
        return response.status, response.headers, received, _discard(response)


def _discard(response: aiohttp.ClientResponse) -> Callable[[], None] | None:
    """Return what closes the connection of a response that was read."""
    # the response gives its connection back with the last byte; only the protocol still leads to it
    protocol = getattr(response, "_protocol", None)
    transport = None if protocol is None else protocol.transport
    return None if transport is None else transport.abort


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Read the body; a response that is complete has no connection any more."""
    protocol = None if response.connection is None else response.connection.protocol
    if protocol is None:
        return await read_body(response.content, response.status, response.headers, limit)
    return await read_on(protocol, response.content, response.status, response.headers, limit)
