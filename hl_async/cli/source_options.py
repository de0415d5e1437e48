"""Internal. The options that say how the source of a migration is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from hl_async.bulk.sources.opening import OpenedSource, open_source
from hl_async.bulk.stages.states import StatePolicy


class SourceChoice(msgspec.Struct):
    """A person's choice. `kind` is estimate or invoice; None: the source's kinds."""

    profile: str | None = None
    sql: Path | None = None
    pairs: tuple[str, ...] = ()
    cut_names: bool = False
    kind: Any = None
    invoiced: tuple[str, ...] = ()
    states: str = "meta"
    sender: str | None = None
    mapping: Path | None = None

    @property
    def way(self) -> list[str]:
        """The options, as a person would type them again."""
        given = (("--map", self.mapping), ("--from", self.profile), ("--sql", self.sql), ("--as", self.kind))
        found = [part for option, value in given if value for part in (option, str(value))]
        found += ["--cut-names"] if self.cut_names else []
        found += ["--states", self.states] if self.states != "meta" else []
        found += ["--allow-sending", self.sender] if self.sender else []
        found += [part for one in self.invoiced for part in ("--invoice-when", one)]
        return found + [part for pair in self.pairs for part in ("--set", pair)]

    @property
    def policy(self) -> StatePolicy | None:
        """The rules for states, None without an option for them."""
        return StatePolicy(sender=self.sender) if self.sender else None

    def opened(self, files: Sequence[str | Path]) -> OpenedSource:
        """Return the source, looked at. Blocking."""
        more = (
            ("cut_names=true", self.cut_names),
            (f"invoice_when={','.join(self.invoiced)}", self.invoiced),
            (f"states={self.states}", self.states != "meta"),
            ("marks_sent=true", self.sender),
        )
        pairs = [*self.pairs, *(pair for pair, given in more if given)]
        return open_source(
            files, mapping=self.mapping, sql=self.sql, profile=self.profile, pairs=pairs, kind=self.kind
        )


def source_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options to a command, which gets them as ``reading``."""

    @wraps(command)
    def packed(**options: Any) -> int:
        given = {name: options.pop(name) for name in SourceChoice.__struct_fields__}
        return command(**options, reading=SourceChoice(**given))

    # Decorators apply from the last to the first; the help lists options in the order given here.
    for option in reversed(_OPTIONS):
        packed = option(packed)
    return packed


_OPTIONS = (
    click.option("--from", "profile", metavar="SYSTEM", help="The system of an export; see: hl-async profiles."),
    click.option("--sql", type=click.Path(path_type=Path), help="A file with a SELECT over the files."),
    click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE",
                 help="What the source lacks, such as currency=USD or contact_id=ID; repeatable."),
    click.option("--cut-names", is_flag=True,
                 help="Cut names and titles that are too long, instead of rejecting them."),
    click.option("--as", "kind", type=click.Choice(["estimate", "invoice"]),
                 help="Create these of all documents; otherwise both kinds, as the source has them."),
    click.option("--invoice-when", "invoiced", multiple=True, metavar="STATUS",
                 help="Create an invoice beside each estimate with this status; repeatable."),
    click.option("--states", type=click.Choice(["meta", "notes", "tag"]), default="meta", show_default=True,
                 help="Where a status that the run cannot set is kept: meta of estimates, notes, or a contact's tag."),
    click.option("--allow-sending", "sender", metavar="USER",
                 help="Mark invoices as sent, in this user's name, and void the void ones; customers may be mailed."),
    click.option("--map", "mapping", type=click.Path(path_type=Path), help="The mapping file (TOML) of a table."),
)  # fmt: skip
