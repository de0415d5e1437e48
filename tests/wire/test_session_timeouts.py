"""Promises of the session: attempts end in their time, and what could not be connected was not sent."""

from __future__ import annotations

import asyncio
import socket
import traceback

import pytest

from hl_async.config import ClientConfig, Timeouts
from hl_async.errors import (
    AttemptTimeout,
    ConnectFailed,
    WireError,
    WireKind,
)
from hl_async.transport.session import SessionManager
from servers import (
    HEADERS,
    OK,
    Opened,
    Scripted,
    scripted,
    self_signed,
)

pytestmark = pytest.mark.every_loop


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
        watch._expire_due(0, 1.0)
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
    assert caught.value.message == f"cannot connect to 127.0.0.1:{port}: connection refused"


async def test_a_host_that_has_no_address_is_a_dns_failure(opened: Opened) -> None:
    async with opened() as session:
        with pytest.raises(ConnectFailed) as caught:
            await session.attempt("GET", "http://no-such-host.invalid/x", HEADERS)
    assert caught.value.kind is WireKind.DNS
    assert "cannot connect to no-such-host.invalid:80: the host name" in caught.value.message


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
    context = self_signed(tmp_path)
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
