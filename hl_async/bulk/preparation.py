"""Internal. A migration before its first request: source, checks, plan, journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Collection, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from hl_async import operations as op
from hl_async.bulk.continuation import CONTINUES, read_earlier
from hl_async.bulk.journals.sqlite import SqliteJournals, store_at
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.keys import key_carrier
from hl_async.bulk.kinds import INVOICE_KEY
from hl_async.bulk.left_out import LeftOut, check_rejects
from hl_async.bulk.other_runs import require_unmigrated
from hl_async.bulk.planning import Records
from hl_async.bulk.protocol import SETTLE, RunState, State
from hl_async.bulk.reports import Forecast, Progress
from hl_async.bulk.run import Run
from hl_async.bulk.source_identity import check_source_name, derived_source_name
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.opening import OpenedSource, open_source
from hl_async.bulk.sources.readers import SourceFacts, fingerprint, header_of, read_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.checking import ContactCheck
from hl_async.bulk.stages.contacts_file import read_contacts
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.bulk.stages.lane_stages import correct_steps, encode_policy
from hl_async.bulk.stages.payments import PAYMENTS, PaymentPolicy
from hl_async.bulk.stages.states import STATES, StatePolicy
from hl_async.bulk.stages.steps import StepState
from hl_async.errors import BulkError, ConfigurationError, HighLevelError, JournalMismatch
from hl_async.operations import Operation, plain_id

if TYPE_CHECKING:
    from hl_async.client import HighLevel

Source: TypeAlias = Path | OpenedSource | AsyncIterable[SourceItem | Reject] | Iterable[SourceItem | Reject]
"""A file, a source that `open_source` opened, or records in an order that never changes."""

_RECORDS: Final = "records"


class Preview(msgspec.Struct, frozen=True):
    """The first document of a plan, as it would be created.

    Attributes:
        name: Its name.
        contact: Name and e-mail of the customer.
        lines: Number of lines.
        total: The total, formatted; empty if unknown.
        currency: ISO 4217 code.
        valid_until: Expiry date of an estimate, due date of an invoice.
    """

    name: str
    contact: str
    lines: int
    total: str
    currency: str
    valid_until: str


class Plan(msgspec.Struct, frozen=True):
    """The result of a dry run. Nothing was sent, and the journal is deleted.

    Attributes:
        forecast: Requests and time of the run.
        first: The first document; None if every one was rejected.
        reasons: Rejected documents by reason.
        reject_file: File of the rejected documents, empty if it was not needed.
        skipped_file: File of the documents that the mapping leaves out, empty if it was not needed.
        warning: Why a file could not be written.
        totals: What the totals were compared with.
        notes: Additions and conversions, with their number.
        unused_money: Columns that look like money, are not used and not all zero, with their rows and a first value.
        contradictions: Payment figures that contradict each other, with their documents and the first one.
        contacts: The locations' contacts for these customers, if they were looked up.
    """

    forecast: Forecast
    first: Preview | None
    reasons: dict[str, int]
    reject_file: str = ""
    skipped_file: str = ""
    warning: str = ""
    totals: str = ""
    notes: dict[str, int] = {}
    unused_money: dict[str, tuple[int, str]] = {}
    contradictions: dict[str, tuple[int, str]] = {}
    contacts: ContactCheck | None = None


class Planned(msgspec.Struct):
    """An open run that is planned.

    Attributes:
        run: The run.
        beside: The path that its files stand beside.
        is_new: Whether this call planned it.
        is_named: Whether the user stated the name of the source.
        facts: Facts about the source, if this call read it.
    """

    run: Run
    beside: Path
    is_new: bool = False
    is_named: bool = False
    facts: SourceFacts | None = None


class MigrationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a migration; see `MigrationOptions`. Internal."""

    mapping: Mapping | Path | None = None
    location: str | None = None
    journal: Path | JournalStore | None = None
    key: str = "meta"
    limit: int | None = None
    max_rejects: str = "10%"
    rejects: Path | None = None
    retry_rejected: bool = False
    again: bool = False
    source_name: str | None = None
    rules_off: Collection[str] | None = None
    contacts: ContactPolicy | None = None
    contacts_file: Path | None = None
    payments: PaymentPolicy | None = None
    states: StatePolicy | None = None
    continues: Path | JournalStore | None = None
    settle: float = SETTLE
    attempt_timeout: float = 30.0
    max_in_flight: int = 64
    stop: asyncio.Event | None = None
    on_planned: Callable[[Forecast], None] | None = None
    on_progress: Callable[[Progress], None] | None = None


async def prepare(source: Source | None, options: MigrationSettings, hl: HighLevel | None = None) -> Planned:
    """Open the run of a journal, or plan a new one. Makes no request.

    The client supplies the default location and the rules that are off. Without a client, `options` name the rules.
    """
    if source is None:
        return await _resumed(options)
    if hl is not None:
        # The plan has to check by the rules by which the client will send.
        options = msgspec.structs.replace(options, rules_off=hl.rules_off)
    found = await asyncio.to_thread(_inspect, source, options, _location_of(hl))
    # Only after everything else was checked: a mistyped command must not rename a journal.
    await _set_aside(found.place)
    existed = await found.place.exists()
    try:
        run = await Run.create(
            found.place,
            fingerprint=found.mark,
            location=found.location,
            key=found.key,
            operation=found.operation,
            source_name=found.source_name,
        )
    except JournalMismatch as error:
        raise await _explained(found, error) from None
    stated = options.source_name is not None
    # The documents that exist carry the name already, so a run keeps it.
    if stated and run.source_name != found.source_name:
        await run.aclose()
        raise JournalMismatch(
            f"{run.journal.name} holds a run of the source {run.source_name!r}, and its documents carry that name; "
            "leave --source-name out, or give another --journal"
        )
    planned = Planned(run, found.beside, is_new=not run.is_planned, is_named=stated)
    # Only a trial that gets a larger limit reads the source again.
    if run.is_planned and not run.is_trial_of(options.limit):
        await _correct(run, options)
        return planned
    try:
        file = options.contacts_file
        corrections = None if file is None else await asyncio.to_thread(read_contacts, file)
        # Written before the items, because the reject file of a run that crashes while planning needs them.
        await run.journal.note(**found.facts)
        records = await _records(found, options, run)
        await run.plan(
            records, max_rejects=options.max_rejects, limit=options.limit, contacts=options.contacts,
            corrections=corrections, payments=options.payments, states=options.states,
        )  # fmt: skip
        planned.facts = getattr(records, "facts", None)
        if planned.facts is not None:
            # A resumed run does not read the source and reports this text from its journal.
            await run.journal.note(totals=planned.facts.comparison)
    except BaseException as error:
        await run.aclose()
        if not existed and isinstance(error, HighLevelError):
            # Nothing was sent. A half-planned journal would make the corrected source a mismatch.
            await found.place.remove()
        raise
    return planned


async def _records(found: _Found, options: MigrationSettings, run: Run) -> Records:
    """Return the source's records; those that the continued run created are skipped."""
    if options.continues is None:
        return found.read()
    earlier = await read_earlier(options.continues, run.operation.name)
    place = store_at(options.continues)
    # In a thread, because the reference of a relative path asks for the folder.
    reference = await asyncio.to_thread(lambda: place.reference)
    # A later run that continues this one follows the reference to the older ones.
    await run.journal.note(**{CONTINUES: reference})
    return earlier.filtered(found.read(), found.location, run.kinds)


async def retry_rejected(run: Run, options: MigrationSettings) -> int:
    """Plan rejected documents and their customers again. Return how many documents."""
    number = await run.journal.retry_rejected()
    # Payments whose invoice was not created wait for it again; refused ones get another try as well.
    for stage in (PAYMENTS, STATES):
        await run.journal.steps.plan_again(stage, StepState.REJECTED)
    await _correct(run, options)
    return number


async def _correct(run: Run, options: MigrationSettings) -> None:
    """Apply the options of a planned run to its open customers and payments."""
    if options.states is not None and options.states != run.state_policy:
        # The steps are planned with the documents. Ignored, the option would promise what never happens.
        raise BulkError(
            f"{run.journal.name} is planned, and its states with it; begin a new run to change them"
        )
    if options.payments is not None:
        run.payment_policy = options.payments
        await run.journal.note(payments=encode_policy(run.payment_policy))
        # Recorded payments stay; only those that were not sent yet are left out.
        if not run.payment_policy.record:
            await run.journal.steps.withdraw(PAYMENTS)
    if options.contacts_file is None and options.contacts is None:
        return
    file = options.contacts_file
    corrections = {} if file is None else await asyncio.to_thread(read_contacts, file)
    run.contact_policy = options.contacts or run.contact_policy
    await correct_steps(run.journal, run.id, run.contact_policy, corrections)
    await run.journal.note(contacts=encode_policy(run.contact_policy))


async def require_new(planned: Planned, hl: HighLevel, *, again: bool) -> None:
    """Raise `AlreadyMigrated` if other runs created a new run's documents already."""
    if not planned.is_new or again:
        return
    try:
        await require_unmigrated(planned.run, hl, planned.beside.parent, is_stated=planned.is_named)
    except HighLevelError:
        await planned.run.aclose()
        # Nothing was sent, and a journal left here would count as planned in the next call and skip this check.
        await planned.run.store.remove()
        raise


async def plan_of(run: Run, left_out: LeftOut, facts: SourceFacts | None = None) -> Plan:
    """Return the plan of a run that is planned and not sent."""
    # From the journal and not from the source: it shows the request as it would leave.
    rows = await run.journal.rows(State.PLANNED, limit=1, bodies=True)
    return Plan(
        await run.forecast(),
        _preview(rows[0].body or b"{}", rows[0].total, rows[0].currency) if rows else None,
        dict(left_out.reasons.most_common()),
        str(left_out.rejects or ""),
        str(left_out.skipped or ""),
        left_out.problem,
        facts.comparison if facts else run.header.get("totals", ""),
        dict(facts.notes.most_common()) if facts else {},
        facts.unused_money if facts else {},
        facts.contradictions if facts else {},
    )


def _preview(body: bytes, total: Any, currency: str) -> Preview:
    document = msgspec.json.decode(body)
    contact = document.get("contactDetails") or {}
    who = " ".join(
        part
        for part in (contact.get("name"), f"<{contact['email']}>" if contact.get("email") else "")
        if part
    )
    until = document.get("expiryDate") or document.get("dueDate") or ""
    return Preview(
        str(document.get("name", "")),
        who,
        len(document.get("items") or ()),
        f"{total:,}" if total is not None else "",
        currency,
        str(until),
    )


async def _resumed(options: MigrationSettings) -> Planned:
    if options.journal is None:
        raise BulkError("give a source, or the journal of a run to resume")
    run = await Run.open(options.journal)
    try:
        await run.require_running()
        if not run.is_planned:
            raise BulkError(
                f"{run.journal.name} was interrupted while it was planned; start again with its source"
            )
        await _correct(run, options)
    # Also when cancelled: an open journal would keep its lock until the process ends.
    except BaseException:
        await run.aclose()
        raise
    return Planned(run, Path(run.journal.name))


class _Found(msgspec.Struct):
    """The checked arguments."""

    mark: str
    location: str
    place: JournalStore
    beside: Path
    facts: dict[str, str]
    key: str
    read: Callable[[], AsyncIterable[SourceItem | Reject] | Iterable[SourceItem | Reject]]
    operation: Operation[Any] = op.CREATE_ESTIMATE
    source_name: str = _RECORDS


def _location_of(hl: HighLevel | None) -> str:
    if hl is None:
        return ""
    try:
        # A client without a default location is valid: documents may name theirs.
        return hl.location().id
    except HighLevelError:
        return ""


def _inspect(source: Source, options: MigrationSettings, default_location: str) -> _Found:
    """Check source, mapping, location and journal. Blocking; writes nothing."""
    location = options.location or default_location
    if location:
        plain_id("location", location)
    key_carrier(options.key)
    stated = None if options.source_name is None else check_source_name(options.source_name)
    if not isinstance(source, Path | OpenedSource):
        if options.journal is None:
            raise ConfigurationError("journal", "is missing; records have no file to put it beside")
        place = store_at(options.journal)
        beside = options.journal if isinstance(options.journal, Path) else Path(_RECORDS)
        name = stated or _RECORDS
        # Records cannot be compared by a fingerprint, so the journal accepts any.
        return _Found(_RECORDS, location, place, beside, {}, options.key, lambda: source, source_name=name)
    opened = _opened(source, options)
    path = opened.path
    if options.rejects is not None:
        check_rejects(options.rejects, path)
    if not location and not opened.names_locations:
        raise ConfigurationError("--location", "is missing; give one, or set HL_LOCATION_ID")
    place = store_at(options.journal or path.with_name(path.name + ".hl.db"))
    beside = place.path if isinstance(place, SqliteJournals) else path
    facts = {
        "source": str(path.absolute()),
        "columns": msgspec.json.encode(opened.columns).decode(),
        "delimiter": opened.delimiter,
        "encoding": opened.encoding,
    }
    is_invoice = opened.kind == "invoice"
    key = INVOICE_KEY if is_invoice and options.key == "meta" else options.key
    operation: Operation[Any] = op.CREATE_INVOICE if is_invoice else op.CREATE_ESTIMATE
    name = stated or opened.source_name or derived_source_name(path)
    read = partial(opened.read, rules_off=options.rules_off)
    return _Found(opened.fingerprint, location, place, beside, facts, key, read, operation, name)


def _opened(source: Path | OpenedSource, options: MigrationSettings) -> OpenedSource:
    if isinstance(source, OpenedSource):
        return source
    mapping = options.mapping
    if not isinstance(mapping, Mapping):
        return open_source([source], mapping=mapping)
    is_table = source.suffix.lower() not in (".ndjson", ".jsonl")
    return OpenedSource(
        source,
        fingerprint(source),
        header_of(source, mapping) if is_table else None,
        mapping.source.delimiter or ",",
        mapping.source.encoding,
        mapping.settings(),
        bool(mapping.document.location),
        partial(read_source, source, mapping),
    )


async def _set_aside(place: JournalStore) -> None:
    """Rename the journal of a fully rolled-back run, to make room for a new one."""
    if not await place.exists():
        return
    journal = await place.open(watch=True)
    try:
        # A process that died before it wrote the run's id left a journal without a run. The same command plans it.
        state = await journal.run_state() if "run" in await journal.header() else RunState.RUNNING
    finally:
        await journal.aclose()
    if state is RunState.ROLLING_BACK:
        async with await Run.open(place, watch=True) as run:
            await run.require_running()
    if state is RunState.ROLLED_BACK:
        await place.set_aside("rolled-back")


async def _explained(found: _Found, error: JournalMismatch) -> JournalMismatch:
    """Return an error that names the journal's run, its progress and the ways on."""
    async with await Run.open(found.place, watch=True) as run:
        report = await run.report()
        header = run.header
    held = Path(header.get("source", "another source")).name
    since = f", begun {datetime.fromisoformat(header['made']):%-d %b %H:%M} UTC" if "made" in header else ""
    number = f"{report.created:,} of {report.source - report.skipped:,} documents are created{since}"
    wanted = Path(found.facts.get("source", "")).name
    if header.get("fingerprint") == found.mark:
        return JournalMismatch(f"{error} ({number})")
    # The same file again is the usual case, so its ways on are spelled out.
    if held == wanted:
        rest = (
            f"To create only its new documents: --journal NEW.hl.db --continue {report.journal}"
            if not report.rejected
            else "To add the rejected documents, correct and migrate the reject file"
        )
        return JournalMismatch(
            f"{report.journal} holds a run of {held}, which was changed since, or its mapping or options "
            f"(--as, --set) were: {number}. "
            f"Another --journal begins a new run, which asks before it creates any of them again. {rest}. "
            f"--resume {report.journal} continues the run as it was"
        )
    return JournalMismatch(
        f"{report.journal} holds a run of {held or 'records'}, not of {wanted}: {number}; give another --journal"
    )
