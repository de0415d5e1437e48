"""Instants of local days, in every zone there is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async.sandbox.zones import day_at, day_begins, day_ends, instant

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
TICK = timedelta(milliseconds=1)


def moved(text: str, by: timedelta) -> str:
    return instant(datetime.fromisoformat(text) + by)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(ZONES), st.dates(date(2000, 1, 1), date(2060, 12, 31)))
def test_a_local_day_holds_its_first_and_last_instant_and_no_other(name: str, day: date) -> None:
    zone, text = ZoneInfo(name), day.isoformat()
    begins, ends = day_begins(text, zone), day_ends(text, zone)
    if day_at(begins, zone) != text:  # a day that the zone left out when it changed sides of the date line
        assert name.startswith("Pacific/") and day_at(ends, zone) != text
        return
    assert day_at(ends, zone) == text
    assert day_at(moved(begins, -TICK), zone) < text < day_at(moved(ends, TICK), zone)


@pytest.mark.parametrize("name", ["Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", "Etc/GMT+12"])
def test_a_plain_day_stays(name: str) -> None:
    assert day_at("2026-03-29", ZoneInfo(name)) == "2026-03-29"


def test_an_instant_is_written_with_milliseconds() -> None:
    assert instant(datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)) == "2026-01-02T03:04:05.678Z"
