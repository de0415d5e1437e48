"""Internal. The verbs of a migration: plan, migrate, verify, roll back.

They do what the commands do. `migrate` plans the source into a journal, sends each planned document exactly once,
and writes the files of rejected and skipped documents. The same call resumes, continues a trial, and begins a new
run after a rollback.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import msgspec

from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.left_out import LeftOut, write_left_out
from hl_async.bulk.preparation import (
    MigrationSettings,
    Plan,
    Source,
    plan_of,
    prepare,
    require_new,
    retry_rejected,
)
from hl_async.bulk.reports import Forecast, Progress, RollbackReport, RunReport
from hl_async.bulk.run import Run
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.stages.checking import check_into
from hl_async.bulk.stages.contact_book import LocationContacts
from hl_async.bulk.stages.contacts_file import contacts_beside
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.bulk.stages.payments import PaymentPolicy
from hl_async.bulk.stages.states import StatePolicy
from hl_async.bulk.verification import Difference, Verification, check_report, write_report

if TYPE_CHECKING:
    from hl_async.client import HighLevel


class MigrationOptions(TypedDict, total=False):
    """The options of `migrate`.

    Args:
        mapping: The mapping of a table, or its file.
        location: The location of documents that name none; by default the client's.
        journal: A file, or a store; by default ``SOURCE.hl.db`` beside the source.
        key: Where documents carry the run's key: meta (default), name, title, number:FIRST or field:X.
        limit: Create only the first documents, as a trial.
        max_rejects: Stop planning above this number or percentage; by default ``10%``.
        rejects: The reject file; by default ``SOURCE.rejects.EXT`` beside the source.
        retry_rejected: Send documents again that the API rejected.
        again: Create documents although another run created them already.
        source_name: Name of the system that the source comes from. Documents carry it, so that a later run tells
            them from those of another system with the same ids. By default the name of the profile, the query, the
            mapping or the file.
        contacts: How customers become contacts; by default they are matched by e-mail and phone, or created.
        contacts_file: The contacts file of a dry run, as a person edited it.
        payments: Rules for the payments of invoices. By default they are recorded, unless the location sends receipts.
        states: Rules for the states of documents. By default no invoice is marked as sent.
        continues: The journal of an earlier run of the source. Its documents are skipped, or named if they changed.
        settle: Seconds for which a request without an answer may still take effect; by default 150.
        attempt_timeout: Seconds that one request may take; by default 30.
        max_in_flight: Requests under way at once, at most; by default 64.
        stop: Set it to stop in order; the run is then resumable.
        on_planned: Called once with the forecast, before the first request.
        on_progress: Called about twice per second.
    """

    mapping: Mapping | Path | None
    location: str | None
    journal: Path | JournalStore | None
    key: str
    limit: int | None
    max_rejects: str
    rejects: Path | None
    retry_rejected: bool
    again: bool
    source_name: str | None
    contacts: ContactPolicy | None
    contacts_file: Path | None
    payments: PaymentPolicy | None
    states: StatePolicy | None
    continues: Path | JournalStore | None
    settle: float
    attempt_timeout: float
    max_in_flight: int
    stop: asyncio.Event | None
    on_planned: Callable[[Forecast], None] | None
    on_progress: Callable[[Progress], None] | None


async def migrate(hl: HighLevel, source: Source | None, **options: Unpack[MigrationOptions]) -> RunReport:
    """Create the estimates and invoices of a source, each of them exactly once.

    Customers become contacts first: each one is matched, or created, before the first document is sent. The run is
    kept in a journal. The same call resumes it, and continues a trial with a larger `limit`.

    Args:
        hl: The client.
        source: A file, or records; None resumes the run of `journal`.
        options: See `MigrationOptions`.

    Returns:
        The report. ``state`` is "stopped" with a reason if the run did not end; the same call resumes it.

    Raises:
        SourceError: The source as a whole cannot be read.
        TooManyRejects: The mapping is probably wrong.
        JournalMismatch: The journal belongs to another source.
        AlreadyMigrated: Another run created documents of this source already, or documents with the same source ids
            whose source has another name. The message says how to answer.
        CanaryFailed: The list does not give the key of the first document back.
        JournalError: The journal cannot be used or written.
    """
    settings = MigrationSettings(**options)
    planned = await prepare(source, settings, hl)
    async with planned.run as run:
        # The caller's event replaces that of the run, so that one Ctrl-C ends whatever is under way.
        run.stop = settings.stop or run.stop
        if settings.retry_rejected:
            await retry_rejected(run, settings)
        # Before anything leaves this machine: the caller may still raise here.
        if settings.on_planned is not None:
            settings.on_planned(await run.forecast())
        # After planning, because it looks for the planned documents in the locations.
        await require_new(planned, hl, again=settings.again)
        report = await run.execute(
            lambda lane: run.target(hl, lane, attempt_timeout=settings.attempt_timeout),
            settle=settings.settle,
            attempt_timeout=settings.attempt_timeout,
            max_in_flight=settings.max_in_flight,
            on_progress=settings.on_progress,
        )
        # Also after a stop: the rejects of the finished part can be corrected meanwhile.
        return with_files(report, await write_left_out(run, planned.beside, settings.rejects))


def with_files(report: RunReport, left_out: LeftOut) -> RunReport:
    """Add the paths and counts of the left-out files to a report."""
    return msgspec.structs.replace(
        report,
        reasons=dict(left_out.reasons.most_common()),
        reject_file=str(left_out.rejects or ""),
        skipped_file=str(left_out.skipped or ""),
        warning=left_out.problem,
        rejected_by_api=left_out.by_api,
    )


class PlanOptions(TypedDict, total=False):
    """The options of `plan`, each with the meaning that it has in `MigrationOptions`.

    Args:
        mapping: The mapping of a table, or its file.
        location: The location of documents that name none.
        key: Where documents carry the run's key.
        limit: Look at the first documents only.
        max_rejects: Stop above this number or percentage.
        rejects: The reject file; by default ``SOURCE.rejects.EXT`` beside the source.
        rules_off: Rules of the client that are switched off, as in `ClientConfig`; by default those of
            ``HL_RULES_OFF``. `migrate` takes its client's.
        contacts: How customers would become contacts.
        contacts_file: The contacts file of an earlier dry run, as a person edited it.
        payments: Rules for the payments of invoices.
        states: Rules for the states of documents.
        continues: The journal of an earlier run of the same source.
    """

    mapping: Mapping | Path | None
    location: str
    key: str
    limit: int | None
    max_rejects: str
    rejects: Path | None
    rules_off: Collection[str] | None
    contacts: ContactPolicy | None
    contacts_file: Path | None
    payments: PaymentPolicy | None
    states: StatePolicy | None
    continues: Path | JournalStore | None


async def plan(
    source: Source,
    *,
    check_contacts: HighLevel | None = None,
    write_contacts_to: Path | None = None,
    **options: Unpack[PlanOptions],
) -> Plan:
    """Read and check a source, write its reject file and forecast the run.

    Makes no request, unless `check_contacts` is given: then customers are looked up, and the contacts file is written.

    Args:
        source: A file, or records.
        check_contacts: A client to look the customers up with. Nothing is written to the locations.
        write_contacts_to: The contacts file to write; by default ``SOURCE.contacts.csv`` beside the source.
        options: See `PlanOptions`.

    Returns:
        The plan, with the forecast, the first document and the reasons of rejects.

    Raises:
        SourceError: The source as a whole cannot be read.
        TooManyRejects: The mapping is probably wrong.
        ScopeMissing: The token lacks contacts.readonly.
    """
    # A journal in a folder that is deleted makes the plan report the same rejects as a real run.
    folder = await asyncio.to_thread(lambda: tempfile.TemporaryDirectory(prefix="hl-async-"))
    try:
        settings = MigrationSettings(**options, journal=Path(folder.name) / "plan.hl.db")
        # Without the client, so that a dry run works before there is an account.
        planned = await prepare(source, settings)
        async with planned.run as run:
            left_out = await write_left_out(run, planned.beside, settings.rejects)
            found = await plan_of(run, left_out, planned.facts)
            if check_contacts is None:
                return found
            return await _checked(found, run, check_contacts, write_contacts_to, planned.beside)
    finally:
        await asyncio.to_thread(folder.cleanup)


async def _checked(found: Plan, run: Run, hl: HighLevel, file: Path | None, beside: Path) -> Plan:
    """Look up a plan's customers, write the contacts file, and add both to the plan."""
    place = file or contacts_beside(await run.journal.header(), beside)
    check = await check_into(
        place, run.journal, run.customers, run.contact_policy, lambda one: LocationContacts(hl.location(one))
    )
    return msgspec.structs.replace(found, contacts=check)


async def verify(
    hl: HighLevel, journal: Path | JournalStore, *, repair: bool = False, report: Path | None = None
) -> Verification:
    """Compare every document of a run with its request.

    Args:
        hl: The client.
        journal: The journal of the run.
        repair: Delete second copies that are drafts and provably the run's own.
        report: Write every finding to this file, .csv or .ndjson.

    Returns:
        The findings, with the sums of source and locations.

    Raises:
        BulkError: The run's operation makes no documents that can be listed.
        JournalError: The journal cannot be used.
    """
    if report is not None:
        # Refused before the comparison, which may take long.
        await asyncio.to_thread(check_report, report)
    # Kept until the end: a report that breaks off would look like a complete one.
    findings: list[Difference] = []
    async with await Run.open(journal) as run:
        found = await run.verify(hl, repair=repair, on_finding=findings.append)
    if report is not None:
        await asyncio.to_thread(write_report, report, findings)
    return found


async def rollback(
    hl: HighLevel,
    journal: Path | JournalStore,
    *,
    even_changed: bool = False,
    stop: asyncio.Event | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> RollbackReport:
    """Delete the drafts that a run created, and close the run for good.

    It can be interrupted and repeated. Documents that people changed, or that are no longer drafts, are kept and
    listed in the report. A request without an answer is waited for, because it may still create a document.

    Args:
        hl: The client.
        journal: The journal of the run.
        even_changed: Delete drafts that people changed as well.
        stop: Set it to stop in order; the same call then continues.
        on_progress: Called about once per second.

    Returns:
        The report. ``state`` is "rolling_back" with a reason if something is still open.

    Raises:
        BulkError: The run's operation makes no documents that can be deleted, or a worker still creates some.
        JournalError: The journal cannot be used.
    """
    async with await Run.open(journal) as run:
        run.stop = stop or run.stop
        return await run.rollback(hl, even_changed=even_changed, on_progress=on_progress)
