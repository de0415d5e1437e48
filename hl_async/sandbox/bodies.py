"""Internal. The shapes of request bodies, as the specification declares them.

Measurements of the live API correct the specification.
"""

from __future__ import annotations

from typing import Any, Final

from hl_async.sandbox.refusals import unprocessable
from hl_async.sandbox.shapes import (
    Shape,
    Strictness,
    amount,
    at_most,
    currency,
    day,
    each,
    either,
    enum,
    filled,
    mapping,
    may,
    need,
    number,
    one_of,
    phone,
    sequence,
    text,
    truth,
    unless_empty,
    while_on,
)

ESTIMATE_STATES: Final = ("draft", "sent", "viewed", "accepted", "declined", "invoiced")

_PERCENT_OR_FIXED: Final = one_of("percentage", "fixed")
_ACTION: Final = one_of("sms_and_email", "send_manually", "email", "sms")
# Declared as text, although examples show objects: docs/api-facts.md#api-custom-fields
_CUSTOM: Final = each(while_on("custom_values_text", text))

ADDRESS: Final = Shape(
    addressLine1=may(text), addressLine2=may(text), city=may(text), state=may(text), countryCode=may(text),
    postalCode=may(text),
)  # fmt: skip
BUSINESS: Final = Shape(
    logoUrl=may(text), name=may(text), phoneNo=may(text), address=may(ADDRESS), website=may(text),
    customValues=may(_CUSTOM),
)  # fmt: skip
_ANY_CONTACT: Final = Shape(
    id=need(filled), name=need(text), additionalEmails=may(each(Shape(email=need(text)))), companyName=may(text),
    address=may(ADDRESS), customFields=may(_CUSTOM),
)  # fmt: skip
# Create estimate succeeded without a phone number, so the rule is off by default: docs/api-facts.md#api-contact
ESTIMATE_CONTACT: Final = _ANY_CONTACT.and_also(
    phoneNo=need(phone, "estimate_contact_complete"), email=need(text, "estimate_contact_complete")
)
CONTACT: Final = _ANY_CONTACT.and_also(
    phoneNo=need(phone, "invoice_contact_complete"), email=need(text, "invoice_contact_complete")
)
# The API accepts any id, and refuses a tax without one: docs/api-facts.md#api-required-fields
TAX: Final = Shape(
    _id=need(filled, "tax_id_required"), name=need(filled), rate=need(number),
    calculation=may(one_of("exclusive")), description=may(text), taxId=may(text),
)  # fmt: skip
LINE: Final = Shape(
    name=need(filled), description=may(text), productId=may(text), priceId=may(text), currency=need(currency),
    amount=need(number), qty=need(amount), taxes=may(each(TAX)), automaticTaxCategoryId=may(text),
    isSetupFeeItem=may(truth), type=may(enum("one_time", "recurring")), taxInclusive=may(truth),
)  # fmt: skip
# Lines declare plain addresses, documents whole attachments: docs/api-facts.md#api-attachments
ESTIMATE_LINE: Final = LINE.and_also(attachments=may(each(text)))
DISCOUNT: Final = Shape(value=may(amount), type=may(_PERCENT_OR_FIXED), validOnProductIds=may(each(text)))
ATTACHMENT: Final = Shape(id=need(text), name=need(text), url=need(text), type=need(text), size=need(number))
ATTACHMENTS: Final = each(ATTACHMENT, limit=10, rule="attachments_at_most_10")
# Percentages are declared as text and shown as numbers: docs/api-facts.md#api-open-shapes
TIPS: Final = Shape(tipsPercentage=need(each(either(text, number))), tipsEnabled=need(truth))
LATE_FEES: Final = Shape(
    enable=need(truth), value=need(number), type=need(_PERCENT_OR_FIXED),
    frequency=need(Shape(
        intervalCount=need(number), interval=need(one_of("minute", "hour", "day", "week", "month", "one_time")),
    )),
    grace=may(Shape(intervalCount=need(number), interval=need(one_of("day")))),
    maxLateFees=may(Shape(type=need(one_of("fixed")), value=need(number))),
)  # fmt: skip
PAYMENT_METHODS: Final = Shape(stripe=need(Shape(enableBankDebitOnly=need(truth))))
CHARGES: Final = Shape(
    charges=need(each(mapping)), collectedMiscellaneousCharges=may(number),
    paidCharges=may(each(Shape(name=need(text), charge=need(number), amount=need(number), _id=need(text)))),
)  # fmt: skip
RECURRENCE: Final = Shape(
    intervalType=need(one_of("yearly", "monthly", "weekly", "daily", "hourly", "minutely", "secondly")),
    interval=need(number), startDate=need(day), startTime=may(text), endDate=may(text), endTime=may(text),
    dayOfMonth=may(number), dayOfWeek=may(one_of("mo", "tu", "we", "th", "fr", "sa", "su")), numOfWeek=may(number),
    monthOfYear=may(one_of("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    count=may(number), daysBefore=may(number), useStartAsPrimaryUserAccepted=may(truth), endType=may(text),
)  # fmt: skip
SCHEDULING: Final = Shape(executeAt=may(text), rrule=may(RECURRENCE))
# {"schedule": {}} beside enabled: false is what live callers send, docs/api-facts.md#api-frequency-settings
FREQUENCY: Final = Shape(enabled=need(truth), schedule=may(SCHEDULING))
SENT_TO: Final = Shape(
    email=need(each(text)), emailCc=may(each(text)), emailBcc=may(each(text)), phoneNo=may(each(text))
)
PAYMENT_SCHEDULE: Final = unless_empty(
    "payment_schedule_complete", Shape(type=need(_PERCENT_OR_FIXED), schedules=need(sequence))
)
INSTALMENTS: Final = Shape(
    type=need(_PERCENT_OR_FIXED), schedules=need(each(Shape(value=need(number)))),
    dateConfig=may(Shape(
        depositDateType=need(one_of("estimate_accepted", "custom")),
        scheduleDateType=need(one_of("regular_interval", "custom")),
    )),
)  # fmt: skip
SENDER: Final = Shape(fromName=may(text), fromEmail=may(text))
_BRAND: Final = Shape(brand=need(text), last4=need(text))
AUTO_PAYMENT: Final = Shape(
    enable=need(truth), type=may(text), paymentMethodId=may(text), customerId=may(text), card=may(_BRAND),
    # Snake case inside bank details only: docs/api-facts.md#api-field-names
    usBankAccount=may(Shape(bank_name=need(text), last4=need(text))),
    sepaDirectDebit=may(Shape(bank_code=need(text), last4=need(text), branch_code=need(text))),
    bacsDirectDebit=may(Shape(sort_code=need(text), last4=need(text))),
    becsDirectDebit=may(Shape(bsb_number=need(text), last4=need(text))),
    cardId=may(text), provider=may(mapping),
)  # fmt: skip

ALT: Final = Shape(altId=may(text), altType=may(text))
SEND: Final = ALT.and_also(
    action=need(_ACTION),
    liveMode=need(truth),
    userId=need(filled),
    sentFrom=may(SENDER),
    autoPayment=may(AUTO_PAYMENT),
)
# The specification lacks sentTo here, but the live API accepts it.
SEND_ESTIMATE: Final = SEND.without("autoPayment").and_also(estimateName=may(text), sentTo=may(SENT_TO))
# The nested details require the location a second time: docs/api-facts.md#api-alt
SENDING_DETAILS: Final = SEND_ESTIMATE.and_also(altId=need(filled), altType=need(one_of("location")))

_CORE: Final = ALT.and_also(
    name=need(filled), businessDetails=need(BUSINESS), currency=need(currency), items=need(each(LINE)),
    termsNotes=may(text), title=may(text), attachments=may(ATTACHMENTS), miscellaneousCharges=may(CHARGES),
    liveMode=may(truth), discount=may(DISCOUNT), automaticTaxesEnabled=may(truth),
)  # fmt: skip
ESTIMATE_TEMPLATE: Final = _CORE.and_also(
    items=need(each(ESTIMATE_LINE)), discount=need(DISCOUNT), meta=may(mapping),
    sendEstimateDetails=may(SENDING_DETAILS), estimateNumberPrefix=may(text),
)  # fmt: skip
ESTIMATE: Final = ESTIMATE_TEMPLATE.and_also(
    name=need(at_most(40, "name_at_most_40", filled)), title=may(at_most(40, "title_at_most_40", text)),
    contactDetails=need(ESTIMATE_CONTACT), frequencySettings=need(FREQUENCY), estimateNumber=may(number),
    issueDate=need(day, "issue_date_required"), expiryDate=need(day, "expiry_date_required"), sentTo=may(SENT_TO),
    userId=may(text), autoInvoice=may(Shape(enabled=need(truth), directPayments=may(truth))),
    paymentScheduleConfig=may(INSTALMENTS),
)  # fmt: skip
# A PUT accepts estimateStatus and ignores it: docs/api-facts.md#api-put-replaces
ESTIMATE_UPDATE: Final = ESTIMATE.and_also(estimateStatus=may(enum("all", *ESTIMATE_STATES)))
_BILL: Final = _CORE.and_also(
    name=need(at_most(40, "invoice_names_at_most_40", filled)),
    title=may(at_most(40, "invoice_names_at_most_40", text)),
    invoiceNumberPrefix=may(text), tipsConfiguration=may(TIPS), lateFeesConfiguration=may(LATE_FEES),
    paymentMethods=may(PAYMENT_METHODS),
)  # fmt: skip
INVOICE: Final = _BILL.and_also(
    discount=need(DISCOUNT), contactDetails=need(CONTACT), issueDate=need(day), dueDate=may(day),
    sentTo=need(SENT_TO), liveMode=need(truth), invoiceNumber=may(text), paymentSchedule=may(PAYMENT_SCHEDULE),
)  # fmt: skip
# The update spells the lines differently, and wants a discount: docs/api-facts.md#api-field-names and #api-round-trip
INVOICE_UPDATE: Final = INVOICE.without("items", "lateFeesConfiguration", "sentTo").and_also(
    invoiceItems=need(each(LINE)), businessDetails=may(BUSINESS), contactDetails=may(CONTACT),
    discount=need(DISCOUNT, "discount_in_update"), dueDate=need(day), liveMode=may(truth), contactId=may(text),
    description=may(text), xeroDetails=may(mapping),
)  # fmt: skip
INVOICE_TEMPLATE: Final = _BILL.without("liveMode").and_also(
    internal=may(truth),
    attachments=may(each(either(text, ATTACHMENT), limit=10, rule="attachments_at_most_10")),
)
SCHEDULE: Final = _BILL.and_also(
    contactDetails=need(CONTACT), schedule=need(SCHEDULING), liveMode=need(truth), discount=need(DISCOUNT)
)
TEXT2PAY: Final = INVOICE.and_also(
    businessDetails=may(BUSINESS), discount=may(DISCOUNT), id=may(filled), includeTermsNote=may(truth),
    action=need(one_of("draft", "send")), userId=need(filled),
)  # fmt: skip
# Required for every mode, which looks like a mistake of the schema: docs/api-facts.md#api-record-payment
PAYMENT: Final = ALT.and_also(
    mode=need(one_of("cash", "card", "cheque", "bank_transfer", "other")),
    card=need(_BRAND, "payment_details_required"), cheque=need(Shape(number=need(text)), "payment_details_required"),
    notes=need(text, "payment_details_required"), amount=may(amount), meta=may(mapping),
    paymentScheduleIds=may(each(text)), fulfilledAt=may(text),
)  # fmt: skip
ESTIMATE_INVOICE: Final = ALT.and_also(markAsInvoiced=need(truth), version=may(one_of("v1", "v2")))
ESTIMATE_VISIT: Final = ALT.and_also(estimateId=need(filled))
INVOICE_VISIT: Final = ALT.and_also(invoiceId=need(filled))
INVOICE_LATE_FEES: Final = ALT.and_also(lateFeesConfiguration=need(LATE_FEES))
TEMPLATE_PAYMENT_METHODS: Final = ALT.and_also(paymentMethods=may(PAYMENT_METHODS))
SCHEDULE_START: Final = ALT.and_also(liveMode=need(truth), autoPayment=may(AUTO_PAYMENT))
SCHEDULE_AUTO_PAYMENT: Final = ALT.and_also(id=need(filled), autoPayment=need(AUTO_PAYMENT))
NOTHING: Final = ALT


def checked(
    body: dict[str, Any], shape: Shape, strict: Strictness, *, unknown_keys: str, keep_nulls: bool
) -> Any:
    """Return the members of a body that the sandbox stores.

    Args:
        body: The body of a request.
        shape: The declared members.
        strict: The rules in force.
        unknown_keys: `Quirks.unknown_keys`; with ``kept``, undeclared members are stored.
        keep_nulls: Whether null is stored; else a member with null counts as missing.

    Raises:
        Refusal: A 422 with every violation.
    """
    found = shape(body, "", strict)
    if found:
        raise unprocessable(found)
    # Estimates were seen to accept undeclared keys: docs/api-facts.md#api-validation
    keeps = unknown_keys == "kept"
    kept = {key: value for key, value in body.items() if keeps or key in shape.members}
    return kept if keep_nulls else _without_nulls(kept)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
