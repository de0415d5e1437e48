"""Internal. The location's settings for invoices and estimates."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hl_async.models.common import (
    BusinessDetails,
    LateFeesConfiguration,
    PaymentMethods,
    SenderConfiguration,
    TipsConfiguration,
)
from hl_async.models.structs import Answer


class Notification(Answer):
    """One kind of message that the location sends, with its templates."""

    enabled: bool | None = None
    email_template: str | None = None
    sms_template: str | None = None
    from_name: str | None = None
    from_email: str | None = None
    email_subject: str | None = None
    default_email_template_id: str | None = None


class Notifications(Answer):
    """The messages about invoices and estimates, to customers and to the team."""

    customer_send_invoice: Notification | None = None
    team_payment_success: Notification | None = None
    customer_payment_success: Notification | None = None
    team_auto_payment_success: Notification | None = None
    customer_auto_payment_success: Notification | None = None
    team_payment_failure: Notification | None = None
    customer_payment_failure: Notification | None = None
    team_auto_payment_failure: Notification | None = None
    customer_auto_payment_failure: Notification | None = None
    customer_auto_payment_info: Notification | None = None
    customer_auto_payment_amount_changed: Notification | None = None
    team_auto_payment_skip: Notification | None = None
    team_recurring_send_invoice_failed: Notification | None = None
    customer_send_estimate: Notification | None = None
    team_estimate_accepted: Notification | None = None
    team_estimate_declined: Notification | None = None
    # Undeclared, seen in live answers: docs/api-facts.md#api-undeclared-fields
    customer_send_payment_schedule: Notification | None = None


class Reminder(Answer):
    """A reminder of an unpaid invoice.

    ``start_time`` and ``end_time`` look like "9:00 AM", ``timezone`` like "businessTZ".
    """

    enabled: bool | None = None
    email_template: str | None = None
    sms_template: str | None = None
    email_subject: str | None = None
    reminder_id: str | None = None
    reminder_name: str | None = None
    reminder_time: str | None = None
    interval_type: str | None = None
    max_reminders: Decimal | None = None
    reminder_invoice_condition: str | None = None
    reminder_number: Decimal | None = None
    start_time: str | None = None
    end_time: str | None = None
    timezone: str | None = None


class ReminderSettings(Answer):
    """The reminders of unpaid invoices of this location."""

    default_email_template_id: str | None = None
    reminders: list[Reminder] | None = None


class ProductSettings(Answer):
    """How products appear in invoices of this location."""

    enable_import_product_description: bool | None = None
    description_optional: bool | None = None


class InvoiceSettings(Answer):
    """The settings of a location for invoices and estimates.

    ``minimum_percentage_partial_payment`` is in percent.
    """

    alt_id: str | None = None
    alt_type: str | None = None
    # Singular here, termsNotes in documents: docs/api-facts.md#api-field-names
    terms_note: str | None = None
    estimates_terms_note: str | None = None
    title: str | None = None
    estimates_title: str | None = None
    invoice_number_prefix: str | None = None
    estimate_number_prefix: str | None = None
    due_after_x_days: Decimal | None = None
    estimates_expire_after_x_days: Decimal | None = None
    minimum_percentage_partial_payment: Decimal | None = None
    # Declared as text, objects in examples: docs/api-facts.md#api-custom-fields
    custom_fields: list[Any] | None = None
    custom_notification: Notifications | None = None
    business_details: BusinessDetails | None = None
    sender_configuration: SenderConfiguration | None = None
    product_settings: ProductSettings | None = None
    reminder_settings: ReminderSettings | None = None
    late_fees_configuration: LateFeesConfiguration | None = None
    tips_configuration: TipsConfiguration | None = None
    payment_methods: PaymentMethods | None = None
    trace_id: str | None = None
