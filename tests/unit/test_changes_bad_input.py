"""Change feeds on bad ground: lists that lag, clocks that differ, cursors of others, readers that are slow."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import tracemalloc
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.virtual_loop import run
from hl_async.changes import ChangeFeed, ChangeKind, FeedPolicy, MemoryCursors, SqliteCursors
from hl_async.errors import CursorError
from shelves import BEGIN, Shelf, estimate, taken


def look(shelf: Shelf, store: MemoryCursors, wall: float = 0.0) -> list[tuple[str, ChangeKind]]:
    """One look of a job, at a time of day."""
    return run(lambda loop: taken(ChangeFeed(shelf, store, wall=lambda: 1_000 + wall).once()))


def test_a_change_that_a_server_with_a_slower_clock_wrote_is_reported_after_a_while() -> None:
    shelf, store = Shelf(30), MemoryCursors()
    shelf.change("d3", status="sent")
    look(shelf, store)
    at = next(place for place, one in enumerate(shelf.documents) if one.id == "d3")
    slower = BEGIN - timedelta(hours=1)
    shelf.documents[at] = msgspec.structs.replace(shelf.documents[at], status="accepted", updated_at=slower)
    assert look(shelf, store, 0) == [], "a list that lags behind looks the same"
    assert look(shelf, store, 300) == []
    assert look(shelf, store, 601) == [("d3", ChangeKind.ACCEPTED)]
    assert look(shelf, store, 602) == []


def test_a_list_that_lags_now_and_then_reports_nothing_however_often() -> None:
    shelf, store = Shelf(30), MemoryCursors()
    look(shelf, store)
    old = list(shelf.documents)
    shelf.change("d3", status="accepted")
    new = list(shelf.documents)
    assert look(shelf, store, 0) == [("d3", ChangeKind.ACCEPTED)]
    for hour in range(1, 9):
        shelf.documents = old
        assert look(shelf, store, hour * 3600) == []
        shelf.documents = new
        assert look(shelf, store, hour * 3600 + 1) == []


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_server_whose_clock_is_far_off_is_watched_like_any_other(hours: int) -> None:
    shelf, store = Shelf(30), MemoryCursors()
    shelf.documents = [
        msgspec.structs.replace(one, updated_at=BEGIN + timedelta(hours=hours)) for one in shelf.documents
    ]
    look(shelf, store)
    place = next(place for place, one in enumerate(shelf.documents) if one.id == "d3")
    moment = BEGIN + timedelta(hours=hours, seconds=1)
    shelf.documents[place] = msgspec.structs.replace(
        shelf.documents[place], status="viewed", updated_at=moment
    )
    assert look(shelf, store) == [("d3", ChangeKind.VIEWED)]


def test_documents_without_a_time_are_compared_all_the_same() -> None:
    shelf, store = Shelf(0), MemoryCursors()
    shelf.documents = [msgspec.structs.replace(estimate("a"), updated_at=None)]
    look(shelf, store)
    shelf.documents = [msgspec.structs.replace(estimate("a", "sent"), updated_at=None)]
    assert look(shelf, store) == [("a", ChangeKind.SENT)]


async def test_a_cursor_serves_its_own_location_and_another_begins_at_the_beginning(tmp_path: Path) -> None:
    store = SqliteCursors(tmp_path / "w.db")
    here, there = Shelf(30), Shelf(40)
    there.name = "elsewhere/estimates/1"
    assert await taken(ChangeFeed(here, store).once()) == []
    here.change("d3", status="sent")
    assert await taken(ChangeFeed(there, store).once()) == [], "it learns; it reports nothing of the other"
    assert await taken(ChangeFeed(here, store).once()) == [("d3", ChangeKind.SENT)]
    there.change("d35", status="viewed")
    assert await taken(ChangeFeed(there, store).once()) == [("d35", ChangeKind.VIEWED)]
    await store.aclose()


async def test_a_cursor_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    store = SqliteCursors(path)
    await taken(ChangeFeed(Shelf(3), store).once())
    await store.aclose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma user_version = 99")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(CursorError, match=r"w\.db"):
        await taken(ChangeFeed(Shelf(3), store).once())
    await store.aclose()
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ["feed", "seen"])
async def test_a_cursor_that_cannot_be_read_is_an_error_and_not_a_new_beginning(
    tmp_path: Path, table: str
) -> None:
    path = tmp_path / "w.db"
    store = SqliteCursors(path)
    await taken(ChangeFeed(Shelf(3), store).once())
    await store.aclose()
    column = "state" if table == "feed" else "row"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"update {table} set {column} = x'c1'")
        connection.commit()
    with pytest.raises(CursorError, match="was not written by this version"):
        await taken(ChangeFeed(Shelf(3), store).once())
    await store.aclose()


def test_a_slow_reader_keeps_its_lease_and_no_change_is_handled_twice() -> None:
    shelf = Shelf(30)
    handled: list[tuple[str, str]] = []

    async def play(loop: Any) -> None:
        store = MemoryCursors(wall=loop.wall)

        async def work(name: str) -> None:
            async for change in ChangeFeed(shelf, store, FeedPolicy(every=1, lease=9), wall=loop.wall):
                handled.append((name, change.document_id))
                await asyncio.sleep(40)

        tasks = [asyncio.create_task(work(name)) for name in ("first", "second")]
        await asyncio.sleep(20)
        for number in range(5):
            shelf.change(f"d{number}", status="sent")
        await asyncio.sleep(300)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(play)
    assert sorted(document for _, document in handled) == [f"d{number}" for number in range(5)]
    assert len({name for name, _ in handled}) == 1


def test_after_a_death_only_the_change_that_was_being_handled_is_repeated() -> None:
    shelf = Shelf(30)
    handled: list[str] = []

    async def play(loop: Any) -> None:
        store = MemoryCursors(wall=loop.wall)
        await taken(ChangeFeed(shelf, store).once())
        for number in range(5):
            shelf.change(f"d{number}", status="sent")
        for most in (3, 100):
            feed = ChangeFeed(shelf, store).once()
            async for change in feed:
                handled.append(change.document_id)
                if len(handled) == most:
                    break
            await feed.aclose()

    run(play)
    assert len(handled) == 6
    assert handled[2] == handled[3]


def test_nothing_is_read_ahead_of_a_slow_reader_and_memory_stays_flat() -> None:
    shelf = Shelf(5_000)

    async def play(loop: Any) -> tuple[int, int]:
        store = MemoryCursors(wall=loop.wall)
        await taken(ChangeFeed(shelf, store).once())
        shelf.change_all(status="sent")
        asked = len(shelf.requests)
        feed = ChangeFeed(shelf, store).endless()
        await anext(feed)
        gc.collect()
        tracemalloc.start()
        await asyncio.sleep(3_600)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await feed.aclose()
        return len(shelf.requests) - asked, grown

    requests, grown = run(play)
    assert requests == 1
    assert grown < 200_000


def test_two_versions_that_webhooks_brought_are_two_changes_in_their_order() -> None:
    shelf, store = Shelf(300), MemoryCursors()
    look(shelf, store)

    async def play(_: Any) -> list[tuple[str, ChangeKind]]:
        feed = ChangeFeed(shelf, store)
        for status in ("viewed", "accepted"):
            shelf.change("d5", status=status)
            feed.push(next(one for one in shelf.documents if one.id == "d5"))
        return await taken(feed.once())

    assert run(play) == [("d5", ChangeKind.VIEWED), ("d5", ChangeKind.ACCEPTED)]


def test_pushes_beyond_what_is_kept_are_found_in_the_list() -> None:
    shelf, store = Shelf(1_200), MemoryCursors()
    look(shelf, store)

    async def play(_: Any) -> list[tuple[str, ChangeKind]]:
        feed = ChangeFeed(shelf, store)
        shelf.change_all(status="sent")
        for one in reversed(shelf.documents):
            feed.push(one)
        return await taken(feed.once())

    assert sorted(run(play)) == sorted((f"d{number}", ChangeKind.SENT) for number in range(1_200))


def test_a_stale_push_after_a_newer_look_reports_nothing() -> None:
    shelf, store = Shelf(30), MemoryCursors()
    look(shelf, store)
    shelf.change("d5", status="viewed")
    late = next(one for one in shelf.documents if one.id == "d5")
    shelf.change("d5", status="accepted")
    assert look(shelf, store) == [("d5", ChangeKind.ACCEPTED)]

    async def play(_: Any) -> list[tuple[str, ChangeKind]]:
        feed = ChangeFeed(shelf, store)
        feed.push(late)
        return await taken(feed.once())

    assert run(play) == []


def test_a_webhook_is_reported_at_once_and_passes_keep_their_distance() -> None:
    shelf = Shelf(30)

    async def play(loop: Any) -> float:
        feed = ChangeFeed(shelf, MemoryCursors(wall=loop.wall), FeedPolicy(every=60), wall=loop.wall)
        seen: list[float] = []

        async def read() -> None:
            async for _ in feed:
                seen.append(loop.time())

        reader = asyncio.create_task(read())
        await asyncio.sleep(100)
        asked = len(shelf.requests)
        shelf.change("d5", status="viewed")
        at = loop.time()
        feed.push(next(one for one in shelf.documents if one.id == "d5"))
        await asyncio.sleep(1)
        assert len(shelf.requests) == asked, "the pushed document is the answer; nothing is asked for"
        feed.stop()
        await reader
        (moment,) = seen
        return moment - at

    assert run(play) < 0.1
