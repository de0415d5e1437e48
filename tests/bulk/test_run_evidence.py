"""What a run believes of lists, journals and servers that are wrong: it ends clearly, and doubles nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import samples
from hl_async import ClientConfig, GovernorPolicy, HighLevel, Timeouts
from hl_async.bulk.protocol import Copy, State
from hl_async.bulk.reports import RunReport
from hl_async.bulk.run import Run
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.target import LocationTarget
from hl_async.errors import HighLevelError, NotFound, OutcomeUnknown, ServerError, ValidationFailed
from hl_async.models.codec import encode
from hl_async.sandbox import Fault, Sandbox

CONFIG = ClientConfig(timeouts=Timeouts(attempt=1.0))
POLICY = GovernorPolicy(interval=1.0, max=10_000, linger=0.5, pace=None)


class Wrong(LocationTarget):
    """A location whose list or whose server is wrong in some way."""

    lag = 0.0
    """Seconds after which the list shows a document."""
    keyless: Callable[[], bool] = staticmethod(lambda: False)
    fails: Callable[[bytes], HighLevelError | None] = staticmethod(lambda body: None)

    async def perform(self, ids: tuple[str, ...], body: bytes, intend: Callable[[], Awaitable[None]]) -> str:
        error = self.fails(body)
        if error is not None:
            await intend()
            raise error
        return await super().perform(ids, body, intend)

    async def listing(self) -> AsyncGenerator[tuple[str | None, Copy], None]:
        now = time.time()
        async for key, copy in super().listing():
            if (copy.created_at or 0.0) <= now - self.lag:
                yield None if self.keyless() else key, copy


def items(count: int, first: int = 0) -> list[SourceItem]:
    return [
        SourceItem(n, f"doc{n}", encode(samples.estimate(name=f"Order {n}")))
        for n in range(first, first + count)
    ]


async def go(
    path: Path,
    box: Sandbox,
    source: list[SourceItem] | None = None,
    *,
    target: type[LocationTarget] = LocationTarget,
    settle: float = 0.1,
    in_flight: int = 64,
    stop_at: int | None = None,
    meanwhile: Callable[[Run], Awaitable[None]] | None = None,
) -> RunReport:
    async with HighLevel(box.token, base_url=box.url, config=CONFIG, governor=POLICY) as hl:
        async with await Run.create(path, fingerprint="f", location=box.location_id) as run:
            if not run.is_planned:
                await run.plan(source or [])
            if meanwhile is not None:
                await meanwhile(run)

            async def stopping() -> None:
                while stop_at is not None and len(box.ledger.estimates()) < stop_at:
                    await asyncio.sleep(0.002)
                if stop_at is not None:
                    run.stop.set()

            watcher = asyncio.create_task(stopping())
            try:
                return await run.execute(
                    lambda one: target(hl.location(one), run.operation, run.keys),
                    settle=settle,
                    attempt_timeout=0.5,
                    max_in_flight=in_flight,
                )
            finally:
                watcher.cancel()


def keys(box: Sandbox) -> list[str]:
    return [one["meta"]["hl_async"]["k"] for one in box.ledger.estimates()]


@pytest.mark.parametrize("stop_at", [1, 25])
async def test_a_journal_that_lost_its_last_writes_creates_nothing_twice(
    box: Sandbox, tmp_path: Path, stop_at: int
) -> None:
    """The main file without its -wal, as a copy of one file to another machine has it."""
    box.latency = 0.01
    path, kept = tmp_path / "run.db", tmp_path / "kept"

    def keep() -> None:
        if not kept.exists():
            kept.write_bytes(path.read_bytes())

    class Copying(Wrong):
        async def perform(
            self, ids: tuple[str, ...], body: bytes, intend: Callable[[], Awaitable[None]]
        ) -> str:
            async def intended() -> None:
                await intend()
                await asyncio.to_thread(keep)

            return await super().perform(ids, body, intended)

    first = await go(path, box, items(60), target=Copying, in_flight=8, stop_at=stop_at)
    assert 0 < first.created < 60
    path.write_bytes(kept.read_bytes())
    assert not path.with_name("run.db-wal").exists()
    report = await go(path, box)
    assert (report.created, report.state) == (60, "done")
    assert len(set(keys(box))) == len(keys(box)) == 60


async def test_a_backup_of_an_earlier_day_creates_nothing_twice(box: Sandbox, tmp_path: Path) -> None:
    box.latency = 0.01
    path = tmp_path / "run.db"
    await go(path, box, items(40), in_flight=8, stop_at=5)
    backup = path.read_bytes()
    await go(path, box, in_flight=8, stop_at=30)
    path.write_bytes(backup)
    report = await go(path, box)
    assert (report.created, report.state) == (40, "done")
    assert len(set(keys(box))) == len(keys(box)) == 40


async def test_keys_that_stop_coming_back_stop_the_run(box: Sandbox, tmp_path: Path) -> None:
    await go(tmp_path / "run.db", box, items(12), stop_at=1, in_flight=1)

    class Keyless(Wrong):
        keyless = staticmethod(lambda: len(box.ledger.estimates()) > 6)

    box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT, times=3)
    report = await go(tmp_path / "run.db", box, target=Keyless)
    assert report.state == "stopped"
    assert "without their keys" in report.reason
    assert report.ambiguous == 3
    report = await go(tmp_path / "run.db", box)
    assert (report.created, report.state) == (12, "done")
    assert len(set(keys(box))) == len(keys(box)) == 12


async def test_a_list_that_lags_is_looked_at_again(box: Sandbox, tmp_path: Path) -> None:
    class Lagging(Wrong):
        lag = 0.4

    box.faults.script("create-new-estimate", Fault.RESET_BEFORE_COMMIT)
    report = await go(tmp_path / "run.db", box, items(8), target=Lagging, settle=1.0)
    assert (report.created, report.state) == (8, "done")
    assert len(set(keys(box))) == len(keys(box)) == 8


async def test_a_list_that_shows_nothing_leaves_one_document_however_often_the_run_starts(
    box: Sandbox, tmp_path: Path
) -> None:
    class Empty(Wrong):
        lag = 1e9

    for _ in range(3):
        report = await go(tmp_path / "run.db", box, items(5), target=Empty)
        assert (report.state, report.created) == ("stopped", 1)
        assert "does not show" in report.reason or "lacks 1 documents" in report.reason
    assert len(box.ledger.estimates()) == 1
    assert (await go(tmp_path / "run.db", box)).created == 5
    assert len(box.ledger.estimates()) == 5


async def test_a_poisonous_document_is_held_with_the_servers_words(box: Sandbox, tmp_path: Path) -> None:
    class Poisonous(Wrong):
        @staticmethod
        def fails(body: bytes) -> HighLevelError | None:
            if b"Order 3" not in body:
                return None
            return OutcomeUnknown("?", reason=ServerError("500 out of cheese", status=500))

    report = await go(tmp_path / "run.db", box, items(8), target=Poisonous, settle=0.05)
    assert (report.created, report.unknown, report.state) == (7, 1, "done")
    async with await Run.open(tmp_path / "run.db") as run:
        (row,) = await run.each(State.UNKNOWN)
        assert row.reason == "sent 5 times, and each time it was not executed: 500 out of cheese"
        assert await run.journal.retry_rejected() == 1, "it can be tried again"


async def test_a_first_document_that_always_fails_stops_the_run_with_the_apis_words(
    box: Sandbox, tmp_path: Path
) -> None:
    class Failing(Wrong):
        @staticmethod
        def fails(body: bytes) -> HighLevelError | None:
            return OutcomeUnknown("?", reason=ServerError("500 out of cheese", status=500))

    report = await go(tmp_path / "run.db", box, items(8), target=Failing, settle=0.05)
    assert (report.state, report.planned) == ("stopped", 8)
    assert "failed 3 times: 500 out of cheese" in report.reason


async def test_a_gateways_page_rejects_no_document(box: Sandbox, tmp_path: Path) -> None:
    class Gateway(Wrong):
        @staticmethod
        def fails(body: bytes) -> HighLevelError | None:
            if len(box.ledger.estimates()) < 10:
                return None
            return NotFound("404 HTML page", status=404, messages=["HTML page"], body="<html>")

    report = await go(tmp_path / "run.db", box, items(60), target=Gateway, in_flight=8)
    assert (report.state, report.rejected) == ("stopped", 0)
    assert "20 documents in a row were refused with the same words: HTML page" in report.reason
    report = await go(tmp_path / "run.db", box)
    assert (report.created, report.state) == (60, "done")
    assert len(set(keys(box))) == len(keys(box)) == 60


async def test_a_row_of_identical_rejections_stops_the_run(box: Sandbox, tmp_path: Path) -> None:
    class Refusing(Wrong):
        @staticmethod
        def fails(body: bytes) -> HighLevelError | None:
            if len(box.ledger.estimates()) < 5:
                return None
            return ValidationFailed("422 no", status=422, messages=["no"], body='{"message":["no"]}')

    report = await go(tmp_path / "run.db", box, items(100), target=Refusing, in_flight=4)
    assert report.state == "stopped"
    assert report.reason == "20 documents in a row were refused with the same words: no"
    assert 20 <= report.rejected <= 24
    assert report.planned > 60


async def test_copies_that_people_make_are_kept_and_named(box: Sandbox, tmp_path: Path) -> None:
    """A copy carries the key of its original, for the key travels in a field like any other."""
    path = tmp_path / "run.db"
    await go(path, box, items(20), stop_at=10, in_flight=1)
    documents = box.ledger.places[box.location_id].estimates
    originals = list(documents.values())[1:6]
    for one in originals:
        name = box.ledger.new_id()
        documents[name] = {**one, "_id": name}
    box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)
    report = await go(path, box)
    assert (report.created, report.state) == (20, "done")
    assert len(report.foreign_copies) == 5
    async with await Run.open(path, watch=True) as run:
        assert (await run.report()).foreign_copies == report.foreign_copies, "the journal keeps them"
    assert report.second_copies == []
    assert len(box.ledger.estimates()) == 25


async def test_a_second_copy_that_was_swept_is_in_the_journal_and_the_report(
    box: Sandbox, tmp_path: Path
) -> None:
    await go(tmp_path / "run.db", box, items(4), stop_at=1, in_flight=1)
    box.faults.times.late = 1.2
    box.faults.script("create-new-estimate", Fault.LATE_COMMIT)
    report = await go(tmp_path / "run.db", box, settle=0.4)
    assert (report.created, report.state) == (4, "done")
    assert len(report.second_copies) == 1
    assert len(set(keys(box))) == len(keys(box)) == 4
    async with await Run.open(tmp_path / "run.db") as run:
        (deletion,) = await run.journal.deletions()
    assert (deletion.document, deletion.outcome) == (report.second_copies[0], "deleted")
    assert deletion.reason.startswith("a second copy of ")
    assert deletion.ended_at is not None
    assert deletion.at <= deletion.ended_at


async def test_a_full_disk_stops_the_run_resumably(box: Sandbox, tmp_path: Path) -> None:
    box.latency = 0.01

    async def fill(run: Run) -> None:
        journal: Any = run.journal
        reason = "x" * 3000

        async def grow() -> None:
            while (await journal.counts(totals=False)).of(State.CREATED) < 4:
                await asyncio.sleep(0.01)  # a disk that is full before anything was sent is another promise
            (pages,) = await journal.read(lambda db: db.execute("pragma page_count").fetchone())
            await journal.read(lambda db: db.execute(f"pragma max_page_count = {pages}").fetchone())
            while run.journal is journal:
                await asyncio.sleep(0.02)
                await journal.note(**{f"filler {time.time()}": reason})

        filling = asyncio.create_task(grow())
        filling.add_done_callback(lambda task: task.cancelled() or task.exception())

    report = await go(tmp_path / "run.db", box, items(200), in_flight=4, meanwhile=fill)
    assert report.state == "stopped"
    assert "full" in report.reason
    assert report.created < 200
    report = await go(tmp_path / "run.db", box)
    assert (report.created, report.state) == (200, "done")
    assert len(set(keys(box))) == len(keys(box)) == 200


async def test_a_stop_before_the_sweep_is_not_called_done(box: Sandbox, tmp_path: Path) -> None:
    box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)

    async def stop_early(run: Run) -> None:
        async def settled() -> None:
            while (await run.journal.counts(totals=False)).of(State.CREATED) < 4:
                await asyncio.sleep(0.01)
            run.stop.set()

        asyncio.create_task(settled()).add_done_callback(lambda task: task.cancelled() or task.exception())

    report = await go(tmp_path / "run.db", box, items(4), settle=0.3, meanwhile=stop_early)
    assert (report.created, report.unswept, report.state) == (4, 1, "stopped")
    assert not report.complete
    assert (await go(tmp_path / "run.db", box)).state == "done"
