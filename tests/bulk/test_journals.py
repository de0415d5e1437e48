"""What every journal promises, the embedded one and the one in Postgres; and what only leases can promise."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from hl_async.bulk.journals.clock import DatabaseClock, SteadyClock
from hl_async.bulk.journals.postgres import PostgresJournal, PostgresJournals
from hl_async.bulk.journals.protocol import Journal, LaneJournal, LaneRelease, SentItem
from hl_async.bulk.journals.sqlite import SqliteJournal, SqliteJournals
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.protocol import Control, LaneFacts, RunState, State
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.errors import JournalCorrupt, JournalError, JournalMismatch, LaneLost
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


@asynccontextmanager
async def closing(journal: SqliteJournal) -> AsyncIterator[SqliteJournal]:
    try:
        yield journal
    finally:
        await journal.aclose()


def records() -> list[tuple[SourceItem, str, bytes] | Reject]:
    """Three items of one location, one of another, a reject and one that was left out."""
    items: list[tuple[SourceItem, str, bytes] | Reject] = [
        (
            SourceItem(
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
    await lane.intend(1, 0, 1.0)
    task = asyncio.create_task(lane.intend(0, 0, 1.0))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(100):
        if (await lane.facts()).ambiguous == 2:
            break
        await asyncio.sleep(0.01)
    assert sorted(one.ordinal for one in await lane.ambiguous()) == [0, 1]


async def test_the_facts_say_what_decides(journal: Journal) -> None:
    lane = await leased(journal)
    assert await lane.facts() == LaneFacts(3, 0, False, None, None, None)
    await lane.intend(0, 0, 5.0)
    await lane.intend(1, 0, 7.0)
    assert await lane.facts() == LaneFacts(1, 2, False, 7.0, 7.0, None)
    assert await journal.unswept() == []
    await lane.note_ambiguous(9.0)
    await lane.note_ambiguous(8.0)
    assert await journal.unswept() == ["one"]
    await lane.prove()
    await lane.swept(20.0)
    await lane.swept(19.0)
    assert await journal.unswept() == []
    assert await lane.facts() == LaneFacts(1, 2, True, 7.0, 9.0, 20.0)
    assert await (await leased(journal, "two")).facts() == LaneFacts(1, 0, False, None, None, None)
    assert sorted(one[:4] for one in await lane.ambiguous()) == [(0, "key0", 1, 5.0), (1, "key1", 1, 7.0)]


async def test_the_sweep_adopts_what_was_thought_refused(journal: Journal) -> None:
    lane = await leased(journal)
    await lane.rejected(0, 0, "no")
    assert await lane.adopt(0, "found")
    assert not await lane.adopt(0, "another"), "it has its document"
    await lane.intend(1, 0, 1.0)
    assert not await lane.adopt(1, "x"), "a request is under way: its own answer decides"
    known = await lane.known()
    assert {
        key: (one.ordinal, one.document, one.state.value, one.possible) for key, one in known.items()
    } == {
        "key0": (0, "found", "created", 1),
        "key1": (1, None, "sent", 1),
        "key2": (2, None, "planned", 0),
    }
    assert list(await journal.known("two")) == ["key3"]


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


async def test_the_requests_of_an_item_are_bounded_by_what_may_have_been_executed(journal: Journal) -> None:
    lane = await leased(journal)
    await lane.intend(0, 0, 1.0)
    await lane.intend(0, 1, 2.0)  # the first was refused, and repeated by the same call
    await lane.created(0, 2, "x")
    await lane.intend(1, 0, 3.0)
    await lane.unanswered(1, 1, "500: no")
    assert await lane.ambiguous() == [SentItem(1, "key1", 1, 3.0, 0, "500: no")]
    await lane.mark_planned(1, 1, listed=True)
    await lane.intend(1, 1, 4.0)
    await lane.mark_planned(1, 2)  # no connection
    await lane.intend(1, 2, 5.0)
    await lane.intend(2, 0, 6.0)
    await lane.rejected(2, 1, "no")
    first, second, third = (await journal.rows(State.CREATED, State.SENT, State.REJECTED, bodies=True))[:3]
    assert (first.attempt, first.possible, first.first_sent, first.last_sent) == (2, 1, 1.0, 2.0)
    assert (second.attempt, second.possible, second.failures, second.first_sent, second.last_sent) == (
        3, 2, 1, 3.0, 5.0,
    )  # fmt: skip
    assert (third.possible, third.body, third.ids) == (0, b'{"n":2}', ("a", "b"))
    assert [one.ordinal for one in await journal.items_to_settle()] == [1]
    assert await lane.controls(None, 9) == [Control("key0", "x", 2.0)]
    assert await lane.controls(2.5, 9) == []


async def test_a_request_that_ended_with_its_process_is_no_failure_of_the_document(journal: Journal) -> None:
    lane = await leased(journal)
    for attempt in range(3):
        await lane.intend(0, attempt, 1.0)
        if attempt == 1:
            await lane.unanswered(0, attempt + 1, "500 no")
        await lane.mark_planned(0, attempt + 1, listed=True)
    (row,) = await journal.rows(State.PLANNED, limit=1)
    assert (row.attempt, row.possible, row.failures) == (3, 3, 1)


async def test_a_run_that_is_rolled_back_gives_no_lane_to_a_sender(journal: Journal) -> None:
    lane = await leased(journal)
    await lane.intend(0, 0, 1.0)
    await lane.created(0, 1, "doc")
    await lane.release(LaneRelease())
    assert await journal.run_state() is RunState.RUNNING
    await journal.set_run_state(RunState.ROLLING_BACK)
    assert await journal.lease("one") is None
    assert await journal.lease("one", state=RunState.ROLLING_BACK) is not None
    assert await journal.withdraw_planned() == 3
    assert await journal.rolled_back(0)
    (row,) = await journal.rows(State.DELETED)
    assert row.document == "doc", "the id stays, for whoever asks what was deleted"
    assert await journal.reopen() == 4
    assert await journal.run_state() is RunState.RUNNING
    assert (await journal.counts()).of(State.PLANNED) == 4


async def test_a_deletion_is_written_down_before_and_after(journal: Journal) -> None:
    lane = await leased(journal)
    first = await lane.delete_intended("d1", "key0", "a copy")
    second = await journal.record_deletion_intent("two", "d2", "key3", "rolled back")
    await lane.delete_ended(first, "deleted")
    one, two = await journal.deletions()
    assert (one.id, one.location, one.document, one.key, one.reason, one.outcome) == (
        first, "one", "d1", "key0", "a copy", "deleted",
    )  # fmt: skip
    assert one.ended_at is not None
    assert one.ended_at >= one.at > 0
    assert (two.outcome, two.ended_at) == ("", None)
    assert [each.id for each in await journal.deletions(after=first)] == [second]


async def test_a_request_that_was_damaged_in_the_journal_is_not_sent(
    place: JournalStore, journal: Journal
) -> None:
    lane = await leased(journal)
    if isinstance(journal, SqliteJournal):
        await journal.run(lambda db: db.execute("update item set body = ? where ordinal = 0", (b'{"n":9}',)))
        await journal.run(lambda db: db.execute('update item set ids = \'["a","c"]\' where ordinal = 1'))
    else:
        assert isinstance(journal, PostgresJournal)
        await journal.execute("update hl_async.item set body = $2 where run = $1 and ordinal = 0", b'{"n":9}')
        await journal.execute('update hl_async.item set ids = \'["a","c"]\' where run = $1 and ordinal = 1')
    assert [one.ordinal for one in await lane.take(-1, 1)] == [2]
    rows = await journal.rows(State.REJECTED)
    assert [(one.ordinal, "damaged" in (one.reason or "")) for one in rows[:2]] == [(0, True), (1, True)]


async def test_a_request_that_became_text_in_the_journal_is_damaged_too(tmp_path: Path) -> None:
    journal = await SqliteJournals(tmp_path / "run.db").create(HEADER)
    await journal.plan(records())
    await journal.run(lambda db: db.execute("update item set body = cast(body as text) where ordinal = 0"))
    lane = await leased(journal)
    assert [one.ordinal for one in await lane.take(-1, 1)] == [1]
    (row, *_) = await journal.rows(State.REJECTED)
    assert (row.ordinal, "damaged" in (row.reason or "")) == (0, True)
    await journal.aclose()


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
        with pytest.raises(JournalError, match="is missing"):
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


# ------------------------------------------------------------------------------------------- only in a file


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A journal with planned items, of a process that leased its lane and was killed."""
    path = tmp_path / "run.db"
    journal = await SqliteJournals(path).create(HEADER)
    await journal.note(planned="yes")
    await journal.plan(records())
    await journal.checkpoint()
    await (await leased(journal)).intend(0, 0, 1.0)
    copy = tmp_path / "killed"
    copy.mkdir()
    for name in ("run.db", "run.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    await journal.aclose()
    return copy / "run.db"


async def test_the_main_file_names_the_run_without_what_stands_beside_it(file: Path) -> None:
    file.with_name("run.db-wal").unlink()
    async with closing(await SqliteJournals(file).open()) as journal:
        assert (await journal.header())["fingerprint"] == "f"
        assert (await journal.counts()).of(State.PLANNED) == 4
        facts = await (await leased(journal)).facts()
        assert (facts.resumed, facts.unclean) == (True, True)


async def test_noise_beside_the_main_file_hides_no_run(file: Path) -> None:
    file.with_name("run.db-wal").write_bytes(os.urandom(3000))
    async with closing(await SqliteJournals(file).create(HEADER)) as journal:
        assert (await journal.counts()).of(State.PLANNED) == 4


async def test_a_process_that_ended_in_order_leaves_a_complete_main_file(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with closing(await SqliteJournals(path).create(HEADER)) as journal:
        await journal.plan(records())
        await (await leased(journal)).intend(0, 0, 1.0)
    assert not path.with_name("run.db-wal").exists()
    async with closing(await SqliteJournals(path).open()) as journal:
        lane = await leased(journal)
        facts = await lane.facts()
        assert (facts.resumed, facts.unclean, facts.ambiguous) == (True, False, 1)
        await lane.listed()
        assert not (await lane.facts()).resumed
        assert (await (await leased(journal, "two")).facts()).resumed


async def test_a_new_run_is_not_resumed(tmp_path: Path) -> None:
    async with closing(await SqliteJournals(tmp_path / "run.db").create(HEADER)) as journal:
        await journal.plan(records())
        assert not (await (await leased(journal)).facts()).resumed


@pytest.mark.parametrize("create", [True, False])
async def test_a_file_that_lost_its_contents_is_refused(file: Path, create: bool) -> None:
    store = SqliteJournals(file)
    act = (lambda: store.create(HEADER)) if create else store.open
    file.write_bytes(b"")
    with pytest.raises(JournalCorrupt, match="is empty"):
        await act()
    file.unlink()
    if create:
        with pytest.raises(JournalCorrupt, match="is missing, but .*-wal belongs to it"):
            await act()
    file.with_name("run.db-wal").unlink()
    empty = sqlite3.connect(file)
    empty.execute("pragma user_version = 7")
    empty.close()
    with pytest.raises(JournalCorrupt, match="holds no tables"):
        await act()


async def test_a_journal_of_the_first_schema_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with closing(await SqliteJournals(path).create(HEADER)) as journal:
        await journal.plan(records())
        await (await leased(journal)).intend(0, 0, 1.0)
    db = sqlite3.connect(path)
    for column in ("digest", "first_sent", "possible", "failures"):
        db.execute(f"alter table item drop column {column}")
    db.executescript("drop table deletion; delete from run where name = 'sending'; pragma user_version = 1;")
    db.close()
    async with closing(await SqliteJournals(path).create(HEADER)) as journal:
        (row,) = await journal.items_to_settle()
        assert (row.possible, row.first_sent) == (1, 1.0)
        assert (await (await leased(journal)).facts()).resumed
        assert [one.ordinal for one in await (await leased(journal)).take(-1, 9)] == [1, 2]


async def test_times_that_are_still_to_come_are_corrected(tmp_path: Path) -> None:
    """The clock was set back while no process ran: waits last as long as they would have."""
    path = tmp_path / "run.db"
    async with closing(await SqliteJournals(path).create(HEADER)) as journal:
        await journal.plan(records())
        lane = await leased(journal)
        await lane.intend(0, 0, time.time() + 3600)
        await lane.note_ambiguous(time.time() + 3600)
        await lane.swept(time.time() + 3600)
    async with closing(await SqliteJournals(path).open()) as journal:
        facts = await (await leased(journal)).facts()
        assert facts.last_ambiguous_sent is not None
        assert facts.last_ambiguous_ever is not None
        assert max(facts.last_ambiguous_sent, facts.last_ambiguous_ever) <= time.time()
        assert facts.swept_at is None


def test_the_clock_of_a_journal_does_not_move_when_the_machines_is_set() -> None:
    wall, steady = [1000.0], [5.0]
    clock = SteadyClock(lambda: wall[0], lambda: steady[0])
    wall[0] = 9e9
    steady[0] += 2
    assert clock.now() == 1002.0


async def test_a_journal_that_cannot_be_written_can_still_be_read(journal: Journal) -> None:
    if not isinstance(journal, SqliteJournal):
        return
    lane = await leased(journal)
    await journal.read(lambda db: db.execute("pragma query_only = on"))
    with pytest.raises(JournalError, match="could not be written"):
        await lane.intend(0, 0, 1.0)
    with pytest.raises(JournalError, match="could not be written"):
        await lane.intend(1, 0, 1.0)
    assert (await journal.counts()).of(State.PLANNED) == 4


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
        lost.unanswered(0, 1, "w"), lost.listed(), lost.delete_intended("d", "k", "r"),
    ):  # fmt: skip
        with pytest.raises(LaneLost):
            await change
    await lost.release(LaneRelease(done=True))
    assert await mine.facts() == LaneFacts(2, 1, False, 1.0, 1.0, None, resumed=True, unclean=True)
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
    began = clock.steady()
    clock.set(began + 100.0, began, began + 0.002)
    clock.set(began + 101.0, began + 1.0, began + 9.0)  # the loop was busy for eight seconds
    assert abs(clock.now() - clock.steady() - 100.0) < 0.5
    clock.set(began + 130.0, began + 2.0, began + 2.004)  # somebody set the database's clock
    assert abs(clock.now() - clock.steady() - 128.0) < 0.01


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
