"""A busy loop costs nobody an answer: what waits in the kernel is seen before a connection is used again."""

from __future__ import annotations

import pytest

from benchmarks.busy_loop import GETS, POSTS, Server, late_answers, lost_posts
from servers import Opened, Security, opened_given

pytestmark = pytest.mark.every_loop


async def test_a_late_answer_that_waits_in_the_kernel_is_nobodys(
    opened_own: Opened, security: Security
) -> None:
    server = Server(security.server)
    async with opened_own() as session:
        every = 2 if security.server is None else 8  # each costs a handshake
        assert await late_answers(session, server, GETS, every=every) == 0
    server.stop()


async def test_no_request_is_lost_on_a_connection_whose_end_waits_in_the_kernel(
    opened_own: Opened, security: Security
) -> None:
    server = Server(security.server)
    async with opened_own() as session:
        assert await lost_posts(session, server, POSTS) == 0
    assert server.requests == POSTS
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
