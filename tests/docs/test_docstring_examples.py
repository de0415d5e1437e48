"""The examples in docstrings of public callables, each run against a sandbox of its own."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import hl_async
import hl_async.models
from hl_async import HighLevel, Location
from hl_async.models import (
    BusinessDetails,
    ContactDetails,
    ContactDraft,
    EstimateDraft,
    EstimateSend,
    InvoiceDraft,
    InvoiceSend,
    LineItem,
    SentTo,
)
from hl_async.sandbox import Sandbox

ROOMS = ("hl_async.resources", "hl_async.client", "hl_async.bulk", "hl_async.reports", "hl_async.pagination")
FEWEST = 20
"""Callables whose docstring shows an example."""

_BLOCK = re.compile(r"^(?P<indent> *)Example::\n\n(?P<code>(?:(?P=indent) {4}.*\n|\n)+)", re.MULTILINE)


def examples() -> Iterator[tuple[str, str]]:
    """Yield the name and the code of every example."""
    for room in ROOMS:
        spec = find_spec(room)
        assert spec is not None and spec.origin is not None
        begin = Path(spec.origin)
        for path in sorted(begin.parent.rglob("*.py")) if begin.name == "__init__.py" else [begin]:
            text = path.read_text("utf-8")
            if "Example::" in text:
                inner = path.relative_to(begin.parent).with_suffix("").parts if path != begin else ()
                yield from _in_tree(ast.parse(text), ".".join((room, *inner)))


def _in_tree(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        name = f"{prefix}.{child.name}"
        for match in _BLOCK.finditer((ast.get_docstring(child) or "") + "\n"):
            yield name, textwrap.dedent(match["code"]).strip()
        yield from _in_tree(child, name)


FOUND = list(examples())


async def _things(hl: HighLevel, shop: Location, box: Sandbox) -> dict[str, Any]:
    """Make the documents that the examples speak of."""
    person = await shop.contacts.create(
        ContactDraft(first_name="Alex", name="Alex Doe", email="alex@example.com", phone="+12145596993")
    )
    contact = ContactDetails(id=person.id, name="Alex Doe", email="alex@example.com", phone_no="+12145596993")
    items = [LineItem(name="Cabinets", currency="USD", amount=Decimal(100), qty=1)]
    draft = EstimateDraft(
        name="Kitchen", currency="USD", expiry_date=date(2040, 12, 31), contact_details=contact, items=items
    )
    bill = InvoiceDraft(
        name="Kitchen",
        currency="USD",
        issue_date=date(2026, 1, 31),
        due_date=date(2040, 12, 31),
        contact_details=contact,
        items=items,
        live_mode=True,
        business_details=BusinessDetails(name="Joinery"),
        sent_to=SentTo(email=["alex@example.com"]),
    )
    user = (await shop.users.search().collect())[0]
    accepted = await shop.estimates.create(draft)
    await shop.estimates.send(accepted.id, EstimateSend(action="email", user_id=user.id, live_mode=True))
    box.customer.accept(accepted.id)
    opened = await shop.invoices.create(bill)
    await shop.invoices.send(opened.id, InvoiceSend(action="email", user_id=user.id, live_mode=True))
    return {
        "hl": hl,
        "shop": shop,
        "draft": draft.replace(name="Bathroom"),
        "invoice_draft": bill,
        "estimate": await shop.estimates.create(draft),
        "accepted": accepted,
        "invoice": await shop.invoices.create(bill),
        "open_invoice": opened,
        "contact": person,
        "user_id": user.id,
    }


@pytest.mark.parametrize(("name", "code"), FOUND, ids=[name for name, _ in FOUND])
async def test_an_example_in_a_docstring_runs(
    name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    public = {word: getattr(hl_async, word) for word in hl_async.__all__}
    models = {word: getattr(hl_async.models, word) for word in hl_async.models.__all__}
    async with (
        Sandbox(rate_max=100_000, rate_interval=1.0) as box,
        HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl,
    ):
        space = {**models, **public, **await _things(hl, hl.location(), box), "print": lambda *_: None}
        exec(f"async def example():\n{textwrap.indent(code, '    ')}", space)
        await space["example"]()


def test_the_callables_used_most_show_an_example() -> None:
    assert len({name for name, _ in FOUND}) >= FEWEST
