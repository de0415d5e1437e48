"""Internal. The options that say how the customers of a migration become contacts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.cli.app import fail
from hl_async.operations import plain_id


class ContactChoice(msgspec.Struct, frozen=True):
    """What the options say; ``policy`` is None if they leave it as it is."""

    check_contacts: bool
    contacts: Path | None
    fallback_contact: str | None
    match_name: bool
    external_field: str | None
    update_contacts: bool

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
    """Add the options to a command, which gets them as ``contacts``."""

    @wraps(command)
    def packed(**options: Any) -> int:
        choice = {name: options.pop(name) for name in ContactChoice.__struct_fields__}
        return command(**options, contacts=ContactChoice(**choice))

    for option in reversed(_OPTIONS):
        packed = option(packed)
    return packed


_OPTIONS = (
    click.option("--check-contacts", is_flag=True,
                 help="With --dry-run: look customers up (only reads), and write SOURCE.contacts.csv."),
    click.option("--contacts", type=click.Path(path_type=Path), metavar="FILE",
                 help="The contacts file of a dry run, as you edited it."),
    click.option("--fallback-contact", metavar="ID",
                 help="The contact of customers without e-mail, phone or contact id."),
    click.option("--match-name", is_flag=True, help="Know customers by name as well, if nothing else finds them."),
    click.option("--external-field", metavar="ID",
                 help="A custom field that holds the old system's customer id; searched first."),
    click.option("--update-contacts", is_flag=True, help="Fill what is empty in contacts that are matched."),
)  # fmt: skip
