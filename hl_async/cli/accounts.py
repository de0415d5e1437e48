"""``hl-async account`` and ``--profile``: several accounts in one private file."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import click

from hl_async.cli.app import fail, put_json, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.errors import ConfigurationError
from hl_async.secret import Secret
from hl_async.storage.private_files import make_private_folder, open_private

VARIABLES: Final = {
    "token": "HL_TOKEN",
    "location_id": "HL_LOCATION_ID",
    "base_url": "HL_BASE_URL",
    "api_version": "HL_API_VERSION",
    "postgres": "HL_POSTGRES",
}
"""Keys of a profile, and the variable that each stands for."""

_SECRET: Final = frozenset({"token", "postgres"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def profile_file() -> Path:
    """Return where profiles are kept: the platform's place for settings, or ``HL_PROFILES``."""
    return Path(os.environ.get("HL_PROFILES") or Path(click.get_app_dir("hl-async")) / "profiles.toml")


def read_profiles(path: Path) -> dict[str, dict[str, str]]:
    """Read every profile; none if there is no file.

    Raises:
        ConfigurationError: The file is not TOML, or a profile has a key that is unknown.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("profiles", f"{path} is not TOML: {error}") from None
    for name, profile in found.items():
        if not isinstance(profile, dict):
            raise ConfigurationError(
                "profiles", f"{path}: {name} is not a table; write [{name}] and keys below it"
            )
        for key, value in profile.items():
            if key not in VARIABLES:
                raise ConfigurationError(
                    "profiles", f"{path}: unknown key {key!r} in [{name}]; known are {', '.join(VARIABLES)}"
                )
            if not isinstance(value, str):
                raise ConfigurationError(
                    "profiles", f"{path}: {key} in [{name}] is not text; put it into quotes"
                )
    return found


def write_profiles(path: Path, profiles: dict[str, dict[str, str]]) -> None:
    """Write every profile into a file with mode 0600, in one step."""
    lines: list[str] = []
    for name, profile in sorted(profiles.items()):
        lines += [f"[{name}]", *(f"{key} = {_quoted(value)}" for key, value in profile.items()), ""]
    make_private_folder(path.parent)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    with open_private(beside, "x") as file:
        file.write("\n".join(lines))
    beside.replace(path)


def use_profile(name: str) -> None:
    """Let the rest of this process see the profile as its environment.

    Raises:
        ConfigurationError: There is no such profile.
    """
    path = profile_file()
    profiles = read_profiles(path)
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none yet"
        raise ConfigurationError(
            "--profile",
            f"there is no profile {name!r}; known are {known}; add one with: hl-async account add {name}",
        )
    os.environ.update({VARIABLES[key]: value for key, value in profiles[name].items()})


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
    hl-async --profile shop-a doctor
    """
    if not _NAME.fullmatch(name):
        fail(f"{name!r} is not a name for a profile; use letters, digits, - and _")
    if token_from_env:
        token = os.environ.get("HL_TOKEN", "")
        if not token:
            fail("HL_TOKEN is not set")
    else:
        token = click.prompt("Private integration token", hide_input=True, err=True)
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
    for name, profile in sorted(read_profiles(profile_file()).items()):
        shown: dict[str, Any] = {
            key: str(Secret(value)) if key in _SECRET else value for key, value in profile.items()
        }
        if as_json:
            put_json({"name": name, **shown})
        else:
            tell(f"{name}  " + "  ".join(f"{key}={value}" for key, value in shown.items()))
    return ExitCode.OK


@account.command()
@click.argument("name")
def remove(name: str) -> int:
    """Forget an account.

    \b
    hl-async account remove shop-a
    """
    path = profile_file()
    profiles = read_profiles(path)
    if profiles.pop(name, None) is None:
        fail(f"there is no profile {name!r}")
    write_profiles(path, profiles)
    say(f"removed {name}")
    return ExitCode.OK


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
