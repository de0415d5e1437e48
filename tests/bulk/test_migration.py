"""Promises of the verbs of a migration in Python, against the sandbox on real sockets."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from test_run import items

from hl_async import HighLevel, PrivateToken, bulk
from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.reports import Forecast, Progress
from hl_async.errors import (
    AlreadyMigrated,
    BulkError,
    ConfigurationError,
    JournalMismatch,
    JournalMissing,
    TooManyRejects,
)
from hl_async.sandbox import Fault, Sandbox

MAPPING = """
[document]
group_by = "No"
name = "Order {No}"
currency = "USD"
expiry_date = "2040-12-31"
[contact]
id = "c6tZWq1n0uEh8Rk2Lm4p"
name = "Alex"
email = "alex@example.com"
[line]
name = "{Name}"
amount = "{Price}"
qty = "1"
"""


def source(folder: Path, rows: int = 3, bad: int = 0) -> tuple[Path, Path]:
    """A table and its mapping."""
    table, mapping = folder / "a.csv", folder / "m.toml"
    lines = [f"A-{n},Door,10" for n in range(rows)] + [f"B-{n},Door,oops" for n in range(bad)]
    table.write_text("\n".join(["No,Name,Price", *lines]) + "\n")
    mapping.write_text(MAPPING)
    return table, mapping


async def test_the_verbs_plan_migrate_verify_and_take_back(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    table, mapping = source(tmp_path, rows=3, bad=1)
    plan = await bulk.plan(table, mapping=mapping, location=box.location_id)
    assert (plan.forecast.items, plan.forecast.rejected) == (3, 1)
    assert plan.first == bulk.Preview("Order A-0", "Alex <alex@example.com>", 1, "10.00", "USD", "2040-12-31")
    assert (box.count, sum(plan.reasons.values())) == (0, 1)
    assert Path(plan.reject_file).name == "a.rejects.csv"
    assert not (tmp_path / "a.csv.hl.db").exists()

    planned: list[Forecast] = []
    seen: list[Progress] = []
    report = await bulk.migrate(
        hl, table, mapping=mapping, on_planned=planned.append, on_progress=seen.append, settle=0.2
    )
    assert (report.state, report.created, report.rejected) == ("done", 3, 1)
    assert report.journal == str(tmp_path / "a.csv.hl.db")
    assert Path(report.reject_file).read_text().startswith("No,Name,Price,reject_reason\nB-0,Door,oops,")
    assert (planned[0].items, seen[-1].done) == (3, 4)

    journal = tmp_path / "a.csv.hl.db"
    found = await bulk.verify(hl, journal, report=tmp_path / "found.csv")
    assert (found.same, found.differences) == (3, [])
    assert (tmp_path / "found.csv").read_text().count("same") == 3
    undone = await bulk.rollback(hl, journal)
    assert (undone.deleted, undone.complete, box.ledger.estimates()) == (3, True, [])
    again = await bulk.migrate(hl, table, mapping=mapping, settle=0.2)
    assert (again.created, len(box.ledger.estimates())) == (3, 3)


async def test_a_stopped_migration_is_resumed_by_the_same_call_and_by_its_journal(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    table, mapping = source(tmp_path, rows=40)
    stop = asyncio.Event()
    box.latency = 0.02

    def halt(now: Progress) -> None:
        if now.created:
            stop.set()

    first = await bulk.migrate(hl, table, mapping=mapping, stop=stop, max_in_flight=1, on_progress=halt)
    assert (first.state, first.created < 40) == ("stopped", True)
    second = await bulk.migrate(hl, None, journal=tmp_path / "a.csv.hl.db", limit=None)
    assert (second.state, second.created, len(box.ledger.estimates())) == ("done", 40, 40)
    third = await bulk.migrate(hl, table, mapping=mapping)
    assert (third.state, third.created, len(box.ledger.estimates())) == ("done", 40, 40)


async def test_records_are_a_source_if_they_have_a_journal(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="journal"):
        await bulk.migrate(hl, items(2))
    journal = tmp_path / "run.db"
    trial = await bulk.migrate(hl, items(5), journal=journal, limit=2)
    assert (trial.created, trial.total_created) == (2, {"USD": Decimal("59.94")})
    assert (await bulk.migrate(hl, items(5), journal=journal)).created == 5
    assert (await bulk.verify(hl, journal)).same == 5


async def test_what_another_run_created_is_not_created_again_unless_asked_for(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    await bulk.migrate(hl, items(3), journal=tmp_path / "first.db")
    places = [box.location_id, box.add_location()]
    with pytest.raises(
        AlreadyMigrated, match=r"3 of these 4 documents are in location .* first\.db\. This run"
    ):
        await bulk.migrate(hl, items(4), journal=tmp_path / "second.db")
    assert not (tmp_path / "second.db").exists()
    elsewhere = await bulk.migrate(hl, items(4), journal=tmp_path / "third.db", location=places[1])
    assert elsewhere.created == 4
    assert (await bulk.migrate(hl, items(4), journal=tmp_path / "second.db", again=True)).created == 4
    assert len(box.ledger.estimates()) == 7


async def test_a_journal_of_something_else_is_refused_in_words(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    table, mapping = source(tmp_path)
    await bulk.migrate(hl, table, mapping=mapping, journal=tmp_path / "run.db")
    other = tmp_path / "other.csv"
    other.write_bytes(table.read_bytes().replace(b"A-", b"C-"))
    with pytest.raises(JournalMismatch, match=r"holds a run of a\.csv, not of other\.csv: 3 of 3 documents"):
        await bulk.migrate(hl, other, mapping=mapping, journal=tmp_path / "run.db")
    with pytest.raises(JournalMismatch, match="location"):
        await bulk.migrate(
            hl, table, mapping=mapping, journal=tmp_path / "run.db", location=box.add_location()
        )
    with pytest.raises(BulkError, match="give a source"):
        await bulk.migrate(hl, None)
    with pytest.raises(JournalMissing):
        await bulk.migrate(hl, None, journal=tmp_path / "none.db")
    with pytest.raises(TypeError, match="limti"):
        await bulk.migrate(hl, table, limti=3)  # type: ignore[call-arg]


async def test_a_source_whose_mapping_is_wrong_leaves_no_journal(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    table, mapping = source(tmp_path, rows=1, bad=3)
    with pytest.raises(TooManyRejects):
        await bulk.migrate(hl, table, mapping=mapping, max_rejects="1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "m.toml"]
    assert box.count == 0


async def test_a_rollback_of_a_run_that_was_stopped_in_the_middle_leaves_nothing(
    box: Sandbox, tmp_path: Path
) -> None:
    """Lost answers, second copies and a stop: the whole path, over the wire."""
    box.faults.use({Fault.RESET_AFTER_COMMIT: 0.2, Fault.RESET_BEFORE_COMMIT: 0.1}, seed=3)
    stop = asyncio.Event()

    def halt(now: Progress) -> None:
        if now.created >= 10:
            stop.set()

    async with HighLevel(PrivateToken(box.token), base_url=box.url, location_id=box.location_id) as hl:
        report = await bulk.migrate(
            hl, items(60), journal=tmp_path / "run.db", stop=stop, settle=0.2, attempt_timeout=1.0,
            max_in_flight=4, on_progress=halt,
        )  # fmt: skip
        assert report.state == "stopped"
        assert box.ledger.estimates()
        undone = await bulk.rollback(hl, tmp_path / "run.db")
        assert (undone.state, undone.kept, box.ledger.estimates()) == ("rolled_back", [], [])
        found = await bulk.verify(hl, tmp_path / "run.db")
    assert (found.documents, found.differences) == (0, [])


async def test_a_process_that_died_before_it_named_its_run_is_followed_by_the_same_call(
    hl: HighLevel, tmp_path: Path
) -> None:
    table, mapping = source(tmp_path)
    store = SqliteJournals(tmp_path / "a.csv.hl.db")
    found = await bulk.migrate(hl, table, mapping=mapping)
    header = await _header(store)
    await store.remove()
    unnamed = {name: header[name] for name in ("fingerprint", "location", "operation", "key")}
    await (await store.create(unnamed)).aclose()  # what is left of a process that is killed here
    again = await bulk.migrate(hl, table, mapping=mapping, again=True)
    assert (found.created, again.created) == (3, 3)


async def _header(store: SqliteJournals) -> dict[str, str]:
    journal = await store.open(watch=True)
    try:
        return await journal.header()
    finally:
        await journal.aclose()
