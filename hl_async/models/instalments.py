"""Internal. Deposits and instalments: parts that add up to a total, to the cent."""

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
    """One instalment: `value` in percent with up to four decimals, or an amount.

    See docs/api-facts.md#api-open-shapes.
    """

    value: NullableAmount = NOTHING

    def __post_init__(self) -> None:
        guard(self.value)


class PaymentScheduleDates(Part):
    """The events from which the dates of instalments follow."""

    deposit_date_type: str | None = None
    schedule_date_type: str | None = None


class PaymentScheduleConfig(Part):
    """Instalments of an estimate; `deposit` and `instalments` make one.

    `schedules` holds `Instalment` objects. An entry of an answer with keys beyond `value` stays a mapping, so that a
    read, change, write does not lose them.
    """

    type: str | None = None
    date_config: PaymentScheduleDates | None = None
    schedules: list[Any] | None = None

    def __post_init__(self) -> None:
        self.schedules = typed_entries(self.schedules, Instalment)


class PaymentSchedule(Part):
    """Instalments of an invoice; the unknown shape of `schedules` is passed through."""

    type: str | None = None
    schedules: list[Any] | None = None


def deposit(
    percent: Decimal | int | str, *, total: Decimal | int | str | None = None, currency: str = "USD"
) -> PaymentScheduleConfig:
    """Ask for a deposit of `percent` and the rest later.

    Args:
        percent: The deposit in percent, above 0 and below 100, with up to four decimals.
        total: The document's total. With it, both parts are whole minor units that add up to the total.
        currency: The currency of `total`.

    Returns:
        The schedule, for the field `payment_schedule` of a draft.

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
    """Split a document into instalments that add up to 100 percent.

    Args:
        percents: Each instalment in percent, with up to four decimals. A single whole number above 1 asks for so
            many equal instalments.
        total: The document's total. With it, each percentage is moved within its four decimals so that the
            instalments, each rounded to the minor unit, add up to the total exactly.
        currency: The currency of `total`.

    Returns:
        The schedule, for the field `payment_schedule` of a draft.

    Raises:
        InvalidRequest: The percentages do not add up to 100, or the total is too large for four decimals.
    """
    shares = (
        _equal(percents[0])
        if len(percents) == 1
        else [_share(one, index) for index, one in enumerate(percents)]
    )
    if len(shares) < 2:
        raise InvalidRequest("percents", "needs at least two instalments, or the number of equal ones")
    # exact, without a tolerance: the rest would be missing from the last instalment or be paid twice
    if sum(shares) != _HUNDRED:
        raise InvalidRequest("percents", f"add up to {sum(shares)}, not to 100")
    if total is not None:
        shares = _exact(shares, amount_of(total, "total"), currency)
    return PaymentScheduleConfig(type="percentage", schedules=[Instalment(value=share) for share in shares])


def instalment_amounts(config: PaymentScheduleConfig, total: Decimal, currency: str = "USD") -> list[Decimal]:
    """Return the amount of each instalment, rounded to the minor unit.

    Args:
        config: Instalments as an estimate holds them.
        total: The document's total.
        currency: The document's currency.

    Raises:
        InvalidRequest: An entry has no value.
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
    # the API would cut the further decimals, and the parts would no longer come to 100
    if share != share.quantize(_PLACES, ROUND_HALF_UP):
        raise InvalidRequest(f"percents[{index}]", f"{share} has more than four decimals")
    return share


def _equal(count: Decimal | int | str) -> list[Decimal]:
    number = amount_of(count, "percents")
    if number != int(number) or not 2 <= number <= 100:
        raise InvalidRequest("percents", f"{number} is not a number of equal instalments from 2 to 100")
    # The API keeps four decimals, so a third is 33.3333 and the last instalment takes the rest.
    share = (_HUNDRED / number).quantize(_PLACES, ROUND_HALF_UP)
    return [share] * (int(number) - 1) + [_HUNDRED - share * (int(number) - 1)]


def _exact(shares: Sequence[Decimal], total: Decimal, currency: str) -> list[Decimal]:
    """Return percentages near `shares` whose rounded amounts add up to `total`."""
    if total <= 0 or rounded(total, currency) != total:
        raise InvalidRequest("total", f"{total} is not a positive amount of {currency}")
    unit = Decimal(1).scaleb(-minor_units(currency))
    amounts = [rounded(total * share / _HUNDRED, currency) for share in shares]
    short = int((total - sum(amounts)) / unit)
    # A unit more or less changes the largest instalments least.
    for index in sorted(range(len(amounts)), key=lambda one: -amounts[one])[: abs(short)]:
        amounts[index] += unit if short > 0 else -unit
    exact = [(amount * _HUNDRED / total).quantize(_PLACES, ROUND_HALF_UP) for amount in amounts]
    rest = _HUNDRED - sum(exact, Decimal(0))
    # Each percentage has room to move while its rounded amount stays the same.
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
            f"{total} {currency} can not be split to the {unit} by percentages of four decimals; "
            "use PaymentScheduleConfig(type='fixed') with amounts",
        )
    return exact
