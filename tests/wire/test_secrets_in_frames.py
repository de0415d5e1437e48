"""No crash reporter finds a secret in the local variables of a failing call, whatever fails and on which path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

import samples
from hl_async import CallOptions, ClientConfig, HighLevel, OAuthApp, PrivateToken, RetryPolicy, Timeouts, sync
from hl_async.errors import ConfigurationError, HighLevelError
from secret_search import secrets_in_frames
from servers import scripted

TOKEN = "pit-5ent1nel-0000000000000000"
SECRET = "s3ntinel-client-secret-000000"
CODE = "s3ntinel-access-code-00000000"

REPLIES = {
    "hangs up": None,
    "garbage": b"garbage\r\n\r\n",
    "truncated": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{}",
    "no document": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "bad token": b'HTTP/1.1 401 U\r\nContent-Length: 41\r\n\r\n{"statusCode":401,"message":"Invalid JWT"}',
    "unprocessable": b'HTTP/1.1 422 U\r\nContent-Length: 14\r\n\r\n{"message":[]}',
    "redirect": b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
    "server error": b"HTTP/1.1 500 S\r\nContent-Length: 2\r\n\r\n{}",
}
"""What a server can do to a call."""


async def failure(call: Awaitable[object]) -> BaseException:
    try:
        await call
    except (HighLevelError, asyncio.CancelledError) as error:
        return error
    raise AssertionError("the call did not fail")


def traced(hl: HighLevel, path: str) -> None:
    """Let aiohttp make the requests of an open client."""
    if path == "aiohttp":
        tracer = aiohttp.TraceConfig()
        tracer.freeze()
        session = hl._core.session._session
        assert session is not None
        session.trace_configs.append(tracer)


@pytest.fixture(params=["fast", "aiohttp"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("reply", REPLIES)
async def test_a_failing_call_holds_no_token_in_its_frames(reply: str, path: str) -> None:
    async with scripted(REPLIES[reply]) as server:
        async with HighLevel(
            PrivateToken(TOKEN), base_url=server.url, location_id="loc1", retry=RetryPolicy(max_attempts=1)
        ) as hl:
            traced(hl, path)
            shop = hl.location()
            for call in (
                shop.invoices.get("inv1"),
                shop.invoices.create(samples.invoice()),
                shop.estimates.list(),
                shop.invoices.void("inv1"),
            ):
                error = await failure(call)
                assert secrets_in_frames(error) == []
        assert all(b"Authorization: Bearer pit-5ent1nel" in request for request in server.requests)


async def test_a_call_that_is_cancelled_or_late_or_refused_holds_no_token_in_its_frames(path: str) -> None:
    async with scripted(b"", delay=60.0) as server:
        async with HighLevel(PrivateToken(TOKEN), base_url=server.url, location_id="loc1") as hl:
            traced(hl, path)
            shop = hl.location()
            task = asyncio.create_task(failure(shop.estimates.create(samples.estimate())))
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            assert secrets_in_frames(await task) == []
            late = shop.with_options(timeout=0.2).invoices.get("inv1")
            assert secrets_in_frames(await failure(late)) == []
    config = ClientConfig(base_url="http://127.0.0.1:9", timeouts=Timeouts(connect=1.0, total=0.5))
    async with HighLevel(PrivateToken(TOKEN), config=config, location_id="loc1") as hl:
        traced(hl, path)
        assert secrets_in_frames(await failure(hl.location().invoices.get("inv1"))) == []


class OwnCredentials(PrivateToken):
    """Credentials of the caller's that give the header as ordinary text."""

    def current(self, key: str) -> str | None:
        return f"Bearer {TOKEN}"


async def test_a_token_from_credentials_of_the_callers_own_is_masked_as_well(path: str) -> None:
    async with scripted(REPLIES["garbage"]) as server:
        async with HighLevel(OwnCredentials(TOKEN), base_url=server.url, location_id="loc1") as hl:
            traced(hl, path)
            call = hl.location().with_options(max_attempts=1).invoices.get("inv1")
            assert secrets_in_frames(await failure(call)) == []
        assert b"Bearer pit-5ent1nel" in server.requests[0]


@pytest.mark.parametrize("reply", REPLIES)
async def test_a_failing_token_request_holds_no_secret_in_its_frames(reply: str, path: str) -> None:
    async with scripted(REPLIES[reply]) as server:
        app = OAuthApp("client-1", SECRET, redirect_uri="https://example.com/back")
        async with HighLevel(app, base_url=server.url) as hl:
            traced(hl, path)
            error = await failure(app.exchange_code(CODE))
            assert secrets_in_frames(error) == []
            assert CODE not in str(error) + repr(error.args)
            direct = hl.oauth.token(
                client_id="client-1", client_secret=SECRET, grant_type="authorization_code", code=CODE
            )
            assert secrets_in_frames(await failure(direct)) == []
        assert all(SECRET.encode() in request for request in server.requests)


async def test_a_token_request_that_is_cancelled_holds_no_secret_in_its_frames(path: str) -> None:
    async with scripted(b"", delay=60.0) as server:
        app = OAuthApp("client-1", SECRET, redirect_uri="https://example.com/back")
        async with HighLevel(app, base_url=server.url) as hl:
            traced(hl, path)
            task = asyncio.create_task(failure(app.exchange_code(CODE)))
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            assert secrets_in_frames(await task) == []


WRONG: dict[str, Callable[[], object]] = {
    "a token with a space": lambda: PrivateToken(TOKEN + " x"),
    "a token for a wrong address": lambda: HighLevel(TOKEN, base_url="nonsense"),
    "a token for a wrong address, blocking": lambda: sync.HighLevel(TOKEN, base_url="nonsense"),
    "a token with a line break, blocking": lambda: sync.HighLevel(credentials=TOKEN + "\n"),
    "an environment with a wrong address": lambda: HighLevel.from_env(
        environ={"HL_TOKEN": TOKEN, "HL_BASE_URL": "nonsense"}
    ),
    "a token with a line break": lambda: HighLevel(TOKEN + "\n"),
    "a client id that is empty": lambda: OAuthApp("", SECRET),
    "a redirect that is none": lambda: OAuthApp("client-1", SECRET, redirect_uri="nonsense"),
    "an option that is unknown": lambda: CallOptions().replace(token=TOKEN[:3]),
}


@pytest.mark.parametrize("what", WRONG)
def test_settings_that_are_refused_hold_no_secret_in_their_frames(what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WRONG[what]()
    assert secrets_in_frames(caught.value) == []
