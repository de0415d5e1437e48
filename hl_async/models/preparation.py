"""Internal. The completion and the checks of a body before it is encoded.

:func:`prepared` also removes the location that a body names, or refuses another one. Resources and bulk planning both
call it. Requirements that rest on observations of the live API are the rules of `hl_async.models.rules`; each of them
can be switched off.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

from hl_async.errors import InvalidRequest
from hl_async.models.codec import encode, encode_body
from hl_async.models.dates import latest_today, today
from hl_async.models.estimates import EstimateDraft, EstimateUpdate
from hl_async.models.invoices import InvoiceDraft, InvoiceUpdate, Text2Pay
from hl_async.models.money import line_total
from hl_async.models.rules import RULE_NAMES
from hl_async.models.schedules import InvoiceScheduleUpdate

B = TypeVar("B")

LONGEST_NAME: Final = 40
_MOST_ATTACHMENTS: Final = 10
_HUNDRED: Final = Decimal(100)
_EPOCH: Final = date(1970, 1, 1).toordinal()
# Seconds. UTC-12 is the last zone in which a day begins.
_SAFE_LAG: Final = 12 * 3600
_LOCATION_NAMES: Final = ("altId", "altType", "locationId", "location_id")
_NESTED: Final = "sendEstimateDetails"
_RAW: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RequestContext:
    """The facts that complete the requests of one location.

    Attributes:
        location_id: The location; None for requests of an agency.
        rules: The names of the rules in force.
        timezone: The location's time zone, configured or read from its details; None if it is unknown.
        learned: The offset from UTC that an answer revealed. Summer time may change it, so it only decides between
            two readings of a date.
        clock: Returns the seconds since 1970.
        begun: The ordinal of a day that has begun everywhere. Issue dates up to it are accepted without asking the
            clock.
    """

    __slots__ = ("begun", "clock", "learned", "location_id", "rules", "timezone")

    def __init__(
        self,
        location_id: str | None = None,
        rules: frozenset[str] = RULE_NAMES,
        timezone: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.location_id: str | None = location_id
        self.rules: frozenset[str] = rules
        self.timezone: str | None = timezone
        self.learned: str | None = None
        self.clock: Callable[[], float] = clock
        self.begun: int = 0

    @property
    def reading(self) -> str | None:
        """The time zone that turns dates of answers into days."""
        return self.timezone or self.learned

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.fromtimestamp(self.clock(), UTC)


Step: TypeAlias = Callable[[Any, RequestContext], Any]


def prepared(body: B, context: RequestContext, *, keep: bool = False) -> B:
    """Return a request body, completed and checked for the location of `context`.

    Structs are completed and checked by the rules. A mapping, bytes and ``extra`` may name the location. Its own
    location is removed, because the client adds it elsewhere. Another location is refused.

    Args:
        body: A request struct, a mapping in the wire's spelling, or the bytes of a JSON object.
        context: The location and the rules in force.
        keep: Whether a mapping or bytes keep the location, because no other part of the request names it.

    Raises:
        InvalidRequest: A field breaks a rule, bytes hold a key twice, or the body names another location.
    """
    if body is None:
        return body
    steps = _STEPS.get(type(body))
    if steps is None and isinstance(body, msgspec.Struct):
        steps = _STEPS[type(body)] = _steps(type(body))
    if steps is not None:
        found: Any = body
        for step in steps:
            found = step(found, context)
        result: B = found
        return result
    if isinstance(body, bytes):
        return _text(body, context, keep)  # type: ignore[return-value]
    if isinstance(body, Mapping):
        return _mapping(body, context, keep)  # type: ignore[return-value]
    return body


def check_location(
    members: Mapping[str, Any], context: RequestContext, path: str = "body"
) -> Collection[str]:
    """Return the keys of a body that name the location.

    Raises:
        InvalidRequest: A key names another location than the request's own.
    """
    named = [name for name in _LOCATION_NAMES if name in members]
    for name in named:
        value = members[name]
        own = "location" if name == "altType" else context.location_id
        if value is None or value == own:
            continue
        if own is None:
            raise InvalidRequest(
                f"{path}.{name}", "names a location; leave it out, the client adds the location"
            )
        raise InvalidRequest(
            f"{path}.{name}",
            f"{value!r} is not this request's {own!r}; leave it out, or call through hl.location({value!r})"
            if name != "altType"
            else f"{value!r} is not 'location'; leave it out",
        )
    return named


# Collected once per type of body, because every call needs them.
_STEPS: Final[dict[type[Any], tuple[Step, ...]]] = {}


def _steps(kind: type[msgspec.Struct]) -> tuple[Step, ...]:
    fields = kind.__struct_fields__
    steps: list[Step] = []
    if issubclass(kind, EstimateDraft):
        # One step instead of five is faster, and programs that create many documents send these bodies.
        return (_estimate_update if issubclass(kind, EstimateUpdate) else _estimate,)
    if issubclass(kind, InvoiceDraft | InvoiceUpdate | Text2Pay | InvoiceScheduleUpdate):
        steps.append(_invoice_contact)
    if "contact_details" in fields:
        steps.append(_phone)
    if "attachments" in fields:
        steps.append(_attachments)
    if "tips_configuration" in fields:
        steps.append(_tips)
    if "alt_id" in fields:
        steps.append(_own_location)
    if "send_estimate_details" in fields:
        steps.append(_details)
    if "extra" in fields:
        steps.append(_extra)
    return tuple(steps)


def _with(body: B, **changes: Any) -> B:
    """Return a copy with changes, without running the checks of the struct again."""
    # structs.replace() would run them, although both the fields and the changes are checked.
    clone = copy.copy(body)
    for name, value in changes.items():
        msgspec.structs.force_setattr(clone, name, value)  # type: ignore[arg-type]
    return clone


# ----------------------------------------------------------------------------------------------- estimates


def _estimate(body: EstimateDraft, context: RequestContext) -> EstimateDraft:
    """Return an estimate, completed and checked; the cheapest conditions come first."""
    rules = context.rules
    changes: dict[str, Any] = {}
    name, title, issued = body.name, body.title, body.issue_date
    if len(name) > LONGEST_NAME and "name_at_most_40" in rules:
        _too_long("name", name, "name_at_most_40")
    if not title or len(title) > LONGEST_NAME:
        _title(body, rules, changes)
    if issued is UNSET:
        if "issue_date_required" in rules:
            changes["issue_date"] = today(context.timezone, context.now())
    elif type(body) is not EstimateUpdate and "issue_date_not_future" in rules:
        _not_future(issued, context)
    if body.expiry_date is UNSET and "expiry_date_required" in rules:
        raise InvalidRequest("expiry_date", "is missing; the API requires it (rule expiry_date_required)")
    for item in body.items:
        if item.type is UNSET and "item_type_required" in rules:
            changes["items"] = [
                _with(one, type="one_time") if one.type is UNSET else one for one in body.items
            ]
            break
    if body.discount.value and "discount_within_subtotal" in rules:
        _within_subtotal(body)
    _phone(body, context)
    if body.attachments is not UNSET:
        _attachments(body, context)
    if changes:
        body = _with(body, **changes)
    if body.send_estimate_details is not UNSET:
        body = _details(body, context)
    return body if body.extra is UNSET else _extra(body, context)


def _title(body: EstimateDraft, rules: frozenset[str], changes: dict[str, Any]) -> None:
    if body.title:
        if "title_at_most_40" in rules:
            _too_long("title", body.title, "title_at_most_40")
    elif "title_required" in rules:
        # The name may be longer if its rule is off; the title stays within the limit: docs/api-facts.md#api-names-40
        changes["title"] = body.name[:LONGEST_NAME].strip()


def _estimate_update(body: EstimateUpdate, context: RequestContext) -> EstimateDraft:
    if body.estimate_status is not UNSET and "status_read_only" in context.rules:
        refuse_status(body.estimate_status)
    return _estimate(body, context)


def refuse_status(value: object) -> NoReturn:
    """Raise the error of writing a status: docs/api-facts.md#api-put-replaces."""
    raise InvalidRequest(
        "estimate_status",
        f"{value!r} cannot be written: the API answers 200 and ignores it. Only the customer's page accepts or "
        "declines an estimate; create_invoice(mark_as_invoiced=True) marks it as invoiced (rule status_read_only)",
    )


def _too_long(field: str, text: str, rule: str) -> NoReturn:
    raise InvalidRequest(
        field,
        f"{text!r} has {len(text)} characters; the API takes at most {LONGEST_NAME} (rule {rule}). Shorten it: "
        f"{text[:LONGEST_NAME].strip()!r} would fit",
    )


def _not_future(day: date, context: RequestContext) -> None:
    ordinal = day.toordinal()
    if ordinal <= context.begun:
        return
    # Remembered, so that most documents are accepted without reading the clock.
    context.begun = _EPOCH + int((context.clock() - _SAFE_LAG) // 86_400)
    if ordinal <= context.begun:
        return
    latest = latest_today(context.timezone, context.now())
    if day > latest:
        where = "at the location" if context.timezone else "anywhere"
        raise InvalidRequest(
            "issue_date",
            f"{day} is in the future: today is {latest} {where} (rule issue_date_not_future); leave it out for today",
        )


def _within_subtotal(body: EstimateDraft) -> None:
    # The API refuses a discount above the subtotal: docs/api-facts.md#api-validation
    value = body.discount.value
    if type(value) is not Decimal:
        value = Decimal(value or 0)
    if body.discount.type != "fixed":
        if value > _HUNDRED:
            raise InvalidRequest("discount.value", f"{value} percent is more than the document")
        return
    subtotal = sum((line_total(item, body.currency) for item in body.items), Decimal(0))
    if value > subtotal:
        raise InvalidRequest(
            "discount.value", f"{value} is above the subtotal of {subtotal} (rule discount_within_subtotal)"
        )


# -------------------------------------------------------------------------------------- all kinds of bodies


def _invoice_contact(body: Any, context: RequestContext) -> Any:
    contact = body.contact_details
    if contact is UNSET or (contact.phone_no is not UNSET and contact.email is not UNSET):
        return body
    if "invoice_contact_complete" not in context.rules:
        return body
    # Production clients send an empty text for a missing e-mail: docs/api-facts.md#api-contact
    missing = {name: "" for name in ("phone_no", "email") if getattr(contact, name) is UNSET}
    return _with(body, contact_details=_with(contact, **missing))


def _phone(body: Any, context: RequestContext) -> Any:
    contact = body.contact_details
    if contact is UNSET:
        return body
    phone = contact.phone_no
    # The usual form passes without a regular expression. Empty text is how a request says "no number".
    if not phone or (
        phone[0] == "+"
        and 8 <= len(phone) <= 16
        and phone[1] != "0"
        and phone[1:].isdigit()
        and phone.isascii()
    ):
        return body
    if "phone_e164" in context.rules:
        raise InvalidRequest(
            "contact_details.phone_no", f"{phone!r} is not of the form +12145596993 (rule phone_e164)"
        )
    return body


def _attachments(body: Any, context: RequestContext) -> Any:
    # The limit is from the official docs: docs/api-facts.md#api-attachments
    files = body.attachments
    if files and len(files) > _MOST_ATTACHMENTS and "attachments_at_most_10" in context.rules:
        raise InvalidRequest(
            "attachments",
            f"has {len(files)} files; a document takes at most {_MOST_ATTACHMENTS} (rule attachments_at_most_10)",
        )
    return body


def _tips(body: Any, context: RequestContext) -> Any:
    """Return a body with tip percentages as text: docs/api-facts.md#api-open-shapes."""
    tips = body.tips_configuration
    if tips is UNSET or not tips.tips_percentage:
        return body
    percentages = [format(one, "f") for one in tips.tips_percentage]
    return _with(body, tips_configuration=_with(tips, tips_percentage=percentages))


def _own_location(body: Any, context: RequestContext) -> Any:
    if body.alt_id is UNSET and body.alt_type is UNSET:
        return body
    named = {"altId": body.alt_id, "altType": body.alt_type}
    check_location({name: value for name, value in named.items() if value is not UNSET}, context)
    return _with(body, alt_id=UNSET, alt_type=UNSET)


def _details(body: Any, context: RequestContext) -> Any:
    """Add the location to nested details that need it: docs/api-facts.md#api-alt."""
    details = body.send_estimate_details
    if details is UNSET:
        return body
    details = _extra(_own_location(details, context), context)
    if context.location_id is not None:
        details = _with(details, alt_id=context.location_id, alt_type="location")
    if details.extra is not UNSET:
        # Encoded here: the codec merges ``extra`` into the keys of the outermost struct only.
        details = msgspec.Raw(encode_body(details, b""))
    return _with(body, send_estimate_details=details)


def _extra(body: Any, context: RequestContext) -> Any:
    extra = body.extra
    if extra is UNSET or not extra:
        return body
    dropped = set(check_location(extra, context, "extra"))
    declared = dict(zip(body.__struct_encode_fields__, body.__struct_fields__, strict=True))
    for key in extra:
        if key not in declared or key in dropped:
            continue
        value = getattr(body, declared[key])
        if value is UNSET or encode(value) != encode(extra[key]):
            raise InvalidRequest(
                f"extra.{key}",
                f"is a field of {type(body).__name__}; pass {declared[key]}=… instead of two values",
            )
        dropped.add(key)
    if not dropped:
        return body
    return _with(body, extra={key: value for key, value in extra.items() if key not in dropped})


# ------------------------------------------------------------------------------------- mappings and bytes


def _mapping(body: Mapping[str, Any], context: RequestContext, keep: bool) -> Mapping[str, Any]:
    named = check_location(body, context)
    details = body.get(_NESTED)
    located = isinstance(details, Mapping) and _lacks_location(details, context)
    if keep or not (named or located):
        return body
    kept = {name: value for name, value in body.items() if name not in named}
    if located:
        kept[_NESTED] = {**body[_NESTED], **_location(context)}
    return kept


def _text(body: bytes, context: RequestContext, keep: bool) -> bytes:
    """Return a JSON object without the location; refuse a key that occurs twice."""
    members = _members(body)
    named = check_location(members, context)
    details = members.get(_NESTED)
    located = isinstance(details, dict) and _lacks_location(details, context)
    if keep or not (named or located):
        return body
    kept: dict[str, Any] = {name: value for name, value in _RAW.decode(body).items() if name not in named}
    if located:
        kept[_NESTED] = {**_RAW.decode(kept[_NESTED]), **_location(context)}
    return encode(kept)


def _lacks_location(details: Mapping[str, Any], context: RequestContext) -> bool:
    """Return whether nested details need the location: docs/api-facts.md#api-alt."""
    return not check_location(details, context, f"body.{_NESTED}") and context.location_id is not None


def _location(context: RequestContext) -> dict[str, Any]:
    return {"altId": context.location_id, "altType": "location"}


def _members(body: bytes) -> dict[str, Any]:
    try:
        # Python's parser, because it reports every pair. With a key twice, the receiver would choose one of the values.
        document = json.loads(
            body, object_pairs_hook=_once, parse_float=_ignore, parse_int=_ignore, parse_constant=_constant
        )
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("body", f"is not the text of a JSON object: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise InvalidRequest("body", "must be the text of a JSON object")
    return document


def _ignore(text: str) -> str:
    return text


def _constant(text: str) -> NoReturn:
    raise InvalidRequest("body", f"{text} has no form in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest("body", f"has the key {twice!r} twice")
    return found
