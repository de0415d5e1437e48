"""Internal. The actions of the console's forms.

Each returns a sentence for the page. A sentence that begins with "Not done" reports a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from hl_async.errors import ConfigurationError, InvalidRequest
from hl_async.sandbox.faults import Fault
from hl_async.sandbox.webhooks import EVENTS, event_document

if TYPE_CHECKING:
    from hl_async.sandbox.state import SandboxState

Form = Mapping[str, str]

_TEN_YEARS: Final = 10 * 366 * 86_400.0


def perform(box: SandboxState, form: Form, document_id: str = "") -> str:
    """Perform the action of a form, and return the sentence to show.

    Args:
        box: The sandbox.
        form: The form's fields; one of them names the action.
        document_id: The document whose page the form is on.
    """
    try:
        if "customer" in form:
            return _act_as_customer(box, form, document_id)
        # One page has several forms, so the name of a field chooses the action.
        for name, act in _ACTIONS.items():
            if name in form:
                return act(box, form)
    except (ValueError, InvalidRequest, ConfigurationError, ImportError) as error:
        return f"Not done: {error}."
    return "Not done: unknown action."


def _set_profile(box: SandboxState, form: Form) -> str:
    box.faults.use(form["profile"], int(form.get("seed") or 0))
    return f"The profile is {form['profile']} now."


def _add_fault(box: SandboxState, form: Form) -> str:
    operation, times = form.get("operation", "*"), int(form.get("times") or 1)
    # A typing mistake in this field could make every later request fail.
    if not 1 <= times <= 1000:
        return "Not done: how often must be from 1 to 1000."
    box.faults.script(operation, Fault(form["fault"]), times=times)
    return f"{form['fault']} meets the next {times} requests of {operation}."


def _clear(box: SandboxState, form: Form) -> str:
    box.faults.clear()
    return "All faults are cleared."


def _set_latency(box: SandboxState, form: Form) -> str:
    seconds = float(form["latency"])
    if not 0 <= seconds <= 600:
        return "Not done: the latency must be from 0 to 600 seconds."
    box.latency = seconds
    return f"Every answer takes {seconds:g} s longer."


def _advance(box: SandboxState, form: Form) -> str:
    seconds = float(form["advance"])
    # Backwards would revive expired tokens and confuse the windows of the rate limit.
    if not 0 <= seconds <= _TEN_YEARS:
        return "Not done: the clock moves forward by 0 seconds to ten years."
    box.clock.advance(seconds)
    return f"It is {box.clock.timestamp()} now."


def _expire(box: SandboxState, form: Form) -> str:
    box.tokens.expire()
    return "All access tokens have expired."


def _add_receiver(box: SandboxState, form: Form) -> str:
    box.webhooks.send_to(form["receiver"].strip())
    return f"Events are delivered to {form['receiver'].strip()} from now on."


def _trigger(box: SandboxState, form: Form) -> str:
    kind, invoice_id = form["event"], form.get("invoice", "")
    if kind not in EVENTS:
        return f"Not done: unknown event {kind!r}."
    found = next(
        (place.invoices[invoice_id] for place in box.ledger.places.values() if invoice_id in place.invoices),
        None,
    )
    if found is None:
        return "Not done: create an invoice first, the event is about one."
    # Without a receiver nothing is delivered, and the page would look as if the event was sent.
    if not box.webhooks.receivers:
        return "Not done: add a receiver first."
    box.webhooks.announce(kind, event_document(found, kind))
    number = len(box.webhooks.receivers)
    return f"{kind} is on its way to {number} receiver{'' if number == 1 else 's'}."


def _resend(box: SandboxState, form: Form) -> str:
    if not box.webhooks.resend(form["resend"]):
        return f"Not done: unknown delivery {form['resend']!r}."
    return f"{form['resend']} is delivered again under the same id."


def _act_as_customer(box: SandboxState, form: Form, document_id: str) -> str:
    action = form["customer"]
    if action == "pay":
        box.customer.act("pay", document_id, amount=_amount(form.get("amount", "")))
        return "The customer paid."
    box.customer.act(action, document_id)
    return {
        "view": "The customer opened the page.",
        "accept": "The customer accepted the estimate.",
        "decline": "The customer declined the estimate.",
    }[action]


def _amount(text: str) -> Decimal | None:
    """Return the amount in a field; None, for the whole amount due, if it is empty."""
    if not text.strip():
        return None
    try:
        return Decimal(text.strip())
    except ArithmeticError:
        pass
    raise ValueError(f"{text.strip()!r} is not a number")


_ACTIONS: Final[Mapping[str, Callable[[SandboxState, Form], str]]] = {
    "profile": _set_profile,
    "fault": _add_fault,
    "clear": _clear,
    "latency": _set_latency,
    "advance": _advance,
    "expire": _expire,
    "receiver": _add_receiver,
    "event": _trigger,
    "resend": _resend,
}
