"""What people, spreadsheets and report printers do to exports is read for certain, or refused with what to do."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hl_async.bulk.sources.money_columns import is_money_column
from hl_async.bulk.sources.numbers import NumberFormat, read_day, read_number
from hl_async.bulk.sources.opening import open_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.sql_numbers import number_macros
from hl_async.errors import InvalidRequest, SourceError

EVERY_SIGN = NumberFormat(".", ",", currency_sign=True, parentheses=True, trailing_minus=True)
QUERY = """-- set: currency = USD
SELECT No AS source_id, _line AS place, Item AS line_name, Price AS line_amount, Qty AS line_qty, Total AS total FROM a"""
HEAD = "No,Item,Price,Qty,Total\n"


def outcome(folder: Path, text: str, query: str = QUERY, *pairs: str) -> dict[str, str]:
    """Totals and reasons by id, of a CSV and a query over it."""
    (folder / "a.csv").write_bytes(text.encode())
    (folder / "q.sql").write_text(query, "utf-8")
    found = open_source(
        [folder / "a.csv"], sql=folder / "q.sql", pairs=("contact_id=c6tZWq1n0uEh8Rk2Lm4p", *pairs)
    )
    return {
        one.source_id: str(one.total) if isinstance(one, SourceItem) else one.reason for one in found.read()
    }


# ------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50.00- $", "-50"),
        ("$(50.00)", "-50"),
        ("USD (50.00)", "-50"),
        ("\u22125.00", "-5"),
        ("- 5.00", "-5"),
        ("$5.00 USD", "5"),
    ],
)
def test_a_minus_and_a_currency_stand_on_either_side(text: str, value: str) -> None:
    assert read_number("amount", text, EVERY_SIGN, "USD") == Decimal(value)


@pytest.mark.parametrize("text", ["--5", "(-5)", "(5-)", "-(5)", "-5-", "5.00 EUR"])
def test_two_minuses_or_another_currency_are_no_amount(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a number"):
        read_number("amount", text, EVERY_SIGN, "USD")


@pytest.mark.parametrize(
    ("text", "how", "currency", "value"),
    [
        ("Rs. 1,18,000.50", EVERY_SIGN, "INR", "118000.50"),
        ("R$ 1.234,50", NumberFormat(",", ".", currency_sign=True), "BRL", "1234.50"),
        ("Fr. 1\u2019234.50", NumberFormat(".", "'", currency_sign=True), "CHF", "1234.50"),
        ("1 234,50 kr", NumberFormat(",", " ", currency_sign=True), "SEK", "1234.50"),
    ],
)
def test_local_signs_of_the_documents_currency_are_read(
    text: str, how: NumberFormat, currency: str, value: str
) -> None:
    assert read_number("amount", text, how, currency) == Decimal(value)


@pytest.mark.parametrize("text", ["1.23E+03", "1,23E+03", "-5E+04"])
def test_an_amount_that_a_spreadsheet_has_shortened_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="a spreadsheet has shortened the number"):
        read_number("amount", text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("112,00", '; set decimal = ","'),
        ("1.234,50", '; set decimal = "," and thousands = "."'),
        ("1,234.5", '; set thousands = ","'),
        ("1,234", '; say which: thousands = "," or decimal = ","'),
    ],
)
def test_a_number_in_another_format_names_the_setting_that_reads_it(text: str, advice: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_number("amount", text)
    assert str(caught.value).endswith(advice)


NUMBERS = (
    "5", "5.00", "-5.00", "- 5.00", "+5", "1,234.50", "1.234,50", "12,34,567.00", "1 234,50", "1\u00a0234,50", "1'234.50",
    "1\u2019234.50", "$5.00", "-$5.00", "$-5.00", "($5.00)", "$(5.00)", "(5.00)", "5.00-", "50,00- €", "EUR 5,00", "5.00 USD",
    "Rs. 500.00", "kr 5", "1.23E+03", "", "abc", "5%", "--5", "(5-)", "1.2.3", "\u22125.00", ".5", "5.", "1,23",
)  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        NumberFormat(),
        EVERY_SIGN,
        NumberFormat(",", ".", currency_sign=True, trailing_minus=True),
        NumberFormat(",", " ", currency_sign=True),
        NumberFormat(".", "'", currency_sign=True),
    ],
)
def test_number_of_agrees_with_the_parser_of_amounts(how: NumberFormat) -> None:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.execute(number_macros(how))
    for text in NUMBERS:
        read: list[Decimal] = []
        for currency in ("USD", "EUR", "INR", "SEK"):
            try:
                read.append(read_number("amount", text, how, currency))
            except InvalidRequest:
                continue
        (found,) = connection.execute("SELECT number_of(?)", [text]).fetchone()
        assert found == (read[0] if read else None), text


def test_a_query_sums_amounts_as_the_settings_write_them(tmp_path: Path) -> None:
    query = """-- set: currency = EUR
-- set: decimal = ","
-- set: thousands = "."
SELECT No AS source_id, Item AS line_name, Price AS line_amount, sum(number_of(Price)) OVER (PARTITION BY No) AS total FROM a"""
    text = 'No,Item,Price\nA-1,Door,"1.234,50"\nA-1,Lock,"0,50"\n'
    assert outcome(tmp_path, text, query) == {"A-1": "1235.00"}


# --------------------------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("text", "form", "day"),
    [
        ("45355", "serial", "2024-03-04"),
        ("45355.75", "serial", "2024-03-04"),
        ("2024-03-04", "serial", "2024-03-04"),
        ("1709593200", "unix", "2024-03-04"),
        ("1709593200000", "unix_ms", "2024-03-04"),
    ],
)
def test_days_as_numbers_are_read_by_saying_so(text: str, form: str, day: str) -> None:
    assert str(read_day("issue_date", text, form)) == day


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("45355", 'if it is 2024-03-04 as a number, set date_format = "serial"'),
        ("1709593200", 'if it is 2024-03-04 as a number, set date_format = "unix"'),
        ("20240304", 'set date_format = "%Y%m%d"'),
    ],
)
def test_a_day_as_a_number_names_its_setting(text: str, advice: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_day("issue_date", text)
    assert str(caught.value).endswith(advice)


# ---------------------------------------------------------------------------------------------- rows


def test_the_header_again_on_every_page_is_no_document(tmp_path: Path) -> None:
    text = HEAD + "A-1,Door,5.00,1,7.00\n" + HEAD + "A-1,Lock,2.00,1,7.00\n" + HEAD
    assert outcome(tmp_path, text) == {"A-1": "7.00"}
    (tmp_path / "m.toml").write_text(
        '[document]\ngroup_by = "No"\nname = "Order {No}"\ncurrency = "USD"\nexpiry_date = "2040-12-31"\ntotal = "{Total}"\n'
        '[contact]\nname = "Alex"\n[line]\nname = "{Item}"\namount = "{Price}"\nqty = "{Qty}"\n'
    )
    records = list(open_source([tmp_path / "a.csv"], mapping=tmp_path / "m.toml").read())
    assert [one.total for one in records if isinstance(one, SourceItem)] == [7]
    pages = [(one.place, one.skipped) for one in records if isinstance(one, Reject)]
    assert pages == [("line 3", True), ("line 5", True)]


def test_a_note_between_pages_is_told_and_spoils_nothing(tmp_path: Path) -> None:
    text = HEAD + "A-1,Door,5.00,1,5.00\nPage 1 of 2\nA-2,Door,5.00,1,5.00\n"
    assert outcome(tmp_path, text) == {
        "A-1": "5.00",
        "A-2": "5.00",
        "Page 1 of 2": "lines: the document has no lines",
    }


@pytest.mark.parametrize(
    "text", ["A-1,Door,5.00,1,5.00\nA-1\nA-2,Door,5.00,1,5.00\n", "A-1,Door,5.00,1,5.00\nA-2"]
)
def test_a_row_that_was_cut_is_not_taken_for_a_note(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match=r"has 1 field where the header has 5; .* -- key: COLUMN"):
        outcome(tmp_path, HEAD + text)


def test_with_a_key_in_the_query_a_broken_row_spoils_its_document_alone(tmp_path: Path) -> None:
    text = HEAD + "A-1,Door,5.00,1,5.00\nA-2,Door\nA-3,Door,5.00,1,5.00\n"
    found = outcome(tmp_path, text, "-- key: No\n" + QUERY)
    # the row may belong to the document above, which is then incomplete
    assert {key: value[:15] for key, value in found.items()} == {
        "A-1": "line 3 has 2 fi",
        "A-2": "line 3 has 2 fi",
        "A-3": "5.00",
    }


def test_a_rule_leaves_out_notes_that_are_shorter_than_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + "A-1,Door,5.00,1,5.00\nPage 1 of 2\n")
    (tmp_path / "m.toml").write_text(
        '[document]\ngroup_by = "No"\nname = "{No}"\ncurrency = "USD"\nexpiry_date = "2040-12-31"\n[contact]\nname = "Alex"\n'
        '[line]\nname = "{Item}"\namount = "{Price}"\n[[drop]]\ncolumn = "No"\nmatches = "^Page "\n'
    )
    found = list(open_source([tmp_path / "a.csv"], mapping=tmp_path / "m.toml").read())
    assert [one.source_id for one in found] == ["A-1"]


def test_a_table_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    query = """-- set: no_header = true
-- set: currency = GBP
SELECT column2 AS source_id, column3 AS line_name, column4 AS line_amount FROM a"""
    text = '"SI","INV-1","Door",100.00\n"SI","INV-1","Lock",5.00\n"SI","INV-2","Lamp",10.00\n'
    assert outcome(tmp_path, text, query) == {"INV-1": "105.00", "INV-2": "10.00"}
    assert outcome(tmp_path, text.replace(",", ";"), query) == {"INV-1": "105.00", "INV-2": "10.00"}


# ------------------------------------------------------------------------------------------- reasons


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("A-1,Door,x9,1,9.00\n", "line 2, column 'Price': 'x9' is not a number"),
        (
            "A-1,Door,1.23E+03,1,1.23E+03\n",
            "line 2, columns 'Price' and 'Total': a spreadsheet has shortened",
        ),
        (
            "A-1,Door,$-5.00,1,$-5.00\n",
            "line 2, columns 'Price' and 'Total': -5.00 is negative; a credit note",
        ),
    ],
)
def test_a_reject_names_the_row_and_every_column_that_holds_the_value(
    tmp_path: Path, rows: str, reason: str
) -> None:
    found = outcome(tmp_path, HEAD + rows, QUERY, "currency_sign=true")
    assert found["A-1"].startswith(reason)


def test_a_total_that_differs_names_the_column_that_holds_the_difference(tmp_path: Path) -> None:
    text = "No,Item,Price,Qty,Total,Env. fee\nA-1,Door,5.00,1,$12.50,$7.50\n"
    found = outcome(tmp_path, text, QUERY, "currency_sign=true")
    assert found["A-1"] == (
        "total: the source says 12.50 USD, the lines give 5.00 USD; the difference, 7.50, stands in 'Env. fee'"
    )


@pytest.mark.parametrize(
    ("name", "is_money"),
    [
        ("Duties", True),
        ("Skonto", True),
        ("Versandkosten", True),
        ("MwSt.", True),
        ("Montant TTC", True),
        ("Importe", True),
        ("Retención", True),
        ("Due On", False),
        ("Taxable", False),
        ("Rechnungsdatum", False),
        ("Steuersatz", False),
    ],
)
def test_columns_of_money_are_known_in_several_languages(name: str, is_money: Any) -> None:
    assert is_money_column(name) is is_money


# --------------------------------------------------------------------------------------- delimiters


JOBBER = '"Quote #";"Client name";"Title";"Status";"Created date";"Total ($)"\n"1";"Müller";"Tür; neu";"Draft";"2024-03-04";"5.00"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_known_export_is_known_whatever_delimiter_and_encoding_a_program_saved_it_with(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "quotes.csv"
    path.write_bytes(JOBBER.encode(encoding))
    with pytest.raises(SourceError, match="this looks like the export of Jobber, quotes: add --from jobber"):
        open_source([path])
    pairs = ("contact_id=c1", "currency=EUR", f"encoding={encoding}")
    (found,) = open_source([path], profile="jobber", pairs=pairs).read()
    assert isinstance(found, SourceItem) and found.document is not None
    assert (found.document.title, str(found.total)) == ("Tür; neu", "5.00")


def test_quoted_semicolons_are_found_without_being_declared(tmp_path: Path) -> None:
    text = (HEAD + "A-1,Door,5.00,1,5.00\n").replace(",", '";"').replace("\n", '"\n')
    assert outcome(tmp_path, '"' + text.replace("\nA", '\n"A')) == {"A-1": "5.00"}


# -------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    "text",
    [
        "4-Mar-24", "04 Mar 24", "04MAR2024", "Mon, 04 Mar 2024", "Monday, March 4, 2024", "March 4th, 2024", "2024.03.04", "2024/3/4",
    ],
)  # fmt: skip
def test_days_with_one_reading_need_no_setting(text: str) -> None:
    assert str(read_day("issue_date", text)) == "2024-03-04"


@pytest.mark.parametrize(
    ("text", "said"),
    [("2024-02-30", "such as 2024-12-31; this day does not exist"), ("N/A", "such as 2024-12-31")],
)
def test_text_that_no_setting_makes_a_day_names_none(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_day("issue_date", text)
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize("text", ["-", "$ -", " -   "])
def test_a_dash_for_zero_says_what_to_write(text: str) -> None:
    with pytest.raises(InvalidRequest, match="a spreadsheet shows zero so: write 0, or nothing"):
        read_number("amount", text)


def test_a_total_with_cents_of_a_currency_without_any_is_refused(tmp_path: Path) -> None:
    query = QUERY.replace("USD", "JPY")
    found = outcome(tmp_path, HEAD + "A-1,Door,5.55,1,5.55\nA-2,Door,5,1,5.00\n", query)
    assert found == {"A-1": "total: the source says 5.55, but JPY has no smaller unit", "A-2": "5"}


def test_quotes_that_are_not_doubled_say_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='line 2: .* a quote inside a quoted cell has to be doubled: ""'):
        outcome(tmp_path, HEAD + 'A-1,"4" pipe",5.00,1,5.00\n')


# --------------------------------------------------------------------------------------------- query


def test_a_column_is_used_only_where_the_query_mentions_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("No,Item,Price,Tax,D'Total,Total\nA-1,Door,5.00,1.00,2.00,5.00\n")
    # a text, a comment and a name given by the query are no mention, an apostrophe in a name begins no text
    (tmp_path / "q.sql").write_text(
        "-- set: currency = USD\n-- the column Total is not used\nSELECT No AS source_id, Item AS line_name, Price AS line_amount,\n"
        "  'Tax' AS custom_note, \"D'Total\" AS custom_other, 'x' AS custom_x, 5 AS total FROM a"
    )
    reading = open_source([tmp_path / "a.csv"], sql=tmp_path / "q.sql", pairs=("contact_id=c1",)).read()
    assert len(list(reading)) == 1
    assert sorted(reading.facts.unused_money) == ["Tax", "Total"]


def test_json_without_records_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "q.sql").write_text("SELECT id AS source_id FROM a")
    with pytest.raises(SourceError, match=r"a.json holds no records"):
        list(open_source([tmp_path / "a.json"], sql=tmp_path / "q.sql").read())


def test_names_of_json_that_differ_in_capitals_only_are_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"id": "A-1", "price": 5, "total": 5, "Total": 6}]')
    (tmp_path / "q.sql").write_text(
        "-- set: currency = USD\nSELECT record->>'$.id' AS source_id, 'x' AS line_name, record->>'$.price' AS line_amount, "
        "record->>'$.total' AS total FROM a"
    )
    (found,) = open_source([tmp_path / "a.json"], sql=tmp_path / "q.sql", pairs=("contact_id=c1",)).read()
    assert isinstance(found, SourceItem) and str(found.total) == "5.00"
