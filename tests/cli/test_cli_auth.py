"""``hl-async auth`` as a person meets it, against a sandbox in another process."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
from test_cli import COMMAND, Served, serving

from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode


@pytest.fixture(scope="module")
def shared():  # type: ignore[no-untyped-def]
    with serving() as served:
        yield served


@pytest.fixture
def served(shared: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    shared.control("reset", {})
    app = shared.control("apps", {})
    for name in ("HL_TOKEN", "GHL_API_KEY", "HL_STORE_KEY", "HL_REDIRECT_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HL_BASE_URL", shared.url)
    monkeypatch.setenv("HL_LOCATION_ID", shared.location)
    monkeypatch.setenv("HL_CLIENT_ID", app["client_id"])
    monkeypatch.setenv("HL_CLIENT_SECRET", app["client_secret"])
    monkeypatch.setenv("HL_TOKEN_STORE", str(tmp_path / "tokens.db"))
    return shared


def choose(page: str, **form: str) -> str:
    """What the browser does on the consent page; gives the address it ends at."""
    with urlopen(Request(page, urlencode(form).encode()), timeout=60) as answer:
        return str(answer.url)


def log_in_by_paste(served: Served, monkeypatch: pytest.MonkeyPatch, *options: str, **form: str) -> int:
    """Run ``auth login --paste``; the person pastes what the consent page led to."""

    class Person(io.StringIO):
        """Reads the address from what was said to stderr, and answers on stdin."""

        def readline(self, *_: object) -> str:
            page = re.search(r"http://\S+chooselocation\S+", sys.stderr.getvalue())  # type: ignore[attr-defined]
            assert page is not None
            try:
                returned = choose(page.group(), **form)
            except HTTPError as error:  # nothing listens at the redirect URL: the address is what counts
                returned = error.url
            return returned + "\n"

    heard = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", Person())
        patched.setattr(sys, "stderr", heard)
        code = run(
            ["auth", "login", "--no-browser", "--paste", "--redirect-uri", f"{served.url}/back", *options]
        )
    said.append(heard.getvalue())
    return code


said: list[str] = []


def test_logging_in_by_paste_stores_tokens_that_every_command_uses(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in_by_paste(served, monkeypatch, location=served.location) == ExitCode.OK
    shown = capsys.readouterr().out
    assert f"location  {served.location}  until " in shown and "invoices/estimate.write" in shown
    assert run(["call", "estimates.generate_number"]) == ExitCode.OK
    assert run(["auth", "status", "--json"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["state"] == "ok"
    assert not any(len(line) > 80 for line in shown.splitlines())


def test_logging_in_by_a_loopback_listener_ignores_everything_but_the_right_return(served: Served) -> None:
    process = subprocess.Popen(
        [*COMMAND, "auth", "login", "--no-browser"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    page = ""
    for line in process.stderr:
        page = page or "".join(re.findall(r"http://\S+chooselocation\S+", line))
        if line.startswith("Waiting"):
            break
    query = parse_qs(urlsplit(page).query)
    back, state = query["redirect_uri"][0], query["state"][0]
    for wrong, status in (
        ("?code=x&state=wrong", 400),
        ("/favicon.ico", 404),
        ("?code=x", 400),
        (f"?state={state}", 404),
    ):
        with pytest.raises(HTTPError) as caught:
            urlopen(back + wrong, timeout=60)
        assert caught.value.code == status
        caught.value.close()
    assert choose(page, location=served.location).startswith(back)
    out, _ = process.communicate(timeout=90)
    assert process.returncode == ExitCode.OK and served.location in out


def test_a_port_that_is_taken_is_named(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    port = str(urlsplit(served.url).port)
    assert run(["auth", "login", "--no-browser", "--listen", port]) == ExitCode.USAGE
    assert port in capsys.readouterr().err


def test_a_refused_consent_is_told(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in_by_paste(served, monkeypatch, refuse="1") == ExitCode.AUTH
    assert "access_denied" in said[-1]
    assert run(["auth", "status"]) == ExitCode.AUTH
    assert "hl-async auth login" in capsys.readouterr().err


def test_an_agency_logs_in_and_its_locations_can_be_called(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in_by_paste(
        served, monkeypatch, "--scope", "oauth.write", "--version-id", "65f0", "--json", location=""
    ) == ExitCode.OK  # fmt: skip
    assert json.loads(capsys.readouterr().out)["kind"] == "Company"
    assert "scope=oauth.write" in said[-1] and "version_id=65f0" in said[-1]
    assert run(["call", "estimates.generate_number"]) == ExitCode.OK
    assert run(["auth", "status", "--all"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "agency    " in shown and "location  " in shown


def test_tokens_are_renewed_and_removed_by_id_or_all(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in_by_paste(served, monkeypatch, location=served.location) == ExitCode.OK
    assert run(["auth", "refresh", served.location]) == ExitCode.OK
    assert run(["auth", "refresh", "--all", "--json"]) == ExitCode.OK
    assert served.control("state")["refreshes"] == 2
    assert run(["auth", "refresh", "nobody", served.location]) == ExitCode.AUTH
    assert served.control("state")["refreshes"] == 3
    assert run(["auth", "refresh"]) == ExitCode.USAGE
    assert run(["auth", "logout", "--all", "--yes"]) == ExitCode.OK
    assert run(["auth", "logout", served.location, "--yes"]) == ExitCode.AUTH
    assert run(["auth", "logout", "--all"]) == run(["auth", "refresh", "--all"]) == ExitCode.AUTH
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", io.StringIO("n\n"))
        assert run(["auth", "logout", served.location]) == ExitCode.USAGE
        patched.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        assert run(["auth", "logout", served.location]) == ExitCode.INTERRUPTED
    assert run(["call", "estimates.generate_number"]) == ExitCode.AUTH
    assert "no token is stored" in capsys.readouterr().err


def test_a_spent_refresh_token_is_shown_as_lost(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in_by_paste(served, monkeypatch, location=served.location) == ExitCode.OK
    served.control("faults", {"script": {"get-access-token": ["reset_after_commit"]}}, "PUT")
    assert run(["auth", "refresh", served.location]) == ExitCode.AUTH
    assert "Install the app again" in capsys.readouterr().err
    assert run(["auth", "status"]) == ExitCode.OK
    assert "lost; its token works until" in capsys.readouterr().out


def test_a_private_token_is_named_by_its_last_characters(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HL_TOKEN", "pit-5ent1nel-0000-1234")
    monkeypatch.delenv("HL_CLIENT_ID")
    assert run(["auth", "status"]) == ExitCode.OK
    assert "…1234" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "said_about"),
    [
        ("HL_CLIENT_ID", "", "HL_CLIENT_ID"),
        ("HL_CLIENT_SECRET", "", "HL_CLIENT_SECRET"),
        ("HL_STORE_KEY", "short", "32 bytes"),
    ],
)
def test_a_bad_setting_is_named(
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    said_about: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert run(["auth", "status"]) == ExitCode.USAGE
    assert said_about in capsys.readouterr().err
