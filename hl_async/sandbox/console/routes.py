"""Which page a path is, who may ask, and what a form does."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from aiohttp import web

from hl_async.config import is_loopback
from hl_async.operations import OPERATIONS
from hl_async.sandbox.console import pages
from hl_async.sandbox.console.layout import POLICY, page
from hl_async.sandbox.faults import Fault

if TYPE_CHECKING:
    from hl_async.sandbox.server import Sandbox

PREFIX: Final = "/_console"

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser sends our own forms with Origin: null
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def handle(box: Sandbox, request: web.Request) -> web.Response:
    """Answer one request to the console."""
    if not _is_local(request):
        return _refused(403, "The console answers on loopback alone.")
    token = box.console_token
    if request.method == "POST":
        if not _is_same_site(request):
            return _refused(403, "This form comes from another site.")
        form = {name: str(value) for name, value in (await request.post()).items()}
        if not hmac.compare_digest(form.get("token", "").encode(), token.encode()):
            return _refused(403, "This form is of another sandbox; load the page again.")
        said = switch(box, form)
        status = 400 if said.startswith("Not done") else 200
        return _html(pages.switches(box, PREFIX, token, said), status)
    if request.method not in ("GET", "HEAD"):
        return _refused(405, "Only GET and POST.")
    parts = [unquote(part) for part in request.path.removeprefix(PREFIX).split("/") if part]
    found = _page(box, parts, dict(request.query), token)
    if found is None:
        return _html(
            page(
                "Not found", f'<p>There is nothing here. <a href="{PREFIX}/">Overview</a></p>', prefix=PREFIX
            ),
            404,
        )
    return _html(found)


def _page(box: Sandbox, parts: list[str], query: dict[str, str], token: str) -> str | None:
    match parts:
        case []:
            return pages.overview(box, PREFIX, token)
        case ["requests"]:
            return pages.requests(box, PREFIX, query)
        case ["switches"]:
            return pages.switches(box, PREFIX, token)
        case ["webhooks"]:
            return pages.webhooks(box, PREFIX)
        case ["location", place]:
            return pages.location(box, PREFIX, place, query)
        case ["location", place, kind, document]:
            return pages.document(box, PREFIX, place, kind, document)
    return None


def switch(box: Sandbox, form: Mapping[str, str]) -> str:
    """Do what a form says; the sentence to show. A sentence that begins with "Not done" names the problem."""
    try:
        if "profile" in form:
            box.faults.use(form["profile"], int(form.get("seed") or 0))
            return f"The profile is {form['profile']} now."
        if "fault" in form:
            operation, times = form.get("operation", "*"), int(form.get("times") or 1)
            if operation != "*" and operation not in OPERATIONS:
                return f"Not done: there is no operation {operation}."
            if not 1 <= times <= 1000:
                return "Not done: how often must be from 1 to 1000."
            box.faults.script(operation, Fault(form["fault"]), times=times)
            return f"{form['fault']} will meet the next {times} of {operation}."
        if "clear" in form:
            box.faults.clear()
            return "Nothing goes wrong any more."
        if "latency" in form:
            seconds = float(form["latency"])
            if not 0 <= seconds <= 600:
                return "Not done: the latency must be from 0 to 600 seconds."
            box.latency = seconds
            return f"Every answer takes {seconds:g} s longer."
        if "advance" in form:
            seconds = float(form["advance"])
            if not 0 <= seconds <= 10 * 366 * 86_400:
                return "Not done: the clock moves on by 0 seconds to ten years."
            box.clock.advance(seconds)
            return f"It is {box.clock.timestamp()} now."
        if "expire" in form:
            box.tokens.expire()
            return "All access tokens have expired."
    except ValueError as error:
        return f"Not done: {error}."
    return "Not done: the form says nothing that is known here."


def _is_local(request: web.Request) -> bool:
    """From this machine, and to a loopback name: a name of somebody else's that leads here is refused."""
    peer = request.remote or ""
    name = urlsplit(f"//{request.host}").hostname or ""
    return is_loopback(peer) and is_loopback(name)


def _is_same_site(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.host}":
        return False
    return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)


def _refused(status: int, why: str) -> web.Response:
    return web.Response(text=why, status=status, headers=_HEADERS)
