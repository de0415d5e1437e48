"""Internal. Records for the console: latest requests, messages to customers."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

KEPT: Final = 500
"""The number of requests whose headers and bodies are kept."""

LARGEST_BODY: Final = 64 * 1024
"""The number of bytes of a body that are kept."""

_SENDS: Final = frozenset(("send-estimate", "send-invoice", "text2pay-invoice"))
_CHANNELS: Final = {
    "email": "email",
    "sms": "SMS",
    "sms_and_email": "email and SMS",
    "send_manually": "a link that the user passes on",
    "send": "email and SMS",
}


@dataclasses.dataclass(slots=True)
class Exchange:
    """Headers and bodies of one request and its answer."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    answer_headers: tuple[tuple[str, str], ...] = ()
    answer_body: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A message that the live API would have sent; ``at`` is the sandbox's time."""

    at: str
    operation: str
    channel: str
    to: tuple[str, ...]
    location: str
    kind: str
    document: str
    subject: str


class Recorder:
    """A store of the latest exchanges and messages."""

    def __init__(self) -> None:
        self._exchanges: OrderedDict[int, Exchange] = OrderedDict()
        self.messages: deque[Message] = deque(maxlen=10 * KEPT)

    def arrived(self, number: int, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Store a request."""
        # The bodies of a whole migration would fill the memory, so only the latest are kept.
        self._exchanges[number] = Exchange(target, tuple(headers), body[:LARGEST_BODY])
        if len(self._exchanges) > KEPT:
            self._exchanges.popitem(last=False)

    def answered(self, number: int, headers: Iterable[tuple[str, str]], body: bytes | None) -> None:
        """Store the answer to a request; a streamed answer has no ``body`` here."""
        found = self._exchanges.get(number)
        if found is not None:
            found.answer_headers = tuple(headers)
            found.answer_body = (body or b"")[:LARGEST_BODY]

    def find(self, number: int) -> Exchange | None:
        """Return the exchange of a request, if it is one of the latest."""
        return self._exchanges.get(number)

    def operation_done(
        self, operation: str, at: str, location: str, body: Mapping[str, Any], answer: Any
    ) -> None:
        """Store the message that an operation would have sent to a customer, if any.

        Args:
            operation: The operation's name.
            at: The sandbox's time.
            location: The location's id.
            body: The request's body.
            answer: The answer's document.
        """
        message = message_of(operation, at, location, body, answer)
        if message is not None:
            self.messages.append(message)


def message_of(
    operation: str, at: str, location: str, body: Mapping[str, Any], answer: Any
) -> Message | None:
    """Return the message of a successful operation, or None if it sends nothing.

    Args:
        operation: The operation's name.
        at: The sandbox's time.
        location: The location's id.
        body: The request's body.
        answer: The answer's document, before it is encoded.
    """
    # The action decides: a draft of text2pay sends no message.
    action = str(body.get("action") or "")
    if operation not in _SENDS or action in ("draft", "") or not isinstance(answer, Mapping):
        return None
    # Some operations answer with an envelope, others with the document itself.
    found = answer.get("invoice") or answer.get("estimate") or answer
    if not isinstance(found, Mapping) or "_id" not in found:
        return None
    contact = found.get("contactDetails") or {}
    sent_to = body.get("sentTo") or found.get("sentTo") or {}
    emails = list(sent_to.get("email") or ()) or [contact.get("email")]
    phones = list(sent_to.get("phoneNo") or ()) or [contact.get("phoneNo")]
    to = [*(emails if action != "sms" else ()), *(phones if action != "email" else ())]
    kind = "estimates" if "estimateStatus" in found else "invoices"
    number = found.get("estimateNumber") or found.get("invoiceNumber") or ""
    return Message(
        at,
        operation,
        _CHANNELS.get(action, action),
        tuple(dict.fromkeys(str(one) for one in to if one)),
        location,
        kind,
        str(found["_id"]),
        f"{found.get('name') or kind[:-1]} {number}".strip(),
    )
