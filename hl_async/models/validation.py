"""Internal. Strict requests: building a body checks each of its fields.

The checkers of a type are built once, from its annotations. Amounts may be Decimal, int, numeric text or float; a
float counts as Python prints it (``0.1`` is one tenth). A datetime is refused as a date, because its day depends on a
time zone. Mappings are checked at every depth, and values that JSON cannot represent are refused. Errors name the
field in the caller's spelling.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import UNSET, UnsetType

from hl_async.errors import InvalidRequest
from hl_async.models.money import CURRENCIES, is_sound
from hl_async.models.plain import Plain, check_names, nearest

T = TypeVar("T", bound=msgspec.Struct)

# The encoder recurses into values, and far deeper ones would raise a RecursionError.
_MAX_DEPTH: Final = 100
_MAX_EXPONENT: Final = 400
_COMMA_AMOUNT: Final = re.compile(r"[+-]?[0-9]{1,20}\.[0-9]{1,8}")

Check: TypeAlias = Callable[[Any, str], Any]
"""Takes a value and its path. Returns the value to store, or raises InvalidRequest."""


class Constraint:
    """An annotation that restricts or converts the values of a type."""

    __slots__ = ("check",)

    def __init__(self, check: Check) -> None:
        self.check: Check = check

    def __repr__(self) -> str:
        return f"<{self.check.__name__.strip('_').replace('_', ' ')}>"


def _currency(value: Any, path: str) -> Any:
    text = _text(value, path)
    if text in CURRENCIES:
        return text
    if text.upper() in CURRENCIES:
        raise InvalidRequest(path, f"{text!r} must be in capitals: {text.upper()!r}")
    raise InvalidRequest(path, f"{text!r} is not an ISO 4217 currency code, such as USD or EUR")


def _filled(value: Any, path: str) -> Any:
    if not _text(value, path).strip():
        raise InvalidRequest(path, "is empty")
    return value


def _user_id(value: Any, path: str) -> Any:
    text = _filled(value, path)
    if "@" in text or any(character.isspace() for character in text):
        raise InvalidRequest(path, f"{text!r} is not a user's id; shop.users.named({text!r}) finds the user")
    return text


def _day(value: Any, path: str) -> Any:
    # `datetime` is a subclass of `date`, and its day depends on a time zone.
    if isinstance(value, datetime):
        raise InvalidRequest(
            path, "takes a date, not a datetime; pass value.date() in the location's time zone"
        )
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
        raise InvalidRequest(path, f"{value!r} is not a date; pass a date or text like 2026-12-31")
    raise InvalidRequest(path, f"takes a date, got {type(value).__name__}")


def not_negative(value: Any, path: str) -> Any:
    """Return an amount as a Decimal. Raises `InvalidRequest` if it is negative."""
    number = amount_of(value, path)
    if number < 0:
        raise InvalidRequest(path, f"{number} is negative")
    return number


def choice(*values: str) -> Constraint:
    """Return a constraint that accepts these values only, and suggests the nearest."""

    def check(value: Any, path: str) -> Any:
        if _text(value, path) not in values:
            near = nearest(value, values, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidRequest(path, f"{value[:40]!r} is not one of {', '.join(values)}{hint}")
        return value

    return Constraint(check)


Currency: TypeAlias = Annotated[str, Constraint(_currency)]
NonEmptyStr: TypeAlias = Annotated[str, Constraint(_filled)]
UserId: TypeAlias = Annotated[str, Constraint(_user_id)]


class Request(msgspec.Struct, Plain, kw_only=True, frozen=True, rename="camel", repr_omit_defaults=True):
    """A request body, or a part of one.

    Fields without a default are required by the API.

    Raises:
        InvalidRequest: A field has a value that the API would refuse; the error names it.
    """

    _null_is_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, check in _checks(type(self)):
            value = getattr(self, name)
            if value is not UNSET:
                kept = check(value, name)
                if kept is not value:
                    # Requests are frozen, but here the field still holds the caller's type, such as text for a date.
                    msgspec.structs.force_setattr(self, name, kept)


@cache
def _checks(kind: type[msgspec.Struct]) -> tuple[tuple[str, Check], ...]:
    hints = get_type_hints(kind, include_extras=True)
    found = ((name, checker_for(hints[name])) for name in kind.__struct_fields__)
    return tuple((name, check) for name, check in found if check is not _anything)


def checker_for(kind: Any) -> Check:
    """Return the checker of a type, built from its annotation."""
    origin = get_origin(kind)
    if origin is Annotated:
        mark = next((mark for mark in get_args(kind)[1:] if isinstance(mark, Constraint)), None)
        return mark.check if mark else checker_for(get_args(kind)[0])
    if origin is Union or origin is types.UnionType:
        return _one_of(get_args(kind))
    if origin is list:
        return _list_of(get_args(kind)[0])
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct_of(kind)
    return _PLAIN.get(origin or kind, _anything)


def _anything(value: Any, path: str) -> Any:
    return value


def amount_of(value: Any, path: str) -> Decimal:
    """Return a Decimal, int, float or numeric text as a Decimal.

    Raises:
        InvalidRequest: The value is of another type, or is not a number within the limits of `is_sound`.
    """
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidRequest(
            path, f"takes a number (Decimal, int, float or text), got {type(value).__name__}"
        )
    else:
        try:
            # The shortest text of a float: Decimal(0.1) would be a binary fraction with 55 digits.
            number = Decimal(float.__repr__(value) if isinstance(value, float) else value)
        except InvalidOperation:
            number = Decimal("NaN")
    if not is_sound(number):
        raise InvalidRequest(path, f"{str(value)[:40]!r} is not a number{_why_not(value)}")
    return number


def _why_not(value: Any) -> str:
    """Return the end of an error: a hint for a decimal comma, else the limits."""
    pointed = str(value).strip().replace(",", ".")
    if "," in str(value) and _COMMA_AMOUNT.fullmatch(pointed):
        return f" (use a point: {pointed})"
    return "; pass a finite one of at most 28 digits, such as 9.99"


def _text(value: Any, path: str) -> Any:
    if not isinstance(value, str):
        raise InvalidRequest(path, f"takes text, got {type(value).__name__}")
    check_text(value, path)
    return value


def check_text(value: str, path: str) -> None:
    """Refuse text with a lone surrogate, such as one half of an emoji in UTF-16.

    Raises:
        InvalidRequest: The text has no UTF-8 form.
    """
    try:
        if not value.isascii():
            value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(
            path, "contains a lone surrogate, which has no UTF-8 form; was it cut inside a character?"
        ) from None


def _truth(value: Any, path: str) -> Any:
    if not isinstance(value, bool):
        raise InvalidRequest(path, f"takes True or False, got {type(value).__name__}")
    return value


def _whole(value: Any, path: str) -> Any:
    # `bool` is a subclass of `int`.
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(path, f"takes a whole number, got {type(value).__name__}")
    return value


def _moment(value: Any, path: str) -> Any:
    if not isinstance(value, datetime):
        raise InvalidRequest(path, f"takes a datetime, got {type(value).__name__}")
    if value.tzinfo is None:
        raise InvalidRequest(path, "has no time zone; pass an aware datetime, such as datetime.now(UTC)")
    return value


def check_mapping(value: Any, path: str) -> Any:
    """Return ``value`` if it is a mapping that JSON can represent.

    Raises:
        InvalidRequest: It is not; the error names the path of the wrong value.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequest(path, f"takes a mapping, got {type(value).__name__}")
    _check_entry(value, path, set())
    return value


def plain_form(value: Any) -> Any:
    """Return a value of a type that msgspec cannot encode as one of a built-in type.

    Such types are subclasses of str, int, float and Decimal, and mappings other than dict.

    Raises:
        TypeError: The type has no form in JSON.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return str.__str__(value)
    for kind in (int, float, Decimal):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"values of type {type(value).__name__} have no form in JSON")


def _check_entry(value: Any, path: str, around: set[int]) -> None:
    """Check a value inside a mapping; ``around`` holds the ids of its containers."""
    if isinstance(value, str):
        check_text(value, path)
    elif isinstance(value, Mapping | list | tuple):
        # A container that holds itself would never end in the encoder.
        if id(value) in around or len(around) >= _MAX_DEPTH:
            raise InvalidRequest(
                path.partition(".")[0], f"is nested more than {_MAX_DEPTH} deep, or holds itself"
            )
        around.add(id(value))
        if isinstance(value, Mapping):
            for name, entry in value.items():
                if not isinstance(name, str):
                    raise InvalidRequest(path, f"has the key {name!r}, which is not text")
                check_text(name, path)
                _check_entry(entry, f"{path}.{name}", around)
        else:
            for index, entry in enumerate(value):
                _check_entry(entry, f"{path}[{index}]", around)
        around.discard(id(value))
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequest(path, f"{value} has no form in JSON")
    elif isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > _MAX_EXPONENT:
            raise InvalidRequest(path, f"{value} is not finite, or has an exponent out of range")
    elif value is not None and not isinstance(value, int):
        try:
            plain = msgspec.to_builtins(value, builtin_types=(Decimal,), enc_hook=plain_form)
        except (TypeError, ValueError, RecursionError):
            raise InvalidRequest(
                path, f"values of type {type(value).__name__} have no form in JSON"
            ) from None
        _check_entry(plain, path, around)


def _json(value: Any, path: str) -> Any:
    _check_entry(value, path, set())
    return value


_PLAIN: Final[dict[Any, Check]] = {
    str: _text,
    bool: _truth,
    int: _whole,
    Decimal: amount_of,
    datetime: _moment,
    date: _day,
    dict: check_mapping,
    Any: _json,
}


def _list_of(kind: Any) -> Check:
    check = checker_for(kind)

    def every(value: Any, path: str) -> Any:
        if not isinstance(value, list | tuple):
            raise InvalidRequest(path, f"takes a list, got {type(value).__name__}")
        kept = [check(entry, f"{path}[{index}]") for index, entry in enumerate(value)]
        # The caller's own list if no entry was converted; a tuple always becomes a list.
        same = isinstance(value, list) and all(a is b for a, b in zip(kept, value, strict=True))
        return value if same else kept

    return every


def _struct_of(kind: type[msgspec.Struct]) -> Check:
    """Return the checker of a struct.

    A request was checked when it was built. A part of a document was not, because answers have it too.
    """
    own = issubclass(kind, Request)
    article = "an" if kind.__name__[0] in "AEIO" else "a"

    def check(value: Any, path: str) -> Any:
        if not isinstance(value, kind):
            # Callers often pass a part of an answer, so the error names the conversion.
            answered = own and isinstance(value, msgspec.Struct) and not isinstance(value, Request)
            hint = "; the document's to_update() converts it" if answered else ""
            raise InvalidRequest(path, f"takes {article} {kind.__name__}, got {type(value).__name__}{hint}")
        if own:
            return value
        changes = {}
        for name, inner in _checks(kind):
            entry = getattr(value, name)
            if entry is None or entry is UNSET:
                continue
            kept = inner(entry, f"{path}.{name}")
            if kept is not entry:
                changes[name] = kept
        return msgspec.structs.replace(value, **changes) if changes else value

    return check


def _is_empty_part(value: Any) -> bool:
    """Return whether `value` is a part without content, which is sent as ``{}``."""
    return (
        isinstance(value, msgspec.Struct) and value.__struct_config__.omit_defaults and value == type(value)()
    )


def _one_of(kinds: tuple[Any, ...]) -> Check:
    nullable = type(None) in kinds
    optional = UnsetType in kinds
    checks = [checker_for(kind) for kind in kinds if kind not in (type(None), UnsetType)]
    if _anything in checks:
        return _anything
    if _json in checks:
        return _json

    def check(value: Any, path: str) -> Any:
        if value is UNSET or (value is None and nullable):
            return value
        if optional and "." not in path and _is_empty_part(value):
            # The API answers {} for missing parts, and refuses {} in a request: docs/api-facts.md#api-round-trip
            return UNSET
        refused: InvalidRequest | None = None
        for one in checks:
            try:
                return one(value, path)
            except InvalidRequest as error:
                refused = refused or error
        assert refused is not None
        raise refused

    return check


def changed(update: T, **changes: Any) -> T:
    """Return a copy of a request with new values for some fields.

    Raises:
        InvalidRequest: A name is not a field of the request, and the error suggests similar ones; or a value is not
            valid.
    """
    check_names(type(update), changes)
    return msgspec.structs.replace(update, **changes)
