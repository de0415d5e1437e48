"""Several accounts on one machine: ``hl-async account`` and ``--profile``."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.sandbox import Sandbox
from hl_async.testing.serving import served


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings" / "profiles.toml"
    monkeypatch.setenv("HL_PROFILES", str(path))
    for name in ("HL_TOKEN", "HL_LOCATION_ID", "HL_BASE_URL", "HL_PROFILE", "HL_API_VERSION", "HL_POSTGRES"):
        monkeypatch.setenv(name, "")
    return path


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served() as box:
        yield box


def test_a_stored_account_is_used_by_name(
    box: Sandbox, profiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HL_TOKEN", box.token)
    options = ["--location", box.location_id, "--base-url", box.url, "--token-from-env"]
    assert run(["account", "add", "shop-a", *options]) == ExitCode.OK
    assert stat.S_IMODE(profiles.stat().st_mode) == 0o600
    assert stat.S_IMODE(profiles.parent.stat().st_mode) == 0o700
    monkeypatch.setenv("HL_TOKEN", "")
    assert run(["--profile", "shop-a", "call", "estimates.generate_number"]) == ExitCode.OK
    assert "estimateNumber" in capsys.readouterr().out


def test_the_list_shows_no_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HL_TOKEN", "pit-5ent1nel-of-shop-a")
    assert run(["account", "add", "shop-a", "--token-from-env"]) == ExitCode.OK
    assert run(["account", "list"]) == run(["account", "list", "--json"]) == ExitCode.OK
    out = capsys.readouterr()
    assert "shop-a" in out.out
    assert "5ent1nel" not in out.out + out.err


def test_a_removed_account_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HL_TOKEN", "pit-1")
    run(["account", "add", "a", "--token-from-env"])
    assert run(["account", "remove", "a"]) == ExitCode.OK
    assert run(["account", "remove", "a"]) == ExitCode.USAGE
    assert run(["--profile", "a", "account", "list"]) == ExitCode.USAGE
    assert "unknown profile 'a'; no account is stored yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a\n", "is not TOML"),
        ("[a]\ntokn = 'x'\n", "unknown key 'tokn' in [a]"),
        ("[a]\ntoken = 7\n", "is not text"),
        ("a = 1\n", "is not a table"),
    ],
)
def test_a_file_with_a_mistake_is_named(
    profiles: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    profiles.parent.mkdir()
    profiles.write_text(text)
    assert run(["--profile", "a", "account", "list"]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_a_name_that_toml_could_not_hold_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["account", "add", "a.b", "--token-from-env"]) == ExitCode.USAGE
    assert "is not a name for a profile" in capsys.readouterr().err


def test_values_are_kept_whatever_characters_they_hold(profiles: Path) -> None:
    from hl_async.cli.profile_file import read_profiles, write_profiles

    kept = {"a": {"token": 'quo"te\\back', "location_id": "é"}}
    write_profiles(profiles, kept)
    assert read_profiles(profiles) == kept


def test_a_token_may_come_from_a_pipe_and_an_empty_one_says_what_else_there_is(
    profiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("pit-5ent1nel-piped\n"))
    assert run(["account", "add", "shop-b"]) == ExitCode.OK
    assert 'token = "pit-5ent1nel-piped"' in profiles.read_text()
    assert run(["account", "add", "shop-c"]) == ExitCode.USAGE
    assert capsys.readouterr().err.endswith(
        "error: not a terminal, and stdin is empty: export HL_TOKEN, and give --token-from-env\n"
    )


def test_an_empty_list_says_how_to_begin_and_an_unknown_name_what_is_known(
    profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["account", "list"]) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out == "" and "hl-async account add NAME" in said.err
    profiles.parent.mkdir()
    profiles.write_text('[shop-a]\nlocation_id = "x"\n')
    assert run(["account", "remove", "shop-b"]) == ExitCode.USAGE
    assert "unknown profile 'shop-b'; known are shop-a" in capsys.readouterr().err
