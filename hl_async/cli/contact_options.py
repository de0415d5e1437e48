"""Internal. The options for how the customers of a migration become contacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.cli.app import fail
from hl_async.operations import plain_id


class ContactChoice(msgspec.Struct, frozen=True):
    """The values of the options. ``policy`` is missing if they do not change it."""

    check_contacts: bool = False
    contacts: Path | None = None
    fallback_contact: str | None = None
    match_name: bool = False
    external_field: str | None = None
    update_contacts: bool = False

    @property
    def policy(self) -> ContactPolicy | None:
        """How customers become contacts; None leaves it to the run."""
        if not (self.fallback_contact or self.match_name or self.external_field or self.update_contacts):
            return None
        return ContactPolicy(
            fallback=self.fallback_contact or "", match_name=self.match_name,
            external_field=self.external_field or "", update=self.update_contacts,
        )  # fmt: skip

    def check(self, *, dry_run: bool, has_source: bool) -> None:
        """End with a usage error if the options don't fit together."""
        if self.check_contacts and not dry_run:
            fail("--check-contacts looks customers up for a --dry-run")
        if self.check_contacts and not has_source:
            fail("--check-contacts needs the SOURCE, not a journal")
        for option, given in (
            ("--fallback-contact", self.fallback_contact),
            ("--external-field", self.external_field),
        ):
            if given is not None:
                plain_id(option, given)


def contact_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add all options to a command, which gets them as ``contacts``."""
    return _with_options(command, [*_FILES, *_POLICY])


def policy_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that need no contacts file, as ``contacts``, to a command."""
    return _with_options(command, _POLICY)


def _with_options(command: Callable[..., int], chosen: Sequence[Callable[..., Any]]) -> Callable[..., int]:
    @wraps(command)
    def packed(**options: Any) -> int:
        given = {name: options.pop(name) for name in ContactChoice.__struct_fields__ if name in options}
        return command(**options, contacts=ContactChoice(**given))

    # Decorators apply from the last to the first; the help lists options in the order given here.
    for option in reversed(chosen):
        packed = option(packed)
    return packed


_FILES = (
    click.option("--check-contacts", is_flag=True,
                 help="With --dry-run: look customers up (only reads), and write SOURCE.contacts.csv."),
    click.option("--contacts", type=click.Path(path_type=Path), metavar="FILE",
                 help="The contacts file of a dry run, as you edited it."),
)  # fmt: skip
_POLICY = (
    click.option("--fallback-contact", metavar="ID",
                 help="The contact of customers without e-mail, phone or contact id."),
    click.option("--match-name", is_flag=True, help="Know customers by name as well, if nothing else finds them."),
    click.option("--external-field", metavar="ID",
                 help="A custom field that holds the old system's customer id; searched first."),
    click.option("--update-contacts", is_flag=True, help="Fill empty fields of matched contacts."),
)  # fmt: skip
