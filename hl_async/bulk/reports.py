"""Internal. What a run says about itself: reports, progress, forecasts."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class ContactCounts(msgspec.Struct, frozen=True):
    """Customers of a run by what became of them.

    ``made`` contacts were created by the run. ``matched`` ones were there; ``by`` counts them by what they were found
    by. ``rejected`` customers have documents that were rejected, ``unknown`` ones wait for a person, ``open`` ones are
    not resolved yet. ``deleted`` contacts were made and deleted again by a rollback.
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


class RunReport(msgspec.Struct, frozen=True):
    """Where a run stands.

    Totals are exact, by currency. ``seconds``, ``requests`` and ``refused`` are those of this process. ``state`` is
    ``done``, ``stopped``, ``rolling_back`` or ``rolled_back``. ``ambiguous`` items were sent and have no answer yet,
    ``unknown`` ones wait for a person; ``withdrawn`` and ``deleted`` ones are the work of a rollback. ``reasons``
    counts rejects by reason; the files hold what was left out, "" if there is none, and ``warning`` says why one is
    missing. ``rejected_by_api`` of the rejected ones had become a request. ``unswept`` locations had unanswered
    requests and are still to be looked at for late documents.
    ``contacts`` counts the customers and ``payments`` the payments; both are None if the source has none.
    ``second_copies`` were deleted there, ``foreign_copies`` carry a key of the run, and were kept because nothing
    proves that the run made them.
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

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        is_open = any(stage is not None and stage.open > 0 for stage in (self.contacts, self.payments))
        return self.planned == 0 and self.ambiguous == 0 and self.unswept == 0 and not is_open


class Progress(msgspec.Struct, frozen=True):
    """How far a run is.

    ``done`` of ``of`` items need nothing more, ``rate`` is in items per second since this process began, ``eta`` in
    seconds or None. ``note`` says what is waited for: ``settling``, until unanswered requests can be judged;
    ``contacts``, the same for customers; ``sweeping``, the last look for late documents. ``until`` is the time of day,
    in seconds, at which that wait ends, or None.
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
    """What customers would take, at most.

    Of ``customers``, ``given`` have a contact id that is checked, and ``searched`` are looked up, and created if they
    are not found. ``requests`` do both.
    """

    customers: int = 0
    given: int = 0
    searched: int = 0
    requests: int = 0


class PaymentForecast(msgspec.Struct, frozen=True):
    """Payments to record: their number, their sums by currency, and the requests that they take."""

    payments: int = 0
    sums: dict[str, Decimal] = {}
    requests: int = 0


class Forecast(msgspec.Struct, frozen=True):
    """What a run would take: requests, seconds at the rate budget, days, and the share of a day's budget.

    ``contacts`` and ``payments`` say how many of the requests are for customers and payments.
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


class Kept(msgspec.Struct, frozen=True):
    """A document or contact that a rollback left in its location; ``kind`` is one of these, ``detail`` says why.

    ``not_draft``: customers may have seen it. ``changed``: people changed it since it was created. ``copy``: it
    carries the run's key, but nothing proves that the run created it. ``refused``: the API refuses to delete it.
    ``unseen``: no listing shows it, so people may have changed it; the rollback is still open.
    ``contact_changed``: people changed the contact. ``contact_used``: a document that stays uses it. For contacts
    ``source_id`` names the customer, and ``document`` is the contact's id.
    """

    kind: str
    source_id: str
    document: str
    location: str
    detail: str


class RollbackReport(msgspec.Struct, frozen=True):
    """How far a rollback is.

    ``contacts_deleted`` contacts that the run had created are gone. ``deleted`` documents were deleted by this run's
    rollback, ``gone`` ones were deleted before, which the API said.
    ``withdrawn`` items were never sent. ``open`` documents or requests are not settled yet; ``reason`` says why, and
    ``until`` is the time of day, in seconds, at which a wait that was broken off would have ended. ``state`` is
    ``rolling_back`` or ``rolled_back``.
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
        """Whether every document of the run is proven gone, or kept for a reason that is given."""
        return self.state == "rolled_back"
