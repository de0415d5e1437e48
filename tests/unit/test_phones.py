"""Phone numbers become E.164, or an error that says what to give instead."""

from __future__ import annotations

import sys

import pytest

from hl_async.errors import ConfigurationError, InvalidRequest
from hl_async.models.phones import e164


@pytest.mark.parametrize("written", ["+12145596993", "+1 214 559-6993", "+1 (214) 559.6993"])
def test_a_number_with_its_country_code_needs_no_library(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    assert e164("phone", written) == "+12145596993"


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [("(214) 559-6993", "US", "+12145596993"), ("0711 123456", "de", "+49711123456")],
)
def test_a_national_number_is_read_by_its_region(written: str, region: str, number: str) -> None:
    assert e164("phone", written, region) == number


def test_a_national_number_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'hl-async\[phone\]'"):
        e164("phone", "0711 123456", "DE")


@pytest.mark.parametrize(
    ("written", "region", "says"),
    [
        ("0711 123456", None, "pass region="),
        ("+1", None, "is not a phone number in E.164 form"),
        ("12", "US", "is not a phone number of US"),
        ("0171 5", "DE", "is not a phone number of DE"),
        ("call me", "US", "is not a phone number of US"),
        ("0711 123456", "Europe", "is not an ISO 3166 country code"),
    ],
)
def test_what_is_not_a_number_is_refused(written: str, region: str | None, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        e164("phone", written, region)
