"""What every journal promises about the steps of its stages."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hl_async.bulk.journals.postgres import PostgresJournals
from hl_async.bulk.journals.protocol import Journal, LaneJournal, LaneRelease
from hl_async.bulk.journals.rows import DAMAGED, digest_of
from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.protocol import State
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.stages.steps import (
    MADE,
    DocumentChange,
    LaneSteps,
    PlannedStep,
    StageFacts,
    StepCount,
    StepDocument,
    StepState,
    sent,
)
from hl_async.errors import LaneLost

HEADER = {"fingerprint": "f", "operation": "create-new-estimate"}
_names = (f"steps-{os.getpid()}-{n}" for n in itertools.count())


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> JournalStore:
    if request.param == "sqlite":
        return SqliteJournals(tmp_path / "run.db")
    return PostgresJournals(request.getfixturevalue("dsn"), next(_names), holder="here", lease=1.0)


@pytest.fixture
async def journal(place: JournalStore) -> AsyncIterator[Journal]:
    opened = await place.create(HEADER)
    items = [(SourceItem(n, f"doc{n}", b"", location="one"), f"key{n}", b'{"n":%d}' % n) for n in range(4)]
    await opened.plan(items)
    yield opened
    await opened.aclose()


@pytest.fixture
async def lane(journal: Journal) -> LaneJournal:
    leased = await journal.lease("one")
    assert leased is not None
    return leased


async def planned(journal: Journal, lane: LaneJournal) -> LaneSteps:
    """Two steps: ``ann`` of the documents 0 and 2, ``bob`` of document 1."""
    await journal.steps.plan(
        [
            PlannedStep("one", "contacts", "ann", (0,), b"a", b'{"name":"Ann"}'),
            PlannedStep("one", "contacts", "bob", (1,), b"b"),
            PlannedStep("one", "contacts", "ann", (2,), b"a", b'{"name":"Ann"}'),
            PlannedStep("two", "contacts", "cy", (), b"c"),
        ]
    )
    return lane.steps("contacts")


async def test_a_journal_without_steps_says_so(journal: Journal, lane: LaneJournal) -> None:
    steps = lane.steps("contacts")
    assert await journal.steps.stages() == []
    assert await journal.steps.rows("contacts") == []
    assert await journal.steps.withdraw("contacts") == 0
    assert await steps.take(-1, 10) == []
    assert await steps.suspects() == []
    assert await steps.facts() == StageFacts(0, 0, None, None, None)


async def test_a_step_is_planned_once_for_all_its_documents(journal: Journal, lane: LaneJournal) -> None:
    steps = await planned(journal, lane)
    ann, bob = await steps.take(-1, 10)
    assert (ann.key, ann.state, ann.facts, ann.document) == ("ann", StepState.PLANNED, b'{"name":"Ann"}', 0)
    assert ann.is_intact
    assert await journal.steps.documents(ann) == [0, 2]
    assert await steps.documents(ann) == [StepDocument(0, b'{"n":0}'), StepDocument(2, b'{"n":2}')]
    assert [one.key for one in await steps.take(ann.number, 10)] == [bob.key]
    assert await journal.steps.stages() == ["contacts"]
    assert await journal.steps.counts("contacts") == [
        StepCount("one", StepState.PLANNED, "", 2),
        StepCount("two", StepState.PLANNED, "", 1),
    ]


async def test_a_plan_that_is_repeated_changes_only_what_was_not_sent(
    journal: Journal, lane: LaneJournal
) -> None:
    steps = await planned(journal, lane)
    ann, _ = await steps.take(-1, 10)
    assert await steps.intend(ann, 5.0)
    await journal.steps.plan(
        [
            PlannedStep("one", "contacts", "ann", (), b"new"),
            PlannedStep("one", "contacts", "bob", (3,), b"new"),
        ]
    )
    found = {one.key: one for one in await journal.steps.rows("contacts", location="one")}
    assert (found["ann"].body, found["bob"].body) == (b"a", b"new")
    assert found["bob"].is_intact
    assert await journal.steps.documents(found["bob"]) == [1, 3]


async def test_a_step_that_is_done_gives_its_documents_new_bodies_that_are_intact(
    journal: Journal, lane: LaneJournal
) -> None:
    steps = await planned(journal, lane)
    ann, _ = await steps.take(-1, 10)
    assert await steps.intend(ann, 5.0, facts=b'{"before":1}')
    changes = [DocumentChange(0, b"with id"), DocumentChange(2, reason="no")]
    assert await steps.done(sent(ann), result="c1", how=MADE, documents=changes)
    [done] = await journal.steps.rows("contacts", StepState.DONE)
    assert (done.result, done.how, done.attempt, done.possible, done.sent_at) == ("c1", MADE, 1, 1, 5.0)
    assert done.facts == b'{"before":1}'
    items = await lane.take(-1, 10)
    assert [(one.ordinal, one.body) for one in items] == [(0, b"with id"), (1, b'{"n":1}'), (3, b'{"n":3}')]
    [rejected] = await journal.rows(State.REJECTED)
    assert (rejected.ordinal, rejected.reason) == (2, "no")
    [first] = await journal.rows(State.PLANNED, limit=1)
    assert first.digest == digest_of("key0", "one", "[]", b"with id")
    assert first.reason != DAMAGED


async def test_a_document_that_was_sent_keeps_its_body(journal: Journal, lane: LaneJournal) -> None:
    steps = await planned(journal, lane)
    await lane.intend(0, 0, 1.0)
    ann, _ = await steps.take(-1, 10)
    assert await steps.done(ann, result="c1", how="matched", documents=[DocumentChange(0, b"late")])
    [row] = await journal.rows(State.SENT, bodies=True)
    assert row.body == b'{"n":0}'


async def test_a_change_of_a_step_that_moved_on_changes_nothing(journal: Journal, lane: LaneJournal) -> None:
    steps = await planned(journal, lane)
    ann, _ = await steps.take(-1, 10)
    assert await steps.intend(ann, 5.0)
    assert not await steps.intend(ann, 6.0)
    change = [DocumentChange(0, b"x")]
    assert not await steps.done(ann, result="c1", how=MADE, documents=change)
    assert (await lane.take(-1, 1))[0].body == b'{"n":0}'


async def test_possible_counts_the_requests_that_may_have_been_executed(
    journal: Journal, lane: LaneJournal
) -> None:
    steps = await planned(journal, lane)
    ann, bob = await steps.take(-1, 10)
    for step in (ann, bob):
        assert await steps.intend(step, 5.0)
    assert await steps.mark_planned(sent(ann), executed=False)
    assert await steps.mark_planned(sent(bob), executed=True)
    assert [one.possible for one in await steps.take(-1, 10)] == [0, 1]
    assert [one.key for one in await steps.suspects()] == ["bob"]
    [_, bob] = await steps.take(-1, 10)
    assert await steps.intend(bob, 9.0)
    assert await steps.done(sent(bob), result="c2", how=MADE)
    [suspect] = await steps.suspects()
    assert (suspect.possible, suspect.first_sent, suspect.sent_at) == (2, 5.0, 9.0)


async def test_the_facts_of_a_stage_name_what_is_open_and_when_it_was_sent(
    journal: Journal, lane: LaneJournal
) -> None:
    steps = await planned(journal, lane)
    ann, _ = await steps.take(-1, 10)
    await steps.intend(ann, 5.0)
    await steps.unanswered(sent(ann), "reset")
    await steps.note_ambiguous(5.0)
    assert await steps.facts() == StageFacts(1, 1, 5.0, 5.0, None)
    assert [one.reason for one in await steps.ambiguous()] == ["reset"]
    await steps.mark_unknown(sent(ann), "no answer")
    await steps.swept(20.0)
    assert await steps.facts() == StageFacts(1, 0, None, 5.0, 20.0)


async def test_steps_of_created_documents_carry_the_documents_id(journal: Journal, lane: LaneJournal) -> None:
    steps = await planned(journal, lane)
    assert await steps.take(-1, 10, of_created=True) == []
    await lane.intend(1, 0, 1.0)
    await lane.created(1, 1, "invoice-1")
    [bob] = await steps.take(-1, 10, of_created=True)
    assert (bob.key, bob.document, bob.document_id) == ("bob", 1, "invoice-1")


async def test_steps_are_withdrawn_undone_and_planned_again(journal: Journal, lane: LaneJournal) -> None:
    steps = await planned(journal, lane)
    ann, _ = await steps.take(-1, 10)
    await steps.intend(ann, 5.0)
    await steps.done(sent(ann), result="c1", how=MADE)
    assert await journal.steps.withdraw("contacts") == 2
    [done] = await journal.steps.rows("contacts", StepState.DONE)
    assert await journal.steps.undone(done, "rolled back")
    assert not await journal.steps.undone(done, "rolled back")
    states = (StepState.DELETED, StepState.WITHDRAWN)
    assert await journal.steps.plan_again("contacts", *states) == 3
    [ann, _] = await steps.take(-1, 10)
    assert (ann.possible, ann.attempt, ann.result, ann.how) == (0, 1, "", "")


async def test_a_holder_that_lost_its_lane_changes_no_step(request: pytest.FixtureRequest) -> None:
    place = PostgresJournals(request.getfixturevalue("dsn"), next(_names), holder="here", lease=0.2)
    journal = await place.create(HEADER)
    await journal.plan([(SourceItem(0, "doc", b"", location="one"), "key", b"{}")])
    await journal.steps.plan([PlannedStep("one", "contacts", "ann", (0,), b"a")])
    first = await journal.lease("one")
    assert first is not None
    steps = first.steps("contacts")
    [ann] = await steps.take(-1, 1)
    await asyncio.sleep(0.25)
    second = await journal.lease("one")
    assert second is not None
    with pytest.raises(LaneLost):
        await steps.intend(ann, 1.0)
    with pytest.raises(LaneLost):
        await steps.note_ambiguous(1.0)
    assert await second.steps("contacts").done(ann, result="c", how="matched")
    await second.release(LaneRelease())
    await journal.aclose()


async def test_a_journal_of_an_earlier_version_gets_its_steps_when_they_are_planned(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    journal = await SqliteJournals(path).create(HEADER)
    await journal.aclose()
    with sqlite3.connect(path) as db:
        assert db.execute("select count(*) from sqlite_master where name = 'step'").fetchone() == (0,)
    journal = await SqliteJournals(path).open()
    await journal.steps.plan([PlannedStep("one", "contacts", "ann", (), b"a")])
    watched = await SqliteJournals(path).open(watch=True)
    assert [one.key for one in await watched.steps.rows("contacts")] == ["ann"]
    await watched.aclose()
    await journal.aclose()


async def test_times_that_are_still_to_come_are_corrected_when_a_journal_opens(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    journal = await SqliteJournals(path).create(HEADER)
    await journal.steps.plan([PlannedStep("one", "contacts", "ann", (), b"a")])
    lane = await journal.lease("one")
    assert lane is not None
    [ann] = await lane.steps("contacts").take(-1, 1)
    await lane.steps("contacts").intend(ann, lane.now() + 9_000)
    await journal.aclose()
    again = await SqliteJournals(path).open()
    [step] = await again.steps.rows("contacts")
    assert step.sent_at is not None
    assert step.sent_at <= again.clock.now()
    await again.aclose()
