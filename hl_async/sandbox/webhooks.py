"""The sandbox's webhooks: which event a change is, how it looks, and its delivery with the documented retries.

Signed with a key pair of the sandbox's own; give the public half to the receiver:
``Router(keys=(box.webhooks.public_key,))``. Only a 429 is retried, every ten minutes with jitter, at most six times;
any other answer is final, so a 500 loses the event (API.md (g) 7). Times are the sandbox's clock:
``box.clock.advance(600)`` brings the next try.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp

from hl_async.config import is_loopback
from hl_async.errors import ConfigurationError
from hl_async.sandbox.clock import Clock

if TYPE_CHECKING:
    from hl_async.testing.deliveries import SignedDelivery, WebhookSender

Document = Mapping[str, Any]

TRIES: Final = 1 + 6
RETRY_EVERY: Final = 600.0
_JITTER: Final = 0.1
_TIMEOUT: Final = 10.0
_TICK: Final = 0.02
_LEFT_OUT: Final = frozenset(("updatedBy", "__v", "sourceId", "source", "meta"))

_EVENTS: Final = {
    "create-invoice": "InvoiceCreate",
    "create-invoice-from-estimate": "InvoiceCreate",
    "text2pay-invoice": "InvoiceCreate",
    "update-invoice": "InvoiceUpdate",
    "send-invoice": "InvoiceSent",
    "record-invoice": "InvoicePaid",
    "void-invoice": "InvoiceVoid",
    "delete-invoice": "InvoiceDelete",
}


@dataclasses.dataclass(slots=True)
class Delivery:
    """One event on its way to one receiver. ``statuses`` are its answers so far; 0 stands for none."""

    webhook_id: str
    type: str
    url: str
    body: bytes
    statuses: list[int] = dataclasses.field(default_factory=list)
    due: float | None = None

    @property
    def state(self) -> str:
        """delivered, waiting (for another try) or lost."""
        if self.due is not None:
            return "waiting"
        return "delivered" if self.statuses and 200 <= self.statuses[-1] < 300 else "lost"


def event_of(operation: str, answer: Any) -> tuple[str, dict[str, Any]] | None:
    """The event that a successful operation causes, and its invoice as webhooks show it; None for most."""
    kind = _EVENTS.get(operation)
    if kind is None or not isinstance(answer, Mapping):
        return None
    invoice = answer.get("invoice", answer)
    if not isinstance(invoice, Mapping) or "_id" not in invoice:
        return None
    if operation == "record-invoice" and invoice.get("status") != "paid":
        kind = "InvoicePartiallyPaid"
    elif operation == "text2pay-invoice" and invoice.get("status") == "sent":
        kind = "InvoiceSent"
    return kind, _flat(invoice, kind)


def _flat(invoice: Document, kind: str) -> dict[str, Any]:
    """Webhooks differ from answers: the address is text, custom fields are lists of text, deleted is a status."""
    shown = {name: value for name, value in invoice.items() if name not in _LEFT_OUT}
    business = dict(shown.get("businessDetails") or {})
    if isinstance(business.get("address"), Mapping):
        business["address"] = ", ".join(str(part) for part in business["address"].values() if part)
    shown["businessDetails"] = business
    if kind == "InvoiceDelete":
        shown["status"] = "delete"
    return shown


class Webhooks:
    """Sends events to the receivers that were added; ``log`` holds every delivery."""

    def __init__(self, clock: Clock, *, seed: int = 0, allow_remote: bool = False) -> None:
        self._clock = clock
        self._dice = random.Random(seed)
        self._allow_remote = allow_remote
        self._seed = seed
        self._sender: WebhookSender | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.receivers: list[str] = []
        self.log: list[Delivery] = []

    @property
    def public_key(self) -> str:
        """The key that signatures are verified with, as ``hl_async.webhooks`` takes it."""
        return self._signer().public_key

    def send_to(self, url: str) -> None:
        """Deliver all events from now on to ``url``. Needs the package cryptography.

        Raises :class:`ConfigurationError` for an address that is not http(s), or not on loopback unless
        the sandbox was allowed to be remote.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("webhook_url", f"{url!r} is no http(s) address")
        if not is_loopback(parts.hostname) and not self._allow_remote:
            raise ConfigurationError(
                "webhook_url", f"{parts.hostname} is not loopback; allow_remote permits it"
            )
        self._signer()
        self.receivers.append(url)

    def operation_done(self, operation: str, answer: Any) -> None:
        """Announce what an operation changed, if webhooks tell of it. Never waits, never fails the call."""
        found = event_of(operation, answer) if self.receivers else None
        if found is not None:
            self.announce(*found)

    def installed(
        self, app_id: str, company_id: str, location_id: str | None, *, removed: bool = False
    ) -> None:
        """Announce INSTALL or UNINSTALL, for a location or, without one, for the agency."""
        if self.receivers:
            place = {"locationId": location_id} if location_id else {}
            self.announce(
                "UNINSTALL" if removed else "INSTALL", {"appId": app_id, "companyId": company_id, **place}
            )

    def announce(self, kind: str, document: Document) -> None:
        """Deliver an event of any kind to all receivers."""
        made = self._signer().deliver(kind, document)
        for url in self.receivers:
            delivery = Delivery(f"webhook-{self._signer().count:08d}", kind, url, made.body)
            self.log.append(delivery)
            if self._loop is not None:  # a test's thread may announce too
                self._loop.call_soon_threadsafe(self._begin, delivery, made)

    def open(self) -> None:
        """Deliver in the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    async def settled(self) -> None:
        """Wait until every delivery was tried; those that wait for another try may stay."""
        while any(not delivery.statuses for delivery in self.log):  # noqa: ASYNC110 - a test's last step, not a service
            await asyncio.sleep(_TICK)

    async def aclose(self) -> None:
        """Stop delivering."""
        self._loop = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _begin(self, delivery: Delivery, made: SignedDelivery) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(delivery, made))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery, made: SignedDelivery) -> None:
        for _ in range(TRIES):
            status = await self._post(delivery.url, made)
            delivery.due = None
            if status == 429 and len(delivery.statuses) + 1 < TRIES:
                wait = RETRY_EVERY * (1 + _JITTER * (2 * self._dice.random() - 1))
                delivery.due = self._clock.monotonic() + wait
            delivery.statuses.append(status)
            if delivery.due is None:
                return
            while self._clock.monotonic() < delivery.due:  # noqa: ASYNC110 - a test may move the clock
                await asyncio.sleep(_TICK)

    async def _post(self, url: str, made: SignedDelivery) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        try:
            async with self._session.post(
                url, data=made.body, headers=made.headers, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    def _signer(self) -> WebhookSender:
        if self._sender is None:
            from hl_async.testing.deliveries import WebhookSender

            self._sender = WebhookSender(seed=self._seed.to_bytes(32, "big"), wall=self._clock.wall)
        return self._sender
