# Made by .ci/sync_stub.py from the asynchronous classes (make stubs): do not edit.

import ssl as ssl_module
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from datetime import date, datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

import aiohttp

from hl_async.auth.credentials import Credentials
from hl_async.changes import ChangeFeed, CursorStore
from hl_async.client import ClientSettings
from hl_async.client import HighLevel as AsyncHighLevel
from hl_async.config import (
    CallChanges,
    CallOptions,
    ClientConfig,
)
from hl_async.governor import Governor, GovernorPolicy, ScopeSnapshot
from hl_async.governor.shared.messages import BudgetStore
from hl_async.models import (
    AutoPayment,
    ContactDraft,
    ContactFilter,
    ContactRecord,
    ContactSort,
    ContactUpdate,
    ContactUpsert,
    CustomFieldInput,
    Deleted,
    EnsuredContact,
    Estimate,
    EstimateDraft,
    EstimateNumber,
    EstimateSend,
    EstimateTemplate,
    EstimateTemplateDraft,
    EstimateUpdate,
    InstalledLocation,
    Invoice,
    InvoiceDraft,
    InvoiceFromEstimateResult,
    InvoiceNumber,
    InvoiceSchedule,
    InvoiceScheduleDraft,
    InvoiceScheduleUpdate,
    InvoiceSend,
    InvoiceSent,
    InvoiceSettings,
    InvoiceTemplate,
    InvoiceTemplateDraft,
    InvoiceTemplateUpdate,
    InvoiceUpdate,
    LateFeesConfiguration,
    LineItem,
    LocationDetails,
    Opportunity,
    OpportunityDraft,
    OpportunityUpdate,
    Order,
    PaymentMethods,
    PaymentRecorded,
    Pipeline,
    Price,
    PriceDraft,
    Product,
    ProductDraft,
    RecordPayment,
    ScheduleStart,
    Text2Pay,
    Text2PayResult,
    TokenGrant,
    Transaction,
    User,
)
from hl_async.models.choices import (
    BookedMode,
    EstimateStatus,
    GrantType,
    InvoiceStatus,
    OpportunityStatus,
    OrderPaymentStatus,
    PaymentModeFilter,
    SortOrder,
    UserType,
)
from hl_async.models.contacts import ContactAnswer
from hl_async.models.estimates import EstimateChanges
from hl_async.models.inputs import Number
from hl_async.models.invoices import InvoiceChanges
from hl_async.models.lines import LineChanges
from hl_async.operations import Operation
from hl_async.pagination import Page
from hl_async.resources.contacts import ContactFields
from hl_async.resources.requesting import Body, Query
from hl_async.resources.taxes import TaxNames
from hl_async.secret import Secret
from hl_async.telemetry import Observer
from hl_async.transport.retry import RetryPolicy
from hl_async.wire import WireResponse

_T = TypeVar("_T")

class SyncPager(Generic[_T]):
    def __iter__(self) -> Iterator[_T]: ...
    def first(self) -> Page[_T]: ...
    def pages(self) -> Iterator[Page[_T]]: ...
    def collect(self, at_most: int | None = None) -> list[_T]: ...
    def count(self) -> int: ...

class ClientCore: ...

class Contacts:
    def find(
        self, *, email: str | None = None, phone: str | None = None, region: str | None = None
    ) -> ContactRecord | None: ...
    def search(
        self,
        query: str | None = None,
        *,
        filters: list[ContactFilter] | None = None,
        sort: list[ContactSort] | None = None,
        limit: int | None = None,
    ) -> SyncPager[ContactRecord]: ...
    def ensure(
        self,
        *,
        email: str | None = None,
        phone: str | None = None,
        region: str | None = None,
        external_id: CustomFieldInput | None = None,
        replace: Collection[str] = (),
        **details: Unpack[ContactFields],
    ) -> EnsuredContact: ...
    def get(self, contact_id: str) -> ContactRecord: ...
    def create(self, contact: ContactDraft) -> ContactRecord: ...
    def update(self, contact_id: str, changes: ContactUpdate) -> ContactRecord: ...
    def upsert(self, contact: ContactUpsert) -> ContactAnswer: ...
    def add_tags(self, contact_id: str, *tags: str) -> list[str]: ...
    def delete(self, contact_id: str) -> bool: ...

class EstimateTemplates:
    def create(self, template: EstimateTemplateDraft) -> EstimateTemplate: ...
    def list(
        self, *, search: str | None = None, limit: int | None = None, offset: int = 0
    ) -> SyncPager[EstimateTemplate]: ...
    def preview(self, template_id: str) -> EstimateTemplate: ...
    def update(self, template_id: str, template: EstimateTemplateDraft) -> EstimateTemplate: ...
    def delete(self, template_id: str) -> EstimateTemplate: ...

class Estimates:
    def create(self, estimate: EstimateDraft, *, once: str | None = None) -> Estimate: ...
    def list(
        self,
        *,
        status: EstimateStatus | None = None,
        contact_id: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> SyncPager[Estimate]: ...
    def find(
        self,
        estimate_id: str | None = None,
        *,
        number: int | str | None = None,
        contact_id: str | None = None,
    ) -> Estimate | None: ...
    def update(self, estimate_id: str, estimate: EstimateUpdate) -> Estimate: ...
    def patch(
        self, estimate_id: str, *, seen: datetime | None = None, **changes: Unpack[EstimateChanges]
    ) -> Estimate: ...
    def delete(self, estimate_id: str) -> Estimate: ...
    def send(
        self, estimate_id: str, message: EstimateSend, *, once: bool = False, contact_id: str | None = None
    ) -> Estimate: ...
    def create_invoice(
        self,
        estimate_id: str,
        *,
        mark_as_invoiced: bool,
        version: str | None = None,
        once: bool = False,
        contact_id: str | None = None,
    ) -> InvoiceFromEstimateResult: ...
    def find_invoice(self, estimate_id: str, *, contact_id: str | None = None) -> Invoice | None: ...
    def generate_number(self) -> EstimateNumber: ...
    def touch_last_visited(self, estimate_id: str) -> None: ...
    def changes(
        self,
        *,
        cursor: CursorStore | None = None,
        share: float = 0.2,
        every: float = 5.0,
        lease: float = 30.0,
    ) -> ChangeFeed: ...

class InvoiceSchedules:
    def create(self, schedule: InvoiceScheduleDraft) -> InvoiceSchedule: ...
    def list(
        self,
        *,
        status: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        payment_mode: PaymentModeFilter | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> SyncPager[InvoiceSchedule]: ...
    def get(self, schedule_id: str) -> InvoiceSchedule: ...
    def update(self, schedule_id: str, schedule: InvoiceScheduleUpdate) -> InvoiceSchedule: ...
    def delete(self, schedule_id: str) -> Deleted: ...
    def start(self, schedule_id: str, start: ScheduleStart) -> InvoiceSchedule: ...
    def update_and_schedule(
        self, schedule_id: str, schedule: InvoiceScheduleUpdate | None = None
    ) -> InvoiceSchedule: ...
    def set_auto_payment(self, schedule_id: str, auto_payment: AutoPayment) -> InvoiceSchedule: ...
    def cancel(self, schedule_id: str) -> InvoiceSchedule: ...

class InvoiceTemplates:
    def create(self, template: InvoiceTemplateDraft) -> InvoiceTemplate: ...
    def list(
        self,
        *,
        status: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        payment_mode: PaymentModeFilter | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> SyncPager[InvoiceTemplate]: ...
    def get(self, template_id: str) -> InvoiceTemplate: ...
    def update(self, template_id: str, template: InvoiceTemplateUpdate) -> InvoiceTemplate: ...
    def delete(self, template_id: str) -> Deleted: ...
    def update_late_fees(self, template_id: str, late_fees: LateFeesConfiguration) -> InvoiceTemplate: ...
    def update_payment_methods(self, template_id: str, methods: PaymentMethods) -> InvoiceTemplate: ...

class Invoices:
    def create(self, invoice: InvoiceDraft, *, once: str | None = None) -> Invoice: ...
    def list(
        self,
        *,
        status: InvoiceStatus | None = None,
        contact_id: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        payment_mode: PaymentModeFilter | None = None,
        sort: SortOrder | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> SyncPager[Invoice]: ...
    def get(self, invoice_id: str) -> Invoice: ...
    def update(self, invoice_id: str, invoice: InvoiceUpdate) -> Invoice: ...
    def patch(
        self, invoice_id: str, *, seen: datetime | None = None, **changes: Unpack[InvoiceChanges]
    ) -> Invoice: ...
    def delete(self, invoice_id: str) -> Invoice: ...
    def void(self, invoice_id: str) -> Invoice: ...
    def send(self, invoice_id: str, message: InvoiceSend) -> InvoiceSent: ...
    def record_payment(self, invoice_id: str, payment: RecordPayment) -> PaymentRecorded: ...
    def update_late_fees(self, invoice_id: str, late_fees: LateFeesConfiguration) -> Invoice: ...
    def generate_number(self) -> InvoiceNumber: ...
    def touch_last_visited(self, invoice_id: str) -> None: ...
    def text2pay(self, request: Text2Pay) -> Text2PayResult: ...
    def settings(self) -> InvoiceSettings: ...
    def changes(
        self,
        *,
        cursor: CursorStore | None = None,
        share: float = 0.2,
        every: float = 5.0,
        lease: float = 30.0,
    ) -> ChangeFeed: ...

class OAuth:
    def token(
        self,
        *,
        client_id: str,
        client_secret: Secret | str,
        grant_type: GrantType,
        code: str | None = None,
        refresh_token: Secret | str | None = None,
        user_type: UserType | None = None,
        redirect_uri: str | None = None,
    ) -> TokenGrant: ...
    def location_token(self, company_id: str, location_id: str) -> TokenGrant: ...
    def installed_locations(
        self,
        company_id: str,
        app_id: str,
        *,
        query: str | None = None,
        is_installed: bool | None = None,
        version_id: str | None = None,
        on_trial: bool | None = None,
        plan_id: str | None = None,
        location_id: str | None = None,
        limit: int | None = None,
    ) -> SyncPager[InstalledLocation]: ...

class Once: ...

class Opportunities:
    def pipelines(self) -> list[Pipeline]: ...
    def create(self, opportunity: OpportunityDraft) -> Opportunity: ...
    def update(self, opportunity_id: str, changes: OpportunityUpdate) -> Opportunity: ...
    def search(
        self,
        query: str | None = None,
        *,
        contact_id: str | None = None,
        pipeline_id: str | None = None,
        stage_id: str | None = None,
        status: OpportunityStatus | None = None,
        limit: int | None = None,
    ) -> SyncPager[Opportunity]: ...

class Products:
    def list(
        self,
        *,
        search: str | None = None,
        collection_ids: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> SyncPager[Product]: ...
    def create(self, product: ProductDraft) -> Product: ...
    def prices(self, product_id: str, *, limit: int | None = None, offset: int = 0) -> SyncPager[Price]: ...
    def line(
        self, product_id: str, price_id: str | None = None, qty: Number = 1, **changes: Unpack[LineChanges]
    ) -> LineItem: ...
    def create_price(self, product_id: str, price: PriceDraft) -> Price: ...

class Transactions:
    def list(
        self,
        *,
        invoice_id: str | None = None,
        contact_id: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        payment_mode: BookedMode | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> SyncPager[Transaction]: ...
    def orders(
        self,
        *,
        contact_id: str | None = None,
        status: str | None = None,
        payment_status: OrderPaymentStatus | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> SyncPager[Order]: ...

class Users:
    def search(
        self,
        query: str | None = None,
        *,
        role: str | None = None,
        kind: str | None = None,
        company_id: str | None = None,
        limit: int | None = None,
    ) -> SyncPager[User]: ...
    def named(self, name: str, *, company_id: str | None = None) -> User: ...

class Location:
    @property
    def id(self) -> str: ...
    @property
    def timezone(self) -> str | None: ...
    def details(self, *, fresh: bool = False) -> LocationDetails: ...
    def check_scopes(self, *scopes: str) -> None: ...
    def budget(self) -> ScopeSnapshot: ...
    @property
    def estimates(self) -> Estimates: ...
    @property
    def estimate_templates(self) -> EstimateTemplates: ...
    @property
    def invoices(self) -> Invoices: ...
    @property
    def invoice_templates(self) -> InvoiceTemplates: ...
    @property
    def invoice_schedules(self) -> InvoiceSchedules: ...
    @property
    def contacts(self) -> Contacts: ...
    def taxes(self, *, depth: int = 200) -> TaxNames: ...
    @property
    def users(self) -> Users: ...
    @property
    def products(self) -> Products: ...
    @property
    def transactions(self) -> Transactions: ...
    @property
    def opportunities(self) -> Opportunities: ...
    def with_options(self, **changes: Unpack[CallChanges]) -> Location: ...
    def raw(
        self,
        operation: Operation[Any] | str,
        *ids: str,
        body: Body = None,
        query: Query = None,
        options: CallOptions | None = None,
    ) -> WireResponse: ...

class HighLevel:
    def __init__(
        self,
        credentials: Credentials | Secret | str,
        *,
        config: ClientConfig | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        location_id: str | None = None,
        governor: Governor | GovernorPolicy | None = None,
        retry: RetryPolicy | None = None,
        observers: Iterable[Observer] = (),
        session: aiohttp.ClientSession | None = None,
        ssl: ssl_module.SSLContext | None = None,
        budget: BudgetStore | None = None,
        once: Once | None = None,
    ) -> None: ...
    @classmethod
    def from_env(
        cls, *, environ: Mapping[str, str] | None = None, **settings: Unpack[ClientSettings]
    ) -> Self: ...
    def with_options(self, **changes: Unpack[CallChanges]) -> HighLevel: ...
    def location(self, location_id: str | None = None, *, timezone: str | None = None) -> Location: ...
    @property
    def base_url(self) -> str: ...
    @property
    def rules_off(self) -> frozenset[str]: ...
    @property
    def oauth(self) -> OAuth: ...
    def locations(
        self, company_id: str, *, email: str | None = None, limit: int | None = None
    ) -> SyncPager[LocationDetails]: ...
    def raw(
        self,
        operation: Operation[Any] | str,
        *ids: str,
        location: str | None = None,
        body: Body = None,
        query: Query = None,
        options: CallOptions | None = None,
    ) -> WireResponse: ...
    @property
    def closed(self) -> bool: ...
    @property
    def governor(self) -> Governor: ...
    @property
    def credentials(self) -> Credentials: ...
    def open(self) -> Self: ...
    def close(self) -> None: ...
    def run(self, function: Callable[[AsyncHighLevel], Coroutine[Any, Any, _T]]) -> _T: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
