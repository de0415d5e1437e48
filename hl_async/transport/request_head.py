"""Internal. Encodes the head of a request and refuses forbidden characters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def check_line(method: str, url: str) -> None:
    """Raise ValueError for a method or URL that would break the request line."""
    if not (method.isalpha() and url.isascii() and url.isprintable()) or " " in url or "#" in url:
        raise ValueError("the method or the URL contains characters that HTTP does not allow there")


def check_fields(headers: Mapping[str, str]) -> None:
    """Raise ValueError for a header field with a control character.

    A line break in a value would start another field.
    """
    for name, value in headers.items():
        if _FORBIDDEN.search(name) or _FORBIDDEN.search(value):
            raise ValueError(f"the header {name!r} contains a control character")


def head(method: str, target: str, fields: str, body: bytes | None) -> bytes:
    """Return the bytes in front of the body. ``fields`` are complete lines."""
    if body is not None:
        return f"{method} {target} HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode()
    # A POST without a body announces a length of 0, a GET announces none (RFC 9110, 8.6).
    if method == "GET":
        return f"{method} {target} HTTP/1.1\r\n{fields}\r\n".encode()
    return f"{method} {target} HTTP/1.1\r\n{fields}Content-Length: 0\r\n\r\n".encode()


def lines(fields: Mapping[str, str]) -> str:
    """Return header fields as lines."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())
