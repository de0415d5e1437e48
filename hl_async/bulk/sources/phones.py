"""Phone numbers as the API wants them: E.164."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_FILLERS: Final = re.compile(r"[\s().\-/\u00a0\u202f]")


@lru_cache(4096)
def phone_of(text: str, region: str = "") -> str | None:
    """Return the number in E.164 form, or None if it cannot be read for certain.

    Args:
        text: The number as people write it.
        region: ISO 3166 code of two letters, for numbers without a country code. Needs the extra ``phones``.
    """
    if _E164.fullmatch(text):
        return text
    plain = _FILLERS.sub("", text)
    try:
        import phonenumbers
    except ModuleNotFoundError:
        return plain if _E164.fullmatch(plain) else None
    try:
        number = phonenumbers.parse(text, region.upper() or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        # fictional ranges, which the demo and tests use, are not valid numbers anywhere
        return plain if _E164.fullmatch(plain) else None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
