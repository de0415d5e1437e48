"""The promise of a rollback over generated journals, locations and lists: all states that a run can reach."""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from places import Place, broken, moment

import samples
from hl_async.bulk.journals.postgres import PostgresJournals
from hl_async.bulk.journals.protocol import ItemRow, LaneJournal, LaneRelease
from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.protocol import RunState, State, Timing
from hl_async.bulk.reports import RollbackReport
from hl_async.bulk.reversal import rollback
from hl_async.bulk.run import Run
from hl_async.bulk.sources.records import SourceItem
from hl_async.models.codec import encode
from hl_async.storage.postgres import Database
from lengths import long

TIMING = Timing(settle=0.0, attempt=10.0)
EARLY = 60.0
"""Seconds before now at which requests left: they are settled, and not older than any lag."""
PAUSES = (0.0, 0.0, 0.0)
SENDS = 3

_names = (f"states-{os.getpid()}-{n}" for n in itertools.count())


class Send(NamedTuple):
    """One request: whether the server executes it, and what the run learns.

    ``answered`` and ``refused`` are answers. After ``lost`` a listing found the document, did not find it, or was never
    made. ``forgotten``: the journal lost this request, as with a lost ``-wal``.
    """

    executed: bool
    learned: str


SENT = st.sampled_from(
    [
        Send(True, "answered"),
        Send(False, "refused"),
        Send(False, "rejected"),
        *(Send(executed, learned) for executed in (True, False) for learned in ("lost", "missed", "held")),
        Send(True, "found"),
        Send(True, "forgotten"),
    ]
)
"""``missed`` is a listing that did not find the document, also because it is executed later."""

DEEDS = st.sampled_from(
    ["nothing", "nothing", "nothing", "changes it", "touches it", "deletes it", "sends it", "copies it",
     "copies and changes it", "strips its key", "swaps its key"]
)  # fmt: skip


class Story(NamedTuple):
    """What happened before the rollback, and what the list and the server do during it."""

    items: list[tuple[list[Send], list[str]]]
    hidden: list[int]
    empty: int
    failures: int

    @property
    def forgets(self) -> bool:
        """Whether the journal lost a write."""
        return any(send.learned == "forgotten" for sends, _ in self.items for send in sends)


STORIES = st.builds(
    Story,
    items=st.lists(
        st.tuples(st.lists(SENT, max_size=SENDS), st.lists(DEEDS, max_size=2)), min_size=1, max_size=3
    ),
    hidden=st.lists(st.integers(0, 3), max_size=2),
    empty=st.integers(0, 2),
    failures=st.sampled_from([0, 0, 1, 3]),
)
RUNS = st.lists(STORIES, min_size=1, max_size=10)
"""A run: a story for each of its locations."""


class Told:
    """A story carried out: the run, the location, and who made what."""

    def __init__(self, story: Story, run: Run, lane: LaneJournal, rows: list[ItemRow]) -> None:
        self.story, self.run, self.lane = story, run, lane
        self.ordinals = [row.ordinal for row in rows]
        self.bodies = [row.body or b"" for row in rows]
        self.place = Place()
        self.before: dict[str, Any] = {}
        self.ours: dict[str, int] = {}
        self.copies: dict[str, int] = {}
        self.changed: set[str] = set()
        self.possible: dict[int, int] = {}
        self.recorded: set[str | None] = set()

    async def carry_out(self) -> None:
        story = self.story
        body = msgspec.json.decode(encode(samples.estimate()))
        self.place.add(
            "foreign", msgspec.json.encode(body | {"meta": {"mine": True}}), time.time() - 2 * EARLY
        )
        other = {"hl_async": {"k": "other", "run": "other"}}
        self.place.add("other", msgspec.json.encode(body | {"meta": other}), time.time() - 2 * EARLY)
        for ordinal, (sends, deeds) in enumerate(story.items):
            for number, send in enumerate(sends):
                if not await self.send(ordinal, number, send):
                    break
            for deed, document in zip(
                deeds, [one for one, n in self.ours.items() if n == ordinal], strict=False
            ):
                self.do(deed, document, ordinal)
        known = (await self.lane.known()).values()
        self.possible = {self.ordinals.index(item.ordinal): item.possible for item in known}
        self.recorded = {item.document for item in known}
        self.before = copy.deepcopy(self.place.documents)
        hidden = [list(self.before)[n % len(self.before)] for n in story.hidden]

        def view(documents: dict[str, Any]) -> dict[str, Any]:
            return {name: one for name, one in documents.items() if name not in hidden}

        self.place.views = [lambda documents: {}] * story.empty + [view] * bool(hidden)
        left = story.failures

        def fail(document: str) -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                broken(document)

        self.place.before_delete = fail

    async def send(self, ordinal: int, number: int, send: Send) -> bool:
        """One request of an item; False if the item is not sent any more."""
        at = time.time() - EARLY + number
        at_journal = self.ordinals[ordinal]
        (row,) = await self.run.journal.rows(*State, after=at_journal - 1, limit=1)
        document = f"ours-{ordinal}-{number}"
        if send.executed:
            self.place.add(document, self.bodies[ordinal], at)
            self.ours[document] = ordinal
        if send.learned == "forgotten":
            return False
        assert await self.lane.intend(at_journal, row.attempt, at)
        attempt = row.attempt + 1
        match send.learned:
            case "answered" | "found":
                assert await self.lane.created(at_journal, attempt, document)
            case "refused":
                assert await self.lane.mark_planned(at_journal, attempt)
            case "rejected":
                assert await self.lane.rejected(at_journal, attempt, "no")
            case "missed":
                await self.lane.note_ambiguous(at)
                assert await self.lane.mark_planned(at_journal, attempt, listed=True)
            case "held":
                await self.lane.note_ambiguous(at)
                assert await self.lane.mark_unknown(at_journal, attempt, "five failures")
            case _:
                await self.lane.note_ambiguous(at)
        return send.learned in ("refused", "missed")

    def do(self, deed: str, document: str, ordinal: int) -> None:
        """What people do with a document of the run."""
        one = self.place.documents[document]
        match deed:
            case "changes it":
                one["name"] = "Changed by people"
                self.changed.add(document)
            case "touches it":
                one["updatedAt"] = moment(time.time())
                self.changed.add(document)
            case "deletes it":
                del self.place.documents[document]
            case "sends it":
                one["estimateStatus"] = "sent"
            case "copies it" | "copies and changes it":
                made = f"copy-of-{document}"
                at = moment(time.time() - EARLY / 2)
                self.place.documents[made] = one | {"_id": made, "createdAt": at, "updatedAt": at}
                self.copies[made] = ordinal
                if deed == "copies and changes it":
                    self.place.documents[made]["name"] = "Changed by people"
                    self.changed.add(made)
            case "strips its key":
                one["meta"] = {}
            case "swaps its key":
                one["meta"] = msgspec.json.decode(self.bodies[(ordinal + 1) % len(self.bodies)])["meta"]


def is_draft(one: dict[str, Any]) -> bool:
    return bool(one["estimateStatus"] == "draft")


def carries_key(one: dict[str, Any], run: str) -> bool:
    return (one.get("meta") or {}).get("hl_async", {}).get("run") == run


async def check(stories: list[Story], store: JournalStore, *, even_changed: bool) -> None:
    """Carry the stories of a run out, roll it back until it is complete, and compare with what was there before."""
    body = encode(samples.estimate())
    told: dict[str, Told] = {}
    async with await Run.create(store, fingerprint="f", location="") as run:
        where = [f"loc{n}" for n, story in enumerate(stories) for _ in story.items]
        await run.plan(
            SourceItem(n, f"doc{n}", body, (), place, Decimal("29.97"), "USD")
            for n, place in enumerate(where)
        )
        rows = await run.journal.rows(State.PLANNED, bodies=True)
        for n, story in enumerate(stories):
            lane = await run.journal.lease(f"loc{n}")
            assert lane is not None
            mine = [row for row in rows if row.location == f"loc{n}"]
            told[f"loc{n}"] = Told(story, run, lane, mine)
            await told[f"loc{n}"].carry_out()
            await lane.release(LaneRelease())
    if any(story.forgets for story in stories):
        async with await Run.open(store) as run:
            await run.journal.note(sending="yes")  # what a process leaves that did not end in order
    async with await Run.open(store) as run:
        report = await until_complete(run, lambda location: told[location].place, even_changed=even_changed)
        if report.state != "rolled_back":
            # nothing vouches for the absence of what people deleted: it stays open, and is named
            assert report.open
            unseen = {one.document: told[one.location] for one in report.kept if one.kind == "unseen"}
            assert unseen
            assert all(document not in where.before for document, where in unseen.items())
            even_changed = True
            report = await until_complete(run, lambda location: told[location].place, even_changed=True)
        assert report.state == "rolled_back"
        assert await run.journal.run_state() is RunState.ROLLED_BACK
        states = (await run.journal.counts(totals=False)).by_state
        assert not states.keys() & {State.PLANNED, State.SENT}
    event(f"{len(report.kept)} kept")
    for location, one in told.items():
        judge(one, {kept.document for kept in report.kept if kept.location == location}, even_changed)


async def until_complete(run: Run, places: Callable[[str], Place], *, even_changed: bool) -> RollbackReport:
    for _ in range(3):
        report = await rollback(run, places, TIMING, even_changed=even_changed, pauses=PAUSES)
        if report.state == "rolled_back":
            break
    return report


def judge(told: Told, kept: set[str], even_changed: bool) -> None:
    """What must hold, said without the rules that the product decides by."""
    before, after = told.before, told.place.documents
    recorded, possible = told.recorded, told.possible
    gone = before.keys() - after.keys()
    assert after == {name: before[name] for name in after}, "what stays is as it was"
    assert gone <= told.ours.keys() | told.copies.keys(), "nothing of others goes"
    assert all(is_draft(before[name]) for name in gone), "customers may have seen the others"
    assert not told.changed & gone or even_changed, "people changed it"
    for name, one in after.items():
        if is_draft(one) and carries_key(one, told.run.id):
            assert name in kept, f"{name} stays and is not named"
    for name, one in before.items():
        untouched = is_draft(one) and name not in told.changed
        if name in recorded and untouched:
            assert name in gone, f"{name} is the run's and nobody touched it"
    for ordinal, number in possible.items():
        of_item = {name for name in gone if {**told.ours, **told.copies}.get(name) == ordinal}
        # a document that the journal forgot is known by its contents, beside those it has requests for
        forgotten = any(name in told.ours and name not in recorded for name in of_item)
        assert len(of_item) <= max(number, 1) + forgotten, "no more than requests were made"
        if number <= 1 and not forgotten:
            assert not of_item & told.copies.keys(), "a copy by people, as its item made one document"


SETTINGS = settings(
    deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
MANY = int(os.environ.get("HL_STATES", "0"))
"""Examples of a thorough look; by default as many as take seconds."""


@pytest.mark.parametrize("examples", [12, long(MANY or 30)])
@pytest.mark.untraced
def test_no_reachable_state_leaves_a_draft_of_the_run_unnamed_or_touches_another_document(
    examples: int,
) -> None:
    @settings(SETTINGS, max_examples=examples)
    @given(RUNS, st.booleans())
    def explore(stories: list[Story], even_changed: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(check(stories, SqliteJournals(Path(folder) / "run.db"), even_changed=even_changed))

    explore()


@pytest.mark.parametrize("examples", [5, long(MANY or 8)])
@pytest.mark.untraced
def test_the_same_holds_for_a_journal_in_postgres(dsn: str, examples: int) -> None:
    @settings(SETTINGS, max_examples=examples)
    @given(RUNS, st.booleans())
    def explore(stories: list[Story], even_changed: bool) -> None:
        # a lane whose holder died is taken over when its lease ends, which this test does not wait for
        assume(not any(story.forgets for story in stories))

        async def shared() -> None:
            database = Database(dsn)
            try:
                place = PostgresJournals(database, next(_names), holder="here")
                await check(stories, place, even_changed=even_changed)
            finally:
                await database.aclose()

        asyncio.run(shared())

    explore()
