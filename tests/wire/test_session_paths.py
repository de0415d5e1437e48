"""Promises of the session: which path a request takes, and that both end alike."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from random import Random
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from hl_async.config import ClientConfig
from hl_async.errors import (
    ConnectFailed,
    WireError,
    WireKind,
)
from hl_async.transport.fast_path import is_unpatched
from hl_async.transport.session import SessionManager
from lengths import long
from servers import (
    HEADERS,
    OK,
    Opened,
    opened_delegating,
    opened_directly,
    opened_given,
    scripted,
)

pytestmark = pytest.mark.every_loop


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


async def test_both_ways_share_the_one_connection_that_the_pool_may_have() -> None:
    tracer = aiohttp.TraceConfig()
    tracer.freeze()
    async with scripted(OK) as server, opened_directly(max_connections=1) as session:
        assert session._session is not None
        for watched in (False, True, False, False, True, True, False):
            session._session.trace_configs[:] = [tracer] if watched else []
            calls = [session.attempt("GET", server.url + "/x", HEADERS) for _ in range(3)]
            async with asyncio.timeout(5):
                assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * 3
        assert server.connections == 1


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


async def said_at_open(caplog: pytest.LogCaptureFixture, **settings: Any) -> list[str]:
    caplog.clear()
    session = SessionManager(ClientConfig(proxy=settings.pop("proxy", None)), **settings)
    await session.open()
    await session.aclose()
    assert all(record.levelname == "WARNING" and record.name == "hl_async" for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


async def test_opening_warns_once_and_says_why_aiohttp_makes_the_requests(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await said_at_open(caplog) == []
    because = "requests are delegated to aiohttp because "
    (proxied,) = await said_at_open(caplog, proxy="http://127.0.0.1:9")
    assert proxied == because + "a proxy is configured"
    async with aiohttp.ClientSession() as own:
        (given,) = await said_at_open(caplog, session=own)
    assert given.startswith(because + "a session was passed in")

    plain = aiohttp.ClientSession.__init__

    def traced(self: aiohttp.ClientSession, *args: Any, **settings: Any) -> None:
        plain(self, *args, trace_configs=[aiohttp.TraceConfig()], **settings)

    with monkeypatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "__init__", traced)
        assert await said_at_open(caplog) == [because + "a tracer watches aiohttp's sessions"]
    with aioresponses():
        (patched,) = await said_at_open(caplog)
    assert patched == because + "another library replaced methods of aiohttp's ClientSession"


async def test_an_aiohttp_that_was_not_tested_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp, "__version__", "3.99.0")
    (said,) = await said_at_open(caplog)
    assert "because aiohttp 3.99.0 is not one of the tested versions (3.14.*)" in said


@pytest.mark.parametrize("target", ["http", "https"])
async def test_a_proxy_that_wants_a_password_says_so(target: str) -> None:
    refusal = b"HTTP/1.1 407 P\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with scripted(refusal) as proxy:
        async with opened_directly(proxy=proxy.url) as session:
            with pytest.raises(ConnectFailed, match="the proxy requires a password") as caught:
                await session.attempt("GET", f"{target}://127.0.0.1:1/x", HEADERS)
        assert not caught.value.sent
        assert len(proxy.requests) == 1


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


@pytest.mark.parametrize("answers", [150, long(600)])
@pytest.mark.untraced
async def test_broken_answers_end_as_our_errors_and_the_same_both_ways(answers: int) -> None:
    """No foreign exception, nothing taken for an answer one way that is refused the other, nothing left."""

    async def outcomes(opened: Opened) -> Counter[str]:
        random = Random(7)
        script = iter([mutated(random) for _ in range(answers)])
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
            for _ in range(answers // 50):
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
    assert directly == delegated == await outcomes(opened_given)
    assert len(directly) > (5 if answers == 600 else 3), "many kinds of ends"
