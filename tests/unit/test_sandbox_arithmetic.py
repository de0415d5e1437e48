"""The sandbox adds up by itself, and comes to what was measured and to what the client expects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hl_async.models import Discount, ItemTax, LineItem, document_total
from hl_async.models.money import CURRENCIES, minor_units
from hl_async.sandbox.arithmetic import ISO_4217, places, reckon


def document(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"currency": "USD", "items": list(lines)} | fields


def line(amount: Any, qty: Any = 1, *rates: Any, **fields: Any) -> dict[str, Any]:
    taxes = [{"name": "VAT", "rate": rate} for rate in rates]
    return {"amount": amount, "qty": qty, "taxes": taxes} | fields


@pytest.mark.parametrize("rounding", ["parts", "total"])
@pytest.mark.parametrize(
    ("lines", "percent", "total"),
    [
        ([line(15500, 24, 13)], 5, "399342.00"),
        ([line(333, 1, 13)], 0, "376.29"),
        ([line(15500, 24), line(45942)], 5, "397044.90"),
    ],
)
def test_the_measured_totals_come_out(lines: Any, percent: int, total: str, rounding: str) -> None:
    found = reckon(document(*lines, discount={"value": percent, "type": "percentage"}), rounding=rounding)
    assert str(found.total) == total


def test_both_tables_of_currencies_say_the_same() -> None:
    assert set(CURRENCIES) == ISO_4217
    assert all(places(code) == minor_units(code) for code in [*ISO_4217, "XQZ"])


numbers = st.decimals(0, 100_000, places=4, allow_nan=False, allow_infinity=False)
rates = st.decimals(0, 40, places=3, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers, st.lists(rates, max_size=3), st.booleans()), max_size=6),
    st.sampled_from(["USD", "JPY", "KWD", "CLF"]),
    st.one_of(st.none(), st.tuples(st.just("percentage"), rates), st.tuples(st.just("fixed"), rates)),
)
@example([(Decimal("1.5"), Decimal(1), [Decimal(1)], False), (Decimal("1.5"), Decimal(1), [], False)], "USD",
         ("fixed", Decimal(2)))  # fmt: skip
def test_two_programs_agree_to_the_smallest_unit(lines: Any, currency: str, off: Any) -> None:
    theirs = reckon(
        document(
            *(line(amount, qty, *taxes, taxInclusive=inside) for amount, qty, taxes, inside in lines),
            currency=currency,
            discount={"type": off[0], "value": off[1]} if off else {},
        )
    )
    ours = document_total(
        [
            LineItem(
                name="x", currency=currency, amount=amount, qty=qty, tax_inclusive=inside,
                taxes=[ItemTax(id="t", name="VAT", rate=rate) for rate in taxes],
            )
            for amount, qty, taxes, inside in lines
        ],
        currency,
        Discount(type=off[0], value=off[1]) if off else None,
    )  # fmt: skip
    assert theirs.total == ours
    parts = theirs.subtotal - theirs.discount + sum(theirs.taxes.values(), Decimal(0))
    assert theirs.total == max(parts, 0)


def test_with_automatic_taxes_the_taxes_of_lines_are_ignored() -> None:
    taxed = document(line(100, 1, 10), automaticTaxesEnabled=True)
    assert reckon(taxed).total == 100
    assert reckon(taxed, automatic_rate=Decimal("8.25")).total == Decimal("108.25")


def test_a_discount_can_be_narrowed_to_products() -> None:
    lines = [line(100, productId="a"), line(100, productId="b")]
    off = {"type": "percentage", "value": 10, "validOnProductIds": ["a"]}
    assert reckon(document(*lines, discount=off)).total == 180
    assert reckon(document(*lines, discount=off), by_product=True).total == 190


def test_rounding_once_differs_from_rounding_each_part() -> None:
    lines = [line(Decimal("0.005")), line(Decimal("0.005"))]
    assert reckon(document(*lines)).total == Decimal("0.02")
    assert reckon(document(*lines), rounding="total").total == Decimal("0.01")


def test_halves_go_away_from_zero_also_below_it() -> None:
    assert reckon(document(line(Decimal("-0.005")), line(1))).total == Decimal("0.99")
