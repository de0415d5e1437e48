"""Rules of the client in plans: long names are refused by row or cut on request, and rules go by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from hl_async import ClientConfig, HighLevel
from hl_async.bulk import (
    Document,
    DocumentCustomer,
    DocumentLine,
    Mapping,
    Reject,
    SourceItem,
    SourceSettings,
    encode_document,
    migrate,
    open_source,
    plan,
    read_documents,
    read_source,
)
from hl_async.bulk.export import copy_source
from hl_async.errors import ConfigurationError
from hl_async.sandbox import Sandbox

LONG = "A kitchen with a name of more than forty characters"
CUT = "A kitchen with a name of more than fort…"
RULES = frozenset({"name_at_most_40", "title_at_most_40"})
MAPPING = """
[document]
group_by = "Order"
name = "{Name}"
title = "{Title}"
currency = "USD"
expiry_date = "2040-12-31"
[contact]
id = "c6tZWq1n0uEh8Rk2Lm4p"
name = "Alex"
[line]
name = "{Item}"
amount = "{Price}"
"""
KINDS = ["table", "documents", "drafts", "in Python"]


def document(name: str, title: str, *, kind: str = "estimate") -> Document:
    return Document(
        "d1", kind=kind, name=name, title=title, currency="USD", customer=DocumentCustomer(contact_id="c", name="Alex"),
        lines=[DocumentLine(name="Door", amount=1)],
    )  # fmt: skip


def written(folder: Path, kind: str, name: str, title: str, *, cut: bool = False) -> tuple[Path, Path | None]:
    """A source of one document, and its mapping."""
    if kind == "table":
        path, mapping = folder / "a.csv", folder / "map.toml"
        path.write_text(f"Order,Name,Title,Item,Price\nd1,{name},{title},Door,1\n")
        mapping.write_text(MAPPING.replace("[contact]", "cut_names = true\n[contact]") if cut else MAPPING)
        return path, mapping
    path = folder / "a.ndjson"
    if kind == "documents":
        path.write_bytes(encode_document(document(name, title)) + b"\n")
    else:
        body = {
            "name": name, "title": title, "currency": "USD", "expiryDate": "2040-01-01", "sourceId": "d1",
            "contactDetails": {"id": "c", "name": "Alex"},
            "items": [{"name": "Door", "currency": "USD", "amount": 1, "qty": 1}],
        }  # fmt: skip
        path.write_text(json.dumps(body) + "\n")
    return path, None


def planned(
    folder: Path, kind: str, name: str = LONG, title: str = "Quote", *, cut: bool = False, off: frozenset[str] = frozenset()
) -> SourceItem | Reject:  # fmt: skip
    settings = SourceSettings(cut_names=cut)
    if kind == "in Python":
        (found,) = read_documents([document(name, title)], settings, rules_off=off)
        return found
    path, mapping = written(folder, kind, name, title, cut=cut)
    read = Mapping.load(mapping) if mapping is not None else None
    (found,) = read_source(path, read, settings=settings, rules_off=off)
    return found


def texts(item: SourceItem | Reject) -> tuple[str, str]:
    assert isinstance(item, SourceItem), item
    body = json.loads(item.body)
    return body["name"], body["title"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_name_or_title_is_a_reject_that_offers_to_cut_it(tmp_path: Path, kind: str) -> None:
    for field, values in (("name", (LONG, "Quote")), ("title", ("Kitchen", LONG))):
        found = planned(tmp_path, kind, *values)
        assert isinstance(found, Reject)
        assert found.reason.startswith(
            f"{field}: has 51 characters, the API takes 40 (rule {field}_at_most_40)"
        )
        assert "--cut-names" in found.reason[:100]
        assert found.reason.endswith(repr(LONG))
        assert found.source_id == "d1"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_on_request_is_noted(tmp_path: Path, kind: str) -> None:
    found = planned(tmp_path, kind, LONG, LONG, cut=True)
    assert texts(found) == (CUT, CUT)
    assert isinstance(found, SourceItem)
    assert {"name is cut to 40 characters", "title is cut to 40 characters"} <= set(found.notes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [False, True])
def test_a_rule_that_is_off_neither_refuses_nor_cuts(tmp_path: Path, kind: str, cut: bool) -> None:
    assert texts(planned(tmp_path, kind, LONG, LONG, cut=cut, off=RULES)) == (LONG, LONG)


def test_an_invoices_name_is_cut_only_on_request_because_no_limit_is_known() -> None:
    one = document(LONG, LONG, kind="invoice")
    for cut, expected in ((False, LONG), (True, CUT)):
        (found,) = read_documents([one], SourceSettings(kind="invoice", cut_names=cut))
        assert texts(found) == (expected, expected)


def test_the_environment_switches_rules_off_where_no_client_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mapping = written(tmp_path, "table", LONG, "Quote")
    read = Mapping.load(mapping) if mapping else None
    (refused,) = read_source(path, read)
    assert isinstance(refused, Reject)
    monkeypatch.setenv("HL_RULES_OFF", "name_at_most_40")
    (found,) = read_source(path, read)
    assert texts(found) == (LONG, "Quote")


async def test_a_dry_run_follows_the_rules_that_it_is_given(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, "table", LONG, "Quote")
    found = await plan(path, mapping=mapping, location="loc1", max_rejects="100%")
    assert (found.forecast.items, found.forecast.rejected) == (0, 1)
    found = await plan(path, mapping=mapping, location="loc1", rules_off={"name_at_most_40"})
    assert (found.forecast.items, found.forecast.rejected) == (1, 0)
    with pytest.raises(ConfigurationError, match="unknown rule 'name_at_most_4'; known are"):
        await plan(path, mapping=mapping, location="loc1", rules_off={"name_at_most_4"})


@pytest.mark.parametrize("opened", [False, True])
async def test_a_client_whose_rule_is_off_migrates_a_long_name_as_it_is(tmp_path: Path, opened: bool) -> None:
    path, mapping = written(tmp_path, "table", LONG, "Quote")
    source = await asyncio.to_thread(open_source, [path], mapping=mapping) if opened else path
    async with Sandbox(rules_off={"name_at_most_40"}) as box:
        config = ClientConfig(rules_off=frozenset({"name_at_most_40"}))
        async with HighLevel(box.token, base_url=box.url, location_id=box.location_id, config=config) as hl:
            report = await migrate(
                hl, source, mapping=mapping, journal=tmp_path / "run.db", max_rejects="100%"
            )
            assert (report.created, report.rejected) == (1, 0)
            (made,) = [one async for one in hl.location().estimates.list()]
            assert made.name == LONG


async def test_a_copy_refuses_or_cuts_a_name_that_the_source_holds(tmp_path: Path) -> None:
    async with Sandbox(rules_off={"name_at_most_40"}) as box:
        off = ClientConfig(rules_off=frozenset({"name_at_most_40"}))
        path, _ = written(tmp_path, "drafts", LONG, "Quote")
        async with HighLevel(box.token, base_url=box.url, location_id=box.location_id, config=off) as hl:
            assert (await migrate(hl, path)).created == 1
            (as_it_is,) = [one async for one in copy_source(hl.location())]
            assert texts(as_it_is) == (LONG, "Quote")
        async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
            (refused,) = [one async for one in copy_source(hl.location())]
            assert isinstance(refused, Reject)
            (cut,) = [one async for one in copy_source(hl.location(), cut_names=True)]
            assert texts(cut) == (CUT, "Quote")


def test_the_offer_of_a_command_is_a_setting_of_every_source(tmp_path: Path) -> None:
    path, _ = written(tmp_path, "drafts", LONG, "Quote")
    (found,) = open_source([path], pairs=["cut_names=true"]).read()
    assert texts(found) == (CUT, "Quote")
    assert msgspec.structs.asdict(SourceSettings())["cut_names"] is False
