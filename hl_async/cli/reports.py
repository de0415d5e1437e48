"""Internal. ``hl-async receivables`` and ``reconcile``: figures over invoices."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from hl_async.cli.app import put_json, run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.sessions import base_url_option

if TYPE_CHECKING:
    from hl_async.client import HighLevel
    from hl_async.reports import Finding, Receivables, Reconciliation

FORMS: Final = ("table", "csv", "ndjson", "json")

_locations_option = click.option(
    "--location", "locations", multiple=True, metavar="ID", help="Repeatable; default HL_LOCATION_ID."
)
_company_option = click.option("--company", metavar="ID", help="Every location of this agency.")
_format_option = click.option(
    "--format", "form", type=click.Choice(FORMS), default="table", show_default=True, help="On stdout."
)


@click.command()
@_locations_option
@_company_option
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Count ages by this day; default today."
)
@_format_option
@base_url_option
def receivables(
    locations: tuple[str, ...], company: str | None, as_of: Any, form: str, base_url: str | None
) -> int:
    """Report who owes what and for how long: sent invoices not paid in full.

    \b
    hl-async receivables
    hl-async receivables --company x1Y2… --format csv > owed.csv
    """

    # Imported here, so that commands without reports start faster.
    from hl_async import reports

    async def main() -> Receivables:
        async with _client(base_url) as hl:
            chosen = await _chosen(hl, locations, company)
            day = None if as_of is None else as_of.date()
            return await reports.receivables(hl, locations=chosen, as_of=day)

    report = run_async(main)
    if form == "table":
        _show_receivables(report)
    else:
        put_rows([plain(owed) for owed in report.invoices], form, reports.Owed.__struct_fields__)
    return ExitCode.OK


@click.command()
@_locations_option
@_company_option
@_format_option
@base_url_option
def reconcile(locations: tuple[str, ...], company: str | None, form: str, base_url: str | None) -> int:
    """Compare the payments in invoices with the location's transactions.

    Exit 7 when something does not agree.

    \b
    hl-async reconcile
    hl-async reconcile --format ndjson
    """

    from hl_async import reports

    async def main() -> Reconciliation:
        async with _client(base_url) as hl:
            return await reports.reconcile(hl, locations=await _chosen(hl, locations, company))

    report = run_async(main)
    if form == "table":
        _show_findings(report.findings)
        say(
            f"compared {counted(report.invoices, 'invoice')} with {counted(report.transactions, 'transaction')}"
        )
        say("all agree" if report.agrees else f"{counted(len(report.findings), 'disagreement')}")
    else:
        put_rows([plain(finding) for finding in report.findings], form, reports.Finding.__struct_fields__)
    # A difference is a result and not a failure: scripts tell the two apart by the code.
    return ExitCode.OK if report.agrees else ExitCode.DIFFERS


def _client(base_url: str | None) -> HighLevel:
    from hl_async.client import HighLevel

    return HighLevel.from_env(base_url=base_url) if base_url else HighLevel.from_env()


async def _chosen(hl: HighLevel, locations: tuple[str, ...], company: str | None) -> Sequence[str] | None:
    if company is not None:
        # The agency's list changes, so it is read with every report.
        return [*locations, *[one.id async for one in hl.locations(company)]]
    return locations or None


def _show_receivables(report: Receivables) -> None:
    from hl_async.reports import AGES

    rows = [
        [row["customer"] or row["contact_id"] or "(no customer)", row["currency"]]
        + [_amount(row[age]) for age in (*AGES, "total")]
        for row in report.by_customer()
    ]
    for currency, ages in sorted(report.totals().items()):
        rows.append(
            ["all", currency, *(_amount(ages[age]) for age in AGES), _amount(sum(ages.values(), Decimal(0)))]
        )
    if rows:
        tell(aligned(["customer", "currency", *AGES, "total"], rows, left=2))
    else:
        tell("nothing is owed")
    # On stderr, so that a sum in a file never looks more complete than it is.
    for owed in report.unknown:
        what = "amount" if owed.amount_due is None else "currency" if not owed.currency else "due date"
        amount = "" if owed.amount_due is None else f" of {_amount(owed.amount_due)} {owed.currency}".rstrip()
        say(f"not in the sums: invoice {owed.number or owed.invoice_id}{amount}, its {what} is unknown")


def _show_findings(findings: Sequence[Finding]) -> None:
    if not findings:
        return
    rows = [
        [
            one.kind.value,
            one.number or one.invoice_id,
            one.customer,
            one.currency,
            _amount(one.invoice_paid),
            _amount(one.booked),
            _amount(one.refunded) if one.refunded else "",
        ]
        for one in findings
    ]
    tell(aligned(["finding", "invoice", "customer", "currency", "paid", "booked", "refunded"], rows, left=4))


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Align rows under a header: ``left`` columns to the left, amounts to the right."""
    widths = [max(len(str(row[column])) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [
            f"{cell:<{width}}" if column < left else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def put_rows(rows: Sequence[Mapping[str, Any]], form: str, columns: Sequence[str]) -> None:
    """Write rows to stdout as CSV, as a JSON line each, or as one JSON list."""
    if form == "csv":
        click.echo(csv_text(rows, columns), nl=False)
    elif form == "ndjson":
        for row in rows:
            put_json(row)
    else:
        put_json(list(rows))


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as CSV, always with a header; spaces separate a list's values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: " ".join(value) if isinstance(value, list) else value for key, value in row.items()}
        )
    return text.getvalue()


def plain(struct: msgspec.Struct) -> dict[str, Any]:
    """Return a struct as data: amounts as text, dates as ISO 8601, unknown as null."""
    found: dict[str, Any] = msgspec.to_builtins(struct)
    return found


def counted(number: int, noun: str) -> str:
    """Return a count with its noun in the right number."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _amount(value: Decimal | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.2f}" if value == round(value, 2) else f"{value:,f}"  # a dinar has three decimals
