"""What is done with a run afterwards: verify, rejects, rollback."""

from __future__ import annotations

import sys

import click
import msgspec

from hl_async.bulk.protocol import State
from hl_async.bulk.run import Run
from hl_async.cli.app import put_json, run_async, say
from hl_async.cli.exits import ExitCode
from hl_async.cli.journal_options import place_of, postgres_option
from hl_async.cli.reject_files import reject_text
from hl_async.cli.render import verification_lines
from hl_async.cli.sessions import Counting, base_url_option, client, json_option


@click.command()
@click.argument("journal")
@postgres_option
@click.option("--repair", is_flag=True, help="Delete younger draft copies of the same document.")
@base_url_option
@json_option
def verify(journal: str, postgres: str | None, repair: bool, base_url: str | None, as_json: bool) -> int:
    """Compare the run of JOURNAL with what is in the location: every document once, every total to the cent.

    \b
    hl-async verify orders.csv.hl.db           # exit code 7: it differs
    hl-async verify orders.csv.hl.db --repair  # and deletes surplus drafts
    """

    place = place_of(journal, postgres)

    async def main() -> ExitCode:
        hl = client(base_url, Counting())
        async with await Run.open(place) as run, hl:
            found = await run.verify(hl, repair=repair)
            left = await run.report()
        if as_json:
            put_json(msgspec.to_builtins(found))
        else:
            for line in verification_lines(found):
                click.echo(line)
            if not left.complete:
                say(
                    f"note: the run is not complete, {left.planned + left.ambiguous:,} documents are still to come"
                )
        return ExitCode.DIFFERS if found.differences else ExitCode.OK

    return int(run_async(main))


@click.command()
@click.argument("journal")
@postgres_option
def rejects(journal: str, postgres: str | None) -> int:
    """Print the documents of JOURNAL that were rejected, in the format of the input, with the reason.

    \b
    hl-async rejects orders.csv.hl.db > mended.csv
    hl-async migrate mended.csv --map orders.toml   # once they are mended
    """

    place = place_of(journal, postgres)

    async def main() -> ExitCode:
        async with await Run.open(place, watch=True) as run:
            rows = await run.each(State.REJECTED)
            header = await run.journal.header()
        sys.stdout.buffer.write(b"".join(reject_text(rows, header)))
        return ExitCode.OK

    return int(run_async(main))


@click.command()
@click.argument("journal")
@postgres_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@base_url_option
@json_option
def rollback(journal: str, postgres: str | None, yes: bool, base_url: str | None, as_json: bool) -> int:
    """Delete what the run of JOURNAL created, as far as it is still a draft. Can be interrupted and repeated.

    \b
    hl-async rollback orders.csv.hl.db        # asks first
    hl-async rollback orders.csv.hl.db --yes
    """

    place = place_of(journal, postgres)

    async def main() -> ExitCode:
        hl = client(base_url, Counting())
        async with await Run.open(place) as run, hl:
            report = await run.report()
            if not yes and not click.confirm(f"Delete up to {report.created:,} drafts?", err=True):
                return ExitCode.STOPPED
            found = await run.rollback(hl)
        if as_json:
            put_json(dict(found))
        else:
            text = f"{found['deleted']:,} deleted, {found['kept']:,} kept because they are no drafts any more"
            click.echo(f"{text}, {found['gone']:,} were gone already")
        return ExitCode.OK

    return int(run_async(main))
