"""Internal. The enumerations of the API, as types.

Type checkers see the values that the specification lists. At run time an answer may hold any text, because the API
adds values without notice (docs/api-facts.md#api-enums). A field of a request is checked against the list only if the
API refuses every other value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from hl_async.models.validation import NonEmptyStr, choice

BookedMode: TypeAlias = Literal["live", "test"]
EstimateStatus: TypeAlias = Literal["all", "draft", "sent", "accepted", "declined", "invoiced", "viewed"]
GrantType: TypeAlias = Literal["authorization_code", "refresh_token"]
InvoiceStatus: TypeAlias = Literal["draft", "sent", "payment_processing", "paid", "void", "partially_paid"]
OpportunityStatus: TypeAlias = Literal["open", "won", "lost", "abandoned", "all"]
OrderPaymentStatus: TypeAlias = Literal["paid", "unpaid", "refunded", "partially_paid"]
PaymentModeFilter: TypeAlias = Literal["default", "live", "test"]
SortOrder: TypeAlias = Literal["ascend", "descend"]
UserType: TypeAlias = Literal["Company", "Location"]

if TYPE_CHECKING:
    DiscountType: TypeAlias = Literal["percentage", "fixed"]
    ItemType: TypeAlias = Literal["one_time", "recurring"]
    PaymentMode: TypeAlias = Literal["cash", "card", "cheque", "bank_transfer", "other"]
    SendAction: TypeAlias = Literal["sms_and_email", "send_manually", "email", "sms"]
    Text2PayAction: TypeAlias = Literal["draft", "send"]
    # These belong to contacts, products and opportunities: the client takes any text, and the API decides.
    OpportunityState: TypeAlias = Literal["open", "won", "lost", "abandoned"]
    PriceType: TypeAlias = Literal["one_time", "recurring"]
    ProductType: TypeAlias = Literal["DIGITAL", "PHYSICAL", "SERVICE", "PHYSICAL/DIGITAL"]
    SortDirection: TypeAlias = Literal["asc", "desc"]
else:
    OpportunityState: TypeAlias = NonEmptyStr
    PriceType: TypeAlias = NonEmptyStr
    ProductType: TypeAlias = NonEmptyStr
    SortDirection: TypeAlias = NonEmptyStr
    DiscountType: TypeAlias = str
    ItemType: TypeAlias = Annotated[str, choice("one_time", "recurring")]
    PaymentMode: TypeAlias = Annotated[str, choice("cash", "card", "cheque", "bank_transfer", "other")]
    SendAction: TypeAlias = Annotated[str, choice("sms_and_email", "send_manually", "email", "sms")]
    Text2PayAction: TypeAlias = Annotated[str, choice("draft", "send")]
