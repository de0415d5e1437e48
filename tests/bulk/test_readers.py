"""Promises of the sources: every document once, bad ones with a reason, bad files with a clear error."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import samples
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import fingerprint, header_of, read_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import reject_lines
from hl_async.errors import SourceError
from hl_async.models.codec import encode

MAPPING = """
[document]
group_by = "No"
name = "Order {No}"
currency = "{Currency}"
issue_date = "{Date}"
date_format = "%d.%m.%Y"
expiry_days = 30
title = "{Title}"

[contact]
id = "c1"
name = "{Customer}"
phone_no = "+12145596993"
email = "a@example.com"

[line]
name = "{Article}"
amount = "{Price}"
qty = "{Qty}"
tax_rate = "{Tax}"
decimal = ","

[[skip]]
column = "No"
matches = "^X"
reason = "left out on purpose"

[[reject]]
column = "No"
matches = "^C"
reason = "cancelled"
"""
HEADER = ["No", "Date", "Currency", "Title", "Customer", "Article", "Qty", "Price", "Tax"]


def row(no: str = "1", **changes: str) -> list[str]:
    values = {
        "No": no, "Date": "01.02.2024", "Currency": "EUR", "Title": "T", "Customer": "Alex", "Article": "Oak",
        "Qty": "2", "Price": "9,99", "Tax": "20",
    }  # fmt: skip
    return list((values | changes).values())


def written(
    folder: Path, rows: list[list[str]], mapping: str = MAPPING, header: list[str] | None = None
) -> tuple[Path, Mapping]:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header or HEADER, *rows])
    path = folder / "export.csv"
    path.write_text(text.getvalue(), "utf-8")
    (folder / "map.toml").write_text(mapping, "utf-8")
    return path, Mapping.load(folder / "map.toml")


def read(folder: Path, rows: list[list[str]], mapping: str = MAPPING) -> list[SourceItem | Reject]:
    return list(read_source(*written(folder, rows, mapping)))


def test_lines_with_one_number_are_one_document(tmp_path: Path) -> None:
    first, second = read(tmp_path, [row("1"), row("1", Qty="1"), row("2")])
    assert isinstance(first, SourceItem)
    body = msgspec.json.decode(first.body)
    assert (first.source_id, first.place, first.total, first.currency) == (
        "1",
        "lines 2-3",
        Decimal("35.97"),
        "EUR",
    )
    assert [item["qty"] for item in body["items"]] == [2, 1]
    assert (body["issueDate"], body["expiryDate"], body["title"]) == ("2024-02-01", "2024-03-02", "T")
    assert isinstance(second, SourceItem)
    assert (second.ordinal, second.place) == (1, "line 4")


def test_lines_that_stand_apart_are_merged(tmp_path: Path) -> None:
    found = read(tmp_path, [row("1"), row("2"), row("1", Qty="5")])
    assert sorted((one.source_id, one.ordinal) for one in found) == [("1", 0), ("2", 1)]
    merged = next(one for one in found if one.source_id == "1")
    assert isinstance(merged, SourceItem)
    assert len(msgspec.json.decode(merged.body)["items"]) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Qty": "-1"}, "line 2, column 'Qty': -1 is negative"),
        ({"Qty": "x"}, "'x' is not a number"),
        ({"Qty": "NaN"}, "'NaN' is not a number"),
        ({"Price": "Infinity"}, "'Infinity' is not a number"),
        ({"Price": "-1"}, "line 2, column 'Price': -1 is negative"),
        ({"Price": "0"}, "total: is zero"),
        ({"Article": " "}, "line 2, column 'Article': is empty"),
        ({"Currency": "eur"}, "must be in capitals"),
        ({"Currency": "ZZZ"}, "not an ISO 4217"),
        ({"Date": "01/02/2024"}, "not a date of the form"),
        ({"Date": "01.02.2044"}, "in the future"),
        ({"Tax": ""}, "column 'Tax': is empty; write 0 for no tax, or map the total"),
        ({"Tax": "-1"}, "column 'Tax': -1 is negative"),
        ({"Price": "1.234"}, "'1.234' is not a number, with ',' as its decimal sign"),
        ({"Price": "1_000"}, "is not a number"),
        ({"Price": "9,99 €"}, "is not a number"),
        ({"Price": "1" * 40}, "more than 28 digits"),
    ],
)
def test_what_cannot_be_an_estimate_is_a_reject_with_the_reason(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    bad, good = read(tmp_path, [row("1", **changes), row("2")])
    assert isinstance(bad, Reject)
    assert reason in bad.reason
    assert isinstance(good, SourceItem)


def test_rules_leave_documents_out(tmp_path: Path) -> None:
    empty, skipped, rejected = read(tmp_path, [row(" "), row("X1"), row("C1")])
    assert isinstance(skipped, Reject)
    assert isinstance(rejected, Reject)
    assert (skipped.skipped, skipped.reason) == (True, "left out on purpose")
    assert (rejected.skipped, rejected.by_rule, rejected.reason) == (False, True, "cancelled")
    assert "belong to no document" in getattr(empty, "reason", "")


def test_a_ragged_line_is_a_reject_and_the_rest_goes_on(tmp_path: Path) -> None:
    found = read(tmp_path, [row("1"), ["2", "short"], row("3"), []])
    assert [type(one).__name__ for one in found] == ["Item", "Reject", "Item"]
    assert "line 3 has 2 fields where the header has 9" in getattr(found[1], "reason", "")


@pytest.mark.parametrize(
    ("rows", "rejected"),
    [
        ([row("1"), row("1")[:-1], row("2")], {"1"}),
        ([row("1")[:-1], row("1"), row("2")], {"1"}),
        ([row("1"), [*row("1"), "more"], row("2")], {"1"}),
        # a line that names another document, or none, may belong to the one it stands in
        ([row("1"), ["oak", "1", "x"], row("1"), row("2")], {"1", "oak"}),
        ([row("1"), row("1"), ["oak", "x"], row("2")], {"oak"}),
        ([row("1"), ["2"], row("2"), row("3")], {"2"}),
    ],
)
def test_no_document_is_made_from_a_part_of_its_lines(
    tmp_path: Path, rows: list[list[str]], rejected: set[str]
) -> None:
    found = read(tmp_path, rows)
    assert {one.source_id for one in found if isinstance(one, Reject)} == rejected
    assert sorted(one.ordinal for one in found) == list(range(len(found)))
    assert len({one.source_id for one in found}) == len(found)


def test_a_line_too_short_to_name_its_document_is_a_reject_of_its_own(tmp_path: Path) -> None:
    text = MAPPING.replace('group_by = "No"', 'group_by = "Article"')
    rows = [row("1", Article="A"), ["1", "x"], row("1", Article="A"), row("2", Article="B")]
    found = read(tmp_path, rows, text)
    assert [(one.source_id, type(one).__name__) for one in found] == [
        ("", "Reject"),
        ("A", "Reject"),
        ("B", "Item"),
    ]
    assert "between the lines of this document" in getattr(found[1], "reason", "")


def test_a_date_that_has_not_come_anywhere_yet_is_a_reject(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, [row("1", Date="02.02.2024"), row("2", Date="03.02.2024")])
    tomorrow_somewhere, future = read_source(path, mapping, today=date(2024, 2, 1))
    assert isinstance(tomorrow_somewhere, SourceItem)
    assert "2024-02-03 is in the future" in getattr(future, "reason", "")


def test_lines_that_name_two_customers_or_currencies_are_no_document(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        [
            row("1", Currency="USD"),
            row("1"),
            row("2"),
            row("2", Customer="Robin"),
            row("3"),
            row("3", Customer="", Currency=""),
        ],
    )
    assert [getattr(one, "reason", "") for one in found] == [
        "Currency: is 'USD' and 'EUR' in lines of one document",
        "Customer: is 'Alex' and 'Robin' in lines of one document",
        "",
    ]


def test_utf16_is_recognised_when_it_was_not_declared(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, [row()])
    path.write_bytes(path.read_text("utf-8").encode("utf-16"))
    (found,) = read_source(path, mapping)
    assert isinstance(found, SourceItem)
    (tmp_path / "map.toml").write_text(MAPPING + '\n[source]\nencoding = "utf-16"\n')
    (found,) = read_source(path, Mapping.load(tmp_path / "map.toml"))
    assert isinstance(found, SourceItem)


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(encode(samples.estimate()) + b"\n" + b'"' + b"x" * 11 * 1024 * 1024)
    with pytest.raises(SourceError, match="line 2 is longer than") as caught:
        list(read_source(path, None))
    assert caught.value.line == 2


def test_a_byte_order_mark_and_quoted_newlines_are_understood(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, [row("1", Article="two\nlines")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (found,) = read_source(path, mapping)
    assert isinstance(found, SourceItem)


def test_another_encoding_is_told_and_can_be_declared(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, [row("1", Article="Café")])
    path.write_bytes(path.read_text("utf-8").encode("cp1252"))
    with pytest.raises(SourceError, match=r"line 2 is not utf-8 \(byte 0xe9\).*cp1252"):
        list(read_source(path, mapping))
    declared = MAPPING + '\n[source]\nencoding = "cp1252"\n'
    (tmp_path / "map.toml").write_text(declared)
    (found,) = read_source(path, Mapping.load(tmp_path / "map.toml"))
    assert b"Caf\xc3\xa9" in found.body if isinstance(found, SourceItem) else False


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ('\n[source]\nencoding = "klingon"\n', "is not a known encoding"),
        ('\n[source]\ndelimiter = ";;"\n', "delimiter"),
    ],
)
def test_bad_source_settings_are_told(tmp_path: Path, section: str, problem: str) -> None:
    path, mapping = written(tmp_path, [row()], MAPPING + section)
    with pytest.raises(SourceError, match=problem):
        list(read_source(path, mapping))


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    header = [name if name != "Price" else "Prize" for name in HEADER]
    path, mapping = written(tmp_path, [row()], header=header)
    with pytest.raises(SourceError, match=r"no column 'Price'; did you mean 'Prize'"):
        header_of(path, mapping)
    path, mapping = written(tmp_path, [row()], header=["a", *HEADER[1:]])
    with pytest.raises(SourceError, match="its first line is a, Date"):
        header_of(path, mapping)


def test_a_missing_or_doubled_header_is_told(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, [[*row(), ""]], header=[*HEADER, "No"])
    with pytest.raises(SourceError, match="'No' more than once"):
        header_of(path, mapping)
    # a column that nobody uses may have any name, or none, twice
    path, mapping = written(tmp_path, [[*row(), "", ""]], header=[*HEADER, "", ""])
    assert isinstance(next(read_source(path, mapping)), SourceItem)
    path.write_text("")
    with pytest.raises(SourceError, match="is empty: a header line"):
        list(read_source(path, mapping))
    path.write_text('No,"unclosed\n')
    with pytest.raises(SourceError, match="line"):
        list(read_source(path, mapping))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    _, mapping = written(tmp_path, [])
    for name in ("none.csv", "none.xlsx", "none.ndjson"):
        with pytest.raises(SourceError, match="No such file"):
            list(read_source(tmp_path / name, mapping))
    with pytest.raises(SourceError, match="needs a mapping"):
        read_source(tmp_path / "x.csv", None)
    with pytest.raises(SourceError):
        fingerprint(tmp_path / "none.csv", None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[document", "Expected"),
        ("[document]\n", "missing required field"),
        (MAPPING.replace('"{Currency}"', '"usd"'), "not an ISO 4217"),
        (MAPPING.replace("expiry_days = 30", ""), "requires an expiry date"),
        (MAPPING + '\n[[skip]]\ncolumn = "No"\nmatches = "("\nreason = "x"\n', "the rule on No"),
        (MAPPING + "\n[extra]\n", "unknown section .extra.; sections are document"),
        (MAPPING.replace("expiry_days = 30", "expiry_days = -1"), "expiry_days: -1 is not 0"),
        (
            MAPPING.replace('decimal = ","', 'decimal = ","\nthousands = ","'),
            "decimal: must be one character",
        ),
        (MAPPING.replace('title = "{Title}"', 'discount_type = "percent"'), "discount_type"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(SourceError, match=problem):
        Mapping.load(path)


def test_a_mapping_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        Mapping.load(tmp_path / "none.toml")


def test_a_column_may_name_the_location_and_a_discount_may_apply(tmp_path: Path) -> None:
    text = MAPPING.replace('title = "{Title}"', 'location = "{Title}"\ndiscount = "10"')
    good, bad = read(tmp_path, [row("1", Title="loc1"), row("2", Title="..")], text)
    assert isinstance(good, SourceItem)
    assert (good.location, good.total) == ("loc1", Decimal("21.58"))
    assert isinstance(bad, Reject)


def test_workbooks_are_read_like_tables(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADER)
    sheet.append(["1", "01.02.2024", "EUR", "T", "Alex", "Oak", 2.0, "9,99", 20])
    sheet.append(["2", "01.02.2024", "EUR", None, "Alex", "Oak", 1.5, "1", 0])
    path = tmp_path / "export.xlsx"
    book.save(path)
    _, mapping = written(tmp_path, [])
    found = list(read_source(path, mapping))
    assert [one.total for one in found] == [Decimal("23.98"), Decimal("1.50")]
    other = Mapping.load(tmp_path / "map.toml")
    with pytest.raises(SourceError, match="the sheet 'No' is missing"):
        list(
            read_source(
                path, msgspec.structs.replace(other, source=msgspec.structs.replace(other.source, sheet="No"))
            )
        )
    path.write_bytes(b"no workbook")
    with pytest.raises(SourceError, match="not a readable workbook"):
        list(read_source(path, mapping))


def test_typed_cells_read_as_the_mapping_spells_them(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADER)
    # what a formula leaves behind: 7.6499999999999995, shown as 7.65
    sheet.append([17, datetime(2024, 2, 1), "EUR", "T", "Alex", "Oak", 1, 2.55 * 3, 0.0])
    book.save(tmp_path / "export.xlsx")
    _, mapping = written(tmp_path, [])
    (found,) = read_source(tmp_path / "export.xlsx", mapping)
    assert isinstance(found, SourceItem)
    assert found.total == Decimal("7.65")
    assert found.raw == b'17,01.02.2024,EUR,T,Alex,Oak,1,"7,65",0\n'


def ndjson(folder: Path, *lines: bytes) -> list[SourceItem | Reject]:
    path = folder / "export.ndjson"
    path.write_bytes(b"\n".join(lines))
    return list(read_source(path, None))


def test_ndjson_lines_are_bodies_and_bad_ones_name_their_line(tmp_path: Path) -> None:
    good = encode(samples.estimate())
    found = ndjson(
        tmp_path,
        good[:-1] + b',"sourceId":"A7","altId":"loc9"}',
        b"{broken",
        b"[1]",
        b"",
        good.replace(b'"USD"', b'"ZZZ"'),
        good.replace(b'"amount":9.99', b'"amount":"NaN"'),
        good[:-1] + b',"nonsense":1}',
        good.replace(b'"expiryDate":"2040-12-31",', b""),
        b"\xef\xbb\xbf" + good,
        b'"\xff"',
    )
    assert [type(one).__name__ for one in found] == ["Item", *["Reject"] * 6, "Item", "Reject"]
    first = found[0]
    assert isinstance(first, SourceItem)
    assert (first.source_id, first.location, first.total) == ("A7", "loc9", Decimal("29.97"))
    reasons = [one.reason for one in found if isinstance(one, Reject)]
    assert "line 2 is not JSON" in reasons[0]
    assert "not a JSON object" in reasons[1]
    assert "ISO 4217" in reasons[2]
    assert "is not a number" in reasons[3]
    assert "nonsense: is not a field" in reasons[4]
    assert "expiryDate" in reasons[5]


def test_documents_as_the_api_answers_them_are_a_source(tmp_path: Path) -> None:
    answer = {
        "_id": "e1", "altId": "elsewhere", "name": "K", "currency": "USD", "estimateNumber": 7, "estimateStatus": "sent",
        "expiryDate": "2030-01-01T00:00:00.000Z", "total": 2, "items": [{"_id": "i", "name": "x", "amount": 1, "qty": 2}],
        "contactDetails": {"id": "c", "name": "A", "phoneNo": "+12145596993", "email": ""},
    }  # fmt: skip
    (found,) = ndjson(tmp_path, msgspec.json.encode(answer))
    assert isinstance(found, SourceItem)
    body = msgspec.json.decode(found.body)
    assert (found.source_id, found.location, found.total) == ("e1", "", Decimal("2.00"))
    assert body["expiryDate"] == "2030-01-01"
    assert "estimateNumber" not in body
    assert "_id" not in body["items"][0]


def test_a_reject_file_is_a_valid_next_input(tmp_path: Path) -> None:
    path, mapping = written(tmp_path, [row("1", Qty="-2"), row("2")])
    bad = next(one for one in read_source(path, mapping) if isinstance(one, Reject))
    text = b"".join(reject_lines(HEADER, [(bad.raw, bad.reason)], ","))
    assert text.decode().splitlines()[0] == ",".join([*HEADER, "reject_reason"])
    mended = tmp_path / "mended.csv"
    mended.write_bytes(text.replace(b",-2,", b",2,"))
    (good,) = read_source(mended, mapping)
    assert isinstance(good, SourceItem)
    again = b"".join(reject_lines([*HEADER, "reject_reason"], [(good.raw, "again")], ","))
    assert again.decode().splitlines()[0].count("reject_reason") == 1
    lines = list(reject_lines(None, [(b'{"a":1}', "why"), (b"{broken", "why"), (b"[1]", "why")], ","))
    assert lines == [b'{"a":1,"reject_reason":"why"}\n', b"{broken\n", b"[1]\n"]


WHOLE = st.characters(exclude_categories=["Cs"])
"""Any character that has a UTF-8 form; with ``codec="utf-8"``, text()'s own, hypothesis looks at all of them first."""


@settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1", "2", "3", "X", "C", ""]),
            st.text(WHOLE, max_size=8),
            st.text(WHOLE, max_size=5),
        ),
        max_size=12,
    )
)
@pytest.mark.untraced
def test_every_document_of_any_table_is_accounted_for_once(
    tmp_path: Path, cells: list[tuple[str, str, str]]
) -> None:
    rows: list[list[str]] = [row(no, Article=name, Qty=qty) for no, name, qty in cells]
    try:
        found = read(tmp_path, rows)
    except (SourceError, UnicodeEncodeError):
        return
    assert sorted(one.ordinal for one in found) == list(range(len(found)))
    # a row without a number belongs to the document above it, and spoils it
    assert {one.source_id for one in found} >= {no for no, _, _ in cells if no}
    assert len({one.source_id for one in found if one.source_id}) == len(
        [one for one in found if one.source_id]
    )


@settings(
    deadline=None,
    max_examples=100,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=300))
def test_any_bytes_are_documents_rejects_or_one_clear_error(tmp_path: Path, content: bytes) -> None:
    _, mapping = written(tmp_path, [])
    for name in ("fuzz.csv", "fuzz.ndjson"):
        (tmp_path / name).write_bytes(content)
        try:
            list(read_source(tmp_path / name, mapping))
        except SourceError as error:
            assert str(tmp_path) in str(error) or "column" in str(error) or "header" in str(error)


def test_records_are_called_by_their_short_names(tmp_path: Path) -> None:
    good, bad = read(tmp_path, [row("1"), row("2", Qty="x")])
    assert [type(one).__name__ for one in (good, bad)] == ["Item", "Reject"]
    assert repr(good).startswith("Item(")
