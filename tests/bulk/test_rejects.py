"""Promises of reject files: the input's own format with the reason, and a valid next input once mended."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import header_of, read_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import reject_lines, table_text

TEXT = """
[document]
group_by = "No"
name = "Order {No}"
currency = "EUR"
expiry_date = "2040-01-01"
[contact]
id = "c"
name = "A"
[line]
name = "{Article}"
amount = "{Price}"
qty = "{Qty}"
"""


def again(
    folder: Path, mapping: Mapping, source: Path, name: str, *mended: tuple[str, str]
) -> list[SourceItem | Reject]:
    """Write the rejects of a source, mend them, read them."""
    found = [one for one in read_source(source, mapping) if isinstance(one, Reject)]
    lines = reject_lines(
        header_of(source, mapping),
        ((one.raw, one.reason) for one in found),
        mapping.source.delimiter,
        mapping.source.encoding,
    )
    text = b"".join(lines).decode(mapping.source.encoding)
    for old, new in mended:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_bytes(text.encode(mapping.source.encoding))
    return list(read_source(folder / name, mapping))


def test_a_mended_reject_file_of_any_encoding_reads_as_what_it_was(tmp_path: Path) -> None:
    for encoding in ("utf-8", "cp1252", "utf-16"):
        (tmp_path / "map.toml").write_text(TEXT + f'[source]\nencoding = "{encoding}"\ndelimiter = ";"\n')
        mapping = Mapping.load(tmp_path / "map.toml")
        source = tmp_path / "export.csv"
        source.write_bytes(
            'No;Article;Qty;Price\n1;"Café;\r\n""big""";-3;2\n2;Tür;1;1\n3;Öl;x;1\n'.encode(encoding)
        )
        first, second = again(tmp_path, mapping, source, "r.csv", ("-3", "3"), ("x", "7"))
        assert isinstance(first, SourceItem)
        assert isinstance(second, SourceItem)
        assert 'Café;\\r\\n\\"big\\"'.encode() in first.body
        assert "Öl".encode() in second.body


def test_a_broken_line_stays_a_reject_until_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(TEXT)
    mapping = Mapping.load(tmp_path / "map.toml")
    source = tmp_path / "export.csv"
    # one field short, one too many: adding the reason must not make the first one fit
    source.write_text("No,Article,Qty,Price\n1,Oak,1\n2,Oak,1,2,surplus\n")
    for name in ("r1.csv", "r2.csv", "r3.csv"):
        found = again(tmp_path, mapping, source, name)
        source = tmp_path / name
        assert [(one.source_id, type(one).__name__) for one in found] == [("1", "Reject"), ("2", "Reject")]
    assert "surplus" in source.read_text()
    assert source.read_text().count("fields where the header has") == 2
    mended = again(tmp_path, mapping, source, "r4.csv", ("1,Oak,1,", "1,Oak,1,9,"), (",surplus", ""))
    assert [type(one).__name__ for one in mended] == ["Item", "Item"]


def test_a_field_longer_than_the_csv_module_likes_comes_back(tmp_path: Path) -> None:
    limit = csv.field_size_limit(131_072)
    try:
        raw = table_text([["1", "x" * 200_000]], ",").encode()
        assert len(b"".join(reject_lines(["a", "b"], [(raw, "why")]))) > 200_000
    finally:
        csv.field_size_limit(limit)


def test_a_reason_the_encoding_lacks_is_spelled_out() -> None:
    lines = b"".join(reject_lines(["a"], [(b"x\n", "must be > 0 \u2264 \u4e2d")], encoding="cp1252"))
    assert lines == b"a,reject_reason\nx,must be > 0 \\u2264 \\u4e2d\n"


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            min_size=2,
            max_size=4,
        ),
        max_size=6,
    ),
    st.sampled_from([",", ";", "\t", "|"]),
)
@pytest.mark.untraced
def test_any_rows_come_back_as_they_were(rows: list[list[str]], delimiter: str) -> None:
    text = io.StringIO(table_text(rows, delimiter), newline="")
    assert list(csv.reader(text, delimiter=delimiter, strict=True)) == rows


@pytest.mark.parametrize("raw", [b"{broken", b"[1]", b"\xff"])
def test_a_line_that_is_no_document_stays_as_it_is(raw: bytes) -> None:
    assert list(reject_lines(None, [(raw, "why")])) == [raw + b"\n"]


def test_a_json_document_says_its_reason_and_keeps_its_digits() -> None:
    (line,) = reject_lines(None, [(b'{"a":1.10000000000000000001,"reject_reason":"old"}', "new")])
    assert line == b'{"a":1.10000000000000000001,"reject_reason":"new"}\n'
