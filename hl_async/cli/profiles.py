"""Internal. ``hl-async profiles`` and ``hl-async map``: from files to documents."""

from __future__ import annotations

from pathlib import Path

import click

from hl_async.bulk.profiles import detected, profile_of, profiles
from hl_async.bulk.sources.guessing import guess_mapping
from hl_async.cli.app import put_json, say
from hl_async.cli.sessions import json_option


@click.command("profiles")
@click.option("--show", metavar="NAME", help="Print a profile's query.")
@json_option
def profiles_command(show: str | None, as_json: bool) -> None:
    """List the systems whose exports are understood.

    \b
    hl-async profiles
    hl-async profiles --show jobber > mine.sql   # a start for a query of your own
    hl-async migrate quotes.csv --from jobber --set currency=USD
    """
    if show is not None:
        click.echo(profile_of(show).query.text.rstrip())
        return
    known = profiles()
    if as_json:
        put_json(
            [
                {
                    "id": one.id,
                    "name": one.name,
                    "creates": one.kind,
                    "export": one.export,
                    "left_out": one.left_out,
                }
                for one in known.values()
            ]
        )
        return
    width = max(map(len, known))
    for one in known.values():
        click.echo(f"{one.id:{width}}  {one.name}; creates {one.kind}s")
        click.echo(f"{'':{width}}  export: {one.export}")
        click.echo(f"{'':{width}}  left out: {one.left_out}")


@click.command("map")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def map_command(file: Path) -> None:
    """Print a first mapping of FILE, guessed from its header.

    \b
    hl-async map orders.csv > orders.toml
    hl-async migrate orders.csv --map orders.toml --dry-run
    """
    click.echo(guess_mapping(file), nl=False)
    found = detected(file)
    if found is not None:
        say(f"{file.name} looks like the export of {found.name}: --from {found.id} needs no mapping")
