"""Internal. Rules that rest on observations of the live API.

Most of them are not in the specification. Each completes a request, or refuses it before it is sent. If the API
changes, a rule can be switched off by name: ``ClientConfig(rules_off={"name_at_most_40"})``, or
``HL_RULES_OFF=name_at_most_40`` in the environment. The sandbox has its own table with the same names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from hl_async.errors import ConfigurationError


class ClientRule(NamedTuple):
    """A rule of the client.

    Attributes:
        name: The name that switches it off.
        says: Its effect, as a sentence for tables.
        evidence: The kinds of evidence, in the words of docs/api-facts.md.
        anchor: The anchor of the fact in docs/api-facts.md.
    """

    name: str
    says: str
    evidence: str
    anchor: str


CLIENT_RULES: Final = (
    ClientRule(
        "title_required",
        "an estimate without a title gets its name as title",
        "measured",
        "api-required-fields",
    ),
    ClientRule(
        "issue_date_required",
        "an estimate without an issue date gets the location's today",
        "measured",
        "api-required-fields",
    ),
    ClientRule(
        "expiry_date_required",
        "an estimate without an expiry date is refused",
        "measured",
        "api-required-fields",
    ),
    ClientRule(
        "item_type_required",
        "a line of an estimate without a type gets one_time",
        "measured",
        "api-required-fields",
    ),
    ClientRule(
        "issue_date_not_future",
        "a new estimate issued after the location's today is refused",
        "measured",
        "api-issue-date",
    ),
    ClientRule(
        "name_at_most_40",
        "an estimate's name of more than 40 characters is refused",
        "measured",
        "api-names-40",
    ),
    ClientRule(
        "title_at_most_40",
        "an estimate's title of more than 40 characters is refused",
        "production",
        "api-names-40",
    ),
    ClientRule(
        "status_read_only",
        "an estimate's status is not written: the API ignores it",
        "measured",
        "api-put-replaces",
    ),
    ClientRule(
        "accepted_first",
        "a copy makes no invoices: its estimates are drafts, and only accepted ones become invoices",
        "measured",
        "api-estimate-to-invoice",
    ),
    ClientRule(
        "phone_e164", "a contact's phone number that is not E.164 is refused", "measured", "api-contact"
    ),
    ClientRule(
        "invoice_contact_complete",
        "an invoice's contact without phone number or e-mail gets empty ones",
        "specification, official issue",
        "api-contact",
    ),
    ClientRule(
        "discount_within_subtotal", "a discount above the subtotal is refused", "production", "api-validation"
    ),
    ClientRule(
        "attachments_at_most_10", "more than 10 attachments are refused", "official docs", "api-attachments"
    ),
)
"""Every rule of the client. The order has no meaning."""

RULE_NAMES: Final = frozenset(rule.name for rule in CLIENT_RULES)


def rules_without(off: Iterable[str]) -> frozenset[str]:
    """Return the names of the rules that stay in force.

    Args:
        off: Names of rules to switch off.

    Raises:
        ConfigurationError: A name is unknown.
    """
    # A string is one name; iterating over it would give its letters.
    if isinstance(off, str):
        off = (off,)
    switched = frozenset(off)
    for name in sorted(switched - RULE_NAMES):
        raise ConfigurationError(
            "rules_off", f"unknown rule {name!r}; known are {', '.join(sorted(RULE_NAMES))}"
        )
    return RULE_NAMES - switched
