"""``hl-async receivables`` and ``reconcile`` against a sandbox, checked with figures of another origin."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import samples
from hl_async import HighLevel as AsyncHighLevel
from hl_async import OAuthApp
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.models import InvoiceSend, RecordPayment
from hl_async.sandbox import Sandbox
from hl_async.sync import HighLevel
from hl_async.testing.serving import served


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with served() as box:
        for name, value in {"TOKEN": box.token, "BASE_URL": box.url, "LOCATION_ID": box.location_id}.items():
            monkeypatch.setenv(f"HL_{name}", value)
        yield box


@pytest.fixture
def shop(box: Sandbox) -> Iterator[Any]:
    with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        yield hl.location()


def sent(shop: Any) -> Any:
    made = shop.invoices.create(samples.invoice())
    shop.invoices.send(made.id, InvoiceSend(action="email", user_id="u1", live_mode=False))
    return made


def test_open_invoices_are_summed_and_the_rest_is_not(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    owed = [sent(shop) for _ in range(3)]
    shop.invoices.create(samples.invoice())  # a draft is not owed
    part = owed[0].total / 4
    shop.invoices.record_payment(owed[0].id, RecordPayment(mode="cash", notes="a quarter", amount=part))
    assert run(["receivables", "--format", "json", "--as-of", "2026-01-01"]) == ExitCode.OK
    rows = json.loads(capsys.readouterr().out)
    snapshot = [shop.invoices.get(one.id) for one in owed]
    assert sum(Decimal(row["amount_due"]) for row in rows) == sum(one.amount_due for one in snapshot)
    assert {row["invoice_id"] for row in rows} == {one.id for one in owed}
    assert run(["receivables"]) == ExitCode.OK
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[:1] == ["customer"]
    assert out[-1].startswith("all")


def test_rows_come_as_csv_with_a_header(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = sent(shop)
    assert run(["receivables", "--format", "csv"]) == ExitCode.OK
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["invoice_id"] == made.id
    assert Decimal(row["amount_due"]) == made.total


def test_nothing_owed_is_said(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["receivables"]) == ExitCode.OK
    assert capsys.readouterr().out == "nothing is owed\n"
    for command in ("receivables", "reconcile"):
        assert run([command, "--format", "csv"]) == ExitCode.OK
        (header,) = capsys.readouterr().out.splitlines()  # a loader finds its columns all the same
        assert header.startswith(("location,invoice_id", "kind,location"))


def test_invoices_that_agree_with_their_payments_pass(
    box: Sandbox, shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sent(shop)
    assert run(["reconcile"]) in (ExitCode.OK, ExitCode.DIFFERS)
    assert "compared 1 invoice with 0 transactions" in capsys.readouterr().err


def test_every_location_of_an_agency_is_in_one_report(
    box: Sandbox,
    shop: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent(shop)
    other = box.add_location()
    with HighLevel(box.token, base_url=box.url, location_id=other) as hl:
        sent(hl.location())
    registered = box.add_app()
    monkeypatch.delenv("HL_TOKEN")
    for name, value in {
        "CLIENT_ID": registered.client_id,
        "CLIENT_SECRET": registered.client_secret,
        "TOKEN_STORE": str(tmp_path / "tokens.db"),
    }.items():
        monkeypatch.setenv(f"HL_{name}", value)

    async def install() -> None:
        app = OAuthApp.from_env()
        async with AsyncHighLevel(app, base_url=box.url):
            await app.exchange_code(box.authorise(registered.client_id))

    asyncio.run(install())
    assert run(["receivables", "--company", box.company_id, "--format", "ndjson"]) == ExitCode.OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["location"] for row in rows} == {box.location_id, other}
    assert run(["reconcile", "--company", box.company_id]) == ExitCode.OK
    assert "compared 2 invoices with 0 transactions" in capsys.readouterr().err
