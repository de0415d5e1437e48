"""Internal. The sandbox's webhooks: events of changes, payloads and deliveries.

Deliveries are signed with a key pair of the sandbox. Give the public key to the receiver:
``Router(keys=(box.webhooks.public_key,))``.

A 429 is retried every ten minutes with jitter, at most six times. Other failures are retried with growing pauses, for
up to three days (docs/api-facts.md#api-webhook-delivery). Two things are unknown about the live API. Its pauses: here
each is twice the one before. And whether a retry has a new timestamp: here it has, because receivers refuse
deliveries older than five minutes. Times follow the sandbox's clock: ``box.clock.advance(660)`` makes every retry of a
429 due.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from hl_async.config import is_loopback, web_address
from hl_async.errors import ConfigurationError
from hl_async.sandbox.clock import Clock

if TYPE_CHECKING:
    from hl_async.sandbox.deliveries import WebhookSender
    from hl_async.sandbox.ledger import LocationState

Document = Mapping[str, Any]

# One try and six retries, and times in seconds: docs/api-facts.md#api-webhook-delivery
TRIES: Final = 1 + 6
RETRY_EVERY: Final = 600.0
FIRST_PAUSE: Final = 60.0
GIVE_UP_AFTER: Final = 3 * 86_400.0
_JITTER: Final = 0.1
_TIMEOUT: Final = 10.0
_TICK: Final = 0.02
_LONGEST_TICK: Final = 0.5
# The published samples lack these keys: docs/api-facts.md#api-webhook-payload
_LEFT_OUT: Final = frozenset(("updatedBy", "__v", "sourceId", "source", "meta"))

# Only invoices have events: docs/api-facts.md#api-webhook-events
_CAUSES: Final = {
    "create-invoice": "InvoiceCreate",
    "create-invoice-from-estimate": "InvoiceCreate",
    "text2pay-invoice": "InvoiceCreate",
    "update-invoice": "InvoiceUpdate",
    "send-invoice": "InvoiceSent",
    # `event_of` changes it to InvoicePartiallyPaid if a part is still due.
    "record-invoice": "InvoicePaid",
    "void-invoice": "InvoiceVoid",
    "delete-invoice": "InvoiceDelete",
}
EVENTS: Final = (*dict.fromkeys(_CAUSES.values()), "InvoicePartiallyPaid")
"""The names of the events about invoices."""


@dataclasses.dataclass(slots=True)
class WebhookDelivery:
    """One event for one receiver.

    Attributes:
        webhook_id: The id of the delivery, the same in its retries.
        type: The name of the event.
        url: The address of the receiver.
        statuses: The statuses of the answers so far; 0 stands for no answer.
        due: The time of the next retry, in seconds of the monotonic clock; None if no retry is planned.
        document: The payload.
    """

    webhook_id: str
    type: str
    url: str
    statuses: list[int] = dataclasses.field(default_factory=list)
    due: float | None = None
    document: Document = dataclasses.field(default_factory=dict, repr=False)

    @property
    def state(self) -> str:
        """delivered, waiting (for a retry) or lost. It is lost before the first answer."""
        if self.due is not None:
            return "waiting"
        return "delivered" if self.statuses and 200 <= self.statuses[-1] < 300 else "lost"


def pause_before_retry(statuses: Sequence[int], elapsed: float) -> float | None:
    """Return the seconds until a delivery is retried, before jitter; None for never.

    Args:
        statuses: The statuses of its answers so far, at least one; 0 stands for no answer.
        elapsed: The seconds since the first try.
    """
    last = statuses[-1]
    if 200 <= last < 300:
        return None
    if last == 429:
        # Only the 429s count here: other failures have pauses and an end of their own.
        return RETRY_EVERY if statuses.count(429) < TRIES else None
    pause = FIRST_PAUSE * 2.0 ** (len(statuses) - 1)
    return pause if elapsed + pause <= GIVE_UP_AFTER else None


def event_of(
    operation: str, body: Document, answer: Any, invoices: Mapping[str, Document]
) -> tuple[str, dict[str, Any]] | None:
    """Return the event of a successful operation and its payload, or None.

    Args:
        operation: The operation's name.
        body: The request's body.
        answer: The document of the answer.
        invoices: The location's invoices, the newest last. An answer may omit the created invoice.
    """
    kind = _CAUSES.get(operation)
    if kind is None or not isinstance(answer, Mapping):
        return None
    invoice = answer if "_id" in answer else answer.get("invoice")
    if invoice is None and operation == "create-invoice-from-estimate" and invoices:
        # The last one was created just now: dictionaries keep the order of creation.
        invoice = list(invoices.values())[-1]
    if not isinstance(invoice, Mapping) or "_id" not in invoice:
        return None
    if operation == "record-invoice" and invoice.get("status") != "paid":
        kind = "InvoicePartiallyPaid"
    elif operation == "text2pay-invoice":
        kind = (
            "InvoiceSent" if invoice.get("status") == "sent" else "InvoiceUpdate" if body.get("id") else kind
        )
    return kind, event_document(invoice, kind)


def event_document(invoice: Document, kind: str) -> dict[str, Any]:
    """Return an invoice in the form of webhooks; the address of the business is text."""
    shown = {name: value for name, value in invoice.items() if name not in _LEFT_OUT}
    business = dict(shown.get("businessDetails") or {})
    # An object in answers, text in webhooks: docs/api-facts.md#api-webhook-payload
    if isinstance(business.get("address"), Mapping):
        business["address"] = ", ".join(str(part) for part in business["address"].values() if part)
    shown["businessDetails"] = business
    if kind == "InvoiceDelete":
        shown["status"] = "delete"
    return shown


class Webhooks:
    """A sender of events to the added receivers. ``log`` holds every delivery."""

    def __init__(self, clock: Clock, *, seed: int = 0, allow_remote: bool = False) -> None:
        self._clock = clock
        self._dice = random.Random(seed)
        self._allow_remote = allow_remote
        self._seed = seed
        self._sender: WebhookSender | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self.receivers: list[str] = []
        self.log: list[WebhookDelivery] = []

    @property
    def public_key(self) -> str:
        """The key that verifies signatures, for ``hl_async.webhooks.Router``.

        Raises:
            ConfigurationError: The package cryptography is missing.
        """
        return self._signer().public_key

    def send_to(self, url: str) -> None:
        """Deliver all further events to ``url``.

        Raises:
            ConfigurationError: The address is not http(s), or is not loopback and `allow_remote` is off. Or the package
                cryptography is missing.
        """
        host = web_address("webhook_url", url, "http://127.0.0.1:8000/webhooks").hostname or ""
        if not is_loopback(host) and not self._allow_remote:
            raise ConfigurationError(
                "webhook_url", f"{host} is not a loopback address; allow_remote (--allow-remote) permits it"
            )
        # A missing cryptography must raise here, not later in a task whose error no test sees.
        self._signer()
        self.receivers.append(url)

    def operation_done(self, operation: str, body: Document, answer: Any, place: LocationState) -> None:
        """Send the event of an operation, if it has one, without waiting."""
        # Most sandboxes have no receiver, and need no copy of the invoice.
        found = event_of(operation, body, answer, place.invoices) if self.receivers else None
        if found is not None:
            self.announce(*found)

    def installed(
        self, app_id: str, company_id: str, location_id: str | None, *, removed: bool = False
    ) -> None:
        """Send INSTALL or UNINSTALL.

        Args:
            app_id: The app's id.
            company_id: The agency's id.
            location_id: The location; None for the agency.
            removed: Whether the app was uninstalled.
        """
        if self.receivers:
            place = {"locationId": location_id} if location_id else {}
            self.announce(
                "UNINSTALL" if removed else "INSTALL", {"appId": app_id, "companyId": company_id, **place}
            )

    def announce(self, kind: str, document: Document) -> None:
        """Send an event of any kind to all receivers, without waiting."""
        # A missing cryptography raises before the first delivery is in the log.
        self._signer()
        for url in self.receivers:
            self._count += 1
            self._queue(WebhookDelivery(f"webhook-{self._count:08d}", kind, url, document=dict(document)))

    def resend(self, webhook_id: str) -> bool:
        """Send a delivery again under its id, and return True; False if it is unknown."""
        found = next((one for one in reversed(self.log) if one.webhook_id == webhook_id), None)
        if found is None:
            return False
        self._queue(dataclasses.replace(found, statuses=[], due=None))
        return True

    def _queue(self, delivery: WebhookDelivery) -> None:
        self.log.append(delivery)
        if self._loop is not None:  # a test's thread may announce too
            self._loop.call_soon_threadsafe(self._begin, delivery)

    def open(self) -> None:
        """Use the running loop for deliveries."""
        self._loop = asyncio.get_running_loop()

    async def settled(self) -> None:
        """Wait until every delivery that is due has its answer."""
        while self._loop is not None and any(self._under_way(delivery) for delivery in self.log):  # noqa: ASYNC110 - a test's last step, not a service
            await asyncio.sleep(_TICK)

    def _under_way(self, delivery: WebhookDelivery) -> bool:
        if delivery.due is None:
            return not delivery.statuses
        return delivery.due <= self._clock.monotonic()

    async def aclose(self) -> None:
        """Cancel all deliveries, and send no more."""
        # First, so that no other thread starts a delivery after the tasks below are cancelled.
        self._loop = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _begin(self, delivery: WebhookDelivery) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        # Kept here, because the loop itself holds tasks by weak references only.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: WebhookDelivery) -> None:
        begun = self._clock.monotonic()
        while True:
            # Signed for each try: the timestamp is new, because receivers refuse deliveries older than five minutes.
            made = self._signer().deliver(delivery.type, delivery.document, webhookId=delivery.webhook_id)
            status = await self._post(delivery.url, made.body, made.headers)
            now = self._clock.monotonic()
            pause = pause_before_retry([*delivery.statuses, status], now - begun)
            # Before the status is added: another thread reads a status without a time as the end of the delivery.
            delivery.due = None
            if pause is not None:
                delivery.due = now + pause * (1 + _JITTER * (2 * self._dice.random() - 1))
            delivery.statuses.append(status)
            if delivery.due is None:
                return
            tick = _TICK
            # Short sleeps instead of a long one, because a test may move the clock.
            while self._clock.monotonic() < delivery.due:
                await asyncio.sleep(tick)
                tick = min(tick * 1.1, _LONGEST_TICK)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        try:
            # No redirects: one could lead to an address that `send_to` refuses.
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            # No answer is retried like an error.
            return 0

    def _signer(self) -> WebhookSender:
        if self._sender is None:
            from hl_async.sandbox.deliveries import WebhookSender

            self._sender = WebhookSender(seed=self._seed.to_bytes(32, "big"), wall=self._clock.wall)
        return self._sender
