"""Internal. Deposits and instalments, whose amounts add up exactly to the total."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from hl_async.errors import InvalidRequest
from hl_async.models.inputs import NOTHING, NullableAmount
from hl_async.models.money import guard, minor_units, rounded
from hl_async.models.structs import Part, typed_entries
from hl_async.models.validation import amount_of

_HUNDRED: Final = Decimal(100)
_PLACES: Final = Decimal("0.0001")


class Instalment(Part):
    """One instalment of a document.

    `value` is a percentage with up to four decimals, or an amount in major units, by the `type` of the schedule
    (docs/api-facts.md#api-open-shapes).
    """

    value: NullableAmount = NOTHING

    def __post_init__(self) -> None:
        guard(self.value)


class PaymentScheduleDates(Part):
    """The events that set the dates of the deposit and of the instalments."""

    deposit_date_type: str | None = None
    schedule_date_type: str | None = None


class PaymentScheduleConfig(Part):
    """The instalments of an estimate; build it with `deposit` or `instalments`.

    `schedules` holds `Instalment` objects. An entry of an answer with other keys than `value` stays a mapping, so that
    an update sends those keys back.
    """

    type: str | None = None
    date_config: PaymentScheduleDates | None = None
    schedules: list[Any] | None = None

    def __post_init__(self) -> None:
        self.schedules = typed_entries(self.schedules, Instalment)


class PaymentSchedule(Part):
    """The instalments of an invoice.

    The shape of `schedules` is unknown, so its entries pass through unchanged.
    """

    type: str | None = None
    schedules: list[Any] | None = None


def deposit(
    percent: Decimal | int | str, *, total: Decimal | int | str | None = None, currency: str = "USD"
) -> PaymentScheduleConfig:
    """Return a schedule of two instalments: a deposit of `percent`, and the rest.

    Args:
        percent: The deposit in percent, above 0 and below 100, with up to four decimals.
        total: The document's total in major units. With it, the two amounts, each rounded to the minor unit, add up
            to the total.
        currency: The currency of `total`.

    Returns:
        The schedule, for the field `payment_schedule_config` of an estimate.

    Raises:
        InvalidRequest: The percentage is out of range, or the total is too large for four decimals.
    """
    first = amount_of(percent, "percent")
    if not 0 < first < _HUNDRED:
        raise InvalidRequest("percent", f"{first} is not above 0 and below 100")
    return instalments(first, _HUNDRED - first, total=total, currency=currency)


def instalments(
    *percents: Decimal | int | str, total: Decimal | int | str | None = None, currency: str = "USD"
) -> PaymentScheduleConfig:
    """Return a schedule of instalments that add up to 100 percent.

    Args:
        percents: Each instalment in percent, with up to four decimals. A single whole number from 2 to 100 is the
            number of equal instalments.
        total: The document's total in major units. With it, the percentages are adjusted in their four decimals, so
            that the amounts, each rounded to the minor unit, add up to the total.
        currency: The currency of `total`.

    Returns:
        The schedule, for the field `payment_schedule_config` of an estimate.

    Raises:
        InvalidRequest: A percentage is not above 0 or has more than four decimals, they do not add up to 100, or the
            total is too large for four decimals.
    """
    shares = (
        _equal(percents[0])
        if len(percents) == 1
        else [_share(one, index) for index, one in enumerate(percents)]
    )
    if len(shares) < 2:
        raise InvalidRequest("percents", "needs at least two instalments, or the number of equal ones")
    # exact, without a tolerance: with 99.99 percent the customer would never pay the rest
    if sum(shares) != _HUNDRED:
        raise InvalidRequest("percents", f"add up to {sum(shares)}, not to 100")
    if total is not None:
        shares = _exact(shares, amount_of(total, "total"), currency)
    return PaymentScheduleConfig(type="percentage", schedules=[Instalment(value=share) for share in shares])


def instalment_amounts(config: PaymentScheduleConfig, total: Decimal, currency: str = "USD") -> list[Decimal]:
    """Return the amount of each instalment in major units, rounded to the minor unit.

    Args:
        config: The instalments of an estimate.
        total: The document's total in major units.
        currency: The document's currency.

    Raises:
        InvalidRequest: An entry has no value, or a value that is not a number.
    """
    amounts = []
    for index, entry in enumerate(config.schedules or ()):
        value = entry.get("value") if isinstance(entry, dict) else getattr(entry, "value", None)
        if value is None:
            raise InvalidRequest(f"schedules[{index}]", "has no value")
        share = amount_of(value, f"schedules[{index}].value")
        amounts.append(rounded(share if config.type == "fixed" else total * share / _HUNDRED, currency))
    return amounts


def _share(value: Decimal | int | str, index: int) -> Decimal:
    share = amount_of(value, f"percents[{index}]")
    if share <= 0:
        raise InvalidRequest(f"percents[{index}]", f"{share} is not above 0")
    # the API keeps four decimals, and the cut percentages would not add up to 100
    if share != share.quantize(_PLACES, ROUND_HALF_UP):
        raise InvalidRequest(f"percents[{index}]", f"{share} has more than four decimals")
    return share


def _equal(count: Decimal | int | str) -> list[Decimal]:
    number = amount_of(count, "percents")
    if number != int(number) or not 2 <= number <= 100:
        raise InvalidRequest("percents", f"{number} is not a number of equal instalments from 2 to 100")
    # The API keeps four decimals, so a third is 33.3333, and the last instalment is 33.3334.
    share = (_HUNDRED / number).quantize(_PLACES, ROUND_HALF_UP)
    return [share] * (int(number) - 1) + [_HUNDRED - share * (int(number) - 1)]


def _exact(shares: Sequence[Decimal], total: Decimal, currency: str) -> list[Decimal]:
    """Return percentages near `shares` whose rounded amounts add up to `total`."""
    if total <= 0 or rounded(total, currency) != total:
        raise InvalidRequest("total", f"{total} is not a positive amount of {currency}")
    unit = Decimal(1).scaleb(-minor_units(currency))
    amounts = [rounded(total * share / _HUNDRED, currency) for share in shares]
    short = int((total - sum(amounts)) / unit)
    # The largest instalments change least, relative to their amount.
    for index in sorted(range(len(amounts)), key=lambda one: -amounts[one])[: abs(short)]:
        amounts[index] += unit if short > 0 else -unit
    exact = [(amount * _HUNDRED / total).quantize(_PLACES, ROUND_HALF_UP) for amount in amounts]
    rest = _HUNDRED - sum(exact, Decimal(0))
    # The rounding left a rest of a few ten-thousandths. Percentages take it where their amount rounds as before.
    step = _PLACES if rest > 0 else -_PLACES
    for index, amount in enumerate(amounts):
        while rest and rounded(total * (exact[index] + step) / _HUNDRED, currency) == amount:
            exact[index] += step
            rest -= step
    if rest or any(
        rounded(total * share / _HUNDRED, currency) != amount
        for share, amount in zip(exact, amounts, strict=True)
    ):
        raise InvalidRequest(
            "total",
            f"{total} {currency} cannot be split into multiples of {unit} by percentages of four decimals; "
            "use PaymentScheduleConfig(type='fixed') with amounts",
        )
    return exact
