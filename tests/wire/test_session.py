"""Promises of the session: one attempt is one request, and what breaks is told apart."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import re
import socket
import ssl
import struct
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from hl_async.config import ClientConfig, Timeouts
from hl_async.errors import (
    AttemptTimeout,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    NotEntered,
    ResponseTooLarge,
    WireError,
    WireKind,
    WrongEventLoop,
)
from hl_async.transport.aiohttp_path import LARGE_BODY
from hl_async.transport.bodies import CODINGS
from hl_async.transport.fast_path import is_unpatched
from hl_async.transport.session import SessionManager
from hl_async.wire import Headers

HEADERS = {"Authorization": "Bearer pit-5ent1nel-000000000000"}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Scripted"], Awaitable[None]]


class Scripted:
    """A server that does what a test says with each request; counts requests and connections."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.delay = 0.0
        self.url = ""


@asynccontextmanager
async def scripted(*replies: bytes | None, delay: float = 0.0, hold: bool = False) -> AsyncIterator[Scripted]:
    """Answer request n with reply n (the last one again and again); None closes without an answer."""
    state = Scripted()
    state.delay = delay
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        state.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                state.requests.append(head + body)
                reply = replies[min(len(state.requests), len(replies)) - 1]
                await asyncio.sleep(state.delay)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
                if not reply.startswith(b"HTTP/1.1") or b"Connection: close" in reply:
                    break
                if hold:
                    await asyncio.sleep(30)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Opened = Callable[..., AbstractAsyncContextManager[SessionManager]]


@asynccontextmanager
async def opened_directly(url: str = "http://127.0.0.1", **settings: object) -> AsyncIterator[SessionManager]:
    session = SessionManager(ClientConfig(base_url=url, **settings))  # type: ignore[arg-type]
    await session.open()
    try:
        yield session
    finally:
        await session.aclose()


@asynccontextmanager
async def opened_delegating(
    url: str = "http://127.0.0.1", *, max_connections: int = 50, **settings: object
) -> AsyncIterator[SessionManager]:
    """With an aiohttp session that was passed in."""
    config = ClientConfig(base_url=url, **settings)  # type: ignore[arg-type]
    connector = aiohttp.TCPConnector(limit=max_connections)
    async with aiohttp.ClientSession(connector=connector, headers={"User-Agent": config.user_agent}) as own:
        session = SessionManager(config, session=own)
        await session.open()
        try:
            yield session
        finally:
            await session.aclose()


@pytest.fixture(params=["direct", "delegated"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """What a session promises holds both ways."""
    return opened_directly if request.param == "direct" else opened_delegating


async def test_any_status_is_an_answer_with_headers_and_body(opened: Opened) -> None:
    reply = b"HTTP/1.1 418 T\r\nX-RateLimit-Max: 7\r\nContent-Length: 3\r\n\r\nabc"
    async with scripted(reply) as server, opened() as session:
        answer = await session.attempt("GET", server.url + "/x", HEADERS)
    assert (answer.status, answer.body, answer.headers["x-ratelimit-max"]) == (418, b"abc", "7")
    assert answer.elapsed > 0
    assert repr(answer).startswith("WireResponse(status=418, 3 bytes")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
async def test_one_attempt_is_one_request_when_the_server_hangs_up(opened: Opened, method: str) -> None:
    async with scripted(OK, None) as server, opened() as session:
        await session.attempt(method, server.url + "/x", HEADERS, b"{}")
        with pytest.raises(ConnectionLost) as caught:
            await session.attempt(method, server.url + "/x", HEADERS, b"{}")
        assert len(server.requests) == 2
    assert caught.value.sent
    assert caught.value.kind is WireKind.DISCONNECTED


async def test_connections_are_pooled(opened: Opened) -> None:
    async with scripted(OK) as server, opened() as session:
        for _ in range(5):
            await session.attempt("GET", server.url + "/x", HEADERS)
        assert server.connections == 1
        await session.attempt("POST", server.url + "/x", HEADERS, b"{}", fresh_connection=True)
        assert server.connections == 2


async def test_a_delete_carries_its_body_and_the_url_goes_as_it_stands(opened: Opened) -> None:
    async with scripted(OK) as server, opened() as session:
        await session.attempt("DELETE", server.url + "/a%2Fb%3B?x=%20", HEADERS, b'{"altId":"x"}')
    assert server.requests[0].startswith(b"DELETE /a%2Fb%3B?x=%20 HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'\r\n\r\n{"altId":"x"}')
    assert b"User-Agent: hl_async/" in server.requests[0]


async def test_a_redirect_is_an_error_and_the_other_host_sees_nothing(opened: Opened) -> None:
    async with scripted(OK) as other:
        reply = b"HTTP/1.1 307 R\r\nLocation: " + other.url.encode() + b"/x\r\nContent-Length: 0\r\n\r\n"
        async with scripted(reply) as server, opened() as session:
            with pytest.raises(WireError, match=r"redirect to 127\.0\.0\.1") as caught:
                await session.attempt("POST", server.url + "/x", HEADERS, b"{}")
        assert other.requests == []
    assert caught.value.kind is WireKind.REDIRECT


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{}", WireKind.TRUNCATED),
        (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{"a"',
            WireKind.TRUNCATED,
        ),
        (b"garbage\r\n\r\n", WireKind.PROTOCOL),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}",
            WireKind.PROTOCOL,
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\nConnection: close\r\n\r\n", WireKind.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"Connection: close\r\n\r\n", WireKind.PROTOCOL),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde",
            WireKind.TRUNCATED,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: compress\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde",
            WireKind.ENCODING,
        ),
    ],
)
async def test_a_broken_answer_is_a_wire_error_and_never_an_api_error(
    opened: Opened, reply: bytes, kind: WireKind
) -> None:
    async with scripted(reply) as server, opened() as session:
        with pytest.raises(WireError) as caught:
            await session.attempt("GET", server.url + "/x", HEADERS)
    assert caught.value.kind is kind
    assert caught.value.sent


async def test_a_body_over_the_limit_is_dropped_while_it_arrives(opened: Opened) -> None:
    bomb = gzip.compress(b"0" * 20_000_000)
    reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    async with scripted(reply) as server, opened(max_body=100_000) as session:
        with pytest.raises(ResponseTooLarge, match="100,000 bytes"):
            await session.attempt("GET", server.url + "/x", HEADERS)
        with pytest.raises(ResponseTooLarge):
            await session.attempt("GET", server.url + "/x", HEADERS, max_body=5_000)


async def test_a_large_plain_body_is_refused_by_its_length(opened: Opened) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n" + b"x" * 200_000
    async with scripted(reply) as server, opened(max_body=100_000) as session:
        with pytest.raises(ResponseTooLarge):
            await session.attempt("GET", server.url + "/x", HEADERS)


async def test_an_error_body_is_cut_and_still_an_answer(opened: Opened) -> None:
    reply = b"HTTP/1.1 502 B\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n" + b"x" * 200_000
    async with scripted(reply) as server, opened() as session:
        answer = await session.attempt("GET", server.url + "/x", HEADERS)
    assert (answer.status, len(answer.body)) == (502, 64 * 1024)


async def test_compressed_and_chunked_bodies_are_read_whole(opened: Opened) -> None:
    packed = gzip.compress(b'{"a":1}')
    first = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    second = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"b\r\n4\r\n":2}\r\n0\r\n\r\n'
    async with scripted(first, second) as server, opened() as session:
        assert (await session.attempt("GET", server.url + "/x", HEADERS)).body == b'{"a":1}'
        assert (await session.attempt("GET", server.url + "/x", HEADERS)).body == b'{"b":2}'
        assert server.connections == 1


async def test_zstd_is_asked_for_and_read_where_its_package_is_installed_and_bombs_are_dropped_too(
    opened: Opened,
) -> None:
    zstd = pytest.importorskip("backports.zstd")
    assert "zstd" in CODINGS
    replies = [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
        for packed in (zstd.compress(b'{"a":1}'), zstd.compress(b"0" * 20_000_000))
    ]
    async with scripted(*replies) as server, opened(max_body=100_000) as session:
        assert (await session.attempt("GET", server.url + "/x", HEADERS)).body == b'{"a":1}'
        with pytest.raises(ResponseTooLarge, match="100,000 bytes"):
            await session.attempt("GET", server.url + "/x", HEADERS)


async def test_a_request_without_a_body_names_no_content_type(opened: Opened) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        async with scripted(OK) as server, opened() as session:
            await session.attempt(method, server.url + "/x", HEADERS)
            assert b"content-type" not in server.requests[0].lower()


async def test_a_late_answer_is_a_timeout_that_was_sent(opened: Opened) -> None:
    async with scripted(OK) as server, opened() as session:
        await session.attempt("GET", server.url + "/x", HEADERS)
        server.delay = 60.0
        with pytest.raises(AttemptTimeout) as caught:
            await session.attempt("POST", server.url + "/x", HEADERS, b"{}", timeout=1.0)
    assert caught.value.sent


async def test_attempts_with_the_usual_timeout_end_each_in_its_time(opened: Opened) -> None:
    async with scripted(OK) as server, opened(timeouts=Timeouts(attempt=1.0, connect=1.0)) as session:
        loop = asyncio.get_running_loop()
        connected = (session.attempt("GET", server.url + "/x", HEADERS, timeout=30.0) for _ in range(4))
        await asyncio.gather(*connected)
        server.delay = 60.0

        async def late(after: float) -> float:
            await asyncio.sleep(after)
            began = loop.time()
            with pytest.raises(AttemptTimeout, match="waiting for the answer") as caught:
                await session.attempt("PUT", server.url + "/x", HEADERS, b"{}")
            assert caught.value.sent
            return loop.time() - began

        took = await asyncio.gather(*(late(0.05 * n) for n in range(4)))
        current = asyncio.current_task()
        assert current is not None and current.cancelling() == 0
    assert all(0.99 < one < 30 for one in took), took


async def test_a_caller_that_cancels_in_the_moment_of_the_timeout_is_cancelled(opened: Opened) -> None:
    async with scripted(OK, delay=60.0) as server:
        async with opened(timeouts=Timeouts(attempt=0.1, connect=0.1)) as session:
            task = asyncio.create_task(session.attempt("GET", server.url + "/x", HEADERS))
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.05, task.cancel)
            asyncio.get_running_loop().call_later(0.0501, task.cancel)
            with pytest.raises((asyncio.CancelledError, AttemptTimeout, ConnectFailed)):
                await task
        seen = len(server.requests)
        async with opened() as session:
            await expired_and_cancelled(server, session, seen)


async def expired_and_cancelled(server: Scripted, session: SessionManager, seen: int) -> None:
    async with asyncio.timeout(30):
        stubborn = asyncio.create_task(session.attempt("GET", server.url + "/x", HEADERS))
        while len(server.requests) == seen:
            await asyncio.sleep(0.001)
        watch = session._watch
        assert watch is not None
        next(iter(watch._running)).at = 0.0
        watch._ring()
        stubborn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stubborn


async def test_a_refused_connection_is_known_not_to_have_been_sent(opened: Opened) -> None:
    with socket.socket() as free:  # bound and not listening: nobody else can have the port meanwhile
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with opened() as session:
            with pytest.raises(ConnectFailed) as caught:
                await session.attempt("POST", f"http://127.0.0.1:{port}/x", HEADERS, b"{}")
    assert not caught.value.sent
    assert caught.value.kind is WireKind.CONNECT


async def test_a_host_that_has_no_address_is_a_dns_failure(opened: Opened) -> None:
    async with opened() as session:
        with pytest.raises(ConnectFailed) as caught:
            await session.attempt("GET", "http://no-such-host.invalid/x", HEADERS)
    assert caught.value.kind is WireKind.DNS


async def test_connecting_has_a_timeout_of_its_own() -> None:
    with socket.socket() as listener:  # a full backlog: connecting hangs
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        config = ClientConfig(base_url="http://127.0.0.1", timeouts=Timeouts(connect=0.2))
        session = SessionManager(config)
        await session.open()
        try:
            with pytest.raises(ConnectFailed, match="connecting took too long") as caught:
                await session.attempt("POST", f"http://127.0.0.1:{port}/x", HEADERS, b"{}")
        finally:
            await session.aclose()
            for filler in fillers:
                filler.close()
    assert not caught.value.sent


async def test_a_full_pool_is_no_dead_host(opened: Opened) -> None:
    async with (
        scripted(OK, delay=0.6) as server,
        opened(max_connections=1, timeouts=Timeouts(connect=1.0)) as session,
    ):
        answers = await asyncio.gather(
            *(session.attempt("GET", server.url + "/x", HEADERS) for _ in range(3))
        )
    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_a_certificate_nobody_vouches_for_is_refused_before_anything_is_sent(
    opened: Opened, tmp_path: object
) -> None:
    context = _self_signed(str(tmp_path))
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # the server's side of the refused handshake
    async with server, opened("https://localhost") as session:
        with pytest.raises(ConnectFailed) as caught:
            port = server.sockets[0].getsockname()[1]
            await session.attempt("GET", f"https://127.0.0.1:{port}/x", HEADERS)
    assert caught.value.kind is WireKind.TLS
    assert not any(b"5ent1nel" in data for data in seen)


async def test_no_trace_of_the_bearer_leaves_with_an_error(opened: Opened) -> None:
    async with scripted(b"garbage\r\n\r\n") as server, opened() as session:
        try:
            await session.attempt("GET", server.url + "/x", HEADERS)
        except WireError as error:
            text = "".join(traceback.TracebackException.from_exception(error, compact=True).format())
            assert error.__cause__ is None
            assert error.__context__ is None
            assert "5ent1nel" not in text + repr(error) + error.cause


async def test_cancelling_an_attempt_closes_its_connection(opened: Opened) -> None:
    async with scripted(OK, delay=5.0) as server, opened() as session:
        task = asyncio.create_task(session.attempt("GET", server.url + "/x", HEADERS))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_session_of_the_callers_own_is_used_and_left_open() -> None:
    async with scripted(OK) as server, aiohttp.ClientSession() as own:
        session = SessionManager(ClientConfig(), session=own)
        await session.open()
        await session.attempt("GET", server.url + "/x", HEADERS)
        await session.aclose()
        assert not own.closed


async def test_interim_answers_are_passed_over(opened: Opened) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with scripted(early * 3 + OK) as server, opened() as session:
        for _ in range(2):
            assert (await session.attempt("GET", server.url + "/x", HEADERS)).status == 200
        assert server.connections == 1


async def test_an_answer_without_a_body_leaves_the_connection_in_the_pool(opened: Opened) -> None:
    async with scripted(b"HTTP/1.1 204 No Content\r\n\r\n") as server, opened() as session:
        for _ in range(3):
            assert (await session.attempt("DELETE", server.url + "/x", HEADERS)).body == b""
        assert server.connections == 1


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/x y", HEADERS),
        ("GET", "/x\r\nEvil: 1", HEADERS),
        ("GET", "/ü", HEADERS),
        ("GET /evil HTTP/1.1\r\n", "/x", HEADERS),
        ("GET", "/x", {**HEADERS, "Version": "1\r\nEvil: 1"}),
        ("GET", "/x", {**HEADERS, "Evil:\n": "1"}),
    ],
)
async def test_what_would_split_a_request_is_refused_before_anything_is_sent(
    opened: Opened, method: str, path: str, headers: dict[str, str]
) -> None:
    async with scripted(OK) as server, opened() as session:
        with pytest.raises(WireError, match="cannot be written as HTTP") as caught:
            await session.attempt(method, server.url + path, headers)
        assert not caught.value.sent
        assert server.requests == []
        assert (await session.attempt("GET", server.url + "/x", HEADERS)).status == 200


async def test_bytes_that_nobody_asked_for_are_no_answer_to_the_next_request() -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    idle, written = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
                await idle.wait()
                idle.clear()
                writer.write(late)
                await writer.drain()
                written.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server, opened_directly() as session:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        for _ in range(3):
            assert (await session.attempt("GET", url, HEADERS)).status == 200
            idle.set()
            await written.wait()
            written.clear()
            await asyncio.sleep(0.05)  # on loopback it is there when it was written; the loop has to read it


@asynccontextmanager
async def serving(handle: Handler, **settings: Any) -> AsyncIterator[str]:
    """A server whose connections are handled by ``handle``, whatever becomes of them; gives its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
    )  # so that a client's bytes have to wait for its reader
    server = await asyncio.start_server(guarded, sock=listener, **settings)
    try:
        scheme = "https" if "ssl" in settings else "http"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


HALF = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n{",
    b"",
)


@pytest.mark.parametrize("half", HALF)
@pytest.mark.parametrize("own_timeout", [None, 30.0])
async def test_closing_ends_what_is_on_the_wire_at_once(
    opened: Opened, half: bytes, own_timeout: float | None
) -> None:
    begun = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(half)
        await writer.drain()
        begun.set()
        await asyncio.sleep(30)

    async with serving(handle) as url, opened(max_connections=1) as session:
        attempts = [
            asyncio.create_task(session.attempt("PUT", url, HEADERS, b"{}", timeout=own_timeout))
            for _ in range(3)
        ]
        await begun.wait()
        await asyncio.sleep(0.05)
        await session.aclose()
        done, pending = await asyncio.wait(attempts, timeout=20.0)
        assert not pending
        errors = [attempt.exception() for attempt in attempts]
    assert all(isinstance(error, ConnectionLost) for error in errors), errors
    assert all("the client was closed" in str(error) for error in errors), errors
    assert [error.sent for error in errors] == [True, False, False]  # type: ignore[union-attr]
    assert done and all(attempt.cancelling() == 0 for attempt in done)


def with_small_send_buffers(session: SessionManager) -> None:
    """Let the kernel take a few KB of a request, so that the rest has to wait in the process."""

    def small(address: Any) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        return made

    assert session._session is not None
    session._session.connector._socket_factory = small  # type: ignore[union-attr]


async def test_an_answer_that_came_before_the_body_was_read_costs_the_connection_and_nothing_else() -> None:
    opened_connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened_connections
        opened_connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Content-Length: 0" not in head and b"POST" in head:
            writer.transport.pause_reading()
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")
            await asyncio.sleep(30)
        writer.write(OK)
        await writer.drain()
        await reader.read()

    async with serving(handle, limit=1024) as url, opened_directly() as session:
        with_small_send_buffers(session)
        body = b"x" * (LARGE_BODY - 1)
        assert (await session.attempt("POST", url, HEADERS, body, timeout=20.0)).status == 401
        assert (await session.attempt("GET", url, HEADERS, timeout=20.0)).status == 200
    assert opened_connections == 2


async def test_a_large_body_takes_no_stale_bytes_for_its_answer_either() -> None:
    stale = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"Content-Length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(OK)
            await asyncio.sleep(0.02)
            writer.write(stale)

    async with serving(handle) as url, opened_directly() as session:
        for body in (None, b"x" * LARGE_BODY, b"x", b"x" * LARGE_BODY):
            assert (await session.attempt("POST", url, HEADERS, body)).body == b"{}"
            await asyncio.sleep(0.05)


async def test_a_server_that_speaks_first_is_connected_to_once(tmp_path: Path) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    context = _self_signed(str(tmp_path))
    context.maximum_version = (
        ssl.TLSVersion.TLSv1_2
    )  # there the server's words can follow its handshake at once
    trusting = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    trusting.check_hostname = False
    accepted = 0

    def serve(listener: socket.socket) -> None:
        nonlocal accepted
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                accepted += 1
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = context.wrap_bio(incoming, outgoing, server_side=True)
                with plain, contextlib.suppress(OSError):
                    while True:
                        try:
                            tls.do_handshake()
                            break
                        except ssl.SSLWantReadError:
                            plain.sendall(outgoing.read())
                            incoming.write(plain.recv(1 << 16))
                    tls.write(busy)
                    plain.sendall(outgoing.read())  # the end of the handshake and the answer, in one piece
                    plain.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = asyncio.create_task(asyncio.to_thread(serve, listener))
        session = SessionManager(ClientConfig(base_url="https://127.0.0.1"), ssl=trusting)
        await session.open()
        with pytest.raises(ConnectionLost) as caught:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}/x"
            await session.attempt("POST", url, HEADERS, b"{}", timeout=30.0)
        await session.aclose()
        listener.shutdown(socket.SHUT_RDWR)
        await server
    assert not caught.value.sent
    assert accepted == 1


async def test_requests_over_tls_use_one_connection(tmp_path: Path) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(200_000 if b"POST" in head else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"y" * 3_000_000)

    trusting = ssl.create_default_context()
    context = _self_signed(str(tmp_path))
    trusting.load_verify_locations(str(tmp_path / "server.pem"))
    trusting.check_hostname = False
    async with serving(handle, ssl=context) as url:
        session = SessionManager(ClientConfig(base_url="https://127.0.0.1"), ssl=trusting)
        await session.open()
        for method, body in (("GET", None), ("POST", b"x" * 200_000), ("GET", None)):
            answer = await session.attempt(method, url, HEADERS, body)
            assert answer.body == b"y" * 3_000_000
        assert len(session._session.connector._conns) == 1  # type: ignore[union-attr]
        await session.aclose()


async def test_chunks_that_break_behind_the_head_are_told_at_once() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HALF[1])
        await asyncio.sleep(0.05)
        writer.write(b"zz!!\r\n")
        await asyncio.sleep(30)

    async with serving(handle) as url, opened_directly() as session:
        with pytest.raises(WireError) as caught:
            await session.attempt("GET", url, HEADERS, timeout=5.0)
    assert caught.value.kind is WireKind.PROTOCOL
    assert caught.value.sent


async def test_an_answer_of_unknown_length_is_whole_after_a_close_and_lost_after_a_reset() -> None:
    reset = False

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"a":1}')
        await writer.drain()
        await asyncio.sleep(0.05)
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            writer.close()
            await writer.wait_closed()

    async with serving(handle) as url, opened_directly() as session:
        assert (await session.attempt("GET", url, HEADERS)).body == b'{"a":1}'
        reset = True
        with pytest.raises(ConnectionLost):
            await session.attempt("GET", url, HEADERS)


async def test_a_request_that_is_given_up_does_not_go_on_being_sent() -> None:
    received = 0
    aborted, ended = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        writer.transport.pause_reading()
        await aborted.wait()
        writer.transport.resume_reading()
        try:
            while data := await reader.read(1 << 16):
                received += len(data)
        finally:
            ended.set()

    async with serving(handle, limit=1024) as url, opened_directly() as session:
        with_small_send_buffers(session)
        attempts = [
            session.attempt("POST", url, HEADERS, b"x" * (LARGE_BODY - 1), timeout=1.5) for _ in range(8)
        ]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        aborted.set()
        await session.aclose()
        await asyncio.wait_for(ended.wait(), 30)
        await asyncio.sleep(0.3)
    assert all(isinstance(outcome, AttemptTimeout) and outcome.sent for outcome in outcomes)
    assert received < 8 * LARGE_BODY


async def test_a_switch_of_protocols_is_no_answer(opened: Opened) -> None:
    reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with scripted(reply) as server, opened() as session:
        with pytest.raises(WireError) as caught:
            await session.attempt("GET", server.url + "/x", HEADERS)
    assert caught.value.kind is WireKind.PROTOCOL


async def test_with_the_installed_aiohttp_requests_go_directly() -> None:
    async with aiohttp.ClientSession() as session:
        assert is_unpatched(session)


async def test_a_stand_in_for_aiohttps_requests_gets_them(mockable_response: Any) -> None:
    async with scripted(OK) as server, opened_directly() as session:
        with aioresponses() as mocked:
            mocked.get(server.url + "/x", status=201, body=b"[]", response_class=mockable_response)
            assert "delegating" in repr(session)
            assert (await session.attempt("GET", server.url + "/x", HEADERS)).status == 201
        assert server.requests == []
        assert (await session.attempt("GET", server.url + "/x", HEADERS)).status == 200


async def test_a_wrapper_around_aiohttps_requests_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    plain = aiohttp.ClientSession.request

    def request(self: aiohttp.ClientSession, method: str, url: Any, **settings: Any) -> Any:
        seen.append(method)
        return plain(self, method, url, **settings)

    async with scripted(OK) as server, opened_directly() as session:
        await session.attempt("GET", server.url + "/x", HEADERS)
        monkeypatch.setattr(aiohttp.ClientSession, "request", request)
        await session.attempt("PUT", server.url + "/x", HEADERS, b"{}")
    assert seen == ["PUT"]


async def test_a_tracer_that_adds_itself_to_every_session_sees_the_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    trace = aiohttp.TraceConfig()

    async def note(session: object, context: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(f"{params.method} {params.url.path}")

    trace.on_request_start.append(note)
    plain = aiohttp.ClientSession.__init__

    def traced(self: aiohttp.ClientSession, *args: Any, **settings: Any) -> None:
        plain(self, *args, trace_configs=[trace], **settings)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)
    async with scripted(OK) as server, opened_directly() as session:
        await session.attempt("PUT", server.url + "/x", HEADERS, b"{}")
    assert seen == ["PUT /x"]


def test_shared_headers_never_print_their_values() -> None:
    assert repr(Headers(HEADERS)) == "<Headers Authorization>"


async def test_use_before_opening_and_after_closing_is_told() -> None:
    session = SessionManager(ClientConfig())
    with pytest.raises(NotEntered, match="async with HighLevel"):
        await session.attempt("GET", "http://127.0.0.1:1/x", HEADERS)
    assert "new" in repr(session)
    await session.open()
    assert "direct" in repr(session)
    await session.aclose()
    with pytest.raises(ClientClosed):
        await session.attempt("GET", "http://127.0.0.1:1/x", HEADERS)
    with pytest.raises(ClientClosed):
        await session.open()
    assert "closed" in repr(session)


async def test_use_from_another_loop_is_told(opened: Opened) -> None:
    async with opened() as session:

        async def elsewhere() -> None:
            session.check_usable()

        with pytest.raises(WrongEventLoop):
            await asyncio.to_thread(asyncio.run, elsewhere())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_use_after_a_fork_is_told(opened: Opened) -> None:
    async with opened() as session:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                session.check_usable()
                os.write(write, b"usable")
            except Exception as error:
                os.write(write, type(error).__name__.encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 100) == b"ForkedClient"
        os.close(read)
        os.close(write)


async def test_a_large_request_body_goes_out_whole(opened: Opened) -> None:
    async with scripted(OK) as server, opened() as session:
        await session.attempt("POST", server.url + "/x", HEADERS, b"x" * 2_000_000)
    assert len(server.requests[0]) > 2_000_000


@pytest.mark.parametrize(
    ("raised", "kind", "sent"),
    [
        (aiohttp.ServerDisconnectedError(), WireKind.DISCONNECTED, True),
        (aiohttp.ClientPayloadError("cut"), WireKind.TRUNCATED, True),
        (aiohttp.ConnectionTimeoutError("slow"), WireKind.CONNECT, False),
        (TimeoutError(), WireKind.TIMEOUT, True),
        (OSError(101, "Network is unreachable"), WireKind.DISCONNECTED, True),
        (ValueError("Newline in headers"), WireKind.PROTOCOL, True),
    ],
)
async def test_every_exception_below_becomes_ours(
    opened: Opened, raised: Exception, kind: WireKind, sent: bool, mockable_response: object
) -> None:
    async with opened() as session:
        with aioresponses() as mocked:
            mocked.get("http://127.0.0.1/x", exception=raised)
            with pytest.raises(WireError) as caught:
                await session.attempt("GET", "http://127.0.0.1/x", HEADERS)
    assert (caught.value.kind, caught.value.sent) == (kind, sent)


GZIPPED = gzip.compress(b'{"a":1}' * 20)
ANSWERS = (
    OK[:-2] + b"{}",
    b'HTTP/1.1 200 OK\r\nX-RateLimit-Max: 100\r\nContent-Length: 22\r\n\r\n{"estimateNumber":118}',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"b":\r\n4\r\n2.5}\r\n0\r\n\r\n',
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(GZIPPED), GZIPPED),
)
INSERTED = (
    b"\r\n",
    b"\0",
    b"HTTP/1.1 103 E\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Connection: close\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"x" * 9000,
)


def mutated(random: Random) -> bytes:
    """An answer with up to four places broken: a bit, bytes too many, bytes too few, an early end."""
    answer = bytearray(random.choice(ANSWERS))
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(answer)) if answer else 0
        match random.choice(("bit", "bit", "more", "less", "end")):
            case "bit" if answer:
                answer[at] ^= 1 << random.randrange(8)
            case "more":
                answer[at:at] = random.choice(INSERTED)
            case "less":
                del answer[at : at + random.randint(1, 20)]
            case "end":
                del answer[at:]
    return bytes(answer)


@pytest.mark.untraced
async def test_broken_answers_end_as_our_errors_and_the_same_both_ways() -> None:
    """600 of them: no foreign exception, nothing taken for an answer one way that is refused the other, nothing left."""

    async def outcomes(opened: Opened) -> Counter[str]:
        random = Random(7)
        script = iter([mutated(random) for _ in range(600)])
        found: Counter[str] = Counter()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(next(script))
                await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server, opened() as session:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
            for _ in range(600 // 50):
                ends = await asyncio.gather(
                    *(session.attempt("GET", url, HEADERS) for _ in range(50)), return_exceptions=True
                )
                for end in ends:
                    if isinstance(end, BaseException):
                        assert isinstance(end, WireError), repr(end)
                        found[end.kind] += 1
                    else:
                        found[str(end.status)] += 1
            assert session._session is not None
            assert not session._session.connector._acquired  # type: ignore[union-attr]
        return found

    directly, delegated = await outcomes(opened_directly), await outcomes(opened_delegating)
    assert directly == delegated
    assert len(directly) > 5


def _self_signed(folder: str) -> ssl.SSLContext:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = os.path.join(folder, "server.pem")
    with open(path, "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
