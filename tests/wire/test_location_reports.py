"""Figures over generated locations, against figures that other code computes from the sandbox's snapshot."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import samples
from hl_async import HighLevel, reports
from hl_async.errors import CallError, InvalidRequest
from hl_async.models import InvoiceSend
from hl_async.sandbox import Sandbox
from hl_async.sandbox.ledger import LocationState
from hl_async.telemetry import AttemptFinished, Event
from lengths import long

DAY = date(2026, 6, 30)
PLACES = {"USD": 2, "EUR": 2, "JPY": 0}
SEND = InvoiceSend(action="email", user_id="u1", live_mode=False)


async def generate(box: Sandbox, hl: HighLevel, location: str, count: int, dice: random.Random) -> None:
    """Fill a location with invoices in every state, and then damage some of them."""
    shop = hl.location(location)
    place = box.ledger.places[location]
    for number in range(count):
        currency = dice.choice(sorted(PLACES))
        price = Decimal(dice.randrange(1, 100_000)).scaleb(-PLACES[currency])
        due = DAY - timedelta(days=dice.randrange(-20, 140))
        issued = due - timedelta(days=14)
        lines = [samples.line(currency=currency, amount=price, qty=Decimal(dice.randrange(1, 4)))]
        who = samples.contact(id=f"contact{dice.randrange(5)}", name=f"Customer {number % 5}")
        made = await shop.invoices.create(
            samples.invoice(
                currency=currency, items=lines, issue_date=issued, due_date=due, contact_details=who
            )
        )
        what = dice.randrange(9)
        if what:  # 0 stays a draft
            await shop.invoices.send(made.id, SEND)
        if what == 1:
            await shop.invoices.void(made.id)
        elif what in (2, 3, 4):
            assert made.total is not None
            part = (made.total / dice.randrange(2, 5)).quantize(Decimal(1).scaleb(-PLACES[currency]))
            box.customer.pay(made.id, part or None, location_id=location)
        elif what == 5:
            box.customer.pay(made.id, location_id=location)
        damage(place, made.id, dice)
        if place.payments.get(made.id) and dice.random() < 0.2:
            box.customer.refund(made.id, place.payments[made.id][-1]["amount"] / 2, location_id=location)


def damage(place: LocationState, name: str, dice: random.Random) -> None:
    """Do to an invoice, or its payments, what books that disagree look like."""
    invoice, what = place.invoices[name], dice.randrange(16)
    if what == 0:
        invoice |= {"amountDue": None, "amountPaid": None}
    elif what == 1:
        invoice["dueDate"] = None
    elif what == 2:
        invoice["amountDue"] = None  # follows from total and amount paid
    elif what == 3:
        place.payments.pop(name, None)
    elif what == 4:
        invoice["amountPaid"] = Decimal(0)
    elif what == 5:
        place.payments.setdefault(name, []).append({"amount": Decimal(3), "mode": "card"})
    elif what == 6 and place.payments.get(name):
        place.payments[name][0]["status"] = "failed"


# ------------------------------------------------ the same figures, by other code and from raw documents


def days_late(raw: dict[str, Any], place: LocationState) -> int | None:
    text = raw.get("dueDate")
    if not text:
        return None
    day = date.fromisoformat(text[:10])
    if len(text) > 10:
        day = datetime.fromisoformat(text).astimezone(ZoneInfo(place.timezone)).date()
    return max(0, (DAY - day).days)


def column(late: int) -> str:
    for limit, name in ((0, "not due"), (30, "1-30"), (60, "31-60"), (90, "61-90")):
        if late <= limit:
            return name
    return "over 90"


def owed_by_hand(places: list[LocationState]) -> tuple[dict[Any, Fraction], set[str]]:
    sums: dict[Any, Fraction] = defaultdict(Fraction)
    unknown = set()
    for place in places:
        for raw in place.invoices.values():
            if raw["status"] in ("draft", "void", "paid"):
                continue
            due = raw["amountDue"]
            if due is None and raw["amountPaid"] is not None:
                due = raw["total"] - raw["amountPaid"]
            late = days_late(raw, place)
            if due is None or late is None:
                if due is None or due > 0:
                    unknown.add(raw["_id"])
            elif due > 0:
                who = raw["contactDetails"]["id"]
                sums[place.id, who, raw["currency"], column(late)] += Fraction(str(due))
    return dict(sums), unknown


def disagreements_by_hand(place: LocationState) -> dict[str, str]:
    found = {}
    for name, raw in place.invoices.items():
        payments = [one for one in place.payments.get(name, []) if one.get("status") != "failed"]
        kept = sum(
            (Fraction(str(one["amount"])) - Fraction(str(one.get("refunded", 0))) for one in payments),
            Fraction(),
        )
        if raw["amountPaid"] is None:
            found[name] = "unknown"
        elif any(one.get("refunded") for one in payments):
            found[name] = "refunded"
        elif Fraction(str(raw["amountPaid"])) != kept:
            if not payments:
                found[name] = "paid, not booked"
            elif not raw["amountPaid"]:
                found[name] = "booked, not paid"
            else:
                found[name] = "amounts differ"
    return found


@pytest.mark.parametrize("seed", [1, long(2), long(3)])
async def test_receivables_of_an_agency_are_those_that_other_code_adds_up(
    box: Sandbox, hl: HighLevel, seed: int
) -> None:
    dice = random.Random(seed)
    names = [
        box.location_id,
        box.add_location(timezone="Asia/Tokyo"),
        box.add_location(timezone="America/Denver"),
    ]
    for name in names:
        await generate(box, hl, name, 60, dice)
    report = await reports.receivables(hl, locations=names, as_of=DAY)
    sums, unknown = owed_by_hand([box.ledger.places[name] for name in names])
    by_customer = {
        (row["location"], row["contact_id"], row["currency"], age): Fraction(str(row[age]))
        for row in report.by_customer()
        for age in reports.AGES
        if row[age]
    }
    assert by_customer == sums
    assert {owed.invoice_id for owed in report.unknown} == unknown
    assert unknown
    assert len({key[2] for key in sums}) == 3
    assert len({key[3] for key in sums}) == 5
    totals: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for (_, _, currency, age), amount in sums.items():
        totals[currency, age] += amount
    assert {
        (currency, age): Fraction(str(amount))
        for currency, ages in report.totals().items()
        for age, amount in ages.items()
        if amount
    } == dict(totals)


@pytest.mark.parametrize("seed", [4, long(5)])
async def test_disagreements_are_those_that_other_code_finds(box: Sandbox, hl: HighLevel, seed: int) -> None:
    dice = random.Random(seed)
    names = [box.location_id, box.add_location()]
    for name in names:
        await generate(box, hl, name, 130, dice)
    report = await reports.reconcile(hl, locations=names)
    wanted = {
        (name, invoice): kind
        for name in names
        for invoice, kind in disagreements_by_hand(box.ledger.places[name]).items()
    }
    assert {(one.location, one.invoice_id): one.kind.value for one in report.findings} == wanted
    assert set(wanted.values()) == {
        "unknown", "refunded", "paid, not booked", "booked, not paid", "amounts differ",
    }  # fmt: skip
    assert report.invoices == 260
    assert report.transactions == sum(
        len(payments) for name in names for payments in box.ledger.places[name].payments.values()
    )


async def test_a_payment_that_arrives_while_the_books_are_read_is_not_a_disagreement(
    box: Sandbox, hl: HighLevel
) -> None:
    shop = hl.location()
    made = [await shop.invoices.create(samples.invoice()) for _ in range(3)]
    for one in made:
        await shop.invoices.send(one.id, SEND)

    class Paying:
        """Pays an invoice whenever a list of invoices is asked for."""

        def on_event(self, event: Event) -> None:
            if isinstance(event, AttemptFinished) and event.operation == "transactions.list" and waiting:
                box.customer.pay(waiting.pop())

    waiting = [one.id for one in made]
    async with HighLevel(
        box.token, base_url=box.url, location_id=box.location_id, observers=[Paying()]
    ) as watched:
        report = await reports.reconcile(watched)
    assert not waiting
    assert report.agrees, report.findings


async def test_a_list_that_shifts_while_it_is_read_loses_no_figure(box: Sandbox, hl: HighLevel) -> None:
    shop, place = hl.location(), box.ledger.places[box.location_id]
    first = await shop.invoices.create(samples.invoice())
    await shop.invoices.send(first.id, SEND)
    template = place.invoices[first.id]
    for number in range(449):
        name = f"copy{number:03}"
        place.invoices[name] = template | {"_id": name}
    newest = list(place.invoices)[-60:]

    class Deleting:
        """Deletes a few of the newest after each page: all later ones move up."""

        def on_event(self, event: Event) -> None:
            if isinstance(event, AttemptFinished) and event.operation == "invoices.list":
                for _ in range(12):
                    if newest:
                        del place.invoices[newest.pop()]

    async with HighLevel(
        box.token, base_url=box.url, location_id=box.location_id, observers=[Deleting()]
    ) as watched:
        report = await reports.receivables(watched)
    assert not newest
    assert set(place.invoices) <= {owed.invoice_id for owed in report.invoices}
    assert len({owed.invoice_id for owed in report.invoices}) == len(report.invoices)


async def test_a_list_that_never_keeps_still_gives_no_figure(box: Sandbox, hl: HighLevel) -> None:
    shop, place = hl.location(), box.ledger.places[box.location_id]
    first = await shop.invoices.create(samples.invoice())
    template = place.invoices[first.id]
    serial = iter(range(10**9))

    class Replacing:
        def on_event(self, event: Event) -> None:
            if isinstance(event, AttemptFinished) and event.operation == "invoices.list":
                place.invoices.clear()
                for _ in range(300):
                    name = f"new{next(serial)}"
                    place.invoices[name] = template | {"_id": name}

    async with HighLevel(
        box.token, base_url=box.url, location_id=box.location_id, observers=[Replacing()]
    ) as watched:
        with pytest.raises(CallError, match="the list of invoices changes faster than it can be read"):
            await reports.receivables(watched)


async def test_ages_are_counted_by_the_location_s_own_day(box: Sandbox, hl: HighLevel) -> None:
    zone = "Pacific/Pago_Pago"
    name = box.add_location(timezone=zone)
    here = datetime.now(ZoneInfo(zone)).date()
    shop = hl.location(name)
    made = await shop.invoices.create(samples.invoice(issue_date=here, due_date=here))
    await shop.invoices.send(made.id, SEND)
    (owed,) = (await reports.receivables(hl, locations=[name])).invoices
    assert (owed.due_date, owed.days_overdue, owed.age) == (here, 0, "not due")


@pytest.mark.parametrize("locations", [[], "abc"])
async def test_locations_that_are_not_a_list_are_refused(box: Sandbox, hl: HighLevel, locations: Any) -> None:
    with pytest.raises(InvalidRequest, match="locations"):
        await reports.receivables(hl, locations=locations)
    with pytest.raises(InvalidRequest, match="locations"):
        await reports.reconcile(hl, locations=locations)
    assert not box.requests
