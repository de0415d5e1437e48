"""Internal. The private file of stored accounts, and the use of one of them."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Final

import click

from hl_async.errors import ConfigurationError
from hl_async.storage.private_files import make_private_folder, open_private

VARIABLES: Final = {
    "token": "HL_TOKEN",
    "location_id": "HL_LOCATION_ID",
    "base_url": "HL_BASE_URL",
    "api_version": "HL_API_VERSION",
    "postgres": "HL_POSTGRES",
}
"""Keys of a profile, and the variable that each stands for."""


def profile_file() -> Path:
    """Return the path of the profiles: ``HL_PROFILES``, or in the platform's place."""
    return Path(os.environ.get("HL_PROFILES") or Path(click.get_app_dir("hl-async")) / "profiles.toml")


def read_profiles(path: Path) -> dict[str, dict[str, str]]:
    """Read every profile. Without a file the result is empty.

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


def known_profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of profiles that begin as typed, for a shell's completion."""
    try:
        return [name for name in read_profiles(profile_file()) if name.startswith(incomplete)]
    except ConfigurationError:
        return []  # a shell that completes has no place for an error


def write_profiles(path: Path, profiles: dict[str, dict[str, str]]) -> None:
    """Write every profile into a file with mode 0600, in one step."""
    lines: list[str] = []
    for name, profile in sorted(profiles.items()):
        lines += [f"[{name}]", *(f"{key} = {_quoted(value)}" for key, value in profile.items()), ""]
    make_private_folder(path.parent)
    beside = path.with_suffix(".new")
    # Left by a crash. A new file has neither its mode nor its links.
    beside.unlink(missing_ok=True)
    with open_private(beside, "x") as file:
        file.write("\n".join(lines))
    # A crash in the middle of writing must not cost the accounts that were stored before.
    beside.replace(path)


def use_profile(name: str) -> None:
    """Let the rest of this process see the profile as its environment.

    Raises:
        ConfigurationError: The profile is unknown.
    """
    path = profile_file()
    profiles = read_profiles(path)
    if name not in profiles:
        known = f"known are {', '.join(sorted(profiles))}" if profiles else "no account is stored yet"
        raise ConfigurationError(
            "--profile",
            f"unknown profile {name!r}; {known}; add one with: hl-async account add {name}",
        )
    # The environment, so that child processes (sandbox, workers) get the same account.
    os.environ.update({VARIABLES[key]: value for key, value in profiles[name].items()})


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
