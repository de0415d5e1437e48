"""Promises of lists: every item once, and an end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async.errors import InvalidRequest
from hl_async.pagination import Page, Pager


@dataclass
class Entry:
    id: str


@dataclass
class Envelope:
    entries: list[Entry]
    total: int | None


@dataclass
class Server:
    """A list of ``size`` documents, which may cap its pages or lie about its total."""

    size: int
    total: int | None = None
    cap: int = 10_000
    ignores_offset: bool = False
    asked: list[tuple[int, int]] = field(default_factory=list)

    async def __call__(self, offset: int, limit: int) -> Envelope:
        self.asked.append((offset, limit))
        assert len(self.asked) < 500, "this list never ends"
        start = 0 if self.ignores_offset else offset
        stop = min(start + min(limit, self.cap), self.size)
        return Envelope([Entry(f"id{n}") for n in range(start, stop)], self.total)


async def ids_of(server: Server, limit: int | None = None) -> list[str]:
    return [entry.id async for entry in Pager(server, limit=limit)]


def expected(size: int) -> list[str]:
    return [f"id{n}" for n in range(size)]


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    size=st.integers(0, 60),
    limit=st.integers(1, 25),
    total=st.one_of(st.none(), st.integers(-5, 200)),
    cap=st.integers(1, 30),
)
@pytest.mark.untraced
def test_every_item_comes_once_whatever_the_total_says_and_wherever_pages_end(
    size: int, limit: int, total: int | None, cap: int
) -> None:
    # a server that caps its pages can only be told from the end of the list by an honest total
    if cap < limit and (total is None or 0 < total < size):
        total = size
    server = Server(size, total, cap)
    assert asyncio.run(ids_of(server, limit)) == expected(size)


async def test_awaiting_gives_the_first_page_and_makes_one_request() -> None:
    server = Server(250, 250)
    page = await Pager(server)
    assert (len(page), page.total, page.offset, page.has_more) == (100, 250, 0, True)
    assert [entry.id for entry in page][:2] == ["id0", "id1"]
    assert server.asked == [(0, 100)]


async def test_an_honest_total_costs_no_extra_request() -> None:
    server = Server(250, 250)
    assert len(await ids_of(server)) == 250
    assert server.asked == [(0, 100), (100, 100), (200, 100)]


async def test_a_server_that_ignores_the_offset_does_not_loop_for_ever() -> None:
    assert await ids_of(Server(100, 10_000, ignores_offset=True)) == expected(100)


async def test_an_item_that_moved_to_the_next_page_is_not_given_out_twice() -> None:
    class Growing(Server):
        async def __call__(self, offset: int, limit: int) -> Envelope:
            if self.asked:  # somebody created a document: everything moves down by one
                offset -= 1
            return await super().__call__(offset, limit)

    assert await ids_of(Growing(25, None), 10) == expected(25)


async def test_nothing_is_requested_before_it_is_needed() -> None:
    server = Server(300, 300)
    pager = Pager(server, limit=100)
    assert server.asked == []
    async for _ in pager:
        break
    assert server.asked == [(0, 100)]


async def test_an_empty_list_is_one_empty_page() -> None:
    pages = [page async for page in Pager(Server(0)).pages()]
    assert [len(page) for page in pages] == [0]
    assert not pages[0].has_more


async def test_collect_stops_where_it_is_told_to() -> None:
    server = Server(300, 300)
    assert len(await Pager(server).collect(150)) == 150
    assert len(server.asked) == 2
    assert await Pager(server).collect(0) == []
    assert len(await Pager(server).collect()) == 300


@pytest.mark.parametrize(("size", "offset", "counted"), [(250, 0, 250), (250, 245, 5), (0, 0, 0), (3, 9, 0)])
async def test_a_stated_total_is_counted_with_one_request(size: int, offset: int, counted: int) -> None:
    server = Server(size, size)
    assert await Pager(server, offset=offset).count() == counted
    assert server.asked == [(offset, 1)]


@pytest.mark.parametrize("total", [None, 0, -1])
async def test_a_list_without_a_total_is_counted_by_reading_it(total: int | None) -> None:
    assert await Pager(Server(250, total), limit=100, offset=20).count() == 230


async def test_reading_can_start_anywhere() -> None:
    assert [e.id async for e in Pager(Server(12, 12), limit=5, offset=9)] == ["id9", "id10", "id11"]


@pytest.mark.parametrize("limit", [0, -1, True, 2.5])
def test_a_page_size_that_is_none_is_refused(limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        Pager(Server(1), limit=limit)


@pytest.mark.parametrize("offset", [-1, True])
def test_a_position_that_is_none_is_refused(offset: int) -> None:
    with pytest.raises(InvalidRequest, match="offset"):
        Pager(Server(1), offset=offset)


def test_pagers_and_pages_say_what_they_are() -> None:
    assert repr(Pager(Server(1), limit=7)) == "<Pager from 0, 7 per request>"
    assert repr(Page([1], offset=3, total=None, has_more=False)) == "<Page of 1 from 3, total unknown>"
