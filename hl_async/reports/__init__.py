"""Receivables and reconciliation over the invoices of one location or of many.

Unknown is never zero: an invoice that lacks an amount or a date is listed as such and adds nothing to a sum.
"""

from __future__ import annotations

from hl_async.reports.receivables import AGES, Owed, Receivables, receivables
from hl_async.reports.reconciliation import Finding, FindingKind, Reconciliation, reconcile

__all__ = [
    "AGES",
    "Finding",
    "FindingKind",
    "Owed",
    "Receivables",
    "Reconciliation",
    "receivables",
    "reconcile",
]
