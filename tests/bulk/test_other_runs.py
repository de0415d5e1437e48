"""Promises about documents of other runs: found where they are the same, told apart where they are not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from test_migration import MAPPING

from hl_async import HighLevel, bulk
from hl_async.errors import AlreadyMigrated, ConfigurationError, JournalMismatch
from hl_async.sandbox import Sandbox


def export(folder: Path, called: str, rows: dict[str, int]) -> Path:
    """A table of orders by number and price."""
    path = folder / called
    path.write_text("No,Name,Price\n" + "".join(f"{number},Door,{price}\n" for number, price in rows.items()))
    return path


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    return path


ELEVEN = {str(n): 10 for n in range(1, 12)}
OTHERS = {str(n): 77 for n in range(1, 12)}


async def test_a_newer_export_of_the_same_system_finds_the_documents_of_the_earlier_one(
    box: Sandbox, hl: HighLevel, tmp_path: Path, mapping: Path
) -> None:
    await bulk.migrate(hl, export(tmp_path, "orders-05-01.csv", ELEVEN), mapping=mapping)
    newer = export(tmp_path, "orders-06-01.csv", ELEVEN | {"3": 12, "12": 10})
    with pytest.raises(AlreadyMigrated) as caught:
        await bulk.migrate(hl, newer, mapping=mapping)
    said = str(caught.value)
    assert "11 of these 12 documents are in location" in said
    assert "from another run of the source 'orders'" in said
    assert "orders-05-01.csv.hl.db; 10 of them have the same contents. This run would create" in said
    assert len(box.ledger.estimates()) == 11
    assert not (tmp_path / "orders-06-01.csv.hl.db").exists()


async def test_two_systems_that_number_alike_are_told_apart_by_a_question_that_a_name_answers(
    box: Sandbox, hl: HighLevel, tmp_path: Path, mapping: Path
) -> None:
    await bulk.migrate(hl, export(tmp_path, "acme.csv", ELEVEN), mapping=mapping)
    other = export(tmp_path, "beta.csv", OTHERS)
    with pytest.raises(AlreadyMigrated) as caught:
        await bulk.migrate(hl, other, mapping=mapping)
    said = str(caught.value)
    assert "11 of these 11 documents have source ids of documents that are in location" in said
    assert "from the source 'acme', created " in said
    assert "This source is called 'beta', and none of them has the same contents" in said
    assert "--source-name beta" in said
    assert "--source-name 'acme'" in said
    report = await bulk.migrate(hl, other, mapping=mapping, source_name="beta")
    assert (report.created, len(box.ledger.estimates())) == (11, 22)
    for journal in ("acme.csv.hl.db", "beta.csv.hl.db"):
        found = await bulk.verify(hl, tmp_path / journal)
        assert (found.same, found.differences) == (11, [])


async def test_a_stated_name_does_not_hide_documents_with_the_same_contents(
    box: Sandbox, hl: HighLevel, tmp_path: Path, mapping: Path
) -> None:
    await bulk.migrate(hl, export(tmp_path, "acme.csv", ELEVEN), mapping=mapping)
    again = export(tmp_path, "beta.csv", OTHERS | {"3": 10, "4": 10})
    with pytest.raises(AlreadyMigrated, match=r"2 of these 11 .* 'acme'.* calls its source 'beta'"):
        await bulk.migrate(hl, again, mapping=mapping, source_name="beta")
    assert len(box.ledger.estimates()) == 11


async def test_mappings_of_one_name_for_two_systems_end_in_a_question_too(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    rules = tmp_path / "shop.toml"
    rules.write_text(MAPPING)
    await bulk.migrate(hl, export(tmp_path, "acme.csv", ELEVEN), mapping=rules)
    with pytest.raises(
        AlreadyMigrated, match=r"the source 'shop'.*none of them has the same.*--source-name NAME"
    ):
        await bulk.migrate(hl, export(tmp_path, "beta.csv", OTHERS), mapping=rules)
    report = await bulk.migrate(hl, tmp_path / "beta.csv", mapping=rules, source_name="beta")
    assert (report.created, len(box.ledger.estimates())) == (11, 22)


async def test_invoices_are_found_by_their_keys_although_they_have_no_meta(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    rules = tmp_path / "shop.toml"
    rules.write_text(MAPPING.replace("expiry_date", "due_date"))
    table = export(tmp_path, "bills.csv", ELEVEN)
    bills = await asyncio.to_thread(lambda: bulk.open_source([table], mapping=rules, kind="invoice"))
    assert (await bulk.migrate(hl, bills)).created == 11
    with pytest.raises(AlreadyMigrated, match=r"11 of these 11 documents are in location .* not named there"):
        await bulk.migrate(hl, bills, journal=tmp_path / "second.db")
    report = await bulk.migrate(hl, bills, journal=tmp_path / "second.db", again=True)
    assert report.created == 11
    found = await bulk.verify(hl, tmp_path / "second.db")
    assert [one.kind for one in found.differences] == ["extra"] * 11


async def test_the_name_of_a_run_is_fixed_by_its_first_start(
    box: Sandbox, hl: HighLevel, tmp_path: Path, mapping: Path
) -> None:
    table = export(tmp_path, "acme.csv", ELEVEN)
    await bulk.migrate(hl, table, mapping=mapping, limit=2, source_name="acme of Dallas")
    with pytest.raises(JournalMismatch, match="'acme of Dallas', and its documents carry that name"):
        await bulk.migrate(hl, table, mapping=mapping, source_name="acme")
    with pytest.raises(ConfigurationError, match="source-name"):
        await bulk.migrate(hl, table, mapping=mapping, source_name=" ")
    report = await bulk.migrate(hl, table, mapping=mapping)
    assert (report.created, len(box.ledger.estimates())) == (11, 11)
