"""A document that a query read is rejected as it stands in its file, whoever rejects it, and can be corrected there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hl_async.bulk.sources.opening import OpenedSource, open_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import reject_lines

QUERY = """-- set: currency = EUR
{more}
SELECT No AS source_id, {place} Item AS line_name, Price AS line_amount, replace(Kunde, 'x', 'y') AS customer_name FROM a"""


def opened(folder: Path, text: str, more: str = "", place: str = "_line AS place,", name: str = "a.csv", encoding: str = "utf-8") -> OpenedSource:  # fmt: skip
    (folder / name).write_bytes(text.encode(encoding))
    (folder / "q.sql").write_text(QUERY.format(more=more, place=place), "utf-8")
    return open_source([folder / name], sql=folder / "q.sql", pairs=("contact_id=c1",))


@pytest.mark.parametrize(
    ("sign", "encoding", "more"),
    [
        (",", "utf-8", ""),
        (",", "utf-8", "-- key: No"),
        (";", "cp1252", '-- set: delimiter = ";"\n-- set: encoding = cp1252'),
    ],
)
def test_what_is_rejected_is_in_the_reject_file_and_read_again_when_it_is_corrected(
    tmp_path: Path, sign: str, encoding: str, more: str
) -> None:
    rows = [
        ["No", "Kunde", "Item", "Price"],
        ["A-1", "Müller", f'"Tür{sign} ""neu""\n2 m"', "5.00"],
        ["A-2", "Bär", "Tür", "x"],
    ]
    source = opened(tmp_path, "".join(sign.join(row) + "\n" for row in rows), more, encoding=encoding)
    assert (source.columns, source.delimiter, source.encoding) == (rows[0], sign, encoding)
    item, reject = source.read()
    # the API may reject a document long after its file was read
    assert isinstance(item, SourceItem) and isinstance(reject, Reject)
    assert item.raw.decode() == sign.join(rows[1]) + "\n"
    both = [(item.raw, "the API says no"), (reject.raw, reject.reason)]
    text = b"".join(reject_lines(source.columns, both, source.delimiter, source.encoding))
    # the file has the name that the run gives it, and its table that of the source
    again = opened(
        tmp_path, text.decode(encoding).replace("Tür;x", "Tür;7").replace("Tür,x", "Tür,7"), more, name="a.rejects.csv",
        encoding=encoding,
    )  # fmt: skip
    found = list(again.read())
    assert [one.source_id for one in found] == ["A-1", "A-2"]
    assert [str(one.total) for one in found] == ["5.00", "7.00"]


def test_rows_of_a_join_stand_in_the_reject_once(tmp_path: Path) -> None:
    source = opened(tmp_path, "No,Kunde,Item,Price\nA-1,Ash,Door,5.00\n")
    (tmp_path / "q.sql").write_text(
        "-- set: currency = EUR\nSELECT No AS source_id, _line AS place, Item AS line_name, Price AS line_amount FROM a, range(2)"
    )
    source = open_source([tmp_path / "a.csv"], sql=tmp_path / "q.sql", pairs=("contact_id=c1",))
    (item,) = source.read()
    assert isinstance(item, SourceItem)
    assert (str(item.total), item.raw) == ("10.00", b"A-1,Ash,Door,5.00\n")


def test_a_query_that_names_no_rows_rejects_what_it_made_of_them(tmp_path: Path) -> None:
    source = opened(tmp_path, "No,Kunde,Item,Price\nA-1,Ash,Door,x\n", place="")
    assert source.columns is None
    (reject,) = source.read()
    assert b'"line_amount":"x"' in reject.raw


def test_a_document_of_a_profile_keeps_its_rows(tmp_path: Path) -> None:
    head = "Quote #,Client name,Title,Status,Created date,Total ($)\n"
    (tmp_path / "quotes.csv").write_text(f'{head}1,"Ash, Alex",Deck,Draft,2024-03-04,$5.00\n')
    source = open_source([tmp_path / "quotes.csv"], profile="jobber", pairs=("contact_id=c1", "currency=USD"))
    (item,) = source.read()
    assert item.raw == b'1,"Ash, Alex",Deck,Draft,2024-03-04,$5.00\n'
