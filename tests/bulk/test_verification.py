"""Promises of verification and rollback, against the sandbox on real sockets."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from test_run import go, items

from hl_async import HighLevel
from hl_async.bulk.journals.sqlite import SqliteJournal
from hl_async.bulk.protocol import State
from hl_async.bulk.reports import Progress
from hl_async.bulk.run import Run
from hl_async.bulk.verification import Difference
from hl_async.sandbox import Sandbox


def stored(box: Sandbox) -> dict[str, dict[str, Any]]:
    """The estimates of the location by id, to be changed as people would."""
    found: dict[str, dict[str, Any]] = box.ledger.places[box.location_id].estimates
    return found


async def test_a_verification_says_what_it_compared_and_finds_documents_as_they_were_sent(
    box: Sandbox, tmp_path: Path
) -> None:
    await go(tmp_path / "run.db", box, items(3))
    async with HighLevel(box.token, base_url=box.url) as hl, await Run.open(tmp_path / "run.db") as run:
        found = await run.verify(hl)
    assert (found.documents, found.same, found.differences) == (3, 3, [])
    assert {"name", "contact", "lines", "dates", "total"} <= set(found.compared)


async def test_a_verification_finds_every_kind_of_difference(box: Sandbox, tmp_path: Path) -> None:
    await go(tmp_path / "run.db", box, items(6))
    estimates = stored(box)
    ids = list(estimates)
    copy = estimates[ids[0]] | {"_id": box.ledger.new_id(), "createdAt": "2040-01-01T00:00:00.000Z"}
    estimates[copy["_id"]] = copy
    del estimates[ids[1]]
    estimates[ids[2]]["total"] = Decimal("1.00")
    estimates[ids[3]]["contactDetails"] |= {"email": "somebody@example.com"}
    estimates[ids[4]]["meta"] = {}
    async with HighLevel(box.token, base_url=box.url) as hl, await Run.open(tmp_path / "run.db") as run:
        rows = {row.document: row.source_id for row in await run.each(State.CREATED)}
        every: list[Difference] = []
        found = await run.verify(hl, on_finding=every.append)
        repaired = await run.verify(hl, repair=True)
    by_document = {one.document: (one.kind, one.source_id, one.detail) for one in found.differences}
    assert by_document == {
        copy["_id"]: (
            "extra",
            rows[ids[0]],
            "carries a key of this run, but nothing proves that the run created it",
        ),
        ids[1]: ("missing", rows[ids[1]], "not in the list"),
        ids[2]: ("changed", rows[ids[2]], "total: '29.97' → '1.00'"),
        ids[3]: (
            "changed",
            rows[ids[3]],
            "contact e-mail: 'alex@example.com' → 'somebody@example.com'",
        ),
        ids[4]: ("unmarked", rows[ids[4]], "is there, without the run's key; otherwise as it was sent"),
    }
    assert [one.kind for one in every].count("same") == found.same == 2
    assert (repaired.repaired, copy["_id"] in estimates) == (0, True), "a copy that people made stays"


async def test_a_repair_deletes_a_second_copy_that_the_run_made_and_writes_it_down(
    box: Sandbox, tmp_path: Path
) -> None:
    await go(tmp_path / "run.db", box, items(2))
    async with HighLevel(box.token, base_url=box.url) as hl, await Run.open(tmp_path / "run.db") as run:
        row = (await run.each(State.CREATED))[0]
        assert isinstance(run.journal, SqliteJournal)
        await run.journal.run(
            lambda db: db.execute("update item set possible = 2 where ordinal = ?", (row.ordinal,))
        )
        original = stored(box)[row.document or ""]
        second = original | {"_id": box.ledger.new_id()}
        stored(box)[second["_id"]] = second
        found = await run.verify(hl)
        assert [(one.kind, one.detail) for one in found.differences] == [
            ("extra", f"a second copy of {row.document}")
        ]
        repaired = await run.verify(hl, repair=True)
        assert (repaired.repaired, repaired.differences) == (1, [])
        assert second["_id"] not in stored(box)
        deletions = await run.journal.deletions()
        assert [(one.document, one.reason, one.outcome) for one in deletions] == [
            (second["_id"], "second copy", "deleted")
        ]


async def test_a_verification_names_documents_that_another_run_made_of_the_same_source(
    box: Sandbox, tmp_path: Path
) -> None:
    await go(tmp_path / "first.db", box, items(2))
    await go(tmp_path / "second.db", box, items(3))
    async with HighLevel(box.token, base_url=box.url) as hl:
        async with await Run.open(tmp_path / "first.db") as first:
            theirs = {row.document for row in await first.each(State.CREATED)}
        async with await Run.open(tmp_path / "second.db") as run:
            found = await run.verify(hl)
    assert {one.document for one in found.differences} == theirs
    assert {one.detail for one in found.differences} == {
        f"the same document of the source, created by another run: {first.id}"
    }


async def test_rollback_deletes_the_runs_drafts_and_nothing_else(box: Sandbox, tmp_path: Path) -> None:
    await go(tmp_path / "run.db", box, items(5))
    estimates = stored(box)
    estimates["foreign"] = dict(next(iter(estimates.values()))) | {"_id": "foreign", "meta": {}}
    ids = list(estimates)
    estimates[ids[0]]["estimateStatus"] = "sent"
    del estimates[ids[1]]
    seen: list[Progress] = []
    async with HighLevel(box.token, base_url=box.url) as hl, await Run.open(tmp_path / "run.db") as run:
        found = await run.rollback(hl, on_progress=seen.append)
        assert (found.deleted, found.gone, [one.kind for one in found.kept]) == (3, 1, ["not_draft"])
        verified = await run.verify(hl)
        assert (verified.state, verified.deleted) == ("rolled_back", 4)
        assert [one.document for one in verified.differences] == [ids[0]]
        again = await run.rollback(hl)
        assert (again.deleted, again.gone, again.state) == (3, 1, "rolled_back")
    assert set(estimates) == {"foreign", ids[0]}
    assert seen[-1].done == 5


async def test_the_verification_of_a_run_that_was_rolled_back_lists_the_location(
    box: Sandbox, tmp_path: Path
) -> None:
    await go(tmp_path / "run.db", box, items(2))
    kept = dict(next(iter(stored(box).values())))
    async with HighLevel(box.token, base_url=box.url) as hl, await Run.open(tmp_path / "run.db") as run:
        await run.rollback(hl)
        assert (await run.verify(hl)).differences == []
        stored(box)[kept["_id"]] = kept  # the deletion did not last
        found = await run.verify(hl)
    assert [one.kind for one in found.differences] == ["extra"]
