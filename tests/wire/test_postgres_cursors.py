"""Cursors of change feeds in Postgres: what the other stores promise, over a real server."""

from __future__ import annotations

import secrets

import samples
from hl_async import HighLevel
from hl_async.changes import ChangeKind, FeedState, PostgresCursors, Seen
from hl_async.sandbox import Sandbox


async def test_rows_and_states_come_back_as_they_were_saved(dsn: str) -> None:
    feed = f"{secrets.token_hex(4)}/estimates/1"
    store = PostgresCursors(dsn)
    assert await store.state(feed) is None
    rows = {
        name: Seen("sent", "", "2026-11-29T00:00:00+00:00", "d", "c", passed)
        for name, passed in (("a", 1), ("b", 2))
    }
    await store.save(feed, FeedState(number=2, offset=90, tail=("a", "b")), rows)
    assert await store.state(feed) == FeedState(number=2, offset=90, tail=("a", "b"))
    assert await store.load(feed, ["a", "b", "x"]) == rows
    assert list(await store.unseen(feed, 2, 10)) == ["a"]
    await store.save(feed, FeedState(number=3), {}, gone=["a"])
    assert list(await store.load(feed, ["a", "b"])) == ["b"]
    await store.aclose()


async def test_one_holder_reads_until_its_lease_ends_or_it_gives_it_up(dsn: str) -> None:
    feed = f"{secrets.token_hex(4)}/estimates/1"
    store = PostgresCursors(dsn)
    assert await store.lease(feed, "first", 60)
    assert await store.lease(feed, "first", 60)
    assert not await store.lease(feed, "second", 60)
    await store.save(feed, FeedState(number=2), {})
    assert not await store.lease(feed, "second", 60)
    await store.release(feed, "first")
    assert await store.lease(feed, "second", 0)
    assert await store.lease(feed, "first", 60)
    assert "hl_async" not in repr(store) or "password" not in repr(store)
    await store.aclose()


async def test_a_watch_goes_on_in_another_process_of_the_database(dsn: str, box: Sandbox) -> None:
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        shop = hl.location()
        store = PostgresCursors(dsn)
        assert [change async for change in shop.invoices.changes(cursor=store).once()] == []
        await store.aclose()
        made = await shop.invoices.create(samples.invoice())
        again = PostgresCursors(dsn)
        found = [change async for change in shop.invoices.changes(cursor=again).once()]
        assert [(change.kind, change.document_id) for change in found] == [(ChangeKind.CREATED, made.id)]
        await shop.invoices.delete(made.id)
        found = [change async for change in shop.invoices.changes(cursor=again).once()]
        assert [(change.kind, change.document_id) for change in found] == [(ChangeKind.DELETED, made.id)]
        await again.aclose()
