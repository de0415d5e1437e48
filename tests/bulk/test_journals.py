"""What every journal promises, the embedded one and the one in Postgres; and what only leases can promise."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from hl_async.bulk.journals.postgres import PostgresJournals
from hl_async.bulk.journals.postgres_lane import DatabaseClock
from hl_async.bulk.journals.protocol import Journal, JournalStore, LaneJournal, LaneRelease
from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.protocol import LaneFacts, State
from hl_async.bulk.sources.records import Item, Reject
from hl_async.errors import JournalError, JournalMismatch, LaneLost
from hl_async.storage.postgres import Database

HEADER = {"fingerprint": "f", "operation": "create-new-estimate"}
_names = (f"run-{os.getpid()}-{n}" for n in itertools.count())
Places = Callable[[], JournalStore]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> JournalStore:
    if request.param == "sqlite":
        return SqliteJournals(tmp_path / "run.db")
    return PostgresJournals(request.getfixturevalue("dsn"), next(_names), holder="here")


@pytest.fixture
async def journal(place: JournalStore) -> AsyncIterator[Journal]:
    opened = await place.create(HEADER)
    await opened.plan(records())
    yield opened
    await opened.aclose()


def records() -> list[tuple[Item, str, bytes] | Reject]:
    """Three items of one location, one of another, a reject and one that was left out."""
    items: list[tuple[Item, str, bytes] | Reject] = [
        (
            Item(
                n,
                f"doc{n}",
                b"",
                ("a", "b"),
                "one" if n < 3 else "two",
                Decimal("10.10"),
                "USD",
                f"line {n}",
                b"raw",
            ),
            f"key{n}",
            b'{"n":%d}' % n,
        )
        for n in range(4)
    ]
    return [
        *items,
        Reject(4, "bad", "has no lines", b"raw\x00bad"),
        Reject(5, "out", "left out", b"", skipped=True),
    ]


async def leased(journal: Journal, location: str = "one") -> LaneJournal:
    lane = await journal.lease(location)
    assert lane is not None
    return lane


async def test_what_is_planned_is_taken_in_order_and_counted(journal: Journal) -> None:
    lane = await leased(journal)
    items = await lane.take(-1, 2)
    assert [(one.ordinal, one.key, one.ids, one.body, one.attempt) for one in items] == [
        (0, "key0", ("a", "b"), b'{"n":0}', 0),
        (1, "key1", ("a", "b"), b'{"n":1}', 0),
    ]
    assert [one.ordinal for one in await lane.take(1, 10)] == [2]
    counts = await journal.counts()
    assert (counts.of(State.PLANNED), counts.of(State.REJECTED), counts.of(State.SKIPPED)) == (4, 1, 1)
    assert counts.all == 6
    assert counts.totals == {"planned": {"USD": Decimal("40.40")}}
    assert (await journal.counts(totals=False)).totals == {}
    assert await journal.locations() == ["one", "two"]


async def test_planning_again_changes_nothing(journal: Journal) -> None:
    lane = await leased(journal)
    await lane.intend(0, 0, 5.0)
    await journal.plan(records())
    counts = await journal.counts()
    assert (counts.all, counts.of(State.SENT)) == (6, 1)


async def test_an_item_moves_only_from_where_it_stands(journal: Journal) -> None:
    lane = await leased(journal)
    assert await lane.intend(0, 0, 1.0)
    assert not await lane.intend(0, 0, 1.0), "that request was made"
    assert await lane.intend(0, 1, 2.0), "a retry inside one call"
    assert not await lane.created(0, 1, "x"), "an answer to the request before"
    assert await lane.created(0, 2, "x")
    assert not await lane.rejected(0, 2, "late")
    assert not await lane.mark_planned(0, 2)
    assert await lane.intend(1, 0, 1.0)
    assert await lane.mark_planned(1, 1)
    assert await lane.intend(1, 1, 1.0)
    assert await lane.mark_unknown(1, 2, "unclear")
    assert not await lane.created(1, 2, "y"), "held items are a person's"
    assert await lane.rejected(2, 0, "refused before it was sent")
    rows = {row.ordinal: row for row in await journal.rows(*State)}
    assert (rows[0].state, rows[0].document) == (State.CREATED, "x")
    assert (rows[1].state, rows[1].reason) == (State.UNKNOWN, "unclear")
    assert (rows[2].state, rows[2].reason) == (State.REJECTED, "refused before it was sent")


async def test_changes_at_the_same_time_each_get_their_own_answer(journal: Journal) -> None:
    lane = await leased(journal)
    assert await asyncio.gather(lane.intend(0, 0, 1.0), lane.intend(1, 7, 1.0), lane.intend(2, 0, 1.0)) == [
        True, False, True,
    ]  # fmt: skip


async def test_a_caller_that_is_cancelled_does_not_undo_what_is_queued(journal: Journal) -> None:
    lane = await leased(journal)
    task = asyncio.create_task(lane.intend(0, 0, 1.0))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(100):
        if (await lane.facts()).ambiguous:
            break
        await asyncio.sleep(0.01)
    assert [one[0] for one in await lane.ambiguous()] == [0]


async def test_the_facts_say_what_decides(journal: Journal) -> None:
    lane = await leased(journal)
    assert await lane.facts() == LaneFacts(3, 0, False, None, None, None)
    await lane.intend(0, 0, 5.0)
    await lane.intend(1, 0, 7.0)
    assert await lane.facts() == LaneFacts(1, 2, False, 7.0, 7.0, None)
    await lane.note_ambiguous(9.0)
    await lane.note_ambiguous(8.0)
    await lane.prove()
    await lane.swept(20.0)
    await lane.swept(19.0)
    assert await lane.facts() == LaneFacts(1, 2, True, 7.0, 9.0, 20.0)
    assert await (await leased(journal, "two")).facts() == LaneFacts(1, 0, False, None, None, None)
    assert sorted(await lane.ambiguous()) == [(0, "key0", 1, 5.0), (1, "key1", 1, 7.0)]


async def test_the_sweep_adopts_what_was_thought_refused(journal: Journal) -> None:
    lane = await leased(journal)
    await lane.rejected(0, 0, "no")
    assert await lane.adopt(0, "found")
    assert not await lane.adopt(0, "another"), "it has its document"
    await lane.intend(1, 0, 1.0)
    assert not await lane.adopt(1, "x"), "a request is under way: its own answer decides"
    assert await lane.known() == {"key0": (0, "found"), "key1": (1, None), "key2": (2, None)}
    assert await journal.known("two") == {"key3": (3, None)}


async def test_what_was_rejected_or_taken_back_can_be_planned_again(journal: Journal) -> None:
    lane = await leased(journal)
    await lane.rejected(0, 0, "no")
    await lane.intend(1, 0, 1.0)
    await lane.created(1, 1, "doc")
    await lane.release(LaneRelease(done=True))
    assert await journal.rolled_back(1)
    assert not await journal.rolled_back(1)
    assert await journal.retry_rejected() == 2, "what never became a request stays rejected"
    assert [one.ordinal for one in await (await leased(journal)).take(-1, 9)] == [0, 1, 2]


async def test_rows_come_in_batches_with_their_text(journal: Journal) -> None:
    first = await journal.rows(State.PLANNED, State.REJECTED, limit=3)
    second = await journal.rows(State.PLANNED, State.REJECTED, after=first[-1].ordinal, limit=3)
    assert [row.ordinal for row in (*first, *second)] == [0, 1, 2, 3, 4]
    assert (first[0].total, first[0].currency, first[0].place, first[0].raw) == (
        Decimal("10.10"),
        "USD",
        "line 0",
        b"raw",
    )
    assert (second[-1].reason, second[-1].raw, second[-1].key) == ("has no lines", b"raw\x00bad", None)


async def test_the_header_tells_runs_apart(place: JournalStore, journal: Journal) -> None:
    await journal.note(planned="yes", source="a\x00b")
    assert (await journal.header())["planned"] == "yes"
    assert place is not None
    await journal.aclose()
    with pytest.raises(JournalMismatch, match="fingerprint"):
        await place.create({**HEADER, "fingerprint": "other"})
    again = await place.create(HEADER)
    assert (await again.header())["planned"] == "yes"
    await again.aclose()


async def test_a_journal_that_is_not_there_is_told(dsn: str, tmp_path: Path) -> None:
    for place in (SqliteJournals(tmp_path / "none.db"), PostgresJournals(dsn, "nobody's")):
        with pytest.raises(JournalError, match="there is no"):
            await place.open()


async def test_the_status_shows_each_lane(journal: Journal) -> None:
    lane = await leased(journal)
    await lane.intend(0, 0, 1.0)
    await lane.intend(1, 0, 1.0)
    await lane.created(1, 1, "doc")
    assert await lane.renew(4.5)
    one, two = await journal.lanes()
    assert (one.location, one.created, one.ambiguous, one.planned, one.of, one.done) == ("one", 1, 1, 1, 3, 1)
    assert one.rate == 4.5
    assert one.holder in ("here", f"process {os.getpid()}")
    assert (two.location, two.holder, two.planned) == ("two", "", 1)
    await lane.release(LaneRelease(wake_in=60.0, reason="settling"))
    one, _ = await journal.lanes()
    assert (one.reason, one.holder, one.rate) == ("settling", "", 0.0)
    assert 50 < one.wakes_in <= 60


# ------------------------------------------------------------------------------------------- only with leases


@pytest.fixture
def at(dsn: str) -> Callable[..., PostgresJournals]:
    name = next(_names)
    return lambda holder, lease=5.0: PostgresJournals(dsn, name, holder=holder, lease=lease)


async def test_a_lane_is_in_one_pair_of_hands_at_a_time(at: Callable[..., PostgresJournals]) -> None:
    first, second = await at("first").create(HEADER), await at("second").create(HEADER)
    await first.plan(records())
    lane = await leased(first)
    assert await second.lease("one") is None
    assert await second.lease("two") is not None
    await lane.release(LaneRelease())
    assert (await leased(second)).location == "one"
    wins = await asyncio.gather(*(journal.lease("two", epoch=1) for journal in (first, second) * 5))
    assert sum(lane is not None for lane in wins) == 0, "it was leased already under that epoch"
    await asyncio.gather(first.aclose(), second.aclose())


async def test_a_slice_of_an_earlier_epoch_gets_no_lane(at: Callable[..., PostgresJournals]) -> None:
    journal = await at("a").create(HEADER)
    await journal.plan(records())
    lane = await journal.lease("one", epoch=0)
    assert lane is not None
    await lane.release(LaneRelease())
    assert await journal.lease("one", epoch=0) is None
    assert await journal.lease("one", epoch=1) is not None
    await journal.aclose()


async def test_whoever_lost_a_lane_changes_nothing_in_it(at: Callable[..., PostgresJournals]) -> None:
    slow, quick = await at("slow", 2.0).create(HEADER), await at("quick").create(HEADER)
    await slow.plan(records())
    lost = await leased(slow)
    assert await lost.intend(0, 0, 1.0)
    assert lost.lasts(0.0)
    assert not lost.lasts(2.0)
    await asyncio.sleep(2.05)
    assert not lost.lasts(0.0)
    assert not await lost.renew(0.0), "it had ended before anybody else took it"
    mine = await leased(quick)
    for change in (
        lost.created(0, 1, "x"), lost.mark_planned(0, 1), lost.intend(1, 0, 1.0), lost.rejected(1, 0, "r"),
        lost.mark_unknown(0, 1, "h"), lost.adopt(2, "x"), lost.prove(), lost.swept(1.0), lost.note_ambiguous(1.0),
    ):  # fmt: skip
        with pytest.raises(LaneLost):
            await change
    await lost.release(LaneRelease(done=True))
    assert await mine.facts() == LaneFacts(2, 1, False, 1.0, 1.0, None)
    assert await mine.renew(1.0), "the release of the one that lost it changed nothing"
    await asyncio.gather(slow.aclose(), quick.aclose())


async def test_a_lane_that_is_renewed_stays(at: Callable[..., PostgresJournals]) -> None:
    journal, other = await at("a", 3.0).create(HEADER), await at("b").create(HEADER)
    await journal.plan(records())
    lane = await leased(journal)
    ends = asyncio.get_running_loop().time() + 3.1
    while asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(lane.renew_every)
        assert await lane.renew(1.0)
    assert await other.lease("one") is None
    await asyncio.gather(journal.aclose(), other.aclose())


async def test_all_holders_share_the_time_of_the_database(at: Callable[..., PostgresJournals]) -> None:
    journal = await at("a").create(HEADER)
    await journal.plan(records())
    lane = await leased(journal)
    assert abs(lane.now() - time.time()) < 1.0, "this database runs on the same machine"
    await journal.aclose()


def test_a_slow_answer_does_not_make_the_shared_time_jump() -> None:
    clock = DatabaseClock()
    began = time.time()
    clock.set(began + 100.0, began, began + 0.002)
    clock.set(began + 101.0, began + 1.0, began + 9.0)  # the loop was busy for eight seconds
    assert abs(clock.now() - time.time() - 100.0) < 0.5
    clock.set(began + 130.0, began + 2.0, began + 2.004)  # somebody set a clock
    assert abs(clock.now() - time.time() - 128.0) < 0.01


async def test_a_lost_connection_is_made_again_and_a_change_is_not_made_twice(dsn: str) -> None:
    separator = "&" if "?" in dsn else "?"
    database = Database(f"{dsn}{separator}application_name=hl-journal-{os.getpid()}")
    journal = await PostgresJournals(database, next(_names)).create(HEADER)
    await journal.plan(records())
    lane = await leased(journal)
    killer = await asyncpg.connect(dsn)
    query = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1"
    assert await killer.fetch(query, f"hl-journal-{os.getpid()}")
    await killer.close()
    assert await lane.intend(0, 0, 1.0)
    assert not await lane.intend(0, 0, 1.0)
    await journal.aclose()
    await database.aclose()


async def test_a_database_that_is_away_is_a_journal_error_without_its_password() -> None:
    database = Database("postgresql://u:s3ntinel-access@127.0.0.1:1/none", patience=0.05)
    with pytest.raises(JournalError, match=r"127\.0\.0\.1/none can't be reached") as caught:
        await PostgresJournals(database, "x").open()
    assert "s3ntinel" not in repr(caught.value)
    await database.aclose()
