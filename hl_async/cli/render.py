"""Internal. Reports, plans, verifications, rollbacks and locations as text."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from hl_async.bulk.journals.protocol import LaneStatus
from hl_async.bulk.kinds import location_of, words_for
from hl_async.bulk.preparation import Plan
from hl_async.bulk.reports import (
    ContactCounts,
    Forecast,
    PaymentCounts,
    RollbackReport,
    RunReport,
    StateCounts,
)
from hl_async.bulk.stages.checking import ContactCheck
from hl_async.bulk.verification import Verification

_ROLLBACK: Final = {"rolling_back": "is being rolled back", "rolled_back": "rolled back"}
_REASONS: Final = 5
_KEPT: Final = {"contact_changed": "contact", "contact_used": "contact", "payment": "payment", "tag": "tag"}
_SHOWN: Final = 50
_MENTIONED: Final = 0.01
"""The share of a day's requests from which a plan mentions it."""


def money(sums: dict[str, Decimal]) -> str:
    """Return sums as text, such as ``12,345.60 GBP``."""
    return ", ".join(f"{total:,} {currency}".strip() for currency, total in sorted(sums.items())) or "0"


def span(seconds: float | None) -> str:
    """Return a duration as ``1:05`` or ``2:03:04``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def report_lines(report: RunReport) -> list[str]:
    """Return a report's facts, one per line, with the commonest reasons of rejects."""
    lines = [
        f"source     {report.source:>8,} {'document' if report.source == 1 else 'documents'}",
        f"created    {report.created:>8,}   {_kinds(report.kinds)}{money(report.total_created)}",
    ]
    lines += _stage_lines(report)
    if report.rejected:
        lines += [f"rejected   {report.rejected:>8,}", *_reason_lines(Counter(report.reasons))]
    if report.skipped:
        lines.append(
            f"skipped    {report.skipped:>8,}   left out by the mapping, or created by an earlier run"
        )
    if report.unknown:
        lines.append(f"held       {report.unknown:>8,}   not known whether these were created: look at them")
    if report.state in _ROLLBACK:
        lines.append(f"state      {_ROLLBACK[report.state]}")
    if report.withdrawn:
        lines.append(f"withdrawn  {report.withdrawn:>8,}   never created: the run was rolled back")
    if report.deleted:
        lines.append(f"deleted    {report.deleted:>8,}   by the rollback")
    if report.planned:
        lines.append(f"to do      {report.planned:>8,}")
    if report.ambiguous:
        lines.append(
            f"unanswered {report.ambiguous:>8,}   sent; the run learns later whether they were created"
        )
    if report.unswept:
        lines.append(
            f"to sweep   {report.unswept:>8,}   locations, for documents of requests without an answer"
        )
    if report.second_copies:
        lines.append(f"swept      {len(report.second_copies):>8,}   second copies of late requests, deleted")
    if report.foreign_copies:
        lines.append(
            f"copies     {len(report.foreign_copies):>8,}   by others, kept: {', '.join(report.foreign_copies[:3])}"
        )
    return [*lines, *_effort_lines(report)]


def _stage_lines(report: RunReport) -> list[str]:
    """Return contacts, payments and states, as far as the run has them."""
    contacts = [] if report.contacts is None else [contacts_line(report.contacts)]
    payments = [] if report.payments is None else _payment_lines(report.payments)
    states = [] if report.states is None else _state_lines(report.states)
    return [*contacts, *payments, *states]


def _kinds(kinds: dict[str, int]) -> str:
    """Return documents by kind in front of their sum, empty for a run of one kind."""
    return f"{', '.join(plural(number, kind) for kind, number in kinds.items())}; " if kinds else ""


def _effort_lines(report: RunReport) -> list[str]:
    """Return the time and the requests of this process, if it made any."""
    if not report.requests:
        return []
    took = f"took       {span(max(report.seconds, 1.0)):>8}"
    if report.seconds and report.requests >= report.created:  # else some were created before this time
        took += f"   {report.created / report.seconds:.1f} documents per second"
    lines = [took]
    refused = f"   {report.refused:,} refused by the rate limit" if report.refused else ""
    lines.append(f"requests   {report.requests:>8,}{refused}")
    return lines


def contacts_line(contacts: ContactCounts) -> str:
    """Describe the results of a run's customers."""
    by = dict(contacts.by)
    # A token without the scope cannot look, so these are not counted as found.
    unchecked = by.pop("unchecked", 0)
    found = ", ".join(f"{name} {number:,}" for name, number in by.items())
    parts = (
        (contacts.made, "created"),
        (contacts.matched - unchecked, f"there already ({found})"),
        (unchecked, "by the source's ids, which could not be checked"),
        (contacts.rejected, "rejected"),
        (contacts.unknown, "held"),
        (contacts.open, "to do"),
        (contacts.deleted, "deleted by the rollback"),
    )
    told = ", ".join(f"{number:,} {words}" for number, words in parts if number)
    return f"contacts   {contacts.customers:>8,}   {told}"


def _payment_lines(payments: PaymentCounts) -> list[str]:
    """Return a run's payments by outcome, with reasons of those not recorded."""
    parts = (
        (payments.recorded, f"recorded, {money(payments.sums)}"),
        (payments.rejected, "not recorded"),
        (payments.unknown, "held for a person"),
        (payments.open, "to do"),
        (payments.withdrawn, "withdrawn by the rollback"),
    )
    words = ", ".join(f"{number:,} {text}" for number, text in parts if number)
    return [f"payments   {payments.payments:>8,}   {words}", *_reason_lines(Counter(payments.reasons))]


def _state_lines(states: StateCounts) -> list[str]:
    """Return a run's states by outcome, with reasons of those not reached."""
    words = {"tag": "tagged", "sent": "marked as sent", "void": "voided"}
    parts = (
        *((number, words[goal]) for goal, number in states.reached.items()),
        (states.rejected, "not reached"),
        (states.unknown, "held for a person"),
        (states.open, "to do"),
    )
    text = ", ".join(f"{number:,} {word}" for number, word in parts if number)
    return [f"states     {states.states:>8,}   {text}", *_reason_lines(Counter(states.reasons))]


def _check_lines(found: ContactCheck, here: Path) -> list[str]:
    """Return the customers as the locations know them, and the file that lists them."""
    by = ", ".join(f"{name} {number:,}" for name, number in found.by.items())
    parts = (
        (found.matched, f"there already ({by})"),
        (found.new, "new"),
        (found.ambiguous, "may be several contacts each"),
        (found.wrong, "with a contact id that cannot be used"),
        (found.without_key, "without e-mail, phone or contact id"),
    )
    told = ", ".join(f"{number:,} {words}" for number, words in parts if number)
    return [
        f"contacts   {plural(found.customers, 'customer')}: {told or 'none'}",
        f"           {shown(found.file, here)}   correct it, then: --contacts {shown(found.file, here)}",
    ]


def _reason_lines(reasons: Counter[str]) -> list[str]:
    # Whole: what to do about a reason stands at its end.
    lines = [
        f"           {count:>8,}   {' '.join(reason.split())}"
        for reason, count in reasons.most_common(_REASONS)
    ]
    rest = reasons.total() - sum(count for _, count in reasons.most_common(_REASONS))
    return [*lines, f"           {rest:>8,}   other reasons: in the reject file"] if rest else lines


def _cut(text: str) -> str:
    # Messages of the API may have line breaks, which would tear the table apart.
    plain = " ".join(text.split())
    return plain if len(plain) <= 100 else f"{plain[:99]}…"


def verification_lines(found: Verification, report: Path | None = None) -> list[str]:
    """Return the verification as text: the compared fields, or every difference."""
    # A run that was rolled back expects no documents, so that only these are of interest.
    kept = [one for one in found.differences if one.kind == "extra"]
    if found.state != "running":
        deleted = f"{found.state.replace('_', ' ')}: {plural(found.deleted, 'document')} deleted"
        if not kept:
            return [f"{deleted}; {plural(found.locations, 'location')} listed, nothing of the run is there"]
        return [
            f"{deleted}; {plural(len(kept), 'document')} of the run still there:",
            *_difference_lines(found),
        ]
    surplus = f"; {plural(found.repaired, 'second copy', 'second copies')} deleted" if found.repaired else ""
    if not found.differences:
        return [
            f"verified: {plural(found.documents, 'document')}, {money(found.total_found)}, as they were sent{surplus}",
            _compared(found),
        ]
    head = f"{plural(len(found.differences), 'difference')}; {found.same:,} as sent{surplus}:"
    more = [] if report is None else [f"all findings: {report}"]
    return [head, *_difference_lines(found), _compared(found), *more]


def _compared(found: Verification) -> str:
    more = [plural(found.contacts, "contact")] if found.contacts else []
    if found.paid:
        more.append(f"the paid sums of {plural(found.paid, 'invoice')}")
    return f"compared {', '.join([*found.compared, *more])}"


def _difference_lines(found: Verification) -> list[str]:
    lines = [f"  {d.kind:<10} {d.source_id} {d.document} {d.detail}" for d in found.differences[:_SHOWN]]
    rest = len(found.differences) - len(lines)
    return [*lines, f"  … and {rest:,} more (--report FILE holds all)"] if rest else lines


def rollback_lines(found: RollbackReport) -> list[str]:
    """Return the rollback as text: deleted, kept with the reason, and open documents."""
    lines = [f"deleted {plural(found.deleted, 'draft')}"]
    if found.gone:
        lines.append(f"{plural(found.gone, 'document')} had been deleted before")
    if found.withdrawn:
        lines.append(f"withdrew {plural(found.withdrawn, 'document')}, never created")
    if found.contacts_deleted:
        lines.append(f"deleted {plural(found.contacts_deleted, 'contact')} that the run had created")
    reasons = {
        "not_draft": "no longer drafts",
        "changed": "changed after the run; add --even-changed to delete",
        "copy": "copies that the run did not provably make",
        "refused": "refused by the API",
        "contact_changed": "changed after the run; add --even-changed to delete",
        "contact_used": "used by documents that stay",
        "payment": "recorded on invoices of an earlier run",
        "tag": "on contacts that were there before",
        "unseen": "not in the list, so possibly changed after the run; add --even-changed to delete",
    }
    for kind, words in reasons.items():
        kept = [one for one in found.kept if one.kind == kind]
        if kept:
            what = _KEPT.get(kind, "document")
            lines.append(f"kept {plural(len(kept), what)}: {words}")
            lines += [f"  {one.source_id} {one.document} {_cut(one.detail)}" for one in kept[:_SHOWN]]
            if len(kept) > _SHOWN:
                lines.append(f"  … and {len(kept) - _SHOWN:,} more (--json shows all)")
    return lines


def forecast_line(forecast: Forecast) -> str:
    """Return the documents that a run would create, and its requests and time."""
    aside = "".join(
        f", {number:,} {word}"
        for number, word in ((forecast.rejected, "rejected"), (forecast.skipped, "skipped"))
        if number
    )
    if not forecast.items:
        left = forecast.payments.payments
        more = f"; {plural(left, 'payment')} to record ({money(forecast.payments.sums)})" if left else ""
        return f"nothing left to create{aside}{more}"
    took = f", {span(forecast.seconds)} at the usual rate" if forecast.seconds >= 1 else ""
    return (
        f"{plural(forecast.items, 'document')} to create ({_kinds(forecast.kinds)}{money(forecast.totals)}){aside}; "
        f"about {plural(forecast.requests, 'request')}{took}"
    )


def plan_lines(plan: Plan, here: Path) -> list[str]:
    """Return a dry run as text: forecast, reasons of rejects, the first document."""
    lines = [forecast_line(plan.forecast), *_reason_lines(Counter(plan.reasons))]
    if plan.reject_file:
        lines.append(f"rejects    {shown(plan.reject_file, here)}")
    if plan.skipped_file:
        lines.append(f"skipped    {shown(plan.skipped_file, here)}")
    if plan.first is not None:
        first = plan.first
        parts = (
            first.name,
            first.contact,
            plural(first.lines, "line"),
            f"{first.total} {first.currency}".strip(),
            f"valid until {first.valid_until}" if first.valid_until else "",
        )
        lines.append(f"first      {' · '.join(part for part in parts if part)}")
    if plan.contacts is not None:
        lines += _check_lines(plan.contacts, here)
    elif (customers := plan.forecast.contacts).searched:
        lines.append(
            f"contacts   {plural(customers.customers, 'customer')} to find or create: up to "
            f"{plural(customers.requests, 'request')} of these (--check-contacts says who is there)"
        )
    if (planned := plan.forecast.payments).payments:
        lines.append(
            f"payments   {plural(planned.payments, 'payment')} to record, {money(planned.sums)}: up to "
            f"{plural(planned.requests, 'request')} of these"
        )
    if plan.totals and plan.forecast.items:
        lines.append(f"totals     {plan.totals}")
    lines += [f"note       {note} ({plural(count, 'document')})" for note, count in plan.notes.items()]
    lines += [
        f"unused     column {name!r} looks like money and is not used: {plural(rows, 'row')}, such as {value}"
        for name, (rows, value) in plan.unused_money.items()
    ]
    lines += [
        f"differs    {what} ({plural(count, 'document')}; first {first})"
        for what, (count, first) in plan.contradictions.items()
    ]
    # Small runs take no noticeable part of the day, and the number would only worry.
    share = plan.forecast.days
    nothing = "nothing was sent" if plan.contacts is None else "customers were looked up, nothing was written"
    budget = f" ({share:.1%} of a location's requests of a day)" if share >= _MENTIONED else ""
    return [*lines, f"dry run: {nothing}{budget}"]


def time_of_day(seconds: float) -> str:
    """Return seconds since the epoch as ``06:33:20`` by the local clock."""
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%H:%M:%S}"


def shown(path: str, here: Path) -> str:
    """Return a path as a person in the folder ``here`` would type it."""
    # As it would be typed again, because people copy it into the next command.
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 document``, ``2 documents``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def lane_lines(lanes: list[LaneStatus], *, rows: int) -> list[str]:
    """Return a table of locations, worked-on ones first; none for a single idle one."""
    if len(lanes) == 1 and not lanes[0].holder and not lanes[0].reason:
        return []
    width = max((len(words_for(lane.location)) for lane in lanes), default=8)
    places = {location_of(lane.location) for lane in lanes}
    finished = len(places - {location_of(lane.location) for lane in lanes if lane.done != lane.of})
    lines = [
        "",
        f"{finished:,} of {plural(len(places), 'location')} {'is' if len(places) == 1 else 'are'} done",
        f"{'location':<{width}}  {'done':>15}  {'rate':>7}  {'unanswered':>10}  worked on by",
    ]
    ordered = sorted(lanes, key=lambda lane: (not lane.holder, lane.done == lane.of))
    lines += [_lane_line(lane, width) for lane in ordered[:rows]]
    if len(ordered) > rows:
        lines.append(f"… and {len(ordered) - rows:,} more locations (--json shows all)")
    return lines


def _lane_line(lane: LaneStatus, width: int) -> str:
    if lane.holder:
        who = lane.holder
    elif lane.done == lane.of and not lane.reason:
        who = ""
    else:
        wait = f"in {span(lane.wakes_in)}" if lane.wakes_in else ""
        who = f"- {' '.join(part for part in (wait, _cut(lane.reason)) if part) or 'waits'}"
    rate = f"{lane.rate:.1f}/s" if lane.holder else ""
    done = f"{lane.done:,}/{lane.of:,}"
    return (
        f"{words_for(lane.location):<{width}}  {done:>15}  {rate:>7}  {lane.ambiguous:>10,}  {who}".rstrip()
    )
