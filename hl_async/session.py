"""The one room that speaks HTTP: a pooled aiohttp session, one request per attempt, aiohttp's errors → ours.

Facts of aiohttp 3.14 that shape it:

* it silently re-sends GET, PUT and DELETE once when the peer closes the connection. In sessions of our own that is
  switched off; in one that was given, a per-request middleware (the *wire tap*) refuses the second pass. So one attempt
  is one request, and the budget's count is true;
* its timeouts cost a timer and several context managers per request, a tenth of all its work. Attempts with the
  usual timeout share one timer instead (:class:`_Watch`);
* its parser reports a broken response as ``ClientResponseError(400)``: here that is a wire error, never an
  answer of the API;
* its exceptions hold the request's headers. Errors of ours are built inside ``except`` and raised after it,
  so that no bearer travels along in ``__context__``;
* ``read()`` has no limit of its own, and a redirect would turn POST into GET and take the bearer along: bodies
  are counted while they are read, redirects are errors.
"""

from __future__ import annotations

import asyncio
import os
import ssl as ssl_module
from collections.abc import Coroutine, Mapping
from io import BytesIO
from time import perf_counter
from typing import Any, Final

import aiohttp
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict, istr
from yarl import URL

from hl_async.config import ClientConfig
from hl_async.errors import (
    AttemptTimeout,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ForkedClient,
    NotEntered,
    ResponseTooLarge,
    WireError,
    WireKind,
    WrongEventLoop,
)
from hl_async.wire import ACCEPT_ENCODING, USER_AGENT, WireResponse

MAX_ERROR_BODY: Final = 64 * 1024
_LARGE_REQUEST: Final = 1 << 20
# a body-less POST is not given a content type by aiohttp; for a GET it invents none
_NO_BODY: Final = ("Content-Type",)
_NEVER_RESENT: Final = frozenset(("POST", "PATCH"))
_CONTENT_ENCODING: Final = istr("Content-Encoding")
CODINGS: Final = aiohttp.ClientRequest.DEFAULT_HEADERS[istr(ACCEPT_ENCODING)]
"""What aiohttp can decompress here, as it would ask for it: ``br`` and ``zstd`` where their packages are installed."""
_KNOWN_ENCODINGS: Final = frozenset(("", "identity", "x-gzip", *CODINGS.split(", ")))

_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - a process-wide fact, counted where the process learns it
    _forks += 1


if hasattr(os, "register_at_fork"):  # pragma: no branch - every POSIX system
    os.register_at_fork(after_in_child=_count_fork)


class _Body(payload.BytesPayload):
    """A request body that remembers whether its writing began: before that the server cannot have acted."""

    started = False

    def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> Coroutine[Any, Any, None]:
        self.started = True
        return super().write_with_length(writer, content_length)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.started = True
        await super().write(writer)


class _Limit:
    """One attempt under watch: who to wake, when, and whether that happened."""

    __slots__ = ("at", "cancelling", "expired", "task")

    def __init__(self, task: asyncio.Task[Any], at: float) -> None:
        self.task = task
        self.at = at
        self.cancelling = task.cancelling()
        self.expired = False


class _Watch:
    """Ends attempts that outlast ``seconds``, with one timer for all: they would end in the order they began."""

    __slots__ = ("_loop", "_running", "_seconds", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._running: dict[_Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> _Limit:
        """Watch the running task from now on."""
        task = asyncio.current_task()
        assert task is not None
        limit = _Limit(task, self._loop.time() + self._seconds)
        self._running[limit] = None
        if self._timer is None:
            self._timer = self._loop.call_at(limit.at, self._ring)
        return limit

    def end(self, limit: _Limit) -> None:
        """The attempt is over, however it ended."""
        self._running.pop(limit, None)

    def close(self) -> None:
        """Watch nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._running:
            limit = next(iter(self._running))
            if limit.at > now:
                self._timer = self._loop.call_at(limit.at, self._ring)
                return
            del self._running[limit]
            limit.expired = True
            limit.task.cancel()


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


class SessionManager:
    """Owns the connection pool of one client; fulfils :class:`~hl_async.wire.Wire`.

    ``session`` may be the caller's own: it is used and never closed, and its middlewares are not applied
    (a middleware would run inside the attempt's timeout and could re-send). ``ssl`` replaces the default
    verification context.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        session: aiohttp.ClientSession | None = None,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._given = session
        self._ssl = ssl
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = _forks
        self._closed = False
        self._unwatched = self._client_timeout(None)
        self._watch: _Watch | None = None
        self._tapped = session is not None
        self._proxy = URL(config.proxy) if config.proxy else None

    async def open(self) -> None:
        """Create the pool in the running loop; the first request opens the first connection."""
        if self._closed:
            raise ClientClosed("this client was closed; make a new one")
        self._loop = asyncio.get_running_loop()
        self._forks = _forks
        self._watch = _Watch(self._loop, self._config.timeouts.attempt)
        self._session = self._given or self._new_session(force_close=False)

    async def aclose(self) -> None:
        """Close the pool's connections; a session that was passed in stays open."""
        self._closed = True
        if self._watch is not None:
            self._watch.close()
        sessions, self._session, self._fresh = (self._session, self._fresh), None, None
        for session in sessions:
            if session is not None and session is not self._given:
                await session.close()
        # TLS transports finish closing one turn of the loop later
        await asyncio.sleep(0)

    def check_usable(self) -> None:
        """Raise the client-state error that fits, if any: a plain call of about 0.1 µs."""
        if self._session is None:
            if self._closed:
                raise ClientClosed("the client is closed; calls belong inside its 'async with' block")
            raise NotEntered("the client is not open yet; use 'async with HighLevel(...) as hl:'")
        if self._forks != _forks:
            raise ForkedClient("the process was forked after the client opened; open a new one in the child")
        if asyncio.get_running_loop() is not self._loop:
            raise WrongEventLoop("the client belongs to another event loop; open one client per loop")

    async def attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeout: float | None = None,
        max_body: int | None = None,
        fresh_connection: bool = False,
    ) -> WireResponse:
        """Send one request; see :class:`~hl_async.wire.Wire`. ``url`` is used as it stands."""
        session, watch = self._session, self._watch
        if session is None or watch is None:
            self.check_usable()
            raise AssertionError("unreachable: an unusable session has raised")
        if fresh_connection:
            session = self._fresh_session()
        data = None if body is None else _Body(body) if len(body) < _LARGE_REQUEST else BytesIO(body)
        limit = max_body or self._config.max_body
        started = perf_counter()
        response: aiohttp.ClientResponse | None = None
        failure: WireError
        watched = watch.begin() if timeout is None else None
        try:
            response = await session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                skip_auto_headers=_NO_BODY if data is None and method != "GET" else None,
                data=data,
                allow_redirects=False,
                timeout=self._unwatched if timeout is None else self._client_timeout(timeout),
                proxy=self._proxy,
                ssl=self._ssl if self._ssl is not None else True,
                # POST and PATCH are never re-sent by aiohttp, so they need no tap
                middlewares=(_WireTap(),) if self._tapped and method not in _NEVER_RESENT else (),
            )
            status = response.status
            if _is_plain(response, MAX_ERROR_BODY if status >= 400 else limit):
                # a connection that is back in the pool means that the answer is here, whole: nothing to wait for
                arrived = response.connection is None
                content: bytes | None = response.content.read_nowait() if arrived else await response.read()
            else:
                content = await _read(response, MAX_ERROR_BODY if status >= 400 else limit, cut=status >= 400)
        except asyncio.CancelledError:
            if response is not None:
                response.close()
            if watched is None or not watched.expired or watched.task.uncancel() > watched.cancelling:
                raise  # the caller's doing, whether or not the time is up too
            failure = _wire_error(TimeoutError(), data, response)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RuntimeError) as error:
            if response is not None:
                response.close()
            if isinstance(error, RuntimeError) and not self._closed:
                raise  # a bug or a misuse, not the wire; aiohttp says "Session is closed" this way
            failure = _wire_error(error, data, response)
        else:
            if content is not None and not 300 <= status < 400:
                return WireResponse(status, response.headers, content, perf_counter() - started)
            failure = _refusal(response, content, limit)
        finally:
            if watched is not None:
                watch.end(watched)
        raise failure

    def _client_timeout(self, seconds: float | None) -> aiohttp.ClientTimeout:
        # not ``connect``: that one includes waiting for the pool, and a full pool is no dead host
        return aiohttp.ClientTimeout(total=seconds, sock_connect=self._config.timeouts.connect)

    def _fresh_session(self) -> aiohttp.ClientSession:
        if self._fresh is None:
            self._fresh = self._new_session(force_close=True)
        return self._fresh

    def _new_session(self, *, force_close: bool) -> aiohttp.ClientSession:
        config = self._config
        reuse: dict[str, Any] = {} if force_close else {"keepalive_timeout": config.keep_alive}
        connector = aiohttp.TCPConnector(
            limit=config.max_connections,
            ttl_dns_cache=int(config.dns_ttl) or 1,
            force_close=force_close,
            **reuse,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers=CIMultiDict({USER_AGENT: config.user_agent}),
        )
        if hasattr(session, "_retry_connection"):
            session._retry_connection = False  # noqa: SLF001 - aiohttp has no public switch for its hidden re-send
        else:  # pragma: no cover - an aiohttp that renamed it
            self._tapped = True
        return session

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._session is not None else "new"
        return f"<SessionManager {state}, {self._config.base_url}, at most {self._config.max_connections} connections>"


def _is_plain(response: aiohttp.ClientResponse, limit: int) -> bool:
    """Whether the body is neither encoded nor larger than ``limit``, by its own word: then it is just read."""
    if _CONTENT_ENCODING in response.headers:
        return False
    length = response.content_length
    return length is not None and length <= limit


async def _read(response: aiohttp.ClientResponse, limit: int, *, cut: bool) -> bytes | None:
    """A body that is not plain, decoded; None when it is not to be had: over ``limit`` (unless ``cut``), or encoded.

    A body of unknown or compressed length is counted while it arrives, so a small bomb cannot become a
    large one in memory.
    """
    encoding = response.headers.get(_CONTENT_ENCODING, "")
    if not encoding:
        length = response.content_length
        if length is not None and length > limit and not cut:
            response.close()  # its own length says so: nothing of it need be read
            return None
    elif encoding.lower() not in _KNOWN_ENCODINGS:
        response.close()
        return None
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            response.close()  # dropped, not reused: the rest is still on its way
            return b"".join(parts)[:limit] if cut else None
    await response.read()  # at the end of the stream: hands the connection back to the pool
    return b"".join(parts)


def _refusal(response: aiohttp.ClientResponse, content: bytes | None, limit: int) -> WireError:
    """An answer that arrived and is not taken: a redirect, a body over the limit, an unknown encoding."""
    status = response.status
    if 300 <= status < 400:
        host = _location_host(response.headers.get("Location"))
        return WireError(
            f"{status} redirect{f' to {host}' if host else ''}; redirects are not followed, "
            "because they would take the token along: check the base URL",
            kind=WireKind.REDIRECT,
            sent=True,
        )
    encoding = response.headers.get(_CONTENT_ENCODING, "")
    if encoding and encoding.lower() not in _KNOWN_ENCODINGS:
        return WireError(
            f"the body came with the content encoding {encoding[:40]!r}, which was not asked for",
            kind=WireKind.ENCODING,
            sent=True,
        )
    return ResponseTooLarge(
        f"the body is larger than the limit of {limit:,} bytes", kind=WireKind.TOO_LARGE, sent=True
    )


def _location_host(location: str | None) -> str:
    try:
        return URL(location or "").host or ""
    except ValueError:
        return ""


def _wire_error(error: Exception, data: object, response: aiohttp.ClientResponse | None) -> WireError:
    """Our error for an exception of aiohttp, the loop or the operating system; the cause is kept as text."""
    # The body's writing not begun proves that nothing was executed; without a body nothing proves it.
    sent = response is not None or not isinstance(data, _Body) or data.started
    text = f"{type(error).__name__}: {_describe(error)}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectFailed("connecting took too long", kind=WireKind.CONNECT, sent=False, cause=text)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectFailed("the host name could not be resolved", kind=WireKind.DNS, sent=False, cause=text)
    if isinstance(
        error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl_module.SSLError
    ):
        return ConnectFailed(
            "TLS could not be established or the certificate was refused",
            kind=WireKind.TLS,
            sent=False,
            cause=text,
        )
    if isinstance(error, aiohttp.ClientHttpProxyError | aiohttp.ClientConnectorError):
        return ConnectFailed(
            "the connection could not be opened", kind=WireKind.CONNECT, sent=False, cause=text
        )
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        phase = (
            "reading the answer"
            if response is not None
            else "waiting for the answer"
            if sent
            else "connecting"
        )
        return AttemptTimeout(f"timed out while {phase}", kind=WireKind.TIMEOUT, sent=sent, cause=text)
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost("the answer ended too early", kind=WireKind.TRUNCATED, sent=True, cause=text)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return ConnectionLost(
            "the connection was closed before an answer came",
            kind=WireKind.DISCONNECTED,
            sent=sent,
            cause=text,
        )
    if "content-encoding" in text:
        return WireError(
            "the body came with a content encoding that was not asked for",
            kind=WireKind.ENCODING,
            sent=True,
            cause=text,
        )
    return WireError("the answer is not valid HTTP", kind=WireKind.PROTOCOL, sent=sent, cause=text)


def _describe(error: Exception) -> str:
    # ClientResponseError prints its request, headers and all: only its message is taken
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    return str(error)
