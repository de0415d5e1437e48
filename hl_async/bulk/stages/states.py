"""Internal. States that a run gives its documents: steps, and proofs. Pure.

A run creates drafts, and payments make invoices paid. Two kinds of steps go further, and only by request:

- *tag*: a state that only the customer's page can set, such as accepted, becomes a tag of the contact. Adding a tag
  twice changes nothing.
- *sent* and *void*: an invoice is marked as sent in the name of a user, and voided if the source says so. The API voids
  no draft, so a void invoice is marked as sent first. Whether marking mails the customer is unknown. A read of the
  invoice proves its state. See docs/api-facts.md#api-invoice-states.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.sources.words import invoice_goal
from hl_async.bulk.stages.steps import MADE, PlannedStep, StageStep, StepState
from hl_async.models import InvoiceSend

STATES: Final = "states"
"""The name of the stage in the journal."""

Goal = Literal["tag", "sent", "void"]

_LONGEST_TAG: Final = 80


class StatePolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rules for the states of documents in the old system.

    Attributes:
        sender: Id of the user in whose name invoices are marked as sent, which may mail their customers. Without it, no
            invoice is marked or voided.
    """

    sender: str = ""


class StateFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A state in the journal.

    Attributes:
        goal: ``tag``, ``sent`` or ``void``.
        source_id: The old system's key of the document.
        tag: The tag.
    """

    goal: Goal
    source_id: str
    tag: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(StateFacts).decode
_body: Final = msgspec.json.Decoder(dict[str, Any]).decode


def facts_of_state(step: StageStep) -> StateFacts:
    """Return the state of a step."""
    return _decode(step.facts)


def state_steps(item: SourceItem, key: str, policy: StatePolicy) -> Iterator[PlannedStep]:
    """Yield a step for each state that the run sets on a document.

    Args:
        item: The document, with its lane as location.
        key: The run's key of the document, which makes those of its steps unique.
        policy: The rules.
    """
    if item.state:
        tag = f"{item.kind or 'document'} {item.state.lower()}"[:_LONGEST_TAG]
        facts = StateFacts(goal="tag", source_id=item.source_id, tag=tag)
        body = _encode({"tags": [tag]})
        yield PlannedStep(item.location, STATES, f"{key}/tag", (item.ordinal,), body, _encode(facts))
    if policy.sender and item.kind == "invoice" and item.document is not None:
        goal = invoice_goal(item.document)
        if goal is not None:
            facts = StateFacts(goal=goal, source_id=item.source_id)
            body = _encode(InvoiceSend(action="send_manually", user_id=policy.sender, live_mode=True))
            yield PlannedStep(item.location, STATES, f"{key}/state", (item.ordinal,), body, _encode(facts))


async def tags_of(journal: Journal) -> dict[str, set[str]]:
    """Return the tags that a run added, by contact."""
    found: dict[str, set[str]] = {}
    after = -1
    while batch := await journal.steps.rows(STATES, StepState.DONE, after=after):
        after = batch[-1].number
        for step in batch:
            facts = facts_of_state(step)
            if facts.goal == "tag" and step.how == MADE:
                found.setdefault(step.result, set()).add(facts.tag)
    return found


def next_request(goal: Goal, status: str) -> Literal["send", "void"] | None:
    """Return the request that moves an invoice to its goal; None if it is reached."""
    if status == "draft":
        return "send"
    return "void" if goal == "void" and status != "void" else None


def contact_in(body: bytes) -> str:
    """Return the contact id of a document's request, or an empty text."""
    contact = _body(body).get("contactDetails") or {}
    return str(contact.get("id") or "")
