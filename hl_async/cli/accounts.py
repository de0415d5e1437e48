"""Internal. ``hl-async account``: accounts in a private file, by ``--profile``."""

from __future__ import annotations

import os
import re
from typing import Any, Final

import click

from hl_async.cli.app import fail, put_json, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.profile_file import known_profiles, profile_file, read_profiles, write_profiles
from hl_async.cli.questions import secret_line
from hl_async.secret import Secret

_SECRET: Final = frozenset({"token", "postgres"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@click.group()
def account() -> None:
    """Keep several accounts, and choose one with --profile NAME or HL_PROFILE.

    \b
    hl-async account add shop-a   # asks for the token
    """


@account.command()
@click.argument("name")
@click.option("--location", "location_id", metavar="ID", help="The location of the account.")
@click.option("--base-url", metavar="URL", help="The server; default the real API.")
@click.option("--token-from-env", is_flag=True, help="Take HL_TOKEN instead of asking for the token.")
def add(name: str, location_id: str | None, base_url: str | None, token_from_env: bool) -> int:
    """Store an account under NAME; an account of that name is replaced.

    \b
    hl-async account add shop-a --location 6578278e879ad2646715ba9c
    hl-async account add shop-b < token.txt   # from a file or a password manager
    hl-async --profile shop-a doctor
    """
    if not _NAME.fullmatch(name):
        fail(f"{name!r} is not a name for a profile; use letters, digits, - and _")
    # No option takes the token: the shell history and the list of processes would keep it.
    if token_from_env:
        token = os.environ.get("HL_TOKEN", "")
        if not token:
            fail("HL_TOKEN is not set")
    else:
        token = secret_line(
            "Private integration token", otherwise="export HL_TOKEN, and give --token-from-env"
        )
    path = profile_file()
    profiles = read_profiles(path)
    given = {"token": token.strip(), "location_id": location_id, "base_url": base_url}
    profiles[name] = {key: value for key, value in given.items() if value}
    write_profiles(path, profiles)
    say(f"stored in {path}; use it with: hl-async --profile {name} doctor")
    return ExitCode.OK


@account.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON line per account.")
def list_command(as_json: bool) -> int:
    """Show the stored accounts, with the end of each token.

    \b
    hl-async account list
    """
    profiles = read_profiles(profile_file())
    if not profiles:
        say("no account is stored; add one with: hl-async account add NAME")
    for name, profile in sorted(profiles.items()):
        shown: dict[str, Any] = {
            # Of a secret, its last four characters tell accounts apart.
            key: str(Secret(value)) if key in _SECRET else value
            for key, value in profile.items()
        }
        if as_json:
            put_json({"name": name, **shown})
        else:
            tell(f"{name}  " + "  ".join(f"{key}={value}" for key, value in shown.items()))
    return ExitCode.OK


@account.command()
@click.argument("name", shell_complete=known_profiles)
def remove(name: str) -> int:
    """Forget an account.

    \b
    hl-async account remove shop-a
    """
    path = profile_file()
    profiles = read_profiles(path)
    if profiles.pop(name, None) is None:
        known = f"known are {', '.join(sorted(profiles))}" if profiles else "no account is stored yet"
        fail(f"unknown profile {name!r}; {known}")
    write_profiles(path, profiles)
    say(f"removed {name}")
    return ExitCode.OK
