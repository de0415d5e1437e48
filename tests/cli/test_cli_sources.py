"""Promises of the front doors on the command line: exports of systems, queries, documents, and help with all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli import Served, serving

from hl_async.bulk.sources.document import Document
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode

HEAD = (
    "Quote #,Client name,Client email,Client phone,Property,Title,Status,Created date,Sent date,Approved date,Converted date,Total ($),"
    "Salesperson\n"
)
GIVEN = ["--set", "currency=USD", "--set", "contact_id=c6tZWq1n0uEh8Rk2Lm4p"]


@pytest.fixture(scope="module")
def box() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture
def folder(box: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in box.env.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def quotes(name: str, *totals: str) -> None:
    rows = [
        f'{name}{n},Robin,r@example.com,,,Deck,Draft,2024-03-04,,,,"{one}",\n' for n, one in enumerate(totals)
    ]
    Path(f"{name}.csv").write_text("Quotes report,,,,,,,,,,,,\n" + HEAD + "".join(rows))


def test_an_export_of_a_system_becomes_estimates_equal_to_its_totals(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quotes("J", "$1,000.50", "much")
    assert run(["migrate", "J.csv"]) == ExitCode.USAGE
    assert "this looks like the export of Jobber, quotes: add --from jobber" in capsys.readouterr().err
    assert run(["migrate", "J.csv", "--from", "jobber", *GIVEN, "--dry-run"]) == ExitCode.REJECTS
    out = capsys.readouterr().out
    assert "totals     equal to the source's totals\n" in out
    assert "note       expiry_date is missing: 30 days after issue_date (1 document)\n" in out
    assert run(["migrate", "J.csv", "--from", "jobber", *GIVEN]) == ExitCode.REJECTS
    assert "hl-async migrate J.rejects.csv --from jobber --set currency=USD" in capsys.readouterr().out
    assert run(["verify", "J.csv"]) == ExitCode.OK
    assert "totals equal to the source's totals" in capsys.readouterr().out
    Path("J.rejects.csv").write_text(Path("J.rejects.csv").read_text().replace("much", "$5"))
    assert run(["migrate", "J.rejects.csv", "--from", "jobber", *GIVEN]) == ExitCode.OK


def test_the_same_export_becomes_invoices_by_saying_so_and_they_can_be_taken_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quotes("I", "$10.00", "20")
    assert run(["migrate", "I.csv", "--from", "jobber", "--as", "invoice", *GIVEN]) == ExitCode.OK
    assert run(["verify", "I.csv"]) == ExitCode.OK
    assert "verified: 2 documents, 30.00 USD" in capsys.readouterr().out
    assert run(["rollback", "I.csv", "--yes"]) == ExitCode.OK
    assert "deleted 2" in capsys.readouterr().out


def test_money_that_is_not_used_is_named_before_anything_is_sent(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("q.csv").write_text("No,Item,Price,Shipping\nQ-1,Door,5,7.50\n")
    Path("q.sql").write_text("SELECT No AS source_id, Item AS line_name, Price AS line_amount FROM q")
    assert run(["migrate", "--sql", "q.sql", "q.csv", *GIVEN, "--dry-run"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "unused     column 'Shipping' looks like money and is not used: 1 row, such as 7.50\n" in out
    assert "totals     equal to the plan (the source has no totals)\n" in out


def test_documents_of_a_printed_schema_are_a_source(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate", "--schema"]) == ExitCode.OK
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["$defs"]["Document"]["properties"]) == set(Document.__struct_fields__)
    Path("d.ndjson").write_text(
        '{"source_id":"D-1","lines":[{"name":"a","amount":"9.99","qty":3}],"total":29.97}\n'
    )
    assert run(["migrate", "d.ndjson", *GIVEN]) == ExitCode.OK
    assert "29.97 USD" in capsys.readouterr().out


def test_profiles_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles"]) == ExitCode.OK
    assert re.search(r"^jobber +Jobber, quotes; creates estimates$", capsys.readouterr().out, re.MULTILINE)
    assert run(["profiles", "--json"]) == ExitCode.OK
    assert {"shopify", "xero-quotes"} <= {one["id"] for one in json.loads(capsys.readouterr().out)}
    assert run(["profiles", "--show", "jobber"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("-- name: Jobber, quotes\n")
    assert run(["profiles", "--show", "jober"]) == ExitCode.USAGE
    assert "did you mean jobber" in capsys.readouterr().err


def test_a_guessed_mapping_is_printed_and_a_known_export_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quotes("M", "$1.00")
    assert run(["map", "M.csv"]) == ExitCode.OK
    shown = capsys.readouterr()
    assert "header_row = 2\n" in shown.out
    assert "--from jobber needs no mapping" in shown.err


def test_customers_of_an_export_become_contacts_whatever_door_it_comes_through(
    folder: Path, box: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    quotes("K", "$10.00", "20")
    assert run(["migrate", "K.csv", "--from", "jobber", "--set", "currency=USD"]) == ExitCode.OK
    assert "contacts          1   1 created" in capsys.readouterr().out
    Path("t.csv").write_text("No,Who,Mail,Price\nA-1,Robin,R@example.com,5\nA-2,Kim,kim@example.com,6\n")
    Path("t.toml").write_text(
        '[document]\ngroup_by = "No"\nname = "Order {No}"\ntitle = "Quote"\ncurrency = "USD"\nexpiry_date = "2040-12-31"\n'
        '[contact]\nname = "{Who}"\nemail = "{Mail}"\n[line]\nname = "Door"\namount = "{Price}"\nqty = "1"\n'
    )
    assert run(["migrate", "t.csv", "--map", "t.toml"]) == ExitCode.OK
    assert "contacts          2   1 created, 1 there already (email 1)" in capsys.readouterr().out
    Path("q.sql").write_text(
        "-- kind: estimate\n-- set: currency = USD\nSELECT No AS source_id, t._line AS place, 'S ' || No AS title,"
        " Mail AS customer_email, Who AS customer_name, 'Door' AS line_name, Price AS line_amount FROM t\n"
    )
    arguments = [
        "migrate",
        "--sql",
        "q.sql",
        "t.csv",
        "--journal",
        "q.db",
        "--source-name",
        "other",
        "--again",
    ]
    assert run(arguments) == ExitCode.OK
    assert "contacts          2   2 there already (email 2)" in capsys.readouterr().out
    emails = sorted(one["email"] for one in box.control("contacts"))
    assert emails == ["kim@example.com", "r@example.com"]
    # ids of other tests would be checked against these contacts
    box.control("reset", {})
