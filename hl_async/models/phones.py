"""Internal. Phone numbers in E.164 form."""

from __future__ import annotations

import re
from typing import Any, Final

from hl_async.errors import ConfigurationError, InvalidRequest

_E164: Final = re.compile(r"\+[1-9]\d{6,14}")
_SEPARATORS: Final = re.compile(r"[\s().\-/]+")


def e164(field: str, number: str, region: str | None = None) -> str:
    """Return `number` in E.164 form, such as ``+12145596993``.

    A number that begins with ``+`` and its country code needs no library. A national number needs `region` and the
    extra ``phone``.

    Args:
        field: The name of the field, for the error.
        number: The number as a person typed it.
        region: ISO 3166 alpha-2 code of the country of a national number, such as ``DE``.

    Raises:
        InvalidRequest: The number is not a phone number, the region is unknown, or a national number has no region.
        ConfigurationError: The number is national, and phonenumberslite is not installed.
    """
    if not isinstance(number, str):
        raise InvalidRequest(field, f"takes text, got {type(number).__name__}")
    plain = _SEPARATORS.sub("", number)
    if plain.startswith("+"):
        if _E164.fullmatch(plain):
            return plain
        raise InvalidRequest(field, f"{number!r} is not a phone number in E.164 form, such as +12145596993")
    if region is None:
        raise InvalidRequest(
            field, f"{number!r} has no country code; write it like +12145596993, or pass region='US'"
        )
    return _national(field, number, region)


def _national(field: str, number: str, region: str) -> str:
    try:
        # An optional dependency, because only national numbers need its tables of countries.
        import phonenumbers
    except ImportError:
        phonenumbers = None  # type: ignore[assignment, unused-ignore]
    # Raised outside the handler, so that the traceback does not show the ImportError.
    if phonenumbers is None:
        raise ConfigurationError(field, "national numbers need a library: pip install 'hl-async[phone]'")
    library: Any = phonenumbers
    if not isinstance(region, str) or region.upper() not in library.SUPPORTED_REGIONS:
        raise InvalidRequest("region", f"{region!r} is not an ISO 3166 country code, such as US or DE")
    try:
        parsed = library.parse(number, region.upper())
    except library.NumberParseException:
        parsed = None
    text = ""
    # `is_possible_number` checks the length only: the library's tables of valid numbers lag behind those in use.
    if parsed is not None and library.is_possible_number(parsed):
        text = library.format_number(parsed, library.PhoneNumberFormat.E164)
    if not _E164.fullmatch(text):
        raise InvalidRequest(field, f"{number!r} is not a phone number of {region.upper()}")
    return text
