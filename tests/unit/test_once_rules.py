"""Promises of the decision that creates a document once."""

from __future__ import annotations

import pytest

import samples
from hl_async.auth.stores.memory import MemoryStore
from hl_async.errors import ConfigurationError, InvalidRequest
from hl_async.models import Contact, Estimate, Item
from hl_async.resources.once import KeyKeeper, Once
from hl_async.resources.once_rules import (
    OnceRecord,
    OnceStep,
    check_key,
    looks_like,
    mark_of,
    marked,
    next_step,
    number_after,
    suspicious_since,
)

SENT = OnceRecord("c", sent_at=1000.0)


@pytest.mark.parametrize(
    ("record", "found", "suspects", "now", "step"),
    [
        (None, False, False, 0.0, OnceStep.CREATE),
        (None, True, False, 0.0, OnceStep.RETURN),
        (None, False, True, 0.0, OnceStep.UNDECIDED),
        (OnceRecord("c"), False, False, 0.0, OnceStep.CREATE),
        (SENT, False, False, 1149.9, OnceStep.WAIT),
        (SENT, False, False, 1150.0, OnceStep.CREATE),
        (SENT, True, True, 1000.0, OnceStep.RETURN),
        (SENT, False, True, 2000.0, OnceStep.UNDECIDED),
        (OnceRecord("c", 1000.0, "e1"), False, False, 2000.0, OnceStep.GONE),
        (OnceRecord("c", 1000.0, "e1"), True, False, 2000.0, OnceStep.RETURN),
    ],
)
def test_the_next_step(
    record: OnceRecord | None, found: bool, suspects: bool, now: float, step: OnceStep
) -> None:
    assert next_step(record, found=found, suspects=suspects, now=now, settle=150.0) is step


def test_the_key_stands_beside_what_the_caller_keeps_in_meta() -> None:
    meta = marked({"form": 7, "hl_async": {"k": "x"}}, "form-7", "abc")
    assert meta == {"form": 7, "hl_async": {"k": "x", "once": "form-7", "content": "abc"}}
    assert mark_of(meta) == ("form-7", "abc")
    assert mark_of(None) is mark_of({"hl_async": 1}) is mark_of({"hl_async": {"k": "x"}}) is None


def test_a_document_of_the_same_content_looks_like_the_draft() -> None:
    draft = samples.estimate()
    items = [Item(name=one.name, amount=one.amount, qty=one.qty) for one in draft.items]
    contact = Contact(id=draft.contact_details.id)
    same = Estimate(id="e", name=draft.name, currency="USD", items=items, contact_details=contact)
    assert looks_like(same, draft)
    assert not looks_like(same, samples.estimate(name="Other"))
    assert not looks_like(same, samples.estimate(items=[samples.line(amount="1.00")]))


@pytest.mark.parametrize(
    ("number", "following"), [("000009", "000010"), ("INV-7", "INV-8"), ("99", "100"), ("A", "A-2")]
)
def test_the_number_that_follows(number: str, following: str) -> None:
    assert number_after(number) == following


def test_suspicion_begins_with_the_first_request() -> None:
    assert suspicious_since(SENT, 5000.0, 150.0) == 940.0
    assert suspicious_since(None, 5000.0, 150.0) == 4790.0


@pytest.mark.parametrize("key", ["", " ", "a\nb", "x" * 129])
def test_a_key_is_short_printable_text(key: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a key"):
        check_key(key)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="settle"):
        Once(settle=0)
    with pytest.raises(ConfigurationError, match="depth"):
        Once(depth=0)
    with pytest.raises(ConfigurationError, match="'once.db' is not a store; pass SqliteStore"):
        Once(store="once.db")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"takes Once\(store\), got MemoryStore"):
        KeyKeeper(MemoryStore())  # type: ignore[arg-type]


async def test_a_process_without_a_store_forgets_its_oldest_keys() -> None:
    keeper = KeyKeeper(None)
    assert not keeper.is_shared
    for number in range(10_002):
        await keeper.save(f"k{number}", OnceRecord("c"))
    assert await keeper.load("k0") is await keeper.load("k1") is None
    assert await keeper.load("k2") is not None
