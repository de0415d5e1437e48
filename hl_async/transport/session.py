"""Internal. The session manager: the connection pool, and single attempts."""

from __future__ import annotations

import asyncio
import os
import ssl as ssl_module
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import aiohttp
from multidict import CIMultiDict

from hl_async.config import ClientConfig
from hl_async.errors import (
    ClientClosed,
    ConnectFailed,
    ForkedClient,
    NotEntered,
    WireError,
    WireKind,
    WrongEventLoop,
)
from hl_async.telemetry import logger
from hl_async.transport.aiohttp_path import LARGE_BODY, AiohttpPath
from hl_async.transport.bodies import reject_response
from hl_async.transport.connector import WatchfulConnector
from hl_async.transport.error_mapping import PROXY_PASSWORD, WIRE_FAILURES, aborted, wire_error
from hl_async.transport.fast_path import FastPath, is_unpatched, why_delegated
from hl_async.transport.request_head import check_line
from hl_async.transport.timeouts import AttemptTimeouts
from hl_async.wire import USER_AGENT, WireResponse

_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - a process-wide fact, counted where the process learns it
    _forks += 1


if hasattr(os, "register_at_fork"):  # pragma: no branch - every POSIX system
    os.register_at_fork(after_in_child=_count_fork)


class SessionManager:
    """The connection pool of one client; implements :class:`~hl_async.wire.Wire`.

    Args:
        config: The client's settings.
        session: The caller's own session, which is used and never closed.
        ssl: Replaces the default verification context.
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
        self._ssl: ssl_module.SSLContext | bool = True if ssl is None else ssl
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._direct: FastPath | None = None
        self._delegated = AiohttpPath(
            connect_timeout=config.timeouts.connect, proxy=config.proxy, ssl=self._ssl
        )
        self._watch: AttemptTimeouts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = _forks
        self._closed = False

    async def open(self) -> None:
        """Create the pool in the running loop.

        The first request opens the first connection.
        """
        if self._closed:
            raise ClientClosed("this client was closed; make a new one")
        config = self._config
        self._loop = asyncio.get_running_loop()
        self._forks = _forks
        self._watch = AttemptTimeouts(self._loop, config.timeouts.attempt)
        self._session = self._given or self._new_session(force_close=False)
        reason = why_delegated(self._session, config, given=self._given is not None)
        if reason:
            logger.warning("requests are delegated to aiohttp because %s", reason)
        connector = self._session.connector
        # Whether other code patches aiohttp is checked at each attempt: a test double may come and go later.
        if config.proxy is None and isinstance(connector, WatchfulConnector) and self._given is None:
            self._direct = FastPath(
                connector,
                connect_timeout=config.timeouts.connect,
                user_agent=config.user_agent,
                ssl=self._ssl,
            )

    async def aclose(self) -> None:
        """Close the pool's connections; a session that was passed in stays open."""
        self.check_loop()
        self._closed = True
        if self._watch is not None:
            self._watch.close()
        sessions, self._session, self._fresh = (self._session, self._fresh), None, None
        for session in sessions:
            if session is not None and session is not self._given:
                await session.close()
        # TLS transports finish closing one turn of the loop later.
        await asyncio.sleep(0)

    def check_usable(self) -> None:
        """Raise a :class:`ClientStateError` if the pool cannot be used here (0.1 µs)."""
        if self._session is None:
            if self._closed:
                raise ClientClosed("the client is closed; calls belong inside its 'async with' block")
            raise NotEntered("the client is not open yet; use 'async with HighLevel(...) as hl:'")
        if self._forks != _forks:
            raise ForkedClient("the process was forked after the client opened; open a new one in the child")
        self.check_loop()

    def check_loop(self) -> None:
        """Raise `WrongEventLoop` if the pool was opened in another event loop."""
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
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
        """Send one request to the encoded ``url``; see :meth:`Wire.attempt`."""
        session, watch, direct = self._session, self._watch, self._direct
        if session is None or watch is None:
            self.check_usable()
            raise AssertionError("unreachable: an unusable session has raised")
        limit = max_body or self._config.max_body
        started = perf_counter()
        attempt = watch.begin(timeout)
        failure: WireError
        try:
            check_line(method, url)
            large = body is not None and len(body) >= LARGE_BODY
            if direct is not None and not (fresh_connection or large) and is_unpatched(session):
                answer = await direct.exchange(attempt, method, url, headers, body, limit)
            else:
                # A large body is sent in pieces. A pooled connection may close during that, so it gets a new one.
                if fresh_connection or (large and direct is not None):
                    session = self._fresh_session()
                answer = await self._delegated.exchange(session, attempt, method, url, headers, body, limit)
        except asyncio.CancelledError:
            if not attempt.is_up():
                raise  # the caller cancelled, even if the time is up as well
            failure = aborted(sent=attempt.sent, answered=attempt.answered, closed=self._closed)
        except WIRE_FAILURES as error:
            failure = wire_error(error, sent=attempt.sent, answered=attempt.answered, url=url)
        except RuntimeError as error:
            if not (self._closed or attempt.answered):
                raise  # a bug or a misuse, such as aiohttp's "Session is closed"
            failure = wire_error(error, sent=attempt.sent, answered=attempt.answered)
        else:
            status, answered, content, discard = answer
            # The proxy answered: the request did not reach the API.
            if status == 407 and self._config.proxy is not None:
                raise ConnectFailed(PROXY_PASSWORD, kind=WireKind.CONNECT, sent=False)
            if content is not None and (200 <= status < 300 or status >= 400):
                return WireResponse(status, answered, content, perf_counter() - started, discard)
            failure = reject_response(answer, limit)
        finally:
            watch.end(attempt)
        raise failure

    def _fresh_session(self) -> aiohttp.ClientSession:
        if self._fresh is None:
            self._fresh = self._new_session(force_close=True)
        return self._fresh

    def _new_session(self, *, force_close: bool) -> aiohttp.ClientSession:
        config = self._config
        reuse: dict[str, Any] = {} if force_close else {"keepalive_timeout": config.keep_alive}
        connector = WatchfulConnector(
            limit=config.max_connections,
            ttl_dns_cache=int(config.dns_ttl) or 1,
            force_close=force_close,
            **reuse,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # The environment must not decide: a .netrc entry would replace the token.
            trust_env=False,
            headers=CIMultiDict({USER_AGENT: config.user_agent}),
        )

    def __repr__(self) -> str:
        config, session = self._config, self._session
        if session is None:
            state = "closed" if self._closed else "new"
        else:
            state = "direct" if self._direct is not None and is_unpatched(session) else "delegating"
        return f"<SessionManager {state}, {config.base_url}, at most {config.max_connections} connections>"
