"""Bulk work: bounded, journaled, resumable, exactly once."""

from __future__ import annotations

from hl_async.bulk.map import MapResult, bulk_map
from hl_async.bulk.migration import MigrationOptions, PlanOptions, migrate, plan, rollback, verify
from hl_async.bulk.preparation import Plan, Preview
from hl_async.bulk.reports import (
    ContactCounts,
    ContactForecast,
    Forecast,
    Kept,
    PaymentCounts,
    PaymentForecast,
    Progress,
    RollbackReport,
    RunReport,
    StateCounts,
)
from hl_async.bulk.run import Run
from hl_async.bulk.sources.document import (
    Document,
    DocumentAddress,
    DocumentCharge,
    DocumentCustomer,
    DocumentDiscount,
    DocumentInstallment,
    DocumentLine,
    DocumentPayment,
    DocumentTax,
    document_schema,
    encode_document,
)
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.opening import OpenedSource, open_source
from hl_async.bulk.sources.readers import Reading, SourceFacts, read_documents, read_source
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql import read_sql
from hl_async.bulk.sources.sql_query import SqlQuery, TableSpec
from hl_async.bulk.stages.checking import ContactCheck
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.bulk.stages.payments import PaymentPolicy
from hl_async.bulk.stages.states import StatePolicy
from hl_async.bulk.target import LocationTarget
from hl_async.bulk.verification import Difference, Verification

__all__ = [
    "ContactCheck",
    "ContactCounts",
    "ContactForecast",
    "ContactPolicy",
    "Difference",
    "Document",
    "DocumentAddress",
    "DocumentCharge",
    "DocumentCustomer",
    "DocumentDiscount",
    "DocumentInstallment",
    "DocumentLine",
    "DocumentPayment",
    "DocumentTax",
    "Forecast",
    "Kept",
    "LocationTarget",
    "MapResult",
    "Mapping",
    "MigrationOptions",
    "OpenedSource",
    "PaymentCounts",
    "PaymentForecast",
    "PaymentPolicy",
    "Plan",
    "PlanOptions",
    "Preview",
    "Progress",
    "Reading",
    "Reject",
    "RollbackReport",
    "Run",
    "RunReport",
    "SourceFacts",
    "SourceItem",
    "SourceSettings",
    "SqlQuery",
    "StateCounts",
    "StatePolicy",
    "TableSpec",
    "Verification",
    "bulk_map",
    "document_schema",
    "encode_document",
    "migrate",
    "open_source",
    "plan",
    "read_documents",
    "read_source",
    "read_sql",
    "rollback",
    "verify",
]
