"""Promises about deposits and instalments: they add up, to the cent and to the ten-thousandth of a percent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async.errors import InvalidRequest
from hl_async.models import (
    Charge,
    Estimate,
    Instalment,
    PaymentScheduleConfig,
    deposit,
    instalment_amounts,
    instalments,
)
from hl_async.models.codec import decoder, encode


def values(config: PaymentScheduleConfig) -> list[Decimal]:
    return [one.value for one in config.schedules or []]


def test_a_deposit_and_the_rest_make_the_whole() -> None:
    assert values(deposit(30)) == [30, 70]
    assert values(deposit("33.3333")) == [Decimal("33.3333"), Decimal("66.6667")]
    assert (
        encode(deposit(Decimal("12.5")))
        == b'{"type":"percentage","schedules":[{"value":12.5},{"value":87.5}]}'
    )


def test_the_split_that_was_seen_live_comes_out_to_the_cent() -> None:
    assert instalment_amounts(deposit("33.3333"), Decimal(1720)) == [Decimal("573.33"), Decimal("1146.67")]


def test_equal_parts_add_up_to_one_hundred() -> None:
    assert values(instalments(3)) == [Decimal("33.3333"), Decimal("33.3333"), Decimal("33.3334")]


@pytest.mark.untraced
@settings(deadline=None, max_examples=400, derandomize=True)
@given(
    cents=st.integers(100, 300_000), count=st.integers(2, 8), currency=st.sampled_from(["USD", "JPY", "KWD"])
)
def test_instalments_of_a_known_total_add_up_to_it(cents: int, count: int, currency: str) -> None:
    total = Decimal(cents).scaleb({"USD": -2, "JPY": 0, "KWD": -3}[currency])
    try:
        config = instalments(count, total=total, currency=currency)
    except InvalidRequest as error:
        assert "cannot be split" in str(error)
        assert cents > 100_000
        return
    assert sum(instalment_amounts(config, total, currency)) == total
    assert sum(values(config)) == 100
    assert all(share == share.quantize(Decimal("0.0001")) for share in values(config))


def test_a_total_beyond_four_decimals_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidRequest, match="type='fixed'"):
        instalments(4, total="8081.13")
    fixed = PaymentScheduleConfig(
        type="fixed", schedules=[Instalment(value=Decimal("0.5")), {"value": "1.25"}]
    )
    assert instalment_amounts(fixed, Decimal("1.75")) == [Decimal("0.50"), Decimal("1.25")]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: deposit(0), "percent: 0 is not above 0"),
        (lambda: deposit(100), "percent: 100 is not above 0 and below 100"),
        (lambda: deposit("33.33333"), "more than four decimals"),
        (lambda: instalments(50, 40), "add up to 90, not to 100"),
        (lambda: instalments(120, -20), r"percents\[1\]: -20 is not above 0"),
        (lambda: instalments(1), "equal instalments from 2 to 100"),
        (lambda: instalments("2.5"), "equal instalments from 2 to 100"),
        (lambda: instalments(), "at least two"),
        (lambda: deposit("x"), "percent: 'x' is not a number"),
        (lambda: deposit(30, total="1.005"), "total: 1.005 is not a positive amount of USD"),
        (lambda: instalment_amounts(PaymentScheduleConfig(schedules=[{"x": 1}]), Decimal(1)), r"schedules\[0\]: has no value"),
    ],
)  # fmt: skip
def test_a_split_that_makes_no_sense_is_refused_by_field(call: Any, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        call()


def test_instalments_and_charges_are_typed_and_what_is_unknown_in_them_goes_back_as_it_came() -> None:
    wire = {
        "_id": "e",
        "configuration": {"precision": 4},
        "paymentScheduleConfig": {"type": "percentage", "schedules": [{"value": 33.3333}, {"value": 1, "on": "x"}, "y"]},
        "miscellaneousCharges": {"charges": [{"_id": "c", "name": "Fee", "charge": 3, "amount": 1.5, "enabled": True}, {"odd": 1}]},
    }  # fmt: skip
    answer = decoder(Estimate)(encode(wire))
    assert answer.configuration is not None
    assert answer.configuration.precision == 4
    assert answer.payment_schedule_config is not None
    assert answer.payment_schedule_config.schedules == [
        Instalment(value=Decimal("33.3333")), {"value": 1, "on": "x"}, "y",
    ]  # fmt: skip
    assert answer.miscellaneous_charges is not None
    charge, odd = answer.miscellaneous_charges.charges or []
    assert charge == Charge(id="c", name="Fee", charge=Decimal(3), amount=Decimal("1.5"), enabled=True)
    assert odd == {"odd": 1}
    update = decoder(dict)(encode(answer.to_update(expiry_date="2030-01-01")))
    assert update["paymentScheduleConfig"]["schedules"] == wire["paymentScheduleConfig"]["schedules"]
    assert update["miscellaneousCharges"]["charges"] == wire["miscellaneousCharges"]["charges"]
