"""Promises of tables as people and programs really write them: the amount that was meant, or a reject that says why."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import header_of, read_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import reject_lines
from hl_async.errors import SourceError

MAPPING = """
{source}
[document]
group_by = "No"
name = "Order {{No}}"
currency = "USD"
expiry_date = "2040-12-31"
{document}
[contact]
id = "c1"
name = "Alex"
[line]
name = "{{Item}}"
amount = "{{Price}}"
qty = "{{Qty}}"
{line}
{more}
"""
HEAD = "No,Item,Price,Qty"


def read(
    folder: Path,
    content: bytes | str,
    suffix: str = ".csv",
    *,
    source: str = "",
    document: str = "",
    line: str = "",
    more: str = "",
) -> list[SourceItem | Reject]:
    path = folder / f"export{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "map.toml").write_text(
        MAPPING.format(
            source=f"[source]\n{source}" if source else "", document=document, line=line, more=more
        ),
        "utf-8",
    )
    return list(read_source(path, Mapping.load(folder / "map.toml")))


def outcome(found: list[SourceItem | Reject]) -> list[str]:
    return [f"{one.source_id}: {one.total if isinstance(one, SourceItem) else one.reason}" for one in found]


def book(rows: list[list[Any]], formats: dict[str, str] | None = None, change: Any = None) -> bytes:
    import openpyxl

    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for cell, form in (formats or {}).items():
        sheet[cell].number_format = form
    if change is not None:
        change(made, sheet)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def with_size(content: bytes, size: str) -> bytes:
    """The workbook, whose sheet calls itself ``size``; without a size when it is empty."""
    tag = f'<dimension ref="{size}"/>'.encode() if size else b""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith("sheet1.xml"):
                text = re.sub(rb'<dimension ref="[^"]*"\s*/>', tag, text)
            new.writestr(name, text)
    return out.getvalue()


# ------------------------------------------------------------------------------------- rows and keys


def test_a_number_on_the_first_row_only_spoils_the_document_unless_it_is_filled_down(tmp_path: Path) -> None:
    text = f"{HEAD}\nA-1,Cabinet,100,1\n,Worktop,200,1\n ,Sink,50,1\nA-2,Door,5,1\n"
    spoilt, good = read(tmp_path, text)
    assert isinstance(spoilt, Reject)
    assert "line 3 names no document in 'No' and follows this one" in spoilt.reason
    assert (spoilt.place, spoilt.raw.count(b"\n"), good.source_id) == ("lines 2-4", 3, "A-2")
    assert outcome(read(tmp_path, text, source="fill_down = true")) == ["A-1: 350.00", "A-2: 5.00"]


def test_rows_before_the_first_number_belong_to_no_document(tmp_path: Path) -> None:
    first, good = read(tmp_path, f"{HEAD}\n,Worktop,200,1\nA-2,Door,5,1\n", source="fill_down = true")
    assert "belong to no document" in getattr(first, "reason", "")
    assert isinstance(good, SourceItem)


@pytest.mark.parametrize(
    "name", ["Subtotal", "Sub-total:", "TOTAL", "Grand Total", "Zwischensumme", "Balance due"]
)
def test_a_row_that_sums_others_up_is_no_item(tmp_path: Path, name: str) -> None:
    text = f"{HEAD}\nA-1,Door,1,1\nA-1,{name},1,1\nA-2,Total station,9,1\n"
    spoilt, good = read(tmp_path, text)
    assert "looks like a sum, not an item; a [[drop]] rule leaves such rows out" in getattr(
        spoilt, "reason", ""
    )
    assert isinstance(good, SourceItem)
    rule = '[[drop]]\ncolumn = "Item"\nmatches = "(?i)total:?$|summe|balance"'
    assert outcome(read(tmp_path, text, more=rule)) == ["A-1: 1.00", "A-2: 9.00"]


def test_title_rows_are_pointed_out_and_can_be_declared(tmp_path: Path) -> None:
    text = f"Quotes of March\n\n{HEAD}\nA-1,Door,1,1\n"
    with pytest.raises(SourceError, match="the columns stand in line 3, set header_row = 3"):
        read(tmp_path, text)
    found = read(tmp_path, text, source="header_row = 3")
    assert outcome(found) == ["A-1: 1.00"]
    assert found[0].place == "line 4"


def test_a_reject_file_of_a_table_with_title_rows_is_read_with_the_same_mapping(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, f"Quotes\n{HEAD}\nA-1,Door,x,1\n", source="header_row = 2")
    mapping = Mapping.load(tmp_path / "map.toml")
    header = header_of(tmp_path / "export.csv", mapping)
    again = tmp_path / "again.csv"
    again.write_bytes(
        b"".join(reject_lines(header, [(bad.raw, getattr(bad, "reason", ""))], "")).replace(b",x,", b",3,")
    )
    assert outcome(list(read_source(again, mapping))) == ["A-1: 3.00"]


def test_a_doubled_column_is_addressed_by_its_place(tmp_path: Path) -> None:
    text = f"{HEAD},Tax,Tax\nA-1,Door,100,1,10,20\n"
    assert outcome(read(tmp_path, text)) == ["A-1: 100.00"]
    with pytest.raises(SourceError, match="'Tax' more than once; write Tax#1 for the first"):
        read(tmp_path, text, line='tax_rate = "{Tax}"')
    assert outcome(read(tmp_path, text, line='tax_rate = "{Tax#2}"')) == ["A-1: 120.00"]


def test_empty_cells_beyond_the_header_are_not_a_fault_others_are(tmp_path: Path) -> None:
    text = f"{HEAD},,\nA-1,Door,1,1,,\nA-2,Door,1,1,,,,\nA-3,Door,1,1\n,,,,,\n,,,,,,,,\nA-4,Door,1,1,x\n"
    assert outcome(read(tmp_path, text)) == [
        "A-1: 1.00",
        "A-2: 1.00",
        "A-3: 1.00",
        "A-4: line 7 has 5 fields where the header has 4",
    ]


def test_a_missing_quote_does_not_swallow_rows_in_silence(tmp_path: Path) -> None:
    text = f'{HEAD}\nA-1,"6 in pipe,10,1\nA-2,Door,10,1\nA-3,Door,10,1\nA-4,Pipe",10,1\nA-5,Door,5,1\n'
    swallowed, good = read(tmp_path, text)
    assert "lines 2-5: a quoted field holds whole rows" in getattr(swallowed, "reason", "")
    assert good.source_id == "A-5"
    note = f'{HEAD}\nA-1,"Oak, beech, elm, ash\nand two, three, four, five\nmore",10,1\n'
    assert "multiline = true" in getattr(read(tmp_path, note)[0], "reason", "")
    assert outcome(read(tmp_path, note, source="multiline = true")) == ["A-1: 10.00"]
    with pytest.raises(SourceError, match="never closed"):
        read(tmp_path, f'{HEAD}\nA-1,"Door,10,1\n')


# -------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("mark", "encoding", "declared"),
    [
        ("utf-8-sig", "utf-8", "cp1252"), ("utf-8-sig", "utf-8", "latin-1"), ("utf-8-sig", "utf-8", "u8"),
        ("utf-16", "utf-16", "utf-8"), ("utf-16", "utf-16", "utf-16-le"), ("utf-32", "utf-32", "utf-8"),
    ],
)  # fmt: skip
def test_a_byte_order_mark_wins(tmp_path: Path, mark: str, encoding: str, declared: str) -> None:
    content = f"{HEAD}\nA-1,Łódź,1,1\n".encode(mark)
    (found,) = read(tmp_path, content, source=f'encoding = "{declared}"')
    assert isinstance(found, SourceItem)
    assert "Łódź".encode() in found.body


@pytest.mark.parametrize(
    ("content", "declared", "hint"),
    [
        ("Łódź".encode(), "cp1252", 'encoding = "utf-8"'),
        ("Café".encode("cp1252"), "utf-8", 'encoding = "cp1252"'),
        ("x".encode("utf-16-le"), "utf-8", 'encoding = "utf-16-le"'),
        ("x".encode("utf-16-be"), "cp1252", 'encoding = "utf-16-be"'),
    ],
)
def test_another_encoding_is_named_never_the_one_that_failed(
    tmp_path: Path, content: bytes, declared: str, hint: str
) -> None:
    encoding = "utf-16-le" if hint.endswith('le"') else "utf-16-be" if hint.endswith('be"') else "latin-1"
    text = f"{HEAD}\nA-1,@,1,1\n".encode(encoding).replace("@".encode(encoding), content)
    with pytest.raises(SourceError) as caught:
        read(tmp_path, text, source=f'encoding = "{declared}"')
    assert hint in str(caught.value)


def test_sep_declares_the_delimiter_and_a_wrong_one_is_pointed_out(tmp_path: Path) -> None:
    text = f"{HEAD}\nA-1,Door,1,1\n".replace(",", ";")
    for first in ("sep=;\n", '"sep=;"\r\n', "SEP=;\n"):
        assert outcome(read(tmp_path, first + text)) == ["A-1: 1.00"]
        assert outcome(read(tmp_path, first + text, source='delimiter = ";"')) == ["A-1: 1.00"]
    with pytest.raises(SourceError, match='set delimiter = ";" under'):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "suffix", "says"),
    [
        (b"PK\x03\x04rest", ".csv", "is a workbook or an archive; save it as .xlsx"),
        (b"\xd0\xcf\x11\xe0rest", ".csv", "Excel 97-2003"),
        (b"anything", ".xls", "Excel 97-2003; save it as .xlsx"),
        (b"anything", ".ods", "OpenDocument"),
        (b"<html><table>", ".csv", "is a page, not a table"),
        (b"%PDF-1.4", ".csv", "is a PDF"),
        (gzip.compress(b"x", mtime=0), ".csv", "unpack it first"),
        (b"", ".csv", "is empty"),
    ],
)
def test_what_is_no_table_says_what_it_is(tmp_path: Path, content: bytes, suffix: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        read(tmp_path, content, suffix)


def test_a_zero_byte_spoils_its_document(tmp_path: Path) -> None:
    bad, good = read(tmp_path, f"{HEAD}\nA-1,Do\x00or,1,1\nA-2,Door,1,1\n")
    assert "line 2 holds a zero byte" in getattr(bad, "reason", "")
    assert isinstance(good, SourceItem)


# ------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("settings", "written", "total"),
    [
        ('thousands = ","', "1,23,456.50", "123456.50"),
        ('thousands = " "\ndecimal = ","', "1\u00a0234,50", "1234.50"),
        ('thousands = " "\ndecimal = ","', "1\u202f234,50", "1234.50"),
        ('thousands = ","\ncurrency_sign = true', "$1,234.56", "1234.56"),
        ('thousands = ","\ncurrency_sign = true', "USD 1,234.56", "1234.56"),
        ("currency_sign = true", "12.50 US$", "12.50"),
        ("currency_sign = true", "£12.50", "'£12.50' is not a number"),
        ("", "$12.50", "set currency_sign = true"),
        ("", "(5.00)", "set parentheses = true if it is negative"),
        ("parentheses = true", "(5.00)", "column 'Price': -5.00 is negative"),
        ("", "5.00-", "set trailing_minus = true if it is negative"),
        ("trailing_minus = true", "5.00-", "column 'Price': -5.00 is negative"),
        ("minor_units = true", "1999", "19.99"),
        ("", "12%", "it is a percentage"),
        ("", "#REF!", "column 'Price' holds #REF!, an error of the spreadsheet"),
        ("", "#N/A", "#N/A, an error of the spreadsheet"),
        ("", '="5.00"', "set formula_text = true"),
        ("", "1.5E+2", "150.00"),
    ],
)
def test_amounts_are_read_as_declared_or_refused_with_the_setting(
    tmp_path: Path, settings: str, written: str, total: str
) -> None:
    quoted = written.replace('"', '""')
    (found,) = read(tmp_path, f'{HEAD}\nA-1,Door,"{quoted}",1\n', line=settings)
    assert total in outcome([found])[0]


def test_a_formula_around_text_is_read_by_saying_so(tmp_path: Path) -> None:
    text = f'{HEAD}\n="5001",Door,="5.00",1\n'
    assert outcome(read(tmp_path, text, source="formula_text = true")) == ["5001: 5.00"]


@pytest.mark.parametrize(
    ("form", "written", "day"),
    [
        ("", "2024-03-04", "2024-03-04"),
        ("", "2024-03-04T23:30:00-05:00", "2024-03-04"),
        ("", "03/04/2024", 'date_format = "%d/%m/%Y" or "%m/%d/%Y"'),
        ("", "45355", "set date_format"),
        ("%d/%m/%Y", "03/04/2024", "2024-04-03"),
        ("%m/%d/%Y", "03/04/2024", "2024-03-04"),
        ("%m/%d/%Y", "13/04/2024", "not a date of the form %m/%d/%Y, such as 12/31/2024"),
        ("%b %d, %Y", "Mar 04, 2024", "2024-03-04"),
    ],
)
def test_a_date_with_two_readings_has_none_until_one_is_declared(
    tmp_path: Path, form: str, written: str, day: str
) -> None:
    document = 'issue_date = "{Date}"' + (f'\ndate_format = "{form}"' if form else "")
    (found,) = read(tmp_path, f'{HEAD},Date\nA-1,Door,1,1,"{written}"\n', document=document)
    if isinstance(found, SourceItem):
        assert f'"issueDate":"{day}"' in found.body.decode()
    else:
        assert day in found.reason


@pytest.mark.parametrize("number", ["1.23457E+11", "1,23457E+11", "5E+15"])
def test_a_number_that_a_spreadsheet_shortened_is_no_id(tmp_path: Path, number: str) -> None:
    text = f'{HEAD}\n"{number}",Kitchen,100,1\n"{number}",Bath,900,1\n'
    (found,) = read(tmp_path, text)
    assert "a spreadsheet has shortened the number" in getattr(found, "reason", "")
    (found,) = read(
        tmp_path,
        f"{HEAD},Contact\nA-1,Door,1,1,{number.replace(',', '.')}\n",
        document='location = "{Contact}"',
    )
    assert "column 'Contact': a spreadsheet has shortened" in getattr(found, "reason", "")


# ----------------------------------------------------------------------------------------- workbooks


@pytest.mark.parametrize("size", ["A1:D4", "A1:D2", "A1", "A1:B4", "A1:Z900", ""])
def test_every_row_of_a_sheet_is_read_whatever_size_it_claims(tmp_path: Path, size: str) -> None:
    rows = [HEAD.split(","), *([f"A-{n}", "Door", 100, 1] for n in (1, 2, 3))]
    found = read(tmp_path, with_size(book(rows), size), ".xlsx")
    assert outcome(found) == ["A-1: 100.00", "A-2: 100.00", "A-3: 100.00"]


@pytest.mark.parametrize(
    ("value", "form", "settings", "total"),
    [
        (0.08, "0%", 'tax_rate = "{Q}"', "108.00"),
        (0.0825, "0.00%", 'tax_rate = "{Q}"', "108.25"),
        (8.25, "General", 'tax_rate = "{Q}"', "108.25"),
        ("8.25 %", "General", 'tax_rate = "{Q}"', "108.25"),
        (0.5, "0%", "", "100.00"),
    ],
)
def test_a_percent_cell_is_what_it_shows(
    tmp_path: Path, value: Any, form: str, settings: str, total: str
) -> None:
    content = book([[*HEAD.split(","), "Q"], ["A-1", "Door", 100, 1, value]], {"E2": form})
    assert outcome(read(tmp_path, content, ".xlsx", line=settings)) == [f"A-1: {total}"]


def test_a_percent_cell_is_no_amount(tmp_path: Path) -> None:
    (found,) = read(tmp_path, book([HEAD.split(","), ["A-1", "Door", 0.5, 1]], {"C2": "0%"}), ".xlsx")
    assert "'50%' is not a number: it is a percentage" in getattr(found, "reason", "")


def test_leading_zeros_and_texts_of_a_format_are_part_of_a_number(tmp_path: Path) -> None:
    content = book(
        [HEAD.split(","), [123, "Door", 1, 1], [123, "Door", 1, 1], [123, "Door", 1, 1]],
        {"A2": "00000", "A3": '"EST-"0000', "A4": "0"},
    )
    assert outcome(read(tmp_path, content, ".xlsx")) == ["00123: 1.00", "EST-0123: 1.00", "123: 1.00"]


def test_a_long_numeric_cell_is_no_id(tmp_path: Path) -> None:
    rows = [HEAD.split(","), [123456789012345678, "a", 1, 1], [999999999999999, "b", 1, 1]]
    damaged, good = read(tmp_path, book(rows), ".xlsx")
    assert "a spreadsheet has shortened the number" in getattr(damaged, "reason", "")
    assert good.source_id == "999999999999999"


def test_a_formula_without_a_value_an_error_and_a_boolean_say_what_they_are(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        HEAD.split(","),
        ["A-1", "Door", "=2*3", 1],
        ["A-2", "Door", "#DIV/0!", 1],
        ["A-3", "Door", True, 1],
    ]
    assert outcome(read(tmp_path, book(rows), ".xlsx")) == [
        "A-1: line 2, column 'Price' holds a formula without a value (=2*3); open the file in a spreadsheet program and save it",
        "A-2: line 3, column 'Price' holds #DIV/0!, an error of the spreadsheet",
        "A-3: line 4, column 'Price': 'TRUE' is not a number",
    ]


def test_hidden_rows_are_refused_until_their_meaning_is_declared(tmp_path: Path) -> None:
    def hide(made: Any, sheet: Any) -> None:
        sheet.row_dimensions[3].hidden = True

    content = book([HEAD.split(","), ["A-1", "Door", 1, 1], ["A-2", "Door", 2, 1]], change=hide)
    good, hidden = read(tmp_path, content, ".xlsx")
    assert isinstance(good, SourceItem)
    assert "line 3 is hidden in the sheet" in getattr(hidden, "reason", "")
    assert outcome(read(tmp_path, content, ".xlsx", source='hidden = "keep"')) == ["A-1: 1.00", "A-2: 2.00"]
    assert outcome(read(tmp_path, content, ".xlsx", source='hidden = "skip"')) == ["A-1: 1.00"]


def test_hidden_rows_of_another_sheet_do_not_matter(tmp_path: Path) -> None:
    def hide(made: Any, sheet: Any) -> None:
        other = made.create_sheet("Other")
        other.append(["x"])
        other.append(["x"])
        other.row_dimensions[2].hidden = True

    content = book([HEAD.split(","), ["A-1", "Door", 1, 1]], change=hide)
    assert outcome(read(tmp_path, content, ".xlsx")) == ["A-1: 1.00"]


def test_a_merged_number_cell_is_one_on_the_first_row_only(tmp_path: Path) -> None:
    def merge(made: Any, sheet: Any) -> None:
        sheet.merge_cells("A2:A3")

    content = book([HEAD.split(","), ["A-1", "Door", 1, 1], ["A-1", "Lock", 2, 1]], change=merge)
    assert "line 3 names no document" in getattr(read(tmp_path, content, ".xlsx")[0], "reason", "")
    assert outcome(read(tmp_path, content, ".xlsx", source="fill_down = true")) == ["A-1: 3.00"]


@pytest.mark.parametrize("epoch", [1900, 1904])
def test_dates_are_days_in_either_epoch(tmp_path: Path, epoch: int) -> None:
    from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

    def change(made: Any, sheet: Any) -> None:
        made.epoch = CALENDAR_MAC_1904 if epoch == 1904 else CALENDAR_WINDOWS_1900

    rows: list[list[Any]] = [
        [*HEAD.split(","), "D"], ["A-1", "Door", 1, 1, date(2024, 3, 4)], ["A-2", "Door", 1, 1, datetime(2024, 3, 4, 13)],
    ]  # fmt: skip
    found = read(tmp_path, book(rows, change=change), ".xlsx", document='issue_date = "{D}"')
    assert all(
        '"issueDate":"2024-03-04"' in one.body.decode() for one in found if isinstance(one, SourceItem)
    )
    assert len(found) == 2


def test_a_workbook_with_macros_is_a_workbook(tmp_path: Path) -> None:
    assert outcome(read(tmp_path, book([HEAD.split(","), ["A-1", "Door", 1, 1]]), ".xlsm")) == ["A-1: 1.00"]


# ----------------------------------------------------------------------------- money and its control


def test_the_sources_own_total_is_compared_and_both_figures_are_named(tmp_path: Path) -> None:
    text = f"{HEAD},Total\nA-1,Door,10,1,30\nA-1,Lock,20,1,30\nA-2,Door,10,1,30\n"
    path = tmp_path / "export.csv"
    good, bad = read(tmp_path, text, document='total = "{Total}"')
    assert isinstance(good, SourceItem)
    assert "total: the source says 30.00 USD, the lines give 10.00 USD" in getattr(bad, "reason", "")
    reading = read_source(path, Mapping.load(tmp_path / "map.toml"))
    list(reading)
    assert reading.facts.comparison == "equal to the source's totals"


def test_money_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    text = f"{HEAD},Shipping,Tip,Tax Name,Discount,Due Date\nA-1,Door,10,1,7.50,0.00,VAT,,2024-01-01\nA-2,Door,10,1,0,$0,VAT,5%,x\n"
    assert outcome(read(tmp_path, text)) == ["A-1: 10.00", "A-2: 10.00"]
    reading = read_source(tmp_path / "export.csv", Mapping.load(tmp_path / "map.toml"))
    list(reading)
    assert reading.facts.unused_money == {"Shipping": (1, "7.50"), "Discount": (1, "5%")}
    assert reading.facts.comparison == "equal to the plan (the source has no totals)"


def test_charges_discounts_and_taxes_of_a_table_come_right(tmp_path: Path) -> None:
    text = (
        f"{HEAD},Off,Tax,Ship,Total\n"
        "A-1,Door,100,1,10%,7.20,9.50,206.70\n"
        "A-1,Lock,50,2,,0,9.50,206.70\n"
        "A-2,Door,100,1,,7.20,,107.21\n"
    )
    found = read(
        tmp_path, text,
        document='total = "{Total}"',
        line='discount = "{Off}"\ntax_amount = "{Tax}"',
        more='[[charge]]\nname = "Shipping"\namount = "{Ship}"',
    )  # fmt: skip
    assert outcome(found) == [
        "A-1: 206.70",
        "A-2: total: the source says 107.21 USD, the lines give 107.20 USD",
    ]


def test_an_unknown_key_of_a_mapping_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"\[line\] has no key 'amout': unknown field; did you mean amount"):
        read(tmp_path, HEAD, line='amout = "1"')


def test_values_of_the_wire_are_exact(tmp_path: Path) -> None:
    (found,) = read(tmp_path, f"{HEAD}\nA-1,Door,0.10,3\n")
    assert isinstance(found, SourceItem)
    assert b'"amount":0.10,"qty":3' in found.body
    assert found.total == Decimal("0.30")


def test_an_unknown_section_of_a_mapping_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "orders.toml"
    path.write_text("[lines]\n[document]\n[contact]\n")
    with pytest.raises(SourceError, match=r"unknown section 'lines'; did you mean \[line\]\?"):
        Mapping.load(path)
