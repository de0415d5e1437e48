"""The search for secrets in the suite's own output works."""

from __future__ import annotations

import pytest

from hl_async.errors import DecodeError, HighLevelError
from secret_search import MARK, secrets_in_frames

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
    found = MARK.search(capsys.readouterr().out)
    assert found is not None and found.group() in secret


def test_reading_output_with_a_secret_fails_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    print(PLANTED[0])
    with pytest.raises(AssertionError, match="was printed"):
        capsys.readouterr()


def leak(secret: str) -> None:
    raise HighLevelError("failed")


def elsewhere(secret: str) -> None:
    """Call `leak` from a file that is not a test."""
    scope: dict[str, object] = {}
    source = "def leak(leaked, fail):\n    holder = {'a': [leaked]}\n    del leaked\n    fail()\n"
    exec(compile(source, "/site-packages/leaky.py", "exec"), scope)
    scope["leak"](secret, lambda: leak(""))  # type: ignore[operator]


@pytest.mark.parametrize("secret", PLANTED)
def test_a_secret_in_a_local_variable_of_a_failing_call_fails_the_test_that_expects_it(secret: str) -> None:
    with pytest.raises(AssertionError, match=r"a crash reporter would print secrets: .* in 'holder' of leak"):
        with pytest.raises(HighLevelError):
            elsewhere(secret)


def test_a_secret_behind_another_error_is_found_too() -> None:
    try:
        try:
            elsewhere(PLANTED[0])
        except HighLevelError as error:
            raise DecodeError("failed") from error
    except DecodeError as error:
        (found,) = secrets_in_frames(error)
        assert "'holder' of leak" in found
