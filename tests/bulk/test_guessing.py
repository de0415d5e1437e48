"""A guessed mapping is tried on the file's first rows, and says how many documents come to their own totals."""

from __future__ import annotations

from pathlib import Path

import pytest

from hl_async.bulk.sources.guessing import guess_mapping
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import read_source
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.sources.settings import SourceSettings


def guessed(folder: Path, text: str, encoding: str = "utf-8") -> str:
    (folder / "a.csv").write_bytes(text.encode(encoding))
    return guess_mapping(folder / "a.csv")


def totals(folder: Path, mapping: str) -> list[str]:
    (folder / "m.toml").write_text(mapping, "utf-8")
    found = read_source(
        folder / "a.csv", Mapping.load(folder / "m.toml"), settings=SourceSettings(contact_id="c1")
    )
    return [
        str(one.total) if isinstance(one, SourceItem) else one.reason
        for one in found
        if isinstance(one, SourceItem) or not one.skipped
    ]


@pytest.mark.parametrize(
    ("text", "line", "wanted"),
    [
        # prices with tax inside: only the totals say so
        (
            "Receipt,Day,Item,Qty,Gross price,VAT %,Receipt total\nR1,2024-03-04,Mug,3,9.99,19,29.97\nR2,2024-03-05,Cup,1,0.10,20,0.10\n",
            "tax_inclusive = true",
            ["29.97", "0.10"],
        ),
        # a discount that is money although its name does not say so
        (
            "Invoice No,Date,Item,Qty,Price,Discount,Total\n1,2024-03-04,Mug,2,60.00,20.00,100.00\n2,2024-03-04,Mug,1,50.00,0,50.00\n",
            'discount_type = "fixed"',
            ["100.00", "50.00"],
        ),
        # a sum of the line with its tax
        (
            "Invoice No,Date,Item,Qty,Price,Tax %,Line total,Invoice total\n1,2024-03-04,Mug,2,50.00,10,110.00,110.00\n",
            "# not used, and they look like money: Line total",
            ["110.00"],
        ),
        # names without spaces
        (
            "DocEntry;DocDate;CardName;DocCur;DocTotal\n7;20240304;Ash;EUR;1130.50\n8;20240305;Elm;EUR;20\n",
            'date_format = "%Y%m%d"',
            ["1130.50", "20.00"],
        ),
        # a list whose total contains discount, tax and tip
        (
            "Invoice #,Date,Client,Subject,Discount ($),Tax ($),Tip,Total ($)\n1,2024-03-04,Ash,Deck,50.00,33.00,5.00,433.00\n",
            'amount = "{Total ($)}"',
            ["433.00"],
        ),
        (
            'Fecha,Núm,Cliente,Concepto,Unidades,Precio unidad,IVA %,Total,Moneda\n13/03/2024,F1,Peña,Diseño,10,"45,50",21,"550,55",EUR\n',
            'group_by = "Núm"',
            ["550.55"],
        ),
    ],
)
def test_the_reading_that_comes_to_the_totals_is_chosen_and_said(
    tmp_path: Path, text: str, line: str, wanted: list[str]
) -> None:
    found = guessed(tmp_path, text)
    assert "every total agrees with the column" in found
    assert line in found
    assert totals(tmp_path, found) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Invoice No,Date,Item,Qty,Price,Levy,Total\n1,2024-03-04,Mug,1,50.00,3.00,53.00\n2,2024-03-04,Mug,1,50.00,0,50.00\n",
            (
                "1 agree with the column 'Total', the others do not, so the guess is unsure. The first problem: total: the source says "
                "53.00 USD, the lines give 50.00 USD; the difference, 3.00, stands in 'Levy'"
            ),
        ),
        (
            "Invoice No,Date,Item,Qty,Price\n1,2024-03-04,Mug,1,50.00\n",
            "# Tried on the first document: 1 can be read, but no column of totals was found to compare, so the guess is unsure.",
        ),
        (
            "Kind,Who,Words\nx,Ash,a\ny,Elm,b\n",
            'group_by = "Kind"  # unsure: no column looks like the number of a document',
        ),
        (
            "Kind,Who,Words\nx,Ash,a\ny,Elm,b\n",
            'amount = "0"  # unsure: no column looks like the price of one',
        ),
        (
            '"SI","4000","0","04/03/2024","INV-1",100.00\n"SI","4000","0","04/03/2024","INV-2",5.00\n',
            "no_header = true  # the first line looks like data",
        ),
        (
            "Invoice No,Issued date,Paid date,Item,Price,Total\n1,1/2/2026,1/15/2026,Mug,5,5\n2,13/1/2026,,Mug,5,5\n",
            "# date_format = \"…\"  # as for strptime; the first date is '1/2/2026'",
        ),
    ],
)
def test_an_unsure_guess_says_so(tmp_path: Path, text: str, said: str) -> None:
    assert said in guessed(tmp_path, text)


def test_the_header_again_and_a_row_of_sums_hide_no_format_of_dates(tmp_path: Path) -> None:
    head = "Invoice No,Date,Item,Price,Total\n"
    text = head + "1,31/12/2025,Mug,5,5\n" + head + "2,01/02/2026,Mug,7,7\nTotal,,,,12\n"
    found = guessed(tmp_path, text)
    assert 'date_format = "%d/%m/%Y"' in found
    assert totals(tmp_path, found) == ["5.00", "7.00"]
