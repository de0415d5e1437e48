"""Internal. The values of a request's page: headers, bodies and a curl line.

Secrets are masked.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from hl_async.sandbox.recorder import LARGEST_BODY, Exchange

_SECRET: Final = "access_token|refresh_token|client_secret|accessToken|refreshToken|clientSecret|code"
_IN_JSON: Final = re.compile(rf'("(?:{_SECRET})"\s*:\s*")[^"]+')
_IN_FORM: Final = re.compile(rf"(^|&)({_SECRET})=[^&]*")
_HEADERS_OF_CURL: Final = ("version", "content-type", "accept")
_MASK: Final = "…"


def mask(text: str) -> str:
    """Return the text of a body with its secrets masked."""
    return _IN_FORM.sub(rf"\1\2={_MASK}", _IN_JSON.sub(rf"\1{_MASK}", text))


def masked_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return headers with tokens masked, except for their last four characters."""
    return [
        (name, _masked(value) if name.lower() in ("authorization", "cookie") else value)
        for name, value in headers
    ]


def _masked(value: str) -> str:
    scheme, _, token = value.partition(" ")
    # The last four characters tell two tokens apart. A short token is masked whole: four would reveal much of it.
    return f"{scheme} {_MASK}{token[-4:] if len(token) > 12 else ''}" if token else _MASK


def body_text(raw: bytes) -> str:
    """Return a body as readable text: indented JSON, other text, or only its size."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return f"{len(raw):,} bytes that are not UTF-8"
    # A body that was cut is not valid JSON any more, and is shown without indentation.
    with suppress(ValueError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    # Masked last, so that a body that is not JSON is masked too.
    text = mask(text)
    return f"{text}\n{_MASK} cut at {LARGEST_BODY:,} bytes" if len(raw) >= LARGEST_BODY else text


def problem(exchange: Exchange | None, most: int = 4_000) -> str:
    """Return the message of an error, at most ``most`` characters; "" without one."""
    if exchange is None:
        return ""
    try:
        answer = json.loads(exchange.answer_body)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    said = answer.get("message") or answer.get("error") or ""
    text = mask("; ".join(map(str, said)) if isinstance(said, list) else str(said))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def curl(url: str, method: str, exchange: Exchange) -> str:
    """Return the request as a curl command, which takes its token from ``HL_TOKEN``."""
    # Quoted for the shell, because ids and queries come from the request.
    words = ["curl", "-X", method, shlex.quote(f"{url}{mask_query(exchange.target)}")]
    found = {name.lower(): value for name, value in exchange.headers}
    # a variable instead of the token, so that the line can be pasted into an issue
    if "authorization" in found:
        words.append('-H "Authorization: Bearer $HL_TOKEN"')
    words += [
        f"-H {shlex.quote(f'{name.title()}: {found[name]}')}" for name in _HEADERS_OF_CURL if name in found
    ]
    if exchange.body:
        text = exchange.body.decode("utf-8", "replace")
        words.append(f"--data {shlex.quote(mask(text))}")
    return " ".join(words)


def mask_query(target: str) -> str:
    """Return the path and query of a request, with secrets masked."""
    path, mark, query = target.partition("?")
    return path + mark + _IN_FORM.sub(rf"\1\2={_MASK}", query)


def parts(exchange: Exchange) -> list[dict[str, Any]]:
    """Return request and answer as values of the template ``request.html``."""
    return [
        {
            "name": name,
            "headers": masked_headers(headers),
            "body": body_text(body) if body else "",
            "is_open": False,
        }
        for name, headers, body in (
            ("Request", exchange.headers, exchange.body),
            ("Answer", exchange.answer_headers, exchange.answer_body),
        )
    ]
