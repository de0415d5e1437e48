"""A busy loop costs nobody an answer: what waits in the kernel is seen before a connection is used again."""

from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks.busy_loop import GETS, POSTS, Server, late_answers, lost_posts
from hl_async.config import Timeouts
from lengths import long
from servers import Opened, Security, opened_given

pytestmark = pytest.mark.every_loop


@pytest.mark.parametrize("gets", [GETS // 8, long(GETS)])
async def test_a_late_answer_that_waits_in_the_kernel_is_nobodys(
    opened_own: Opened, security: Security, gets: int
) -> None:
    server = Server(security.server)
    async with opened_own() as session:
        every = 2 if security.server is None else 8  # each costs a handshake
        assert await late_answers(session, server, gets, every=every) == 0
    server.stop()


@pytest.mark.parametrize("posts", [POSTS // 5, long(POSTS)])
async def test_no_request_is_lost_on_a_connection_whose_end_waits_in_the_kernel(
    opened_own: Opened, security: Security, posts: int
) -> None:
    server = Server(security.server)
    async with opened_own() as session:
        assert await lost_posts(session, server, posts) == 0
    assert server.requests == posts
    server.stop()


@pytest.mark.parametrize("own_timeout", [None, 0.2])
async def test_an_answer_that_came_while_the_loop_was_busy_beats_a_late_timer(
    opened_own: Opened, security: Security, own_timeout: float | None
) -> None:
    server = Server(security.server)
    async with opened_own(timeouts=Timeouts(attempt=0.2, connect=5.0)) as session:
        await session.attempt("GET", f"{server.url}/0", {}, timeout=30.0)
        for number in range(1, 6):
            server.may_answer.clear()
            call = session.attempt("POST", f"{server.url}/{number}", {}, b"{}", timeout=own_timeout)
            task = asyncio.create_task(call)
            await asyncio.sleep(0)
            late = time.monotonic() + 0.2
            while server.requests == number:
                await asyncio.sleep(0)
            server.may_answer.set()
            while server.answered == number or time.monotonic() < late + 0.01:
                time.sleep(0.001)  # the loop reads nothing meanwhile: the answer waits, and the timer is late
            assert (await task).body == b'{"_id":"%d"}' % number
    server.stop()


async def test_without_the_look_late_answers_and_lost_requests_are_counted() -> None:
    """The control: a session of the caller's has aiohttp's own pool."""
    server = Server()
    async with opened_given() as session:
        assert await late_answers(session, server, 40) > 0
    server.stop()
    server = Server()
    async with opened_given() as session:
        assert await lost_posts(session, server, 40) > 0
    server.stop()
