"""Promises of the settings."""

from __future__ import annotations

import math

import pytest

from hl_async.config import CallOptions, ClientConfig, Environment, Lane, Timeouts, base_url, header_text
from hl_async.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "",
        "services.example",
        "ftp://host",
        "https://",
        "https://user:pw@host",
        "https://host?x=1",
        "https://host#x",
        "https://host?",
        "https://host/#",
        "https://@host",
        "https://host:99999",
        "https://ho st",
        "https://host\\@evil",
        "http://services.example",
        "http://10.0.0.1",
        "https://host:0",
    ],
)
def test_a_base_url_that_could_leak_the_token_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        base_url(url)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.1:1", "http://[::1]:1", "https://host/x"]
)
def test_https_anywhere_and_http_on_loopback_are_fine(url: str) -> None:
    assert base_url(url + "/") == url


def test_plain_http_elsewhere_has_to_be_asked_for() -> None:
    assert ClientConfig(base_url="http://10.0.0.1", allow_insecure_http=True).base_url == "http://10.0.0.1"


@pytest.mark.parametrize("version", ["", "v3\r\nX: 1", "2021 07", "vé"])
def test_a_version_that_could_split_a_header_is_refused(version: str) -> None:
    with pytest.raises(ConfigurationError, match="api_version"):
        ClientConfig(api_version=version)
    with pytest.raises(ConfigurationError, match="api_version"):
        CallOptions(api_version=version)


def test_header_text_takes_printable_ascii_alone() -> None:
    assert header_text("user_agent", "shop/1.0 (x)") == "shop/1.0 (x)"
    with pytest.raises(ConfigurationError, match="user_agent"):
        ClientConfig(user_agent="a\nb")


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, True, "5"])
def test_a_timeout_is_a_positive_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=r"timeouts\.connect"):
        Timeouts(connect=seconds)
    with pytest.raises(ConfigurationError, match="attempt_timeout"):
        CallOptions(attempt_timeout=seconds)


def test_a_call_may_have_no_total_timeout() -> None:
    assert CallOptions(timeout=math.inf).timeout == math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_connections", 0), ("max_body", 0), ("close_grace", -1.0), ("close_grace", math.nan)],
)
def test_numbers_that_make_no_sense_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        ClientConfig(**{name: value})  # type: ignore[arg-type]


def test_options_are_copied_with_changes_and_unknown_names_are_named() -> None:
    options = CallOptions().replace(lane=Lane.BULK, timeout=5.0)
    assert (options.lane, options.timeout) == (Lane.BULK, 5.0)
    with pytest.raises(ConfigurationError, match=r"timeuot: is not an option; did you mean timeout\?"):
        options.replace(lane=Lane.BULK, timeuot=1)
    with pytest.raises(ConfigurationError, match="retries: is not an option; options are timeout, "):
        options.replace(retries=1)
    with pytest.raises(ConfigurationError, match="max_attempts"):
        options.replace(max_attempts=0)


def test_the_fields_own_names_are_fallbacks_for_ours() -> None:
    found = Environment.read(
        {"HL_TOKEN": "one", "GHL_API_KEY": "two", "GHL_LOCATION_ID": " loc ", "HL_BASE_URL": ""}
    )
    assert found.token is not None
    assert found.token.reveal() == "one"
    assert (found.location_id, found.base_url, found.client_secret) == ("loc", None, None)


def test_the_environment_shows_no_secret() -> None:
    found = Environment.read(
        {"HL_TOKEN": "pit-5ent1nel-0000", "HL_CLIENT_SECRET": "s3ntinel-client-secret-1"}
    )
    assert "s3ntinel" not in repr(found)
    assert "5ent1nel" not in repr(found)
