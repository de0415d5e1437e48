"""Promises of a whole run, against the sandbox on real sockets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import samples
from hl_async import ClientConfig, GovernorPolicy, HighLevel, Timeouts
from hl_async.bulk.protocol import State
from hl_async.bulk.reports import Progress, RunReport
from hl_async.bulk.run import Run
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.target import LocationTarget
from hl_async.errors import (
    BulkError,
    CanaryFailed,
    ConfigurationError,
    InvalidRequest,
    JournalCorrupt,
    JournalError,
    JournalLocked,
    JournalMismatch,
    TooManyRejects,
)
from hl_async.models.codec import encode
from hl_async.operations import (
    CREATE_ESTIMATE,
    CREATE_INVOICE,
    CREATE_INVOICE_FROM_ESTIMATE,
    DELETE_ESTIMATE,
    SEND_ESTIMATE,
    Operation,
)
from hl_async.sandbox import Fault, Quirks, Sandbox
from lengths import long

CONFIG = ClientConfig(timeouts=Timeouts(attempt=1.0))
POLICY = GovernorPolicy(interval=1.0, max=10_000, linger=0.5, pace=None)


def items(count: int, **changes: Any) -> list[SourceItem | Reject]:
    body = encode(samples.estimate())
    return [SourceItem(n, f"doc{n}", body, (), "", Decimal("29.97"), "USD", **changes) for n in range(count)]


async def go(
    path: Path,
    box: Sandbox,
    source: list[SourceItem | Reject] | None = None,
    *,
    operation: Operation[Any] = CREATE_ESTIMATE,
    key: str = "meta",
    stop_after: int | None = None,
    location: str | None = None,
    settle: float = 0.2,
) -> RunReport:
    """Plan if need be, execute, report: what the command line does."""
    async with HighLevel(box.token, base_url=box.url, config=CONFIG, governor=POLICY) as hl:
        where = box.location_id if location is None else location
        async with await Run.create(
            path, fingerprint="f", location=where, operation=operation, key=key
        ) as run:
            if not run.is_planned:
                await run.plan(source or [], max_rejects="100%")
            stopping = asyncio.create_task(stop_when(box, stop_after, run.stop))
            try:
                return await run.execute(
                    lambda one: LocationTarget(hl.location(one), run.operation, run.keys),
                    settle=settle,
                    attempt_timeout=1.0,
                )
            finally:
                stopping.cancel()


async def stop_when(box: Sandbox, documents: int | None, stop: asyncio.Event) -> None:
    while documents is not None and not stop.is_set():
        await asyncio.sleep(0.005)
        if len(box.ledger.estimates()) >= documents:
            stop.set()


def creations(box: Sandbox, operation: str = "create-new-estimate") -> dict[str, int]:
    return {key: count for key, count in box.ledger.commits.items() if key.startswith(operation)}


async def test_every_document_is_created_once(box: Sandbox, tmp_path: Path) -> None:
    report = await go(tmp_path / "run.db", box, items(40))
    assert (report.created, report.state, report.total_created) == (40, "done", {"USD": Decimal("1198.80")})
    assert len(box.ledger.estimates()) == 40
    assert set(creations(box).values()) == {1}


@pytest.mark.parametrize(
    "fault",
    [
        Fault.RESET_BEFORE_COMMIT,
        Fault.RESET_AFTER_COMMIT,
        Fault.LATE_ANSWER,
        Fault.HTML_502,
        Fault.ERROR_500_BEFORE,
        Fault.ERROR_500_AFTER,
        Fault.TRUNCATED,
        Fault.TRUNCATED_CLOSE,
        Fault.GARBAGE,
        Fault.THROTTLE,
        Fault.CONTROL_CHARACTERS,
    ],
)
async def test_a_fault_at_any_moment_neither_loses_nor_doubles(
    box: Sandbox, tmp_path: Path, fault: Fault
) -> None:
    """One row of the failure matrix each: bytes partly out, committed and unanswered, 5xx, truncated, 429."""
    box.faults.times.late = 1.5
    box.faults.script("create-new-estimate", fault, times=2)
    report = await go(tmp_path / "run.db", box, items(12))
    assert (report.created, report.unknown, report.state) == (12, 0, "done")
    assert len(box.ledger.estimates()) == 12


async def test_a_commit_later_than_the_settle_time_is_swept(box: Sandbox, tmp_path: Path) -> None:
    """The request commits after the listing said it had not: the sweep deletes the younger draft."""
    box.faults.times.late = 1.4
    await go(tmp_path / "warm.db", box, items(1))
    box.faults.script("create-new-estimate", Fault.LATE_COMMIT)
    body = items(3)
    report = await go(
        tmp_path / "run.db",
        box,
        [SourceItem(i.ordinal + 10, f"late{i.ordinal}", i.body) for i in body],
        settle=0.3,
    )
    assert report.created == 3
    assert len(box.ledger.estimates()) == 4
    assert max(creations(box).values()) <= 2


async def test_what_the_api_will_never_take_is_rejected_with_its_words(box: Sandbox, tmp_path: Path) -> None:
    bad = SourceItem(1, "bad", b'{"name":"x"}', place="line 7")
    report = await go(
        tmp_path / "run.db", box, [items(1)[0], bad, Reject(2, "gone", "a reason", b"raw", skipped=True)]
    )
    assert (report.created, report.rejected, report.skipped) == (1, 1, 1)
    async with await Run.open(tmp_path / "run.db") as run:
        rows = await run.each(State.REJECTED)
        assert "expiryDate" in (rows[0].reason or "")
        assert await run.journal.retry_rejected() == 1
        assert (await run.report()).planned == 1


async def test_a_stopped_run_goes_on_without_creating_twice(box: Sandbox, tmp_path: Path) -> None:
    box.latency = 0.02
    first = await go(tmp_path / "run.db", box, items(300), stop_after=5)
    assert first.state == "stopped"
    assert 0 < first.created < 300
    second = await go(tmp_path / "run.db", box)
    assert (second.created, second.state) == (300, "done")
    assert set(creations(box).values()) == {1}
    assert len(box.ledger.estimates()) == 300


async def test_a_cancelled_run_goes_on_without_creating_twice(box: Sandbox, tmp_path: Path) -> None:
    box.latency = 0.05
    for _ in range(3):
        task = asyncio.create_task(go(tmp_path / "run.db", box, items(200)))
        await asyncio.sleep(0.25)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    report = await go(tmp_path / "run.db", box)
    assert (report.created, report.state) == (200, "done")
    assert len(box.ledger.estimates()) == 200


async def test_the_canary_stops_a_run_whose_key_does_not_come_back(tmp_path: Path) -> None:
    async with Sandbox(rate_max=10_000, rate_interval=1.0, quirks=Quirks(meta_in_lists=False)) as box:
        with pytest.raises(CanaryFailed, match="--key name"):
            await go(tmp_path / "run.db", box, items(5))
        assert len(box.ledger.estimates()) == 1
        report = await go(tmp_path / "other.db", box, items(5), key="name")
        assert report.created == 5


@pytest.mark.parametrize("key", ["title", "number:5000", "field:termsNotes"])
async def test_the_key_may_travel_elsewhere(box: Sandbox, tmp_path: Path, key: str) -> None:
    box.faults.script(
        "create-new-estimate", Fault.RESET_AFTER_COMMIT, Fault.HTML_502, Fault.RESET_BEFORE_COMMIT
    )
    report = await go(tmp_path / "run.db", box, items(8), key=key)
    assert (report.created, report.unknown) == (8, 0)
    assert len(box.ledger.estimates()) == 8
    if key.startswith("number"):
        assert sorted(one["estimateNumber"] for one in box.ledger.estimates()) == list(range(5000, 5008))


async def test_an_invoice_may_carry_its_key_as_its_number(box: Sandbox, tmp_path: Path) -> None:
    body = encode(samples.invoice())
    box.faults.script("create-invoice", Fault.RESET_AFTER_COMMIT, times=2)
    source = [SourceItem(n, f"i{n}", body) for n in range(4)]
    report = await go(tmp_path / "run.db", box, source, operation=CREATE_INVOICE, key="number:700")
    assert report.created == 4
    assert sorted(one["invoiceNumber"] for one in box.ledger.invoices()) == ["700", "701", "702", "703"]


async def test_a_token_that_is_refused_stops_the_run_resumably(box: Sandbox, tmp_path: Path) -> None:
    box.tokens.grants[box.token].scopes = frozenset()
    report = await go(tmp_path / "run.db", box, items(5))
    assert (report.state, report.planned, report.created) == ("stopped", 5, 0)
    assert "not authorized for this scope" in report.reason


async def test_an_unreachable_server_leaves_everything_planned(box: Sandbox, tmp_path: Path) -> None:
    async with HighLevel(box.token, base_url="http://127.0.0.1:9", governor=POLICY) as hl:
        async with await Run.create(tmp_path / "run.db", fingerprint="f", location=box.location_id) as run:
            await run.plan(items(3))
            asyncio.get_running_loop().call_later(0.6, run.stop.set)
            report = await run.execute(
                lambda one: LocationTarget(hl.location(one), run.operation, run.keys), settle=0.1
            )
    assert (report.state, report.planned) == ("stopped", 3)


async def test_several_locations_share_one_run_fairly(box: Sandbox, tmp_path: Path) -> None:
    places = [box.add_location() for _ in range(20)]
    body = encode(samples.estimate())
    source = [SourceItem(n, f"d{n}", body, (), places[n % 20], Decimal("29.97"), "USD") for n in range(100)]
    report = await go(tmp_path / "run.db", box, source, location="")
    assert report.created == 100
    assert {len(box.ledger.estimates(place)) for place in places} == {5}
    async with await Run.create(tmp_path / "x.db", fingerprint="f", location="") as run:
        with pytest.raises(InvalidRequest, match="names no location"):
            await run.plan(items(1))


async def test_invoices_are_made_from_estimates_once(box: Sandbox, tmp_path: Path) -> None:
    await go(tmp_path / "run.db", box, items(6))
    ids = [one["_id"] for one in box.ledger.estimates()]
    for one in box.ledger.estimates():
        one["estimateStatus"] = "sent"
        box.customer.accept(one["_id"])
    source = [SourceItem(n, one, b'{"markAsInvoiced":true}', (one,)) for n, one in enumerate(ids)]
    box.faults.script(
        "create-invoice-from-estimate", Fault.RESET_AFTER_COMMIT, Fault.RESET_BEFORE_COMMIT, Fault.HTML_502
    )
    report = await go(tmp_path / "inv.db", box, source, operation=CREATE_INVOICE_FROM_ESTIMATE)
    assert (report.created, report.unknown) == (6, 0)
    assert sorted(one["sourceId"] for one in box.ledger.invoices()) == sorted(ids)


async def test_invoices_are_created_once_with_the_key_in_a_text(box: Sandbox, tmp_path: Path) -> None:
    body = encode(samples.invoice())
    source = [SourceItem(n, f"i{n}", body, (), "", Decimal("29.97"), "USD") for n in range(5)]
    box.faults.script("create-invoice", Fault.RESET_AFTER_COMMIT, times=2)
    report = await go(tmp_path / "run.db", box, source, operation=CREATE_INVOICE, key="name")
    assert report.created == 5
    assert len(box.ledger.invoices()) == 5


async def test_what_nobody_can_answer_is_held_and_never_sent_again(box: Sandbox, tmp_path: Path) -> None:
    await go(tmp_path / "run.db", box, items(3))
    ids = [one["_id"] for one in box.ledger.estimates()]
    body = b'{"action":"email","liveMode":false,"userId":"u1"}'
    box.faults.script("send-estimate", Fault.RESET_AFTER_COMMIT)
    source = [SourceItem(n, one, body, (one,)) for n, one in enumerate(ids)]
    report = await go(tmp_path / "send.db", box, source, operation=SEND_ESTIMATE)
    assert (report.created, report.unknown, report.state) == (2, 1, "done")
    assert {one["sentCount"] for one in box.ledger.estimates()} == {1}


async def test_idempotent_work_is_simply_repeated(box: Sandbox, tmp_path: Path) -> None:
    await go(tmp_path / "run.db", box, items(5))
    source = [SourceItem(n, one["_id"], b"", (one["_id"],)) for n, one in enumerate(box.ledger.estimates())]
    box.faults.script("delete-estimate", Fault.HTML_502, times=6)
    report = await go(tmp_path / "del.db", box, source, operation=DELETE_ESTIMATE)
    assert report.created + report.rejected == 5
    assert box.ledger.estimates() == []


async def test_progress_is_told(box: Sandbox, tmp_path: Path) -> None:
    box.latency = 0.05
    seen: list[Progress] = []
    async with HighLevel(box.token, base_url=box.url, governor=POLICY) as hl:
        async with await Run.create(tmp_path / "run.db", fingerprint="f", location=box.location_id) as run:
            forecast = await run.plan(items(30))
            assert (forecast.items, forecast.totals) == (30, {"USD": Decimal("899.10")})
            await run.execute(
                lambda one: LocationTarget(hl.location(one), run.operation, run.keys),
                max_in_flight=2,
                on_progress=seen.append,
            )
    assert seen[0].of == 30
    assert math.isfinite(seen[-1].rate)


async def test_a_wrong_mapping_is_noticed_early(tmp_path: Path) -> None:
    rejects: list[SourceItem | Reject] = [Reject(n, str(n), "no price", b"") for n in range(300)]
    async with await Run.create(tmp_path / "run.db", fingerprint="f", location="loc") as run:
        with pytest.raises(TooManyRejects, match="no price"):
            await run.plan(rejects)
        with pytest.raises(TooManyRejects, match=r"200 .* last reason: no price "):
            await run.plan([*rejects[:199], *items(1)])
        with pytest.raises(TooManyRejects):
            await run.plan(rejects, max_rejects="5")
        with pytest.raises(InvalidRequest, match="max_rejects"):
            await run.plan(rejects, max_rejects="many")
        assert (
            await run.plan([Reject(n, "", "rule", b"", by_rule=True) for n in range(300)])
        ).rejected == 300


async def test_documents_that_share_a_number_are_all_created(box: Sandbox, tmp_path: Path) -> None:
    body = encode(samples.estimate())
    report = await go(tmp_path / "run.db", box, [SourceItem(n, "same", body) for n in range(3)])
    assert report.created == 3


async def test_a_trial_creates_only_the_first_documents(tmp_path: Path) -> None:
    async with await Run.create(tmp_path / "run.db", fingerprint="f", location="loc") as run:
        assert (await run.plan(items(10), limit=4)).items == 4


async def test_a_journal_belongs_to_one_run_and_one_process(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with await Run.create(path, fingerprint="f", location="loc"):
        with pytest.raises(JournalLocked, match="process \\d+ works"):
            await Run.open(path)
    with pytest.raises(JournalMismatch, match="fingerprint"):
        await Run.create(path, fingerprint="other", location="loc")
    with pytest.raises(JournalMismatch, match="location"):
        await Run.create(path, fingerprint="f", location="elsewhere")
    with pytest.raises(ConfigurationError, match="key"):
        await Run.create(path, fingerprint="f", location="loc", key="??")


async def test_what_is_no_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is missing"):
        await Run.open(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("this is no database at all" * 100)
    with pytest.raises(JournalCorrupt):
        await Run.open(tmp_path / "text.db")
    import sqlite3

    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("create table x (y)")
    other.commit()
    other.close()
    with pytest.raises(JournalCorrupt, match="not a journal of this program"):
        await Run.open(tmp_path / "other.db")
    with pytest.raises(JournalError):
        await Run.create(tmp_path / "missing" / "run.db", fingerprint="f", location="l")


@asynccontextmanager
async def planned(path: Path, count: int) -> AsyncIterator[Run]:
    async with await Run.create(path, fingerprint="f", location="loc") as run:
        await run.plan(items(count))
        yield run


async def test_the_journal_moves_an_item_only_from_where_it_stands(tmp_path: Path) -> None:
    async with planned(tmp_path / "run.db", 2) as run:
        journal = await run.journal.lease("loc")
        assert journal is not None
        assert await journal.intend(0, 0, 1.0)
        assert not await journal.intend(0, 0, 1.0)
        assert not await journal.created(0, 0, "x")
        assert await journal.created(0, 1, "x")
        assert not await journal.rejected(0, 1, "late")
        assert not await journal.mark_planned(0, 1)
        assert await journal.intend(1, 0, 1.0)
        assert await journal.mark_unknown(1, 1, "unclear")
        assert (await run.report()).unknown == 1
        assert "run.db" in repr(run.journal)


async def test_operations_that_make_nothing_listable_cannot_be_verified(box: Sandbox, tmp_path: Path) -> None:
    async with HighLevel(box.token, base_url=box.url) as hl:
        async with await Run.create(
            tmp_path / "r.db", fingerprint="f", location="l", operation=SEND_ESTIMATE
        ) as run:
            with pytest.raises(BulkError):
                await run.verify(hl)
            with pytest.raises(BulkError):
                await run.rollback(hl)


@pytest.mark.parametrize("locations", [250, long(1000)])
@pytest.mark.untraced
async def test_many_locations_in_one_run(tmp_path: Path, locations: int) -> None:
    async with Sandbox(rate_max=100, rate_interval=1.0) as box:
        places = [box.add_location() for _ in range(locations)]
        body = encode(samples.estimate())
        source = [
            SourceItem(n, f"d{n}", body, (), place, Decimal("29.97"), "USD") for n, place in enumerate(places)
        ]
        report = await go(tmp_path / "run.db", box, source, location="")
        assert (report.created, report.state) == (locations, "done")
        assert all(len(box.ledger.estimates(place)) == 1 for place in places)
        assert box.refused == 0


async def test_an_intent_that_cannot_be_written_sends_nothing(box: Sandbox, tmp_path: Path) -> None:
    """The disk is full, or became read-only: what was not written down does not leave."""
    async with HighLevel(box.token, base_url=box.url, governor=POLICY) as hl:
        async with await Run.create(tmp_path / "run.db", fingerprint="f", location=box.location_id) as run:
            await run.plan(items(5))
            await run.journal.read(lambda db: db.execute("pragma query_only = on"))
            report = await run.execute(lambda one: LocationTarget(hl.location(one), run.operation, run.keys))
    assert (report.state, report.planned) == ("stopped", 5), "it can be resumed"
    assert "could not be written" in report.reason
    assert box.count == 0
    report = await go(tmp_path / "run.db", box)
    assert report.created == 5
