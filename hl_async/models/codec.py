"""Internal. The JSON codec: structs to request bodies, answers to structs.

A body is encoded once per call. An answer that the first, exact pass refuses gets a second, tolerant one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, inspect

from hl_async.errors import DecodeError, InvalidRequest, bounded_text
from hl_async.models.money import is_sound
from hl_async.models.type_info import lenient_decoder
from hl_async.models.validation import check_mapping, plain_form

T = TypeVar("T")

_encoder: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=plain_form)
_exact: Final = msgspec.json.Decoder(float_hook=Decimal)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|[\t\n\r]")
# ValueError covers text that is not UTF-8, and date-times after the year 9999.
_BROKEN: Final = (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError)
_BOM: Final = b"\xef\xbb\xbf"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
# Matches a whole surrogate pair, a lone surrogate (the group), or any other escape.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def encode(value: Any) -> bytes:
    """Return a value as JSON, Decimals as numbers (docs/api-facts.md#api-money)."""
    return _encoder.encode(value)


def alt_prefix(location_id: str) -> bytes:
    """Return the start of a JSON object that names the location, without closing it."""
    return _encoder.encode({"altId": location_id, "altType": "location"})[:-1]


def encode_body(body: msgspec.Struct | Mapping[str, Any] | bytes | None, prefix: bytes) -> bytes:
    """Return a request body as JSON, with ``prefix`` in front of its members.

    The prefix saves a copy of the body with the location in it.

    Args:
        body: A struct, a mapping in the wire's spelling, or the text of a JSON object as bytes. None is an empty
            object.
        prefix: The start of the object, from :func:`alt_prefix`, or empty.

    Raises:
        InvalidRequest: The body has another type, or holds a value that JSON cannot represent.
    """
    if body is None:
        return prefix + b"}" if prefix else b"{}"
    try:
        text = _text_of(body)
    except InvalidRequest:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        # The body was valid when it was built, but the caller has changed a list or mapping inside it since.
        raise InvalidRequest("body", f"has a value that JSON cannot represent: {error}") from None
    return _joined(prefix, text) if prefix else text


def _text_of(body: msgspec.Struct | Mapping[str, Any] | bytes) -> bytes:
    if isinstance(body, msgspec.Struct):
        extra = getattr(body, "extra", UNSET)
        # The usual case, without a copy.
        if extra is UNSET:
            return _encoder.encode(body)
        check_mapping(extra, "extra")  # checked again: the caller may have changed the mapping since
        # Encoded separately, because the struct's encoder would nest the keys under the name "extra".
        bare = copy.copy(body)
        msgspec.structs.force_setattr(bare, "extra", UNSET)
        known = _encoder.encode(bare)
        return _joined(known[:-1], _encoder.encode(extra))
    if isinstance(body, bytes):
        text = body.strip()
        if not text.startswith(b"{") or not text.endswith(b"}"):
            raise InvalidRequest("body", "must be the text of a JSON object")
        return text
    if isinstance(body, Mapping):
        check_mapping(body, "body")
        return _encoder.encode(body)
    raise InvalidRequest("body", f"must be a request struct or a mapping, got {type(body).__name__}")


def decoder(response: type[T] | None) -> Callable[[bytes], T]:
    """Return a function that decodes a body as ``response``.

    For None it accepts any body and returns None. Well-formed answers take one exact pass. Other answers get a second
    pass, which accepts numbers as text and the reverse, and raw control characters and lone surrogates inside
    strings. It reads an optional field of a wrong type, such as a malformed timestamp, as None. It never guesses
    amounts. The function raises :class:`DecodeError` with the path inside the document.
    """
    if response is None:
        return lambda body: None  # type: ignore[return-value]
    # Not strict, because numbers arrive as text in places: docs/api-facts.md#api-answer-fields
    decode = lenient_decoder(response).decode
    whole: Callable[[Any], Any] | None = getattr(response, "__reshape__", None)

    def run(body: bytes) -> T:
        try:
            return decode(body)
        except _BROKEN as error:
            failure = error
        return decode_again(response, body, failure)

    def reshape(body: bytes) -> T:
        assert whole is not None
        try:
            # Untyped first, because `__reshape__` moves keys; with Decimals, because a float would lose digits.
            result: T = msgspec.convert(whole(_exact.decode(body)), response, strict=False)
            return result
        except (*_BROKEN, AttributeError) as error:
            failure = error
        return decode_again(response, body, failure)

    return run if whole is None else reshape


def json_object(body: bytes) -> dict[str, Any]:
    """Return an answer of unknown shape as a dictionary, with fractions as Decimal.

    It repairs the text as :func:`decoder` does. Raises :class:`DecodeError`.
    """
    try:
        document = _document(body)
        if isinstance(document, dict):
            return document
        problem = "it is not an object"
    except _BROKEN as error:
        problem = str(error) or type(error).__name__
    raise DecodeError(f"the answer is not a JSON object: {problem[:200]}", path="$", body=bounded_text(body))


def json_page(body: bytes, name: str | None) -> list[dict[str, Any]]:
    """Return the documents under ``name`` in the answer of a list, as dictionaries.

    The list is empty if the key is missing. Raises :class:`DecodeError`.
    """
    page = json_object(body).get(name or "") or []
    if isinstance(page, list) and all(isinstance(one, dict) for one in page):
        return page
    raise DecodeError("the answer has no list of documents", path=f"$.{name}", body=bounded_text(body))


def _document(body: bytes) -> Any:
    """Decode JSON, and repair its text if that fails.

    It drops a byte order mark and replaces raw control characters (docs/api-facts.md#api-error-bodies). It replaces
    escapes of lone surrogates, which JavaScript writes for text that was cut inside an emoji.
    """
    try:
        return _exact.decode(body)
    except msgspec.DecodeError:
        mended = _CONTROL.sub(b" ", body.removeprefix(_BOM))
        if _SURROGATE.search(mended):
            mended = _ESCAPE.sub(_whole_characters, mended)
        return _exact.decode(mended)


def _whole_characters(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]


def decode_again(response: type[T], body: bytes, failure: Exception) -> T:
    """Decode an answer tolerantly, after the exact pass has failed.

    Args:
        response: The struct to decode.
        body: The answer's body.
        failure: The failure of the exact pass.

    Returns:
        The struct.

    Raises:
        DecodeError: This pass fails too. The text is that of its failure, or of `failure` for an empty body.
    """
    try:
        document = _document(body)
        reshape = getattr(response, "__reshape__", None)
        if reshape is not None:
            document = reshape(document)
        return msgspec.convert(_coerce(document, _shape(response)), response, strict=False)  # type: ignore[arg-type]
    except (*_BROKEN, AttributeError) as error:
        # For an empty body the first error is the clearer one, because there was nothing to repair.
        failure = error if body else failure
    # msgspec states the path in the text of its error only.
    message, _, path = str(failure).partition(" - at `")
    path = path.rstrip("`") or "$"
    # A check in a struct knows the field; the decoder knows only the path to the struct.
    if isinstance(failure.__cause__, InvalidRequest):
        path = f"{path}.{failure.__cause__.field}"
    raise DecodeError(
        f"the answer is not a valid {response.__name__}: {message or type(failure).__name__}",
        path=path,
        body=bounded_text(body),
    )


# ------------------------------------------------------------------------------- the tolerant second pass


@cache
def _shape(kind: Any) -> inspect.Type:
    """Return msgspec's description of a type.

    It is cached, because describing a type takes longer than decoding a page.
    """
    return inspect.type_info(kind)


def _coerce(value: Any, kind: inspect.Type) -> Any:
    """Return ``value`` converted to ``kind`` if the conversion loses nothing.

    Other values are returned unchanged; ``convert`` refuses them later.
    """
    if isinstance(kind, inspect.UnionType):
        return _fit_union(value, kind)
    if isinstance(kind, inspect.StructType):
        return _fit_struct(value, kind)
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        item = kind.item_type
        if isinstance(item, inspect.DecimalType):
            # Only tips have lists of numbers: docs/api-facts.md#api-open-shapes. An entry that is not a number is
            # dropped, so that the answer still decodes.
            return [number for entry in value if (number := _percentage(entry)) is not None]
        if isinstance(item, inspect.StructType):
            return [_fit_entry(entry, item) for entry in value]
        return [_coerce(entry, item) for entry in value]
    if isinstance(kind, inspect.StrType) and isinstance(value, int | float | Decimal):
        return _number_text(value)
    return value


def _fit_entry(value: Any, kind: inspect.StructType) -> Any:
    """Convert one document of a page.

    Most documents fit as they are, and trying that first is ten times as fast.
    """
    try:
        return msgspec.convert(value, kind.cls, strict=False)
    except (msgspec.ValidationError, ValueError):
        return _fit_struct(value, kind)


def _fit_struct(value: Any, kind: inspect.StructType) -> Any:
    if not isinstance(value, dict):
        return value
    fields = {field.encode_name: field for field in kind.fields}
    fitted = {}
    for name, entry in value.items():
        field = fields.get(name)
        if field is None:
            continue
        fitting = _coerce(entry, field.type)
        if fitting is None and not _allows_none(field.type) and not field.required:
            continue  # null for a field that has a default and takes no None: the default applies
        fitted[name] = fitting
    return fitted


def _fit_union(value: Any, kind: inspect.UnionType) -> Any:
    kinds = kind.types
    if value is None or any(isinstance(member, inspect.AnyType) for member in kinds):
        return value
    # Containers first: their entries may need an adaptation, although the container itself matches.
    for member in kinds:
        if isinstance(member, inspect.StructType) and isinstance(value, dict):
            return _fit_struct(value, member)
        if isinstance(member, inspect.ListType) and isinstance(value, list):
            return _coerce(value, member)
    if any(_matches(value, member) for member in kinds):
        return value
    if any(isinstance(member, inspect.StrType) for member in kinds):
        return _number_text(value) if isinstance(value, int | float | Decimal) else value
    # An optional field of a wrong type becomes None. An amount does not: the caller would take None for "no amount".
    numeric = any(isinstance(member, inspect.DecimalType) for member in kinds)
    return value if numeric or not _allows_none(kind) else None


def _matches(value: Any, kind: inspect.Type) -> bool:
    match kind:
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool) or value in ("true", "false", 0, 1)
        case inspect.IntType():
            return _is_number(value) and Decimal(str(value)) == int(Decimal(str(value)))
        case inspect.DecimalType() | inspect.FloatType():
            return _is_number(value)
        case inspect.DateTimeType():
            return _parses(datetime, value)
        case inspect.DateType():
            return _parses(date, value)
        case inspect.DictType():
            return isinstance(value, dict)
    return False


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return is_sound(Decimal(str(value)))
    except InvalidOperation:
        return False


def _percentage(value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip().removesuffix("%").rstrip()
    return value if _is_number(value) else None


def _parses(kind: type[date], value: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _allows_none(kind: inspect.Type) -> bool:
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(member, inspect.NoneType | inspect.AnyType) for member in members)


def _number_text(value: float | Decimal) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    number = Decimal(str(value))
    if not is_sound(number):
        return value  # written out, 1e1000000 would have a million digits
    return format(number.to_integral_value() if number == number.to_integral_value() else number, "f")


# ------------------------------------------------------------------------------------------ request text


def _joined(prefix: bytes, text: bytes) -> bytes:
    """Join ``{"a":1`` and ``{"b":2}`` to ``{"a":1,"b":2}``."""
    members = text[1:].lstrip()
    if members == b"}":
        return prefix + b"}"
    return prefix + b"," + members if len(prefix) > 1 else b"{" + members
