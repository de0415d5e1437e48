"""Internal. The consent page of the sandbox.

A person chooses the agency or a location, and the browser returns to the app with a code. The page has the path of the
live consent page, and asks for no login: docs/api-facts.md#api-authorize.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from hl_async.sandbox.state import SandboxState

PATHS: Final = frozenset(("/v2/oauth/chooselocation", "/oauth/chooselocation"))

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Install the app</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
main {{ max-width: 36rem; margin: 3rem auto; padding: 0 1rem }}
button {{ display: block; width: 100%; font: inherit; text-align: left; margin: .25rem 0; padding: .5rem .75rem }}
code {{ overflow-wrap: anywhere }}
</style>
<main>
<h1>Install the app?</h1>
<p>The app <code>{client}</code> asks for: <code>{scope}</code></p>
<form method="post">
<p>Choose who installs it:</p>
{buttons}
</form>
<form method="post"><button name="refuse" value="1">Refuse</button></form>
</main>
</html>
"""


async def handle(box: SandboxState, request: web.Request) -> web.Response:
    """Return the page, or the redirect to the app with a code or an error."""
    query = request.query
    app = box.tokens.apps.get(query.get("client_id", ""))
    back = query.get("redirect_uri", "")
    # An unknown client gets an error, not a redirect: a link could make this page send a code to any address.
    if app is None or query.get("response_type") != "code" or urlsplit(back).scheme not in ("http", "https"):
        return web.Response(
            status=400, text="error.noversionid: client_id, redirect_uri or response_type is wrong"
        )
    if request.method != "POST":
        return _page(box, query.get("client_id", ""), query.get("scope", ""))
    form = await request.post()
    if "refuse" in form:
        answer = {"error": "access_denied"}
    else:
        chosen = str(form.get("location", ""))
        if chosen and chosen not in box.ledger.places:
            return web.Response(status=400, text="no such location")
        answer = {"code": box.authorise(app.client_id, chosen or None)}
    if "state" in query:
        answer["state"] = query["state"]
    # The redirect URI of an app may have a query of its own (RFC 6749, section 3.1.2).
    sign = "&" if urlsplit(back).query else "?"
    return web.Response(status=302, headers={"Location": f"{back}{sign}{urlencode(answer)}"})


def _page(box: SandboxState, client_id: str, scope: str) -> web.Response:
    choices = [("", f"the agency {box.company_id}, for all its locations")]
    choices += [(place, f"the location {place}") for place in box.ledger.places]
    buttons = "\n".join(
        f'<button name="location" value="{escape(value)}">{escape(text)}</button>' for value, text in choices
    )
    text = _PAGE.format(client=escape(client_id), scope=escape(scope), buttons=buttons)
    # Against clickjacking: no other page may show this one in a frame.
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})
