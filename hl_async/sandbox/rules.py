"""Internal. Rules that rest on observations of the live API.

Most of them are not in the specification. Each can be switched off or on by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from hl_async.errors import ConfigurationError


class Rule(NamedTuple):
    """A rule of the sandbox.

    Attributes:
        name: The name that switches it off or on.
        says: Its effect, as a sentence for tables.
        evidence: The kinds of evidence, in the words of `docs/api-facts.md`.
        anchor: The anchor of the fact in `docs/api-facts.md`.
        default: Whether it is in force by default.
    """

    name: str
    says: str
    evidence: str
    anchor: str
    default: bool = True


RULES: Final = (
    Rule(
        "title_required", "an estimate without title is a 500 of the database layer", "measured",
        "api-required-fields"),
    Rule(
        "item_type_required", "a line of an estimate without type is a 500 of the database layer", "measured",
        "api-required-fields"),
    Rule(
        "issue_date_required", "an estimate without issueDate is a 422", "measured", "api-required-fields",
    ),
    Rule("expiry_date_required", "an estimate without expiryDate is a 422", "measured", "api-required-fields"),
    Rule(
        "tax_id_required", "a tax without _id is a 422", "specification, measured", "api-required-fields",
    ),
    Rule(
        "issue_date_not_future", "an issue date after the location's today is a 400", "measured", "api-issue-date",
    ),
    Rule("name_at_most_40", "an estimate's name of more than 40 characters is a 422", "measured", "api-names-40"),
    Rule(
        "title_at_most_40", "an estimate's title of more than 40 characters is a 422", "production", "api-names-40",
    ),
    Rule("estimate_number_unique", "an estimate number that exists is a 400", "production", "api-validation"),
    Rule(
        "accepted_first", "an invoice is made from accepted estimates only, else 400", "measured",
        "api-estimate-to-invoice",
    ),
    Rule("status_read_only", "estimateStatus in a PUT changes nothing", "measured", "api-put-replaces"),
    Rule(
        "status_filter_closed", "the estimate filter refuses unknown states with 422", "measured",
        "api-estimate-status",
    ),
    Rule(
        "delete_estimate_body", "DELETE of an estimate reads altId from the body alone, else 422", "measured",
        "api-delete-body",
    ),
    Rule("alt_everywhere", "updateAndSchedule and last-visited-at need altId too, else 401", "measured", "api-alt"),
    Rule("phone_e164", "a phone number that is not E.164 is a 422", "measured", "api-contact"),
    Rule(
        "invoice_contact_complete", "an invoice's contact without phone number or e-mail is a 422",
        "specification, official issue", "api-contact",
    ),
    Rule("discount_in_update", "PUT of an invoice without discount is a 422", "measured", "api-round-trip"),
    Rule("discount_within_subtotal", "a discount above the subtotal is a 400", "production", "api-validation"),
    Rule("attachments_at_most_10", "more than 10 attachments are a 422", "official docs", "api-attachments"),
    Rule("custom_values_text", "custom values and fields are text, else 422", "specification", "api-custom-fields"),
    Rule(
        "payment_schedule_complete", "an empty paymentSchedule is a 422", "specification", "api-round-trip",
    ),
    Rule("draft_not_payable", "a customer cannot pay a draft invoice", "production", "api-text2pay"),
    Rule(
        "estimate_contact_complete", "an estimate's contact without phone number or e-mail is a 422",
        "specification; measured otherwise for the phone number", "api-contact", default=False,
    ),
    Rule(
        "invoice_names_at_most_40", "an invoice's name or title of more than 40 characters is a 422",
        "measured for estimates only", "api-names-40", default=False,
    ),
    Rule(
        "payment_details_required", "a payment without card, cheque and notes is a 422, whatever its mode",
        "specification, looks like a mistake", "api-record-payment", default=False,
    ),
)  # fmt: skip
"""Every rule, in the order of the documentation."""

_BY_NAME: Final = {rule.name: rule for rule in RULES}


class RuleSet:
    """The rules in force."""

    def __init__(self, off: Iterable[str] = (), on: Iterable[str] = ()) -> None:
        self._on = {rule.name for rule in RULES if rule.default}
        for name in off:
            self.switch(name, on=False)
        for name in on:
            self.switch(name, on=True)

    def is_on(self, name: str) -> bool:
        """Return whether a rule is in force."""
        return name in self._on

    def switch(self, name: str, *, on: bool) -> None:
        """Switch a rule on or off.

        Raises:
            ConfigurationError: The name is unknown.
        """
        if name not in _BY_NAME:
            raise ConfigurationError("rules", f"unknown rule {name!r}; known are {', '.join(_BY_NAME)}")
        if on:
            self._on.add(name)
        else:
            self._on.discard(name)

    def __repr__(self) -> str:
        return f"<RuleSet {len(self._on)} of {len(RULES)} in force>"
