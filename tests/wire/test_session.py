"""Promises of the session: one attempt is one request, any answer is an answer, and it is used where it was opened."""

from __future__ import annotations

import asyncio
import gzip
import os

import aiohttp
import pytest

from hl_async import HighLevel, PrivateToken
from hl_async.config import ClientConfig, Environment
from hl_async.errors import (
    ClientClosed,
    ConnectionLost,
    NotEntered,
    ResponseTooLarge,
    WireError,
    WireKind,
    WrongEventLoop,
)
from hl_async.transport.bodies import CODINGS
from hl_async.transport.session import SessionManager
from hl_async.wire import Headers
from servers import (
    HEADERS,
    OK,
    Opened,
    scripted,
)

pytestmark = pytest.mark.every_loop


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


@pytest.mark.parametrize("size", [2, 100_000])
async def test_an_answer_that_ends_the_connection_is_an_answer(opened: Opened, size: int) -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with scripted(closing) as server, opened() as session:
        for _ in range(3):
            answer = await session.attempt("POST", server.url + "/x", HEADERS, b"x" * size)
            assert (answer.status, answer.body) == (200, b"{}")
        assert server.connections == 3


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


async def test_a_switch_of_protocols_is_no_answer(opened: Opened) -> None:
    reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with scripted(reply) as server, opened() as session:
        with pytest.raises(WireError) as caught:
            await session.attempt("GET", server.url + "/x", HEADERS)
    assert caught.value.kind is WireKind.PROTOCOL


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


async def test_closing_from_another_loop_is_refused_and_leaves_the_client_open() -> None:
    async with scripted(OK) as server:
        async with HighLevel(PrivateToken("pit-5ent1nel-0000"), base_url=server.url, location_id="x") as hl:
            with pytest.raises(WrongEventLoop):
                await asyncio.to_thread(asyncio.run, hl.aclose())
            assert not hl.closed


def test_a_proxy_comes_from_the_environment_and_is_not_printed() -> None:
    environ = {"HL_TOKEN": "pit-5ent1nel-0000", "HL_PROXY": "http://user:pit-5ent1nel-x@127.0.0.1:9"}
    hl = HighLevel.from_env(environ=environ)
    assert hl._core.config.proxy == environ["HL_PROXY"]
    assert "5ent1nel" not in repr(hl._core.config) + repr(Environment.read(environ))
