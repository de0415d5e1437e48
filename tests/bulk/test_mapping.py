"""Promises of a mapping: numbers, contacts and discounts are read as they are written, or not at all."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from hl_async.bulk.sources.compiler import compile_document
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.row_reader import RowReader
from hl_async.errors import InvalidRequest
from hl_async.models import EstimateDraft

TEXT = """
[document]
group_by = "No"
name = "Order {No}"
currency = "EUR"
issue_date = "{Date}"
expiry_days = 30
discount = "{Discount}"
allow_zero_total = true

[contact]
id = "{Contact}"
name = "Alex"
phone_no = "{Phone}"

[line]
name = "Oak"
amount = "{Price}"
qty = "1"
"""
LINE = {"No": "1", "Date": "2024-02-01", "Discount": "", "Contact": "c1", "Phone": "", "Price": "9.99"}


def loaded(folder: Path, text: str) -> Mapping:
    (folder / "map.toml").write_text(text, "utf-8")
    return Mapping.load(folder / "map.toml")


def drafted(mapping: Mapping, line: dict[str, str]) -> EstimateDraft:
    reader = RowReader(mapping, list(line), mapping.settings())
    document = reader.document(line["No"], [list(line.values())])
    item = compile_document(document, reader.settings, ordinal=0, latest=date(2030, 1, 1))
    return msgspec.json.decode(item.body, type=EstimateDraft, strict=False)


@pytest.mark.parametrize(
    ("signs", "text", "number"),
    [
        ('decimal = ","\nthousands = "."', "1.234.567,89", "1234567.89"),
        ('decimal = ","\nthousands = "."', "1234,5", "1234.5"),
        ('decimal = ","\nthousands = "."', "1.23", None),
        ('decimal = ","\nthousands = "."', "1.2345", None),
        ('thousands = ","', "1,234.50", "1234.50"),
        ('thousands = ","', "12,34.50", None),
        ('thousands = "\'"', "1'000", "1000"),
        ('thousands = "\\u00a0"', "1\u00a0000", "1000"),
        ("", "1,234.50", None),
        ("", ".5", "0.5"),
        ("", "5.", "5"),
        ("", "+5", "5"),
        ("", "1e-05", "0.00001"),
        ("", "0x10", None),
        ("", "١٢", None),
        ("", "", None),
        ("", "1 000", None),
    ],
)
def test_a_number_is_what_the_mapping_says_or_none(
    tmp_path: Path, signs: str, text: str, number: str | None
) -> None:
    mapping = loaded(tmp_path, TEXT + signs)
    if number is None:
        with pytest.raises(InvalidRequest, match="amount.* is not a number"):
            drafted(mapping, LINE | {"Price": text})
    else:
        assert drafted(mapping, LINE | {"Price": text}).items[0].amount == Decimal(number)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Discount": "-5"}, "discount: -5 is not a percentage discount"),
        ({"Discount": "101"}, "discount: 101 is not a percentage discount"),
        ({"Date": "9999-12-31"}, "in the future"),
    ],
)
def test_what_the_api_would_refuse_is_refused_first(
    tmp_path: Path, changes: dict[str, str], problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        drafted(loaded(tmp_path, TEXT), LINE | changes)


def test_an_empty_discount_is_none_and_a_fixed_one_is_an_amount(tmp_path: Path) -> None:
    mapping = loaded(tmp_path, TEXT)
    assert drafted(mapping, LINE).discount.value == 0
    fixed = loaded(tmp_path, TEXT.replace("discount =", 'discount_type = "fixed"\ndiscount ='))
    found = drafted(fixed, LINE | {"Discount": "250.5", "Price": "1000"}).discount
    assert (found.type, found.value) == ("fixed", Decimal("250.5"))


def test_a_day_in_iso_form_is_understood_unless_it_could_mean_another(tmp_path: Path) -> None:
    mapping = loaded(tmp_path, TEXT.replace("expiry_days", 'date_format = "%d/%m/%Y"\nexpiry_days'))
    for text in ("01/02/2024", "2024-02-01"):
        body = msgspec.to_builtins(drafted(mapping, LINE | {"Date": text}))
        assert (body["issueDate"], body["expiryDate"]) == ("2024-02-01", "2024-03-02")
    swapped = loaded(tmp_path, TEXT.replace("expiry_days", 'date_format = "%Y-%d-%m"\nexpiry_days'))
    with pytest.raises(InvalidRequest, match="not a date of the form"):
        drafted(swapped, LINE | {"Date": "2024-01-13"})


def test_templates_take_in_any_columns_of_the_first_line(tmp_path: Path) -> None:
    mapping = loaded(tmp_path, TEXT.replace('"Order {No}"', '"x {No}-{Sales Rep} y"'))
    assert drafted(mapping, LINE | {"Sales Rep": "Kim"}).name == "x 1-Kim y"
