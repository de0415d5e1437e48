"""Promises of a rollback, for every state of a journal and every content of a location. The protocol is the real one."""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from places import Place, broken, moment

import samples
from hl_async.bulk.journals.protocol import LaneJournal
from hl_async.bulk.ownership import vouches
from hl_async.bulk.protocol import RunState, State, Timing
from hl_async.bulk.reports import RollbackReport
from hl_async.bulk.reversal import rollback
from hl_async.bulk.run import Run
from hl_async.bulk.sources.records import SourceItem
from hl_async.errors import BulkError, NotFound
from hl_async.models.codec import encode

NOW = Timing(0.0, 0.0)
PAUSES = (0.0, 0.0, 0.0)
EARLY = 60.0
"""Seconds before now at which requests left: everything is settled."""


class Scene(NamedTuple):
    """A run whose items the test moves, and the location that it created documents in."""

    run: Run
    lane: LaneJournal
    place: Place
    bodies: list[bytes]

    async def send(self, ordinal: int) -> int:
        """Write the intent of the item's next request; returns the number of requests."""
        row = (await self.run.journal.rows(*State, after=ordinal - 1, limit=1))[0]
        assert await self.lane.intend(ordinal, row.attempt, time.time() - EARLY)
        return row.attempt + 1

    def document(self, ordinal: int, called: str, **changes: Any) -> str:
        """Execute a request of the item at the server."""
        return self.place.add(called, self.bodies[ordinal], time.time() - EARLY, **changes)


@asynccontextmanager
async def scene(path: Path, count: int = 2) -> AsyncIterator[Scene]:
    async with await Run.create(path, fingerprint="f", location="loc") as run:
        body = encode(samples.estimate())
        await run.plan(SourceItem(n, f"doc{n}", body, (), "", Decimal("29.97"), "USD") for n in range(count))
        lane = await run.journal.lease("loc")
        assert lane is not None
        rows = await run.journal.rows(State.PLANNED, bodies=True)
        yield Scene(run, lane, Place(), [row.body or b"" for row in rows])


async def take_back(
    run: Run, place: Place, timing: Timing = NOW, *, even_changed: bool = False
) -> RollbackReport:
    return await rollback(run, lambda location: place, timing, even_changed=even_changed, pauses=PAUSES)


# What may have become of item 0 before the rollback: by the journal, and by the server.


async def planned(s: Scene) -> None:
    pass


async def planned_but_the_journal_lost_its_last_writes(s: Scene) -> None:
    s.document(0, "d0")


async def planned_again_after_a_listing(s: Scene) -> None:
    await s.lane.mark_planned(0, await s.send(0), listed=True)


async def planned_again_and_created_late(s: Scene) -> None:
    await s.lane.mark_planned(0, await s.send(0), listed=True)
    s.document(0, "d0")


async def sent_and_not_executed(s: Scene) -> None:
    await s.send(0)


async def sent_and_executed(s: Scene) -> None:
    await s.send(0)
    s.document(0, "d0")


async def sent_and_executed_and_changed_by_people(s: Scene) -> None:
    await s.send(0)
    s.document(0, "d0", name="Changed by people")


async def sent_twice_and_executed_twice(s: Scene) -> None:
    await s.lane.mark_planned(0, await s.send(0), listed=True)
    await s.send(0)
    s.document(0, "d0")
    s.document(0, "d0b")


async def created(s: Scene) -> None:
    await s.lane.created(0, await s.send(0), s.document(0, "d0"))


async def created_with_a_late_second_copy(s: Scene) -> None:
    await s.lane.mark_planned(0, await s.send(0), listed=True)
    await s.lane.created(0, await s.send(0), s.document(0, "d0"))
    s.document(0, "d0b")


async def created_and_deleted_by_people(s: Scene) -> None:
    await created(s)
    del s.place.documents["d0"]


async def created_and_its_key_lost(s: Scene) -> None:
    await created(s)
    s.place.documents["d0"]["meta"] = {}


async def created_and_changed_by_people(s: Scene) -> None:
    await created(s)
    s.place.documents["d0"]["name"] = "Changed by people"


async def created_and_updated_by_people(s: Scene) -> None:
    await created(s)
    s.place.documents["d0"]["updatedAt"] = moment(time.time())


async def created_and_sent_to_the_customer(s: Scene) -> None:
    await created(s)
    s.place.documents["d0"]["estimateStatus"] = "sent"


async def created_and_copied_by_people(s: Scene) -> None:
    await created(s)
    s.document(0, "theirs")


async def created_and_listed_with_the_key_of_another(s: Scene) -> None:
    await created(s)
    s.place.documents["d0"]["meta"] = msgspec.json.decode(s.bodies[1])["meta"]


async def rejected(s: Scene) -> None:
    await s.lane.rejected(0, await s.send(0), "no")


async def rejected_and_created_all_the_same(s: Scene) -> None:
    await s.lane.mark_planned(0, await s.send(0), listed=True)
    await s.lane.rejected(0, await s.send(0), "no")
    s.document(0, "d0")


async def held_and_not_executed(s: Scene) -> None:
    await s.lane.mark_unknown(0, await s.send(0), "five failures")


async def held_and_executed(s: Scene) -> None:
    await s.lane.mark_unknown(0, await s.send(0), "five failures")
    s.document(0, "d0")


HISTORIES: list[Callable[[Scene], Awaitable[None]]] = [
    planned, planned_but_the_journal_lost_its_last_writes, planned_again_after_a_listing,
    planned_again_and_created_late, sent_and_not_executed, sent_and_executed,
    sent_and_executed_and_changed_by_people, sent_twice_and_executed_twice, created, created_with_a_late_second_copy,
    created_and_deleted_by_people, created_and_its_key_lost, created_and_changed_by_people,
    created_and_updated_by_people, created_and_sent_to_the_customer, created_and_copied_by_people,
    created_and_listed_with_the_key_of_another, rejected, rejected_and_created_all_the_same, held_and_not_executed,
    held_and_executed,
]  # fmt: skip
KEPT = {
    sent_and_executed_and_changed_by_people: ("changed", "d0"),
    created_and_changed_by_people: ("changed", "d0"),
    created_and_updated_by_people: ("changed", "d0"),
    created_and_sent_to_the_customer: ("not_draft", "d0"),
    created_and_copied_by_people: ("copy", "theirs"),
}
VIEWS: dict[str, list[Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "a true list": [],
    "a list that shows nothing at first": [lambda documents: {}],
    "a list that shows the newest late": [lambda documents: dict(list(documents.items())[:1])],
}


def names(documents: dict[str, Any], run: str) -> set[str]:
    """The drafts that carry a key of the run."""
    return {
        name
        for name, one in documents.items()
        if one["estimateStatus"] == "draft" and (one.get("meta") or {}).get("hl_async", {}).get("run") == run
    }


@pytest.mark.untraced
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("history", HISTORIES, ids=lambda one: one.__name__)
async def test_after_a_complete_rollback_no_draft_carries_a_key_of_the_run_and_nothing_else_changed(
    tmp_path: Path, history: Callable[[Scene], Awaitable[None]], view: str
) -> None:
    for with_control in (True, False):
        async with scene(tmp_path / f"{with_control}.db") as s:
            body = msgspec.json.decode(encode(samples.estimate()))
            s.place.add("foreign", msgspec.json.encode(body | {"meta": {"mine": True}}), time.time() - EARLY)
            other = {"hl_async": {"k": "other", "run": "other"}}
            s.place.add("other", msgspec.json.encode(body | {"meta": other}), time.time() - EARLY)
            await history(s)
            if with_control:
                await s.lane.created(1, await s.send(1), s.document(1, "d1"))
            before = copy.deepcopy(s.place.documents)
            s.place.views = list(VIEWS[view])
            report = await take_back(s.run, s.place)
            kind, kept = KEPT.get(history, ("", ""))
            assert [(one.kind, one.document) for one in report.kept] == ([(kind, kept)] if kept else [])
            assert (report.state, report.open) == ("rolled_back", 0)
            assert names(s.place.documents, s.run.id) <= {kept}
            untouched = {"foreign", "other", kept} - {""}
            assert s.place.documents == {name: before[name] for name in untouched}
            states = (await s.run.journal.counts(totals=False)).by_state
            assert not states.keys() & {State.PLANNED, State.SENT}
            assert await s.run.journal.run_state() is RunState.ROLLED_BACK


class Killed(Exception):
    """The process died."""


@pytest.mark.untraced
@pytest.mark.parametrize("moment_of_death", ["before", "after"])
async def test_a_rollback_that_is_killed_at_any_deletion_is_completed_by_the_next(
    tmp_path: Path, moment_of_death: str
) -> None:
    for survived in range(4):
        path = tmp_path / f"{survived}.db"
        async with scene(path, 4) as s:
            for n in range(3):
                await s.lane.created(n, await s.send(n), s.document(n, f"d{n}"))
            await s.send(3)
            s.document(3, "d3")
            place = s.place
            left = survived

            def die(document: str) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed

            setattr(place, f"{moment_of_death}_delete", die)
            with pytest.raises(Killed):
                await take_back(s.run, place)
        place.before_delete = place.after_delete = lambda document: None
        async with await Run.open(path) as run:
            with pytest.raises(BulkError, match="cannot be resumed"):
                await run.require_running()
            report = await take_back(run, place)
            assert (report.state, report.deleted + report.gone, place.documents) == ("rolled_back", 4, {})


async def test_a_rollback_that_died_between_a_deletions_result_and_its_item_completes(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with scene(path, 3) as s:
        for n in range(3):
            await s.lane.created(n, await s.send(n), s.document(n, f"d{n}"))
        place = s.place
        [key] = [row.key for row in await s.run.journal.rows(State.CREATED) if row.document == "d2"]
        await s.run.journal.set_run_state(RunState.ROLLING_BACK)
        deletion = await s.lane.delete_intended("d2", key or "", "rollback")
        del place.documents["d2"]
        await s.lane.delete_ended(deletion, "deleted")
    async with await Run.open(path) as run:
        report = await take_back(run, place)
        assert (report.state, report.open, report.kept, place.documents) == ("rolled_back", 0, [], {})
        assert "d2" not in place.deletions


async def test_a_rollback_with_even_changed_deletes_drafts_that_people_changed(tmp_path: Path) -> None:
    async with scene(tmp_path / "run.db") as s:
        await created_and_changed_by_people(s)
        first = await take_back(s.run, s.place)
        assert [one.detail for one in first.kept] == ["name: 'Kitchen' → 'Changed by people'"]
        assert first.kept[0].source_id == "doc0"
        second = await take_back(s.run, s.place, even_changed=True)
        assert (second.deleted, second.kept, s.place.documents) == (1, [], {})


async def test_only_the_apis_own_404_proves_that_a_document_is_gone(tmp_path: Path) -> None:
    async with scene(tmp_path / "run.db") as s:
        await created(s)

        def page(document: str) -> None:
            raise NotFound("nginx", status=404, messages=("nginx",), body="<html>nginx</html>")

        s.place.before_delete = page
        report = await take_back(s.run, s.place)
        assert (report.state, report.open, report.deleted, report.gone) == ("rolling_back", 1, 0, 0)
        assert "nginx" in report.reason
        row = (await s.run.journal.rows(State.CREATED))[0]
        assert row.document == "d0"
        s.place.before_delete = lambda document: None
        assert (await take_back(s.run, s.place)).state == "rolled_back"


async def test_a_server_that_fails_leaves_the_rollback_open_and_names_the_failure(tmp_path: Path) -> None:
    async with scene(tmp_path / "run.db", 30) as s:
        for n in range(30):
            await s.lane.created(n, await s.send(n), s.document(n, f"d{n}"))
        s.place.before_delete = broken
        report = await take_back(s.run, s.place)
        assert (report.state, report.open) == ("rolling_back", 30)
        assert "Bad gateway" in report.reason
        assert len(s.place.documents) == 30
        outcomes = [one.outcome for one in await s.run.journal.deletions()]
        assert outcomes
        assert all("Bad gateway" in outcome for outcome in outcomes)


async def test_unanswered_requests_are_waited_for_until_none_can_be_executed_any_more(tmp_path: Path) -> None:
    async with scene(tmp_path / "run.db") as s:
        row = (await s.run.journal.rows(*State, limit=1))[0]
        await s.lane.intend(0, row.attempt, s.lane.now())
        waits: list[float] = []

        def note(now: Any) -> None:
            if now.until is not None and not s.place.documents:
                waits.append(now.until - time.time())
                s.document(0, "d0", createdAt=moment(time.time()), updatedAt=moment(time.time()))

        timing = Timing(0.2, 0.1)
        report = await rollback(s.run, lambda location: s.place, timing, on_progress=note, pauses=PAUSES)
        assert 0 < waits[0] <= 0.6
        assert (report.state, report.deleted, s.place.documents) == ("rolled_back", 1, {})


async def test_a_wait_that_is_broken_off_says_how_many_are_open_and_until_when(tmp_path: Path) -> None:
    async with scene(tmp_path / "run.db") as s:
        await s.lane.intend(0, 0, s.lane.now())
        await s.lane.created(1, await s.send(1), s.document(1, "d1"))

        def stop(now: Any) -> None:
            if now.until is not None:
                s.run.stop.set()

        report = await rollback(s.run, lambda location: s.place, Timing(), on_progress=stop, pauses=PAUSES)
        assert (report.state, report.open, report.reason) == ("rolling_back", 1, "interrupted")
        assert report.until is not None
        assert report.until > time.time() + 300
        assert s.place.documents == {}


async def test_a_run_that_is_rolled_back_sends_nothing_any_more(tmp_path: Path) -> None:
    async with scene(tmp_path / "run.db") as s:
        await take_back(s.run, s.place)
        assert await s.run.journal.lease("loc") is None
        with pytest.raises(BulkError, match="was rolled back"):
            await s.run.execute(lambda location: pytest.fail("asked for a target"))
        report = await s.run.report()
        assert (report.state, report.withdrawn, report.planned) == ("rolled_back", 2, 0)


# What a list hides.


def without(*hidden: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A list that leaves documents out."""
    return lambda documents: {name: one for name, one in documents.items() if name not in hidden}


async def test_a_changed_draft_that_the_list_hides_for_long_is_not_deleted_unseen(tmp_path: Path) -> None:
    timing = Timing(100.0, 10.0)
    async with scene(tmp_path / "run.db") as s:
        await s.lane.created(1, await s.send(1), s.document(1, "d1"))
        await s.lane.created(0, await s.send(0), s.document(0, "d0", name="Changed by people"))
        s.place.views = [without("d0")] * 100
        report = await take_back(s.run, s.place, timing)
        assert s.place.deletions == ["d1"]
        assert [(one.kind, one.document, one.source_id) for one in report.kept] == [("unseen", "d0", "doc0")]
        assert (report.state, report.open) == ("rolling_back", 1)
        assert "lacks 1 documents of this run (for example d0)" in report.reason
        assert "--even-changed" in report.reason
        s.place.views = []
        again = await take_back(s.run, s.place, timing)
        assert [(one.kind, one.document) for one in again.kept] == [("changed", "d0")]
        assert (again.state, list(s.place.documents)) == ("rolled_back", ["d0"])


async def test_a_draft_that_the_list_shows_late_is_seen_before_it_is_deleted(tmp_path: Path) -> None:
    async with scene(tmp_path / "run.db") as s:
        for n, changes in enumerate(({}, {"name": "Changed by people"})):
            await s.lane.created(n, await s.send(n), s.document(n, f"d{n}", **changes))
        s.place.views = [without("d1")] * 2
        report = await take_back(s.run, s.place, Timing(100.0, 1.0))
        assert [(one.kind, one.document) for one in report.kept] == [("changed", "d1")]
        assert (report.state, s.place.deletions) == ("rolled_back", ["d0"])


@pytest.mark.parametrize("even_changed", [False, True])
async def test_an_empty_list_vouches_for_nothing_unless_changed_drafts_may_go_too(
    tmp_path: Path, even_changed: bool
) -> None:
    async with scene(tmp_path / "run.db") as s:
        await s.lane.created(0, await s.send(0), s.document(0, "d0"))
        s.place.views = [lambda documents: {}] * 100
        report = await take_back(s.run, s.place, Timing(0.5, 0.5), even_changed=even_changed)
        assert (report.state, report.deleted) == (("rolled_back", 1) if even_changed else ("rolling_back", 0))
        assert list(s.place.documents) == ([] if even_changed else ["d0"])


async def test_where_the_api_reads_one_document_what_the_list_hides_is_asked_for_by_id(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path / "run.db", 3) as s:
        for n, changes in enumerate(({}, {"name": "Changed by people"}, {})):
            await s.lane.created(n, await s.send(n), s.document(n, f"d{n}", **changes))
        del s.place.documents["d2"]
        s.place.views = [lambda documents: {}] * 100
        s.place.reads_one = True
        report = await take_back(s.run, s.place, Timing(0.5, 0.5))
        assert [(one.kind, one.document) for one in report.kept] == [("changed", "d1")]
        assert (report.state, report.deleted, report.gone) == ("rolled_back", 1, 1)
        assert list(s.place.documents) == ["d1"]


@pytest.mark.parametrize(
    ("ours", "others", "sent_at", "expected"),
    [
        (None, None, 100.0, False),
        (None, 90.0, None, False),
        (None, 90.0, 100.0, False),
        (99.0, 90.0, 100.0, False),
        (101.0, 90.0, 100.0, True),
        (None, 3701.0, 100.0, True),
        (None, 90.0, -901.0, True),
    ],
)
def test_a_list_vouches_for_what_is_older_than_what_it_shows_or_than_any_lag(
    ours: float | None, others: float | None, sent_at: float | None, expected: bool
) -> None:
    assert vouches(ours, others, sent_at, 200.0, Timing(100.0, 10.0)) is expected
