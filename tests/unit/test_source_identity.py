"""Promises of the identity of a source: what is the same document, and what only has the same number."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import samples
from hl_async.bulk.keys import MetaKey, TextKey
from hl_async.bulk.source_identity import (
    Origin,
    Relation,
    check_source_name,
    contents_mark,
    derived_source_name,
    origin_of,
    relation,
    source_mark,
)
from hl_async.bulk.sources.records import SourceItem
from hl_async.errors import ConfigurationError
from hl_async.models import Estimate
from hl_async.models.codec import decoder, encode

BODY = encode(samples.estimate())


def listed(body: bytes, **changes: Any) -> Estimate:
    """The document as a list gives it back."""
    return decoder(Estimate)(msgspec.json.encode(msgspec.json.decode(body) | {"_id": "d1"} | changes))


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (Origin("m", "shop", "c1"), Relation.SAME),
        (Origin("m", "shop", "c2"), Relation.CHANGED),
        (Origin("m", "shop", ""), Relation.CHANGED),
        (Origin("m", "crm", "c1"), Relation.RENAMED),
        (Origin("m", "crm", "c2"), Relation.OTHER),
        (Origin("m", "", "c1"), Relation.SAME),
        (Origin("m", "", "c2"), Relation.OTHER),
    ],
)
def test_name_and_contents_tell_what_a_shared_source_id_means(theirs: Origin, expected: Relation) -> None:
    assert relation(Origin("m", "shop", "c1"), theirs) is expected


def test_a_document_in_meta_carries_its_source_id_the_name_of_its_source_and_its_contents() -> None:
    keys = MetaKey()
    key = keys.make("run1", SourceItem(0, "A-1", BODY), 0)
    document = listed(keys.put(BODY, key, "run1", "A-1", "shop"))
    origin = origin_of(document)
    assert origin == Origin(source_mark("A-1"), "shop", contents_mark(msgspec.json.decode(BODY)), "run1")
    assert keys.read(document) == key


@pytest.mark.parametrize("field", ["termsNotes", "name", "title"])
def test_a_document_with_a_text_key_is_found_by_the_first_half_of_the_key_and_its_contents(
    field: str,
) -> None:
    keys = TextKey(field)
    first, second = (keys.make(run, SourceItem(0, "A-1", BODY), 0) for run in ("run1", "run2"))
    assert first != second
    assert first[:13] == second[:13] == source_mark("A-1")
    origin = origin_of(listed(keys.put(BODY, first, "run1")))
    assert origin is not None
    mine = Origin(source_mark("A-1"), "shop", contents_mark(msgspec.json.decode(BODY)), "run2")
    assert relation(mine, origin) is Relation.SAME


@pytest.mark.parametrize(
    "meta", [None, {}, {"hl_async": "x"}, {"hl_async": {"k": "x"}}, {"hl_async": {"src": 7}}]
)
def test_documents_of_others_have_no_origin(meta: Any) -> None:
    assert origin_of(listed(BODY, meta=meta, termsNotes="Thank you [see page 2]")) is None


def test_contents_do_not_depend_on_spelling_dates_numbers_or_the_name_that_a_mapping_makes() -> None:
    body = msgspec.json.decode(BODY)
    (line, *rest) = body["items"]
    contact = body["contactDetails"]
    respelled = body | {
        "name": "Otherwise", "issueDate": "2020-01-01", "estimateNumber": 9,
        "contactDetails": contact | {"name": f" {contact['name'].upper()} ", "phoneNo": "+15550000000"},
        "items": [line | {"qty": Decimal("3.00"), "description": "more"}, *rest],
    }  # fmt: skip
    assert contents_mark(respelled) == contents_mark(body)
    for changed in (
        body | {"items": [line | {"amount": 10}, *rest]},
        body | {"items": [line | {"name": "Another"}, *rest]},
        body | {"items": [line, line, *rest]},
        body | {"currency": "EUR"},
        body | {"contactDetails": contact | {"email": "other@example.com"}},
    ):
        assert contents_mark(changed) != contents_mark(body)


@pytest.mark.parametrize(
    ("path", "rules", "name"),
    [
        ("orders-2026-05-01.csv", None, "orders"),
        ("orders (2).csv", None, "orders"),
        ("Quotes_Report.ndjson", None, "Quotes_Report"),
        ("2026.ndjson", None, "2026"),
        ("orders.csv", "shop.toml", "shop"),
        ("orders-7.csv", "mapping.toml", "orders"),
        ("orders-7.csv", "map.toml", "orders"),
    ],
)
def test_a_source_without_a_stated_name_keeps_its_name_from_export_to_export(
    path: str, rules: str | None, name: str
) -> None:
    assert derived_source_name(Path(path), rules=Path(rules) if rules else None) == name


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb", "a\x00"])
def test_a_stated_name_is_short_and_printable(name: str) -> None:
    with pytest.raises(ConfigurationError, match="source-name"):
        check_source_name(name)
    assert check_source_name(" Jobber (Dallas) ") == "Jobber (Dallas)"


def test_a_key_takes_its_room_from_a_name_that_the_limit_holds_for_and_from_no_other() -> None:
    keys = TextKey("name")
    for text, expected in (("K" * 40, "K" * 31 + " [abcdef]"), ("K" * 41, "K" * 41 + " [abcdef]")):
        body = keys.put(msgspec.json.encode({"name": text}), "abcdef", "r")
        assert msgspec.json.decode(body)["name"] == expected
