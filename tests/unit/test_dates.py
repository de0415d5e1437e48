"""Promises about dates: the instants of answers are read as the location's days, or not at all."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hl_async.errors import InvalidRequest
from hl_async.models import Estimate, Invoice
from hl_async.models.codec import decoder, encode
from hl_async.models.dates import check_zone, day_of, instant_of, latest_today, offset_of, readings, today
from hl_async.models.located import learn_offset, with_timezone
from zones import TWO_READINGS, ZONES

DAYS = st.dates(date(2024, 1, 1), date(2030, 12, 31))


def answered(first: date, last: date, zone: str) -> tuple[str, str]:
    """The two dates as the live API writes them: the first instant of one day, the last of the other."""
    return _text(_start(first, zone), "000Z"), _text(
        _start(last + timedelta(days=1), zone) - timedelta(milliseconds=1), "999Z"
    )


def _start(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _text(moment: datetime, end: str) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{end}"


@pytest.mark.untraced
@pytest.mark.parametrize("zone", ZONES)
@settings(deadline=None, max_examples=25, derandomize=True)
@given(first=DAYS, length=st.integers(0, 400))
@example(first=date(2026, 3, 1), length=60)
@example(first=date(2026, 10, 1), length=60)
def test_a_day_in_any_zone_is_read_as_it_was_sent_or_not_at_all(zone: str, first: date, length: int) -> None:
    last = first + timedelta(days=length)
    issue, expiry = answered(first, last, zone)
    assert (day_of(issue, expiry, zone), day_of(expiry, issue, zone)) == (first, last)
    unknown = (day_of(issue, expiry), day_of(expiry, issue))
    assert all(found in (day, None) for found, day in zip(unknown, (first, last), strict=True))
    if zone not in TWO_READINGS:
        assert unknown == (first, last)


@pytest.mark.untraced
@pytest.mark.parametrize("zone", ZONES)
@settings(deadline=None, max_examples=8, derandomize=True)
@given(first=DAYS, length=st.integers(0, 120))
def test_reading_and_writing_an_answer_keeps_its_days_and_says_why_it_does_not(
    zone: str, first: date, length: int
) -> None:
    last = first + timedelta(days=length)
    issue, end = answered(first, last, zone)
    wire = {"_id": "d", "name": "x", "currency": "USD", "issueDate": issue}
    estimate = decoder(Estimate)(encode({**wire, "items": [], "expiryDate": end}))
    invoice = decoder(Invoice)(encode({**wire, "invoiceItems": [], "dueDate": end}))
    for document, name in ((estimate, "expiryDate"), (invoice, "dueDate")):
        assert document.issue_instant == instant_of(issue)
        try:
            body = json.loads(encode(document.to_update()))
        except InvalidRequest as error:
            assert zone in TWO_READINGS
            assert "pass the location's time zone" in str(error)
        else:
            assert (body["issueDate"], body[name]) == (first.isoformat(), last.isoformat())
        with_timezone(document, zone)
        body = json.loads(encode(document.to_update()))
        assert (body["issueDate"], body[name]) == (first.isoformat(), last.isoformat())


@pytest.mark.parametrize(
    ("text", "other", "day"),
    [
        ("2026-08-26T06:00:00.000Z", "2026-09-26T05:59:59.999Z", date(2026, 8, 26)),
        ("2026-09-26T05:59:59.999Z", None, date(2026, 9, 25)),
        ("2026-08-26T14:00:00.000Z", None, date(2026, 8, 27)),
        ("2026-08-26T18:15:00.000Z", None, date(2026, 8, 27)),
        ("2026-08-26T10:15:00.000Z", None, date(2026, 8, 27)),
        ("2026-08-26", None, date(2026, 8, 26)),
        ("2026-08-26T00:00:00.000Z", None, date(2026, 8, 26)),
        ("2026-08-26T23:59:59.999Z", None, date(2026, 8, 26)),
        ("2026-08-26T23:59:59Z", None, date(2026, 8, 26)),
        ("2026-08-26T00:00:00-06:00", None, date(2026, 8, 26)),
        ("2026-08-26T00:00:00", None, date(2026, 8, 26)),
        # 11:00 is midnight at UTC-11 or UTC+13; its neighbour an hour later is midnight at UTC+12 alone
        ("2026-09-30T11:00:00.000Z", "2027-06-30T11:59:59.999Z", date(2026, 10, 1)),
        # a moment inside a day: the other date tells the offset
        ("2026-08-27T03:12:45.000Z", "2026-09-26T05:59:59.999Z", date(2026, 8, 26)),
        ("2026-08-27T03:12:45.000Z", None, None),
        ("2026-08-26T10:00:00.000Z", None, None),
        ("2026-08-26T11:00:00.000Z", "2026-09-26T10:59:59.999Z", None),
        ("2026-08-26T11:30:00.000Z", None, None),
        ("0001-01-01T05:00:00.000Z", None, date(1, 1, 1)),
        ("9999-12-31T23:00:00.000Z", None, None),
        ("soon", None, None),
        ("2026-02-30", None, None),
        ("", None, None),
        (None, None, None),
    ],
)  # fmt: skip
def test_the_day_follows_from_the_time_of_day_as_far_as_it_can(
    text: str | None, other: str | None, day: date | None
) -> None:
    assert day_of(text, other) == day


def test_a_known_zone_reads_every_instant_and_leaves_plain_days_alone() -> None:
    assert day_of("2026-08-26T10:00:00.000Z", None, "Pacific/Honolulu") == date(2026, 8, 26)
    assert day_of("2026-08-26T10:00:00.000Z", None, "Pacific/Kiritimati") == date(2026, 8, 27)
    assert day_of("2026-08-26T23:30:00.000Z", None, "America/Denver") == date(2026, 8, 26)
    # midnight in UTC is the form of the examples of the specification, whatever the zone
    assert day_of("2026-08-26T00:00:00.000Z", None, "America/Denver") == date(2026, 8, 26)
    # the location has moved from Chicago to Denver since
    assert day_of("2026-08-26T05:00:00.000Z", None, "America/Denver") == date(2026, 8, 26)
    assert day_of("2026-08-26T11:00:00.000Z", None, "+12:00") == date(2026, 8, 27)


def test_a_day_that_was_sent_teaches_the_side_of_the_date_line() -> None:
    wire = {"_id": "e", "issueDate": "2026-08-26T11:00:00.000Z", "expiryDate": "2026-09-26T10:59:59.999Z"}
    answer = decoder(Estimate)(encode(wire))
    assert answer.issue_date is None
    days = ((date(2026, 8, 27), answer.issue_date_text), (date(2026, 9, 26), answer.expiry_date_text))
    assert learn_offset(answer, *days) == "+13:00"
    assert (answer.issue_date, answer.expiry_date) == (date(2026, 8, 27), date(2026, 9, 26))
    assert offset_of(date(2026, 9, 26), wire["expiryDate"]) == "+13:00"
    assert offset_of(date(2026, 8, 26), wire["issueDate"]) == "-11:00"
    assert offset_of(date(2026, 9, 9), wire["issueDate"]) is None
    plain = decoder(Estimate)(b'{"_id":"e","issueDate":"2026-08-26T06:00:00.000Z"}')
    assert learn_offset(plain, (date(2026, 8, 26), plain.issue_date_text)) is None


def test_the_readings_of_a_day_are_named() -> None:
    assert readings("2026-08-26T10:00:00.000Z") == "UTC-10 or UTC+14"
    assert readings("2026-08-26T06:00:00.000Z") == readings("soon") == ""


@pytest.mark.parametrize("name", ["Mars/Phobos", "", "../etc/passwd", "-25:00", "+6", 7])
def test_what_is_not_a_time_zone_is_refused(name: object) -> None:
    with pytest.raises(InvalidRequest, match="not a time zone") as caught:
        check_zone(name)  # type: ignore[arg-type]
    assert caught.value.field == "timezone"


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)), st.sampled_from(ZONES))
def test_today_has_begun_at_the_location_and_nowhere_has_a_later_day_begun_than_the_latest(
    moment: datetime, zone: str
) -> None:
    now = moment.replace(tzinfo=UTC)
    local = now.astimezone(ZoneInfo(zone)).date()
    assert today(zone, now) == latest_today(zone, now) == local
    assert today(None, now) <= local <= latest_today(None, now)
