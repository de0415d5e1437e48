"""Change feeds: every difference is reported, nothing that did not happen is."""

from __future__ import annotations

import asyncio
import random
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.virtual_loop import run
from hl_async.changes import (
    Change,
    ChangeFeed,
    ChangeKind,
    CursorStore,
    FeedPolicy,
    MemoryCursors,
    SqliteCursors,
)
from hl_async.changes.detection import differences, observe
from hl_async.changes.passes import FeedState, advance
from hl_async.errors import ConfigurationError, CursorError, ServerError, Unauthorized
from hl_async.models import Estimate, Invoice
from shelves import Shelf, estimate, taken


def once(shelf: Shelf, store: CursorStore) -> list[tuple[str, ChangeKind]]:
    """One look of a job that starts anew every time."""
    if isinstance(store, MemoryCursors):
        return run(lambda loop: taken(ChangeFeed(shelf, store).once()))
    return asyncio.run(taken(ChangeFeed(shelf, store).once()))  # a file lives in real time


# ------------------------------------------------------------------------------------- differences


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, estimate("a"), [ChangeKind.CREATED]),
        (None, estimate("a", "sent"), [ChangeKind.CREATED, ChangeKind.SENT]),
        (estimate("a"), estimate("a", at=5), []),
        (estimate("a"), estimate("a", "accepted", at=5), [ChangeKind.ACCEPTED]),
        (estimate("a", "sent"), estimate("a", "draft", at=5), [ChangeKind.STATUS]),
        (estimate("a"), estimate("a", "snoozed", at=5), [ChangeKind.STATUS]),
        (estimate("a"), estimate("a", at=5, name="Bath"), [ChangeKind.EDITED]),
        (estimate("a"), estimate("a", "viewed", at=5, name="Bath"), [ChangeKind.EDITED, ChangeKind.VIEWED]),
        (estimate("a", total=Decimal(10)), estimate("a", at=5, total=Decimal("10.00")), []),
    ],
)
def test_two_looks_at_a_document_tell_what_happened_between_them(
    before: Estimate | None, after: Estimate, kinds: list[ChangeKind]
) -> None:
    previous = None if before is None else observe(before, 1)
    assert list(differences(previous, observe(after, 2))) == kinds


def test_each_payment_of_an_invoice_is_a_change() -> None:
    def invoice(status: str, paid: str) -> Any:
        return observe(Invoice(id="i", status=status, amount_paid=Decimal(paid)), 1)

    assert differences(invoice("sent", "0"), invoice("partially_paid", "5")) == (ChangeKind.PARTIALLY_PAID,)
    assert differences(invoice("partially_paid", "5"), invoice("partially_paid", "5.0")) == ()
    assert differences(invoice("partially_paid", "5"), invoice("partially_paid", "7")) == (
        ChangeKind.PARTIALLY_PAID,
    )
    assert differences(invoice("partially_paid", "7"), invoice("paid", "10")) == (ChangeKind.PAID,)


# ---------------------------------------------------------------------------------------- passes


@settings(deadline=None)
@given(
    st.integers(0, 400),
    st.integers(25, 100),
    st.integers(5, 100),
    st.randoms(use_true_random=False),
)
def test_a_pass_meets_every_document_that_stays_whatever_comes_and_goes(
    count: int, limit: int, largest_page: int, dice: random.Random
) -> None:
    documents = [f"d{number}" for number in range(count)]
    staying = set(documents)
    state = FeedState()
    met: set[str] = set()
    for step in range(1_000):
        page = documents[state.offset : state.offset + min(limit, largest_page)]
        met |= set(page)
        taken = advance(state, page, limit)
        if taken.is_complete:
            break
        state = taken.state
        if step < 40:
            for _ in range(dice.randrange(0, 4)):
                if documents and dice.random() < 0.6:
                    staying.discard(documents.pop(dice.randrange(len(documents))))
                else:
                    documents.insert(0, f"new{step}-{dice.random()}")
    else:
        raise AssertionError("the pass never ends")
    assert staying <= met
    assert taken.state == FeedState(number=2, is_baseline=False)


# ----------------------------------------------------------------------------------------- feeds


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CursorStore]:
    made = MemoryCursors() if request.param == "memory" else SqliteCursors(tmp_path / "watch.db")
    yield made
    asyncio.run(made.aclose())


def test_the_first_look_only_learns_and_later_ones_tell(store: CursorStore) -> None:
    shelf = Shelf(250)
    assert once(shelf, store) == []
    shelf.add("new")
    shelf.change("d7", status="accepted")
    shelf.change("d200", name="Other")
    assert set(once(shelf, store)) == {
        ("new", ChangeKind.CREATED),
        ("d7", ChangeKind.ACCEPTED),
        ("d200", ChangeKind.EDITED),
    }
    assert once(shelf, store) == []


def test_a_deleted_invoice_is_told_when_its_absence_is_proved(store: CursorStore) -> None:
    shelf = Shelf(150, get=True)
    once(shelf, store)
    shelf.delete("d9")
    assert once(shelf, store) == [("d9", ChangeKind.DELETED)]
    assert once(shelf, store) == []


def test_a_deleted_estimate_is_told_after_a_second_pass_without_it(store: CursorStore) -> None:
    shelf = Shelf(150)
    once(shelf, store)
    shelf.delete("d9")
    assert once(shelf, store) == []
    assert once(shelf, store) == [("d9", ChangeKind.DELETED)]


def test_a_list_that_loses_a_document_for_a_moment_reports_nothing(store: CursorStore) -> None:
    shelf = Shelf(150)
    once(shelf, store)
    kept = list(shelf.documents)
    shelf.delete("d9")
    assert once(shelf, store) == []
    shelf.documents = kept
    assert once(shelf, store) == []
    shelf.delete("d9")
    assert once(shelf, store) == [], "the count of passes begins again"


def test_a_copy_that_lags_behind_reports_nothing_twice(store: CursorStore) -> None:
    shelf = Shelf(30)
    once(shelf, store)
    old = list(shelf.documents)
    shelf.change("d3", status="accepted")
    new = list(shelf.documents)
    assert once(shelf, store) == [("d3", ChangeKind.ACCEPTED)]
    shelf.documents = old
    assert once(shelf, store) == []
    shelf.documents = new
    assert once(shelf, store) == []


def test_what_the_reader_did_not_finish_is_told_again_under_the_same_id(store: CursorStore) -> None:
    shelf = Shelf(30)
    once(shelf, store)
    shelf.change("d3", status="accepted")
    shelf.change("d4", status="sent")

    async def broken_off(_: Any) -> Change:
        feed = ChangeFeed(shelf, store)
        async for change in feed:
            return change
        raise AssertionError

    async def again(_: Any) -> list[Change]:
        return [change async for change in ChangeFeed(shelf, store, FeedPolicy(lease=1)).once()]

    first = asyncio.run(broken_off(None))
    assert first.id in {change.id for change in asyncio.run(again(None))}


def test_an_endless_feed_tells_new_documents_within_its_interval_and_keeps_to_its_share() -> None:
    shelf = Shelf(2_000)
    shelf.per_second = 10.0

    async def play(loop: Any) -> list[float]:
        feed = ChangeFeed(shelf, MemoryCursors(), FeedPolicy(share=0.2, every=5))
        seen: list[float] = []

        async def read() -> None:
            async for change in feed:
                assert change.kind is ChangeKind.CREATED
                seen.append(loop.time() - created[change.document_id])

        created: dict[str, float] = {}
        reader = asyncio.create_task(read())
        await asyncio.sleep(60)
        for number in range(20):
            created[f"n{number}"] = loop.time()
            shelf.add(f"n{number}")
            await asyncio.sleep(3.7)
        await asyncio.sleep(30)
        feed.stop()
        await reader
        assert feed.seconds_per_pass is not None
        return seen

    seen = run(play)
    assert len(seen) == 20
    assert max(seen) < 7
    windows = [sum(begin <= at < begin + 10 for at in shelf.requests) for begin in shelf.requests]
    assert max(windows) <= 0.2 * 10 * 10 + 1


def test_troubles_that_pass_are_waited_out_and_others_are_raised(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(30)
    store = MemoryCursors()
    once(shelf, store)
    shelf.change("d1", status="sent")
    shelf.broken = [ServerError("no", status=502), ServerError("no", status=502)]
    assert once(shelf, store) == [("d1", ChangeKind.SENT)]
    assert "cannot be read, trying again in 1 s" in caplog.text
    shelf.broken = [Unauthorized("no", status=401)]
    with pytest.raises(Unauthorized):
        once(shelf, store)


def test_a_document_that_a_webhook_brought_is_told_once() -> None:
    shelf = Shelf(300)
    store = MemoryCursors()
    once(shelf, store)
    shelf.change("d5", status="accepted")
    pushed = next(one for one in shelf.documents if one.id == "d5")

    async def play(_: Any) -> list[tuple[str, ChangeKind]]:
        feed = ChangeFeed(shelf, store)
        feed.push(pushed)
        return await taken(feed.once())

    assert run(play) == [("d5", ChangeKind.ACCEPTED)]


def test_of_two_feeds_on_one_store_one_reads_and_the_other_takes_over() -> None:
    shelf = Shelf(30)
    handled: list[tuple[str, str]] = []

    async def play(loop: Any) -> None:
        store = MemoryCursors(wall=loop.wall)

        async def work(name: str) -> None:
            async for change in ChangeFeed(shelf, store, FeedPolicy(every=1, lease=9)):
                handled.append((name, change.document_id))

        first = asyncio.create_task(work("first"))
        await asyncio.sleep(5)
        second = asyncio.create_task(work("second"))
        await asyncio.sleep(5)
        shelf.change("d1", status="sent")
        await asyncio.sleep(5)
        first.cancel()
        await asyncio.sleep(5)
        shelf.change("d2", status="sent")
        await asyncio.sleep(10)
        second.cancel()
        await asyncio.wait([first, second])

    run(play)
    assert handled == [("first", "d1"), ("second", "d2")]


async def test_a_lease_is_held_by_one_until_it_ends_or_is_given_up(tmp_path: Path) -> None:
    clock = [1000.0]
    stores = (
        MemoryCursors(wall=lambda: clock[0]),
        SqliteCursors(tmp_path / "w.db", wall=lambda: clock[0]),
    )
    for store in stores:
        clock[0] = 1000.0
        assert await store.lease(Shelf.name, "other", 30)
        assert await store.lease(Shelf.name, "other", 30)
        assert not await store.lease(Shelf.name, "mine", 30)
        with pytest.raises(CursorError, match="another process"):
            await taken(ChangeFeed(Shelf(3), store).once())
        await store.save(Shelf.name, FeedState(number=2), {})
        clock[0] = 1031.0
        assert await store.lease(Shelf.name, "mine", 30)
        assert await store.state(Shelf.name) == FeedState(number=2)
        await store.release(Shelf.name, "other")
        assert not await store.lease(Shelf.name, "other", 30)
        await store.release(Shelf.name, "mine")
        assert await store.lease(Shelf.name, "other", 30)
        await store.aclose()


def test_a_cursor_file_is_private_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    store = SqliteCursors(tmp_path / "w.db")
    once(Shelf(3), store)
    asyncio.run(store.aclose())
    assert stat.S_IMODE((tmp_path / "w.db").stat().st_mode) == 0o600
    (tmp_path / "x.db").write_text("no database, but long enough to be read as one" * 50)
    with pytest.raises(CursorError, match=r"x\.db"):
        once(Shelf(3), SqliteCursors(tmp_path / "x.db"))


async def test_a_store_is_closed_and_opened_again(tmp_path: Path) -> None:
    store = SqliteCursors(tmp_path / "w.db")
    await store.save("f", FeedState(number=3), {})
    await store.aclose()
    assert await store.state("f") == FeedState(number=3)
    await store.aclose()


@pytest.mark.parametrize(
    "settings", [{"share": 0}, {"share": 2}, {"every": 0}, {"limit": 5}, {"limit": 500}, {"lease": -1}]
)
def test_a_policy_that_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        FeedPolicy(**settings)


def test_a_change_is_told_as_plain_data() -> None:
    shelf = Shelf(1)
    store = MemoryCursors()
    once(shelf, store)
    shelf.change("d0", status="sent")

    async def read(_: Any) -> list[dict[str, Any]]:
        return [change.to_dict() async for change in ChangeFeed(shelf, store).once()]

    (told,) = run(read)
    assert told["kind"] == "sent"
    assert told["location"] == "location"
    assert told["total"] == "10"
    assert "document" not in told
