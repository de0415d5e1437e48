"""Secrets do not print."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async.secret import Secret, redact

TOKEN = "pit-5ent1nel-0123-4567-89ab"


def test_a_secret_shows_its_last_four_characters_and_no_more() -> None:
    secret = Secret(TOKEN)
    assert str(secret) == "…89ab"
    assert repr(secret) == "Secret(…89ab)"
    assert f"{secret}" == "…89ab"
    assert "5ent1nel" not in repr([secret, {"token": secret}])


def test_a_short_secret_shows_nothing() -> None:
    assert str(Secret("abcdefgh")) == "…"


def test_secrets_compare_by_value_and_hash_alike() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a") != "a"
    assert Secret("a").reveal() == "a"
    assert not Secret("")


def test_a_secret_refuses_to_be_pickled() -> None:
    with pytest.raises(TypeError, match="TokenStore"):
        pickle.dumps(Secret(TOKEN))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(before=st.text(st.characters(), max_size=40), after=st.text(st.characters(), max_size=40))
def test_a_private_token_is_redacted_wherever_it_stands(before: str, after: str) -> None:
    assert "5ent1nel" not in redact(f"{before} {TOKEN} {after}")


@pytest.mark.parametrize(
    "text",
    [
        '{"access_token":"s3ntinel-access"}',
        '{"refreshToken": "s3ntinel-access", "x": 1}',
        "client_secret=s3ntinel-access&grant_type=x",
        "Authorization: Bearer s3ntinel-access",
        "{'Authorization': 'Bearer s3ntinel-access'}",
        "bearer s3ntinel-access",
        "eyJs3ntinel-access.eyJzdWIiOiIxIn0.c2ln",
        '{\\"refresh_token\\":\\"s3ntinel-access\\"}',
    ],
)
def test_every_spelling_of_a_token_is_redacted(text: str) -> None:
    assert "s3ntinel-access" not in redact(text)


def test_other_text_is_kept() -> None:
    text = "422 items.0.qty must be a number; expiryDate must be in YYYY-MM-DD format"
    assert redact(text) == text
