"""Promises of the front doors: what a command names is one source, or says how to name it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hl_async.bulk.sources.guessing import guess_mapping
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.opening import OpenedSource, open_source
from hl_async.bulk.sources.readers import read_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import reject_lines
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.errors import ConfigurationError, InvalidRequest, SourceError

JOBBER = (
    "Quotes,,,,,,,,,,,,\n"
    "Quote #,Client name,Client email,Client phone,Property,Title,Status,Created date,Sent date,Approved date,Converted date,"
    "Total ($),Salesperson\n"
    '1,Robin,r@example.com,,,Deck,Draft,2024-03-04,,,,"$1,000.00",\n'
    "2,Robin,r@example.com,,,Deck,Draft,2024-03-04,,,,much,\n"
)
SET = ("currency=USD", "contact_id=c1")


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def outcome(source: OpenedSource) -> list[str]:
    return [
        f"{one.source_id}: {one.total if isinstance(one, SourceItem) else one.reason}"
        for one in source.read()
    ]


def test_a_profile_reads_its_export_and_its_reject_file(tmp_path: Path) -> None:
    source = open_source([written(tmp_path, "quotes.csv", JOBBER)], profile="jobber", pairs=SET)
    assert (source.kind, source.title) == ("estimate", "Jobber, quotes")
    good, bad = source.read()
    assert isinstance(good, SourceItem)
    assert isinstance(bad, Reject)
    assert "'much' is not a number" in bad.reason
    lines = reject_lines(source.columns, [(bad.raw, bad.reason)], source.delimiter, source.encoding)
    again = written(tmp_path, "rejects.csv", b"".join(lines).decode().replace("much", "5"))
    assert outcome(open_source([again], profile="jobber", pairs=SET)) == ["2: 5.00"]


def test_a_query_file_reads_several_files_by_name(tmp_path: Path) -> None:
    orders = written(tmp_path, "orders.csv", "No,Who,Sum\nA,1,5\n")
    people = written(tmp_path, "export-7.csv", "Id,Mail\n1,a@example.com\n")
    query = written(
        tmp_path,
        "mine.sql",
        "-- name: Mine\n-- kind: invoice\n-- set: title = Bill\n"
        "SELECT No AS source_id, Mail AS customer_email, 'x' AS line_name, Sum AS line_amount FROM orders JOIN people ON Id = Who",
    )
    source = open_source([orders, f"people={people}"], sql=query, pairs=SET)
    (found,) = source.read()
    assert isinstance(found, SourceItem)
    assert (found.kind, source.columns) == ("invoice", None)
    assert b'"title":"Bill"' in found.body
    assert [
        one.kind
        for one in open_source([orders, f"people={people}"], sql=query, pairs=SET, kind="estimate").read()
        if isinstance(one, SourceItem)
    ] == ["estimate"]


def test_the_same_file_read_another_way_is_another_source(tmp_path: Path) -> None:
    path = written(tmp_path, "quotes.csv", JOBBER)
    marks = {
        open_source([path], profile="jobber", pairs=SET).fingerprint,
        open_source([path], profile="jobber", pairs=(*SET, "region=US")).fingerprint,
        open_source([path], profile="jobber", pairs=SET, kind="invoice").fingerprint,
    }
    assert len(marks) == 3
    assert open_source([path], profile="jobber", pairs=SET).fingerprint in marks


def test_a_known_export_names_its_profile_and_an_unknown_one_the_closest(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"looks like the export of Jobber, quotes: add --from jobber"):
        open_source([written(tmp_path, "quotes.csv", JOBBER)])
    with pytest.raises(SourceError, match=r"closest are jobber \(5 of 6; without Total .*hl-async map"):
        open_source([written(tmp_path, "other.csv", JOBBER.replace("Total ($)", "Sum"))])
    record = {
        "order_key": "k",
        "line_items": [],
        "shipping_lines": [],
        "billing": {},
        "prices_include_tax": True,
        "total_tax": "0",
    }
    with pytest.raises(SourceError, match="add --from woocommerce"):
        open_source([written(tmp_path, "orders.ndjson", json.dumps(record))])


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "quotes.csv", JOBBER)
    for problem, arguments in (
        ("give one of", {"profile": "jobber", "sql": path}),
        ("unknown profile 'jober'; did you mean jobber", {"profile": "jober"}),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            open_source([path], **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="several files need a query"):
        open_source([path, path])
    with pytest.raises(InvalidRequest, match="unknown setting 'curency=USD'; write NAME=VALUE"):
        open_source([path], profile="jobber", pairs=("curency=USD",))
    with pytest.raises(InvalidRequest, match="'usd' is not an ISO 4217 code"):
        open_source([path], profile="jobber", pairs=("currency=usd",))


def test_documents_as_ndjson_need_no_more(tmp_path: Path) -> None:
    text = '{"source_id":"1","lines":[{"name":"a","amount":1}]}\n'
    assert outcome(open_source([written(tmp_path, "d.ndjson", text)], pairs=SET)) == ["1: 1.00"]


@pytest.mark.parametrize(
    ("name", "text", "totals"),
    [
        (
            "a.csv",
            ("Invoice Number,Invoice Date,Due Date,Customer Name,Customer Email,Item,Quantity,Unit Price,Tax %,Invoice Total,Currency\n"
            "INV-1,2024-03-04,2024-04-03,Robin,r@example.com,Door,2,100.00,10,275.00,USD\n"
            "INV-1,2024-03-04,2024-04-03,Robin,r@example.com,Lock,1,50.00,10,275.00,USD\n"
            "INV-2,2024-03-05,2024-04-04,Alex,a@example.com,Hinge,4,2.50,,10.00,USD\n"),
            ["275.00", "10.00"],
        ),
        (
            "cp1252.csv",
            ("Quote No;Kunde;Datum;Artikel;Menge;Preis;MwSt;Gesamt\n1;M\u00fcller;04.03.2024;T\u00fcr;2;1.100,50;19;2.619,19\n"
            "2;B\u00e4r;15.03.2024;Rahmen;1;50,00;19;59,50\nSumme;;;;;;;2.678,69\n"),
            ["2619.19", "59.50"],
        ),
        (
            "b.csv",
            'Estimate #,Client,Project,Created,Amount\nE-1,Robin,Kitchen,"Mar 4, 2024","$1,200.00"\nE-2,Alex,Bath,"Mar 5, 2024",$800.00\n',
            ["1200.00", "800.00"],
        ),
        (
            "c.csv",
            ("id,date,name,email,phone,product,qty,price,shipping,total\n1,03/14/2024,Robin,r@example.com,+12145596993,Mug,2,10.00,5.00,25.00\n"
            "2,03/15/2024,Alex,a@example.com,,Cup,1,7.50,0.00,7.50\n"),
            ["25.00", "7.50"],
        ),
        (
            "d.csv",
            ("Order Reference,Order Date,Customer,Order Lines/Product,Order Lines/Quantity,Order Lines/Unit Price,Order Lines/Discount (%),Total\n"
            "S1,2024-03-04 09:12:33,Robin,Desk,1.0,1799.0,0.0,2878.55\n,,,Chair,2.0,599.75,10.0,\n"),
            ["2878.55"],
        ),
        (
            "e.csv",
            ("Number,Issued,Valid Until,Company,Description,Hours,Rate,Discount %,Total\n7,2024-03-04 10:00:00,2024-04-04,Ash Ltd,Design,10,95.00,5,902.50\n"
            '8,2024-03-05 11:30:00,2024-04-05,Elm Ltd,Build,1,"1,000.00",0,"1,000.00"\n'),
            ["902.50", "1000.00"],
        ),
    ],
)  # fmt: skip
def test_the_first_mapping_of_a_clean_table_works_as_it_is(
    tmp_path: Path, name: str, text: str, totals: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode(name.removesuffix(".csv") if name.startswith("cp") else "utf-8"))
    mapping = Mapping.load(written(tmp_path, "map.toml", guess_mapping(path)))
    found = list(read_source(path, mapping, settings=SourceSettings(contact_id="c1")))
    assert [str(one.total) for one in found] == totals, found
    assert all(isinstance(one, SourceItem) and one.is_compared for one in found)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            (
                "Order No;Datum;Created Date;Customer Name;E-mail;Item;Unit Price;Qty;Shipping;Grand Total;Other\n"
                "A;x;13.02.2024;Robin;r@example.com;Door;1.234,50;1;9,50;1.244,00;y\n"
            ),
            [
                'delimiter = ";"',
                'date_format = "%d.%m.%Y"',
                'decimal = ","',
                'thousands = "."',
                'name = "Shipping"',
            ],
        ),
        (
            "Report of March\n\nInvoice #,Date,Client,Description,Price,Quantity\n1,03/04/2024,Robin,Door,$5.00,1\n",
            ["header_row = 3", "has both readings, choose one", "currency_sign = true"],
        ),
    ],
)
def test_a_guessed_mapping_loads_and_reads_its_file(tmp_path: Path, text: str, wanted: list[str]) -> None:
    path = written(tmp_path, "orders.csv", text)
    guessed = guess_mapping(path)
    assert [line for line in wanted if line not in guessed] == []
    if "choose one" in guessed:
        guessed = guessed.replace("# date_format = ", 'date_format = "%d/%m/%Y" # ')
    mapping = Mapping.load(written(tmp_path, "map.toml", guessed))
    (found,) = read_source(path, mapping, settings=SourceSettings(contact_id="c1"))
    assert isinstance(found, SourceItem), found
