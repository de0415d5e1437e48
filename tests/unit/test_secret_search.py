"""The search for secrets in the suite's own output works."""

from __future__ import annotations

import pytest

from conftest import _MARK

PLANTED = (
    "pit-5ent1nel-1",
    "s3ntinel-refresh-7",
    "eyJhY2Nlc3M.0000000a.sandbox",
    "refresh-0000000a",
    "sandbox-secret-0a",
)


@pytest.mark.parametrize("secret", PLANTED)
@pytest.mark.plants_a_secret
def test_a_planted_secret_is_found(secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    print(f"the token is {secret}, believe it or not")
    found = _MARK.search(capsys.readouterr().out)
    assert found is not None and found.group() in secret


def test_reading_output_with_a_secret_fails_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    print(PLANTED[0])
    with pytest.raises(AssertionError, match="was printed"):
        capsys.readouterr()
