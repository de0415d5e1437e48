"""Promises of SQL as a source: the named files and nothing else, exact text, one document per id, clear errors."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hl_async.bulk.sources.readers import read_documents
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql import read_sql
from hl_async.bulk.sources.sql_columns import COLUMNS
from hl_async.bulk.sources.sql_query import SqlQuery, TableSpec
from hl_async.errors import SourceError

SETTINGS = SourceSettings(currency="USD", contact_id="c1")
QUOTES = "No,Customer,Item,Price\nA-1,1,Door,100\nA-2,2,Lock,5.50\nA-1,1,Key,1.25\n"
SELECT = "SELECT No AS source_id, _line AS place, Item AS line_name, Price AS line_amount FROM quotes"


def quotes(folder: Path, text: str = QUOTES) -> Path:
    path = folder / "quotes.csv"
    path.write_text(text, "utf-8")
    return path


def read(query: str, *files: Path, settings: SourceSettings = SETTINGS) -> list[SourceItem | Reject]:
    return list(read_sql(query, files, settings))


def outcome(found: list[SourceItem | Reject]) -> list[str]:
    return [f"{one.source_id}: {one.total if isinstance(one, SourceItem) else one.reason}" for one in found]


def test_rows_with_one_id_are_one_document_wherever_they_stand(tmp_path: Path) -> None:
    found = read(SELECT, quotes(tmp_path))
    assert outcome(found) == ["A-1: 101.25", "A-2: 5.50"]
    assert [one.place for one in found] == ["lines 2-4", "line 3"]
    assert [item["name"] for item in msgspec.json.decode(getattr(found[0], "body", b""))["items"]] == [
        "Door",
        "Key",
    ]


def test_a_second_file_is_joined_and_lists_hold_what_a_document_has_several_of(tmp_path: Path) -> None:
    people = tmp_path / "people 2024.csv"
    people.write_text("Id;Mail\n1;a@example.com\n2;b@example.com\n", "utf-8")
    query = """
        SELECT No AS source_id, any_value(Mail) AS customer_email,
          list({'name': Item, 'amount': Price, 'qty': '2', 'taxes': [{'name': 'VAT', 'rate': '10'}]} ORDER BY quotes._line) AS lines,
          [{'name': 'Shipping', 'amount': '7.50'}, {'name': 'Tip', 'amount': NULL}] AS charges,
          [{'amount': '1', 'date': '2024-03-04'}] AS payments, map {'Source': 'web'} AS custom_fields
        FROM quotes JOIN people_2024 ON Id = Customer GROUP BY No; -- done
    """
    found = read(query, quotes(tmp_path), people)
    assert outcome(found) == ["A-1: 230.25", "A-2: 19.60"]
    first = found[0]
    assert isinstance(first, SourceItem) and first.document is not None
    assert (first.document.customer.email, first.document.payments[0].amount) == ("a@example.com", 1)
    assert first.document.custom_fields == {"Source": "web"}


def test_every_cell_arrives_as_text_and_nothing_is_guessed(tmp_path: Path) -> None:
    path = quotes(tmp_path, "No,Item,Price\n00042,Door,1.10000000000000000001\nA-2,Lock,03/04/2024\n,,\n")
    query = "SELECT No AS source_id, Item AS line_name, Price AS line_amount, typeof(Price) AS custom_type FROM quotes WHERE No <> ''"
    good, bad = read(query, path)
    assert isinstance(good, SourceItem) and good.document is not None
    assert (good.source_id, good.document.lines[0].amount) == ("00042", Decimal("1.10000000000000000001"))
    assert good.document.custom_fields == {"type": "VARCHAR"}
    assert "line 1 amount: '03/04/2024' is not a number" in getattr(bad, "reason", "")


def test_numbers_of_json_are_the_text_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.ndjson"
    text = '{"id":1,"sum":1234567890123456.78,"lines":[{"n":"a","p":1234567890123456.78}],"when":"2024-03-04","x":true}\n'
    path.write_text(
        text + '{"id":2,"sum":1.10,"lines":[{"n":"b","p":1.10,"q":null}]}\n{"id":3,"lines":[]}\n', "utf-8"
    )
    flat = 'SELECT id AS source_id, "when" AS issue_date, unnest(lines).n AS line_name, unnest(lines).p AS line_amount, "sum" AS total FROM orders'
    found = read(flat, path)
    assert outcome(found) == ["1: 1234567890123456.78", "2: 1.10"]
    nested = "SELECT id AS source_id, [{'name': l.n, 'amount': l.p} for l in lines] AS lines, record AS raw FROM orders"
    assert outcome(read(nested, path))[2] == "3: lines: the document has no lines"
    assert read(nested, path)[1].raw.startswith(b'{"id":"2","sum":"1.10"')


def test_parquet_arrives_with_its_types_and_a_float_is_no_amount(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "export.parquet"
    duckdb.sql(
        "SELECT 'A' AS id, 1.10::DECIMAL(9,2) AS price, 0.1::DOUBLE AS wrong, DATE '2024-03-04' AS day"
    ).write_parquet(str(path))
    good = "SELECT id AS source_id, 'x' AS line_name, price AS line_amount, day AS issue_date FROM export"
    assert outcome(read(good, path)) == ["A: 1.10"]
    (bad,) = read(good.replace("price", "wrong"), path)
    assert "0.1 is a floating-point number; cast the column to VARCHAR or DECIMAL" in getattr(
        bad, "reason", ""
    )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT content AS source_id FROM read_text('{secret}')",
        "SELECT file AS source_id FROM glob('{folder}/*')",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
        "SELECT 'x' AS source_id, Delimiter AS line_name FROM sniff_csv('{secret}')",
    ],
)
def test_the_query_sees_the_named_files_and_nothing_else(tmp_path: Path, query: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("source_id\nx\n", "utf-8")
    with pytest.raises(SourceError, match="only the files that the command names"):
        read(query.format(secret=secret, folder=tmp_path), quotes(tmp_path))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT 1; SELECT 2", "exactly one SELECT is needed"),
        ("DROP TABLE quotes", "exactly one SELECT is needed"),
        ("INSTALL httpfs", "exactly one SELECT is needed"),
        ("COPY quotes TO 'x.csv'", "exactly one SELECT is needed"),
        ("SET enable_external_access = true", "exactly one SELECT is needed"),
        ("ATTACH 'x.db' AS x", "exactly one SELECT is needed"),
        ("SELEC 1", "syntax error"),
        ("SELECT Prise FROM quotes", "Prise"),
        ("SELECT No AS source_id FROM nowhere", "nowhere"),
        ("SELECT Item AS line_name FROM quotes", "the column source_id is missing"),
        (
            "SELECT No AS source_id, Item AS line_nam FROM quotes",
            "unknown column 'line_nam'; did you mean line_name",
        ),
    ],
)
def test_a_query_that_cannot_work_is_refused_with_the_reason(tmp_path: Path, query: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        read(query, quotes(tmp_path))
    assert not list(tmp_path.glob("x.*"))


def test_rows_that_disagree_about_their_document_are_refused(tmp_path: Path) -> None:
    query = "SELECT No AS source_id, Item AS line_name, Price AS line_amount, Item AS title FROM quotes"
    assert (
        outcome(read(query, quotes(tmp_path)))[0] == "A-1: title: is 'Door' and 'Key' in rows of one document"
    )


def test_a_query_leaves_documents_out_with_a_reason(tmp_path: Path) -> None:
    query = SELECT.replace(
        "FROM",
        ", CASE No WHEN 'A-1' THEN 'an old one' END AS skip, CASE No WHEN 'A-2' THEN 'no' END AS reject FROM",
    )
    first, second = read(query, quotes(tmp_path))
    assert isinstance(first, Reject) and isinstance(second, Reject)
    assert (first.reason, first.skipped, second.reason, second.skipped) == ("an old one", True, "no", False)


def test_rows_without_an_id_belong_to_no_document(tmp_path: Path) -> None:
    (bad, good) = read(SELECT, quotes(tmp_path, "No,Item,Price\n,Door,1\nA-1,Key,2\n"))
    assert "belong to no document" in getattr(bad, "reason", "")
    assert good.source_id == "A-1"


def test_a_broken_row_spoils_its_document_or_the_file_where_no_key_is_known(tmp_path: Path) -> None:
    path = quotes(tmp_path, "No,Item,Price\nA-1,Door,1\nA-1,Key\nA-2,Lock,2\n")
    with pytest.raises(SourceError, match="line 3 has 2 fields where the header has 3"):
        read(SELECT, path)
    query = SqlQuery(text=SELECT, tables=[TableSpec(name="quotes", key="No")])
    found = list(read_sql(query, {"quotes": path}, SETTINGS))
    assert outcome(found) == ["A-1: line 3 has 2 fields where the header has 3", "A-2: 2.00"]


def test_money_of_a_file_that_the_query_does_not_mention_is_named(tmp_path: Path) -> None:
    reading = read_sql(
        SELECT, [quotes(tmp_path, "No,Item,Price,Shipping,Tip\nA-1,Door,1,7.50,0.00\n")], SETTINGS
    )
    list(reading)
    assert reading.facts.unused_money == {"Shipping": (1, "7.50")}


def test_a_workbook_and_names_that_differ_in_capitals_only_are_tables(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in (["No", "no", "Item", None, "Price"], ["A-1", "x", "Door", "n", 1.5]):
        sheet.append(row)
    book.save(tmp_path / "quotes.xlsx")
    query = "SELECT No AS source_id, no_ AS custom_other, column4 AS custom_n, Item AS line_name, Price AS line_amount FROM quotes"
    (found,) = read(query, tmp_path / "quotes.xlsx")
    assert isinstance(found, SourceItem) and found.document is not None
    assert found.document.custom_fields == {"other": "x", "n": "n"}


def test_documents_of_python_are_a_source(tmp_path: Path) -> None:
    made = [
        one.document for one in read(SELECT, quotes(tmp_path)) if isinstance(one, SourceItem) and one.document
    ]
    assert outcome(list(read_documents(made, SETTINGS))) == ["A-1: 101.25", "A-2: 5.50"]
    (bad,) = read_documents([msgspec.structs.replace(made[0], total=Decimal(1))], SETTINGS)
    assert "the source says 1.00 USD, the lines give 101.25 USD" in getattr(bad, "reason", "")
    assert json.loads(bad.raw)["source_id"] == "A-1"


def test_no_column_has_two_meanings() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_line_ends_inside_cells_are_text_wherever_they_stand(tmp_path: Path) -> None:
    # few rows and the first of them: where a database guesses how lines end
    path = tmp_path / "quotes.csv"
    path.write_bytes(
        b'No,Item,Price\r\nA-1,"Door\noak",1\r\nA-2,"Lock\r\n""best""",2\r\nA-3,"Key\rold",3\r\n'
    )
    found = read(
        "SELECT No AS source_id, Item AS line_description, Price AS line_amount, 'x' AS line_name FROM quotes",
        path,
    )
    texts = [msgspec.json.decode(getattr(one, "body", b""))["items"][0]["description"] for one in found]
    assert texts == ["Door\noak", 'Lock\r\n"best"', "Key\rold"]


def test_a_reject_names_row_and_column_or_the_key_of_the_file(tmp_path: Path) -> None:
    (bad, *_) = read(SELECT, quotes(tmp_path, "No,Customer,Item,Price\nA-1,1,Door,100\nA-1,1,Key,5 EUR\n"))
    assert getattr(bad, "reason", "").startswith("line 3, column 'Price': '5 EUR' is not a number")
    path = tmp_path / "orders.json"
    path.write_text('[{"id": "A-1", "rows": [{"n": "Door", "p": "1"}, {"n": "Key", "p": "five"}]}]')
    query = """
        SELECT record->>'$.id' AS source_id, 'record ' || _line AS place, record AS raw,
          [{'name': r->>'$.n', 'amount': r->>'$.p'} for r in (record->'$.rows[*]')::JSON[]] AS lines FROM orders
    """
    spec = TableSpec(name="orders", is_json=True)
    (bad,) = read_sql(SqlQuery(text=query, tables=[spec]), {"orders": path}, SETTINGS)
    assert getattr(bad, "reason", "").startswith("record 1, key 'rows[1].p': 'five' is not a number")


def test_a_sum_among_the_items_is_refused_unless_the_total_vouches_for_it(tmp_path: Path) -> None:
    text = "No,Customer,Item,Price\nA-1,1,Door,100\nA-1,1,Subtotal,100\n"
    (bad,) = read(SELECT, quotes(tmp_path, text))
    assert "line 3, column 'Item': 'Subtotal' looks like a sum, not an item" in getattr(bad, "reason", "")
    assert outcome(read(SELECT.replace("Price AS", "'200' AS total, Price AS"), quotes(tmp_path, text))) == [
        "A-1: 200.00"
    ]
