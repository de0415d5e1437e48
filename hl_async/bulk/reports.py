"""Internal. Reports of a run: standing, progress, forecasts."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class ContactCounts(msgspec.Struct, frozen=True):
    """Customers of a run by their outcome.

    Attributes:
        customers: All customers of the source.
        made: Customers whose contact the run created.
        matched: Customers whose contact existed.
        by: Matched customers by the kind of match.
        rejected: Customers that cannot become contacts, so that their documents were rejected.
        unknown: Customers that wait for a person.
        open: Customers that are not resolved yet.
        deleted: Contacts that the run created and a rollback deleted.
    """

    customers: int = 0
    made: int = 0
    matched: int = 0
    by: dict[str, int] = {}
    rejected: int = 0
    unknown: int = 0
    open: int = 0
    deleted: int = 0


class PaymentCounts(msgspec.Struct, frozen=True):
    """Payments of a run by their outcome.

    Attributes:
        payments: All payments of the source.
        recorded: Payments that their invoices show as paid.
        sums: Their sums by currency.
        rejected: Payments that were not recorded; ``reasons`` counts them.
        unknown: Payments that wait for a person, because another client changed the invoice.
        open: Payments that are not decided yet.
        withdrawn: Payments that a rollback has stopped.
        reasons: Reasons of rejected and unknown payments, with their number.
    """

    payments: int = 0
    recorded: int = 0
    sums: dict[str, Decimal] = {}
    rejected: int = 0
    unknown: int = 0
    open: int = 0
    withdrawn: int = 0
    reasons: dict[str, int] = {}


class StateCounts(msgspec.Struct, frozen=True):
    """States that a run sets, by their outcome.

    Attributes:
        states: All states to set.
        reached: States that a read showed, by goal: ``tag``, ``sent`` or ``void``.
        rejected: States that were not reached; ``reasons`` counts them.
        unknown: States that wait for a person.
        open: States that are not decided yet.
        reasons: Reasons of rejected and unknown states, with their number.
    """

    states: int = 0
    reached: dict[str, int] = {}
    rejected: int = 0
    unknown: int = 0
    open: int = 0
    reasons: dict[str, int] = {}


class RunReport(msgspec.Struct, frozen=True):
    """The standing of a run.

    Attributes:
        source: Documents of the source.
        created: Documents that exist in a location.
        rejected: Documents that were rejected, before sending or by the API.
        skipped: Documents that the mapping leaves out on purpose, or that an earlier run created.
        unknown: Items that wait for a person.
        planned: Items that are not sent yet.
        ambiguous: Items that were sent and have no answer yet.
        total_source: Exact sums to create, by currency.
        total_created: Exact sums of the created documents, by currency.
        seconds: Duration of this process's part.
        requests: Requests of this process.
        refused: Requests of this process that the rate limit refused.
        state: ``done``, ``stopped``, ``rolling_back`` or ``rolled_back``.
        journal: Name of the journal.
        reason: Why the run stopped.
        withdrawn: Items that a rollback will never send.
        deleted: Documents that a rollback deleted.
        reasons: Rejected documents by reason.
        reject_file: File of the rejected documents, empty if it was not needed.
        skipped_file: File of the skipped documents, empty if it was not needed.
        warning: Why a file could not be written.
        unswept: Locations with unanswered requests that are not searched for late documents yet.
        second_copies: Late documents that the sweep deleted.
        foreign_copies: Documents with a key of the run that were kept, because it is unproven that the run made them.
        rejected_by_api: Rejected documents that had been sent.
        contacts: The customers; None if the source has none.
        payments: The payments; None if the source has none.
        kinds: Created documents by kind, if the source has both kinds.
        states: The states that the run sets; None if it sets none.
    """

    source: int
    created: int
    rejected: int
    skipped: int
    unknown: int
    planned: int
    ambiguous: int
    total_source: dict[str, Decimal]
    total_created: dict[str, Decimal]
    seconds: float
    requests: int
    refused: int
    state: str
    journal: str
    reason: str = ""
    withdrawn: int = 0
    deleted: int = 0
    reasons: dict[str, int] = {}
    reject_file: str = ""
    skipped_file: str = ""
    warning: str = ""
    unswept: int = 0
    second_copies: list[str] = []
    foreign_copies: list[str] = []
    rejected_by_api: int = 0
    contacts: ContactCounts | None = None
    payments: PaymentCounts | None = None
    kinds: dict[str, int] = {}
    states: StateCounts | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        is_open = any(
            stage is not None and stage.open > 0 for stage in (self.contacts, self.payments, self.states)
        )
        return self.planned == 0 and self.ambiguous == 0 and self.unswept == 0 and not is_open


class Progress(msgspec.Struct, frozen=True):
    """Progress of a run.

    Attributes:
        done: Items that need no further request.
        of: All items.
        created: Items that were created.
        rejected: Items that were rejected.
        ambiguous: Items without an answer yet.
        rate: Items per second since this process began.
        eta: Seconds until the end; None if unknown.
        note: The present wait: ``settling`` until unanswered requests can be judged, ``contacts`` the same for
            customers, ``sweeping`` before the last look for late documents.
        until: Epoch time in seconds at which that wait ends, or None.
    """

    done: int
    of: int
    created: int
    rejected: int
    ambiguous: int
    rate: float
    eta: float | None
    note: str = ""
    until: float | None = None


class ContactForecast(msgspec.Struct, frozen=True):
    """Work that the customers take, at most.

    Attributes:
        customers: Customers that are open.
        given: Customers with a contact id, which is checked.
        searched: Customers that are looked up, and created if they are not found.
        requests: Requests for both.
    """

    customers: int = 0
    given: int = 0
    searched: int = 0
    requests: int = 0


class PaymentForecast(msgspec.Struct, frozen=True):
    """Payments to record: number, sums by currency, and the requests that they take."""

    payments: int = 0
    sums: dict[str, Decimal] = {}
    requests: int = 0


class Forecast(msgspec.Struct, frozen=True):
    """Cost of the rest of a run.

    Attributes:
        items: Documents to create.
        rejected: Documents that are rejected.
        skipped: Documents that the mapping leaves out, or that an earlier run created.
        requests: Requests in all.
        seconds: Duration at the rate budget.
        days: Duration at the daily quota.
        locations: Number of locations.
        totals: Sums to create, by currency.
        contacts: The requests' share for customers.
        payments: The requests' share for payments.
        kinds: Documents to create by kind, if the source has both kinds.
    """

    items: int
    rejected: int
    skipped: int
    requests: int
    seconds: float
    days: float
    locations: int
    totals: dict[str, Decimal]
    contacts: ContactForecast = ContactForecast()
    payments: PaymentForecast = PaymentForecast()
    kinds: dict[str, int] = {}


class Kept(msgspec.Struct, frozen=True):
    """A document that a rollback left in its location; ``detail`` says why.

    Attributes:
        kind: ``not_draft``: customers may have seen it. ``changed``: people changed it since it was created. ``copy``:
            it carries the run's key, but it is unproven that the run created it. ``refused``: the API refuses to delete
            it. ``unseen``: no listing shows it, so people may have changed it, and the rollback stays open. ``payment``
            and ``tag``: a payment on an invoice of an earlier run, and a tag of a contact; the API takes neither back.
        source_id: The document's id in the source.
        document: Its id in the location.
        location: The location's id.
        detail: The reason.
    """

    kind: str
    source_id: str
    document: str
    location: str
    detail: str


class RollbackReport(msgspec.Struct, frozen=True):
    """Progress of a rollback.

    Attributes:
        deleted: Documents that this run's rollback deleted.
        gone: Documents that had been deleted before, as the API says.
        withdrawn: Items that were never sent.
        kept: Documents that were kept.
        open: Documents or requests that are not settled yet.
        state: ``rolling_back`` or ``rolled_back``.
        journal: Name of the journal.
        reason: Why something is open.
        until: Epoch time in seconds at which an interrupted wait would have ended.
    """

    deleted: int
    gone: int
    withdrawn: int
    kept: list[Kept]
    open: int
    state: str
    journal: str
    reason: str = ""
    until: float | None = None
    contacts_deleted: int = 0

    @property
    def complete(self) -> bool:
        """Whether each document of the run is proven deleted or kept for a stated reason."""
        return self.state == "rolled_back"
