"""Internal. Creates estimates and invoices once under a key."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET

from hl_async import operations as op
from hl_async.errors import (
    BadRequest,
    CallError,
    DecodeError,
    HighLevelError,
    InvalidRequest,
    KeyReused,
    NotFound,
    OnceUndecided,
    OutcomeUnknown,
    TokenStoreError,
)
from hl_async.models import (
    Estimate,
    EstimateDraft,
    EstimateSend,
    Invoice,
    InvoiceDraft,
    InvoiceFromEstimate,
    InvoiceFromEstimateResult,
)
from hl_async.models.codec import encode
from hl_async.operations import Operation
from hl_async.resources.locations import LocationRequester, patience_of
from hl_async.resources.once import KeyKeeper, Patience
from hl_async.resources.once_rules import (
    OnceRecord,
    OnceStep,
    check_key,
    fingerprint,
    looks_like,
    mark_of,
    marked,
    next_step,
    number_after,
    suspicious_since,
)
from hl_async.telemetry import logger


class Identified(Protocol):
    """A document with an id."""

    @property
    def id(self) -> str: ...


D = TypeVar("D", bound=Identified)

_NUMBERS: Final = 100
"""Invoice numbers that are tried while other keys hold them."""


class OnceLook(Generic[D]):
    """The result of a look at the contact's newest documents."""

    __slots__ = ("found", "suspects")

    def __init__(self, found: D | None, suspects: list[D]) -> None:
        self.found: D | None = found
        self.suspects: list[D] = suspects


class OnceCall(Generic[D]):
    """One creation under one key: look, send, look again after doubt.

    `look` reads the newest documents, `send` makes the request with its record, `name` is the key's name in the store.
    `reused` and `advice` word the errors of operations whose key is a document and not the caller's.
    """

    def __init__(
        self,
        at: LocationRequester,
        operation: Operation[Any],
        name: str,
        key: str,
        content: str,
        look: Callable[[OnceRecord | None], Awaitable[OnceLook[D]]],
        send: Callable[[OnceRecord, Callable[[], Awaitable[None]]], Awaitable[D | None]],
        number: Callable[[], Awaitable[str]] | None = None,
        *,
        reused: str = "",
        advice: str = "take a new key",
    ) -> None:
        self._reused = reused or f"{key!r} was used for another content"
        self._advice = advice
        self._at = at
        self._keeper: KeyKeeper = at.keeper
        self._operation = operation
        self._name = name
        self._key = key
        self._content = content
        self._look = look
        self._send = send
        self._number = number

    async def run(self) -> D:
        """Return the one document of this key."""
        async with self._keeper.locked(self._name):
            record = await self._keeper.load(self._name)
            # A record without document and request belongs to a refusal, so another content may use the key.
            used = record is not None and (record.document or record.sent_at)
            if record is not None and used and record.content != self._content:
                raise KeyReused(f"{self._reused}; {self._advice}", record.document)
            return await self._settled(record)

    async def _settled(self, record: OnceRecord | None) -> D:
        """Look and create until the document is there, or until patience ends."""
        patience = Patience(patience_of(self._at))
        doubt: Exception | None = None
        while True:
            look = await self._look(record)
            step = next_step(
                record,
                found=look.found is not None,
                suspects=bool(look.suspects),
                now=time.time(),
                settle=self._keeper.settings.settle,
            )
            if step is OnceStep.RETURN and look.found is not None:
                return await self._done(record, look.found)
            if step is OnceStep.CREATE:
                number = record.number if record is not None else None
                # A repetition keeps its number, by which a lost document is found. Only a refused number is replaced.
                if self._number is not None and (number is None or isinstance(doubt, BadRequest)):
                    number = await self._number()
                record = OnceRecord(self._content, number=number)
                made, record, doubt = await self._attempt(record)
                if made is not None:
                    return await self._done(record, made)
                continue
            if step is OnceStep.GONE:
                raise NotFound(
                    f"{record.document if record else ''} was created for {self._key!r} and is gone; {self._advice}",
                    status=404,
                    operation=self._operation.at,
                )
            # Looked at again with growing pauses: the answer was lost, but the document may appear in a list.
            if step is OnceStep.UNDECIDED or not await patience.rest():
                self._give_up(step, look, doubt)

    async def _attempt(self, record: OnceRecord) -> tuple[D | None, OnceRecord, Exception | None]:
        """Send once. Return the document, or the error that hides whether it exists.

        A refusal frees the key and is raised.
        """
        sent = record

        async def mark() -> None:
            # Durable before the first byte: after a crash, the record tells the next process of a possible request.
            nonlocal sent
            sent = msgspec.structs.replace(record, sent_at=time.time())
            await self._keeper.save(self._name, sent)

        try:
            return await self._send(record, mark), sent, None
        # An answer that cannot be read may stand for a created document.
        except (OutcomeUnknown, DecodeError) as error:
            return None, sent, error
        except HighLevelError as error:
            if sent.sent_at is not None:
                # Any other error is definite: nothing was created. The key is free, for a corrected content as well.
                free = OnceRecord(self._content, number=record.number)
                await self._keeper.save(self._name, free)
                if isinstance(error, BadRequest) and self._number is not None and _is_taken(error):
                    # Taken by another invoice, or by an earlier request of this key. The next look shows which.
                    return None, free, error
            raise

    async def _done(self, record: OnceRecord | None, document: D) -> D:
        if record is None or record.document != document.id:
            # The document was found by its key, so there may be no record of it yet.
            known = record or OnceRecord(self._content)
            # The document exists without the record, and a later call finds it by its key.
            with suppress(TokenStoreError):
                await self._keeper.save(self._name, msgspec.structs.replace(known, document=document.id))
        return document

    def _give_up(self, step: OnceStep, look: OnceLook[D], doubt: Exception | None) -> None:
        if step is OnceStep.UNDECIDED:
            ids = [one.id for one in look.suspects]
            raise OnceUndecided(
                f"{', '.join(ids)} may be the document of the key {self._key!r}: its content is the same, but the "
                "API returned no meta; compare, and create it without a key if it is another one",
                candidates=ids,
                operation=self._operation.at,
            ) from doubt
        raise OutcomeUnknown(
            f"no answer says whether the document of the key {self._key!r} was created; call again with the same key",
            reason=doubt if isinstance(doubt, CallError) else None,
            operation=self._operation.at,
        ) from doubt


def _is_taken(error: BadRequest) -> bool:
    return any("number already exists" in one.lower() for one in error.messages)


async def create_estimate_once(
    at: LocationRequester, draft: EstimateDraft, key: str, body: EstimateDraft
) -> Estimate:
    """Create the estimate of a key.

    The caller's `draft` identifies the content; `body` is sent.
    """
    check_key(key)
    content = fingerprint(encode(draft))
    name = f"{at.key_space}/estimate/{key}"
    depth, settle = at.keeper.settings.depth, at.keeper.settings.settle
    # Without meta in lists and without a store, a restart would forget the key and create a second document.
    if not at.keeper.is_shared and at.keeper.meta_in_lists.get(at.id) is False:
        raise InvalidRequest(
            "once",
            "lists of this location return no meta, so no other process would know the key: give the client a store, "
            "such as HighLevel(..., once=Once(SqliteStore('once.db')))",
        )
    # The key travels in the document, so that every process can find it in a list: docs/api-facts.md#api-meta
    sent = msgspec.structs.replace(body, meta=marked(body.meta, key, content))

    async def look(record: OnceRecord | None) -> OnceLook[Estimate]:
        # Older documents are other ones: the request of this key was not sent yet.
        since = suspicious_since(record, time.time(), settle)
        suspects = []
        # A store shared by all processes knows every request under this key.
        blind = record is not None or not at.keeper.is_shared
        filters = {"contactId": draft.contact_details.id}
        pager = at.paginate(op.LIST_ESTIMATES, filters, limit=min(depth, 100), offset=0)
        # A document that is known to exist is looked for among all documents of the contact.
        # The newest come first as far as is known: docs/api-facts.md#api-pagination
        for estimate in await pager.collect(None if record is not None and record.document else depth):
            mark = mark_of(estimate.meta)
            if mark is not None and mark[0] == key:
                at.keeper.meta_in_lists[at.id] = True
                if mark[1] != content:
                    raise KeyReused(f"{key!r} was used for the estimate {estimate.id}", estimate.id)
                return OnceLook(estimate, [])
            if record is not None and estimate.id == record.document:
                return OnceLook(estimate, [])
            if estimate.meta:
                at.keeper.meta_in_lists[at.id] = True
                blind = False  # a document without the key is another one
            elif _created_after(estimate, since) and looks_like(estimate, draft):
                suspects.append(estimate)
        return OnceLook(None, suspects if blind else [])

    async def send(_: OnceRecord, mark: Callable[[], Awaitable[None]]) -> Estimate:
        return await at.call(op.CREATE_ESTIMATE, body=sent, before_send=mark)

    made = await OnceCall(at, op.CREATE_ESTIMATE, name, key, content, look, send).run()
    if not at.keeper.is_shared and at.id not in at.keeper.meta_in_lists:
        await _learn_meta(at, made, draft.contact_details.id)
    return made


async def _learn_meta(at: LocationRequester, made: Estimate, contact_id: str) -> None:
    """Find out whether lists return `meta`, once per client and location.

    If they do not, a key is lost with its process (docs/api-facts.md#api-meta). A failure here does not fail the
    creation.
    """
    pager = at.paginate(op.LIST_ESTIMATES, {"contactId": contact_id}, limit=10, offset=0)
    with suppress(HighLevelError):
        for estimate in await pager.collect(10):
            if estimate.id == made.id:
                at.keeper.meta_in_lists[at.id] = bool(estimate.meta)
                if not estimate.meta:
                    logger.warning(
                        "lists of the location %s return no meta: create(once=) needs a store there", at.id
                    )


async def create_invoice_once(
    at: LocationRequester, draft: InvoiceDraft, key: str, body: InvoiceDraft
) -> Invoice:
    """Create the invoice of a key, identified by its number: invoices have no `meta`."""
    check_key(key)
    own_number = draft.invoice_number if draft.invoice_number is not UNSET else None
    if own_number is None and not at.keeper.is_shared:
        raise InvalidRequest(
            "once",
            "invoices carry no key: set invoice_number, or give the client a store, "
            "such as HighLevel(..., once=Once(SqliteStore('once.db')))",
        )
    content = fingerprint(encode(draft))
    name = f"{at.key_space}/invoice/{key}"
    depth = at.keeper.settings.depth
    tried: set[str] = set()

    async def number() -> str:
        return await _reserve_number(at, name, tried)

    async def look(record: OnceRecord | None) -> OnceLook[Invoice]:
        wanted = record.number if record is not None and record.number else own_number
        known = record.document if record is not None else None
        if wanted is None and known is None:
            # Without a number nothing distinguishes the entries of the list.
            return OnceLook(None, [])
        filters = {"contactId": draft.contact_details.id}
        pager = at.paginate(op.LIST_INVOICES, filters, limit=min(depth, 100), offset=0)
        for invoice in await pager.collect(None if known is not None else depth):
            if known is not None and invoice.id == known:
                return OnceLook(invoice, [])
            if known is None and wanted is not None and str(invoice.invoice_number) == wanted:
                # A number that the API gave may have been taken by a person meanwhile.
                if looks_like(invoice, draft):
                    return OnceLook(invoice, [])
                if own_number is not None:
                    raise KeyReused(f"the number {wanted!r} belongs to another invoice", invoice.id)
        return OnceLook(None, [])

    async def send(record: OnceRecord, mark: Callable[[], Awaitable[None]]) -> Invoice:
        async def reserve() -> None:
            # The mark is written first: after a crash, a claim whose key has no record could never be taken over.
            await mark()
            place = f"{at.key_space}/number/{own_number}"
            if own_number is not None and not await at.keeper.claim(place, name, take_over=True):
                raise KeyReused(f"the invoice number {own_number!r} belongs to another key", None)

        sent = body if record.number is None else msgspec.structs.replace(body, invoice_number=record.number)
        return await at.call(op.CREATE_INVOICE, body=sent, before_send=reserve)

    made = OnceCall(
        at, op.CREATE_INVOICE, name, key, content, look, send, number if own_number is None else None
    )
    return await made.run()


async def _reserve_number(at: LocationRequester, name: str, tried: set[str]) -> str:
    """Return the next invoice number that no other key has.

    `tried` holds those of this key so far.
    """
    candidate = str((await at.call(op.GENERATE_INVOICE_NUMBER)).invoice_number)
    for _ in range(_NUMBERS):
        # Generating a number does not reserve it, so two keys could get the same one.
        if candidate not in tried and await at.keeper.claim(f"{at.key_space}/number/{candidate}", name):
            tried.add(candidate)
            return candidate
        tried.add(candidate)
        candidate = number_after(candidate)
    raise InvalidRequest("invoice_number", f"{_NUMBERS} numbers from {candidate} on are taken; set one")


async def invoice_estimate_once(
    at: LocationRequester, estimate: Estimate, body: InvoiceFromEstimate
) -> InvoiceFromEstimateResult:
    """Create the one invoice of an estimate, identified by its `source_id`."""
    contact = estimate.contact_details.id if estimate.contact_details else None
    name = f"{at.key_space}/invoice-of/{estimate.id}"
    depth = at.keeper.settings.depth
    answer: InvoiceFromEstimateResult | None = None

    async def look(_: OnceRecord | None) -> OnceLook[Invoice]:
        pager = at.paginate(op.LIST_INVOICES, {"contactId": contact}, limit=min(depth, 100), offset=0)
        for invoice in await pager.collect(depth):
            if invoice.source == "estimate" and invoice.source_id == estimate.id:
                return OnceLook(invoice, [])
        return OnceLook(None, [])

    async def send(_: OnceRecord, mark: Callable[[], Awaitable[None]]) -> Invoice | None:
        nonlocal answer
        answer = await at.call(op.CREATE_INVOICE_FROM_ESTIMATE, estimate.id, body=body, before_send=mark)
        # A live answer lacked the invoice. Then the next look finds it: docs/api-facts.md#api-estimate-to-invoice
        return answer.invoice

    invoice: Invoice = await OnceCall(
        at,
        op.CREATE_INVOICE_FROM_ESTIMATE,
        name,
        estimate.id,
        fingerprint(encode(body)),
        look,
        send,
        reused=f"the estimate {estimate.id} became an invoice with other arguments",
        advice="leave out once to make another invoice",
    ).run()
    made_from = answer.estimate if answer is not None and answer.estimate is not None else estimate
    return InvoiceFromEstimateResult(estimate=made_from, invoice=invoice)


async def send_estimate_once(at: LocationRequester, estimate: Estimate, message: EstimateSend) -> Estimate:
    """Send an estimate unless its status says that it was sent."""
    contact = estimate.contact_details.id if estimate.contact_details else None
    name = f"{at.key_space}/send-estimate/{estimate.id}"
    depth = at.keeper.settings.depth

    async def look(_: OnceRecord | None) -> OnceLook[Estimate]:
        pager = at.paginate(op.LIST_ESTIMATES, {"contactId": contact}, limit=min(depth, 100), offset=0)
        for one in await pager.collect(depth):
            if one.id == estimate.id:
                # The status is the only trace of a message that was sent.
                return OnceLook(None if one.status in (None, "draft") else one, [])
        return OnceLook(None, [])

    async def send(_: OnceRecord, mark: Callable[[], Awaitable[None]]) -> Estimate:
        return await at.call(op.SEND_ESTIMATE, estimate.id, body=message, before_send=mark)

    content = fingerprint(encode(message))
    call = OnceCall(
        at,
        op.SEND_ESTIMATE,
        name,
        estimate.id,
        content,
        look,
        send,
        reused=f"the estimate {estimate.id} was sent with another message",
        advice="leave out once to send it again",
    )
    return await call.run()


def _created_after(document: Any, since: float) -> bool:
    created = document.created_at
    return created is None or created > datetime.fromtimestamp(since, UTC)
