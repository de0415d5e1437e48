"""Promises of the session: nothing left on a connection reaches another call, and closing ends everything."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from pathlib import Path

import pytest

from hl_async.errors import (
    AttemptTimeout,
    ConnectionLost,
    WireError,
    WireKind,
)
from hl_async.transport.aiohttp_path import LARGE_BODY
from servers import (
    HEADERS,
    OK,
    Opened,
    Security,
    opened_delegating,
    opened_directly,
    secured,
    self_signed,
    serving,
    with_small_send_buffers,
)

pytestmark = pytest.mark.every_loop


async def test_bytes_that_nobody_asked_for_are_no_answer_to_the_next_request(opened_own: Opened) -> None:
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

    async with serving(handle) as url, opened_own() as session:
        for _ in range(3):
            assert (await session.attempt("GET", url, HEADERS)).status == 200
            idle.set()
            await written.wait()
            written.clear()
            await asyncio.sleep(0.05)  # on loopback it is there when it was written; the loop has to read it


async def test_half_of_a_late_answer_on_an_idle_connection_costs_the_connection_alone(
    opened_own: Opened,
) -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(OK[: len(OK) // 2])

    async with serving(handle) as url, opened_own() as session:
        for number in range(1, 4):
            assert (await session.attempt("DELETE", url, HEADERS)).body == b"{}"
            assert connections == number
            await asyncio.sleep(0.1)  # the loop reads the half, which aiohttp's parser would swallow


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


async def test_an_answer_that_came_before_the_body_was_read_costs_the_connection_and_nothing_else(
    opened_own: Opened,
) -> None:
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

    async with serving(handle, limit=1024) as url, opened_own() as session:
        with_small_send_buffers(session)
        body = b"x" * (LARGE_BODY - 1)
        assert (await session.attempt("POST", url, HEADERS, body, timeout=20.0)).status == 401
        assert (await session.attempt("GET", url, HEADERS, timeout=20.0)).status == 200
    assert opened_connections == 2


async def test_a_large_body_takes_no_stale_bytes_for_its_answer_either(opened_own: Opened) -> None:
    stale = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"Content-Length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(OK)
            await asyncio.sleep(0.02)
            writer.write(stale)

    async with serving(handle) as url, opened_own() as session:
        for body in (None, b"x" * LARGE_BODY, b"x", b"x" * LARGE_BODY):
            assert (await session.attempt("POST", url, HEADERS, body)).body == b"{}"
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("opened", [opened_directly, opened_delegating])
async def test_a_server_that_speaks_first_is_connected_to_once(tmp_path: Path, opened: Opened) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    context = self_signed(tmp_path)
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
        with secured(Security(session=trusting)):
            async with opened() as session:
                with pytest.raises(ConnectionLost) as caught:
                    url = f"https://127.0.0.1:{listener.getsockname()[1]}/x"
                    await session.attempt("POST", url, HEADERS, b"{}", timeout=30.0)
        listener.shutdown(socket.SHUT_RDWR)
        await server
    assert not caught.value.sent
    assert accepted == 1


async def test_large_bodies_leave_one_connection_in_the_pool(opened_own: Opened) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(200_000 if b"POST" in head else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"y" * 3_000_000)

    async with serving(handle) as url, opened_own() as session:
        for method, body in (("GET", None), ("POST", b"x" * 200_000), ("GET", None)):
            answer = await session.attempt(method, url, HEADERS, body)
            assert answer.body == b"y" * 3_000_000
        assert len(session._session.connector._conns) == 1  # type: ignore[union-attr]


async def test_chunks_that_break_behind_the_head_are_told_at_once(opened_own: Opened) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HALF[1])
        await asyncio.sleep(0.05)
        writer.write(b"zz!!\r\n")
        await asyncio.sleep(30)

    async with serving(handle) as url, opened_own() as session:
        with pytest.raises(WireError) as caught:
            await session.attempt("GET", url, HEADERS, timeout=5.0)
    assert caught.value.kind is WireKind.PROTOCOL
    assert caught.value.sent


async def test_an_answer_of_unknown_length_is_whole_after_a_close_and_lost_after_a_reset(
    opened_own: Opened,
) -> None:
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

    async with serving(handle) as url, opened_own() as session:
        assert (await session.attempt("GET", url, HEADERS)).body == b'{"a":1}'
        reset = True
        with pytest.raises(ConnectionLost):
            await session.attempt("GET", url, HEADERS)


async def test_a_request_that_is_given_up_does_not_go_on_being_sent(opened_own: Opened) -> None:
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

    async with serving(handle, limit=1024) as url, opened_own() as session:
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
