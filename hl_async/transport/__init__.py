"""Internal. HTTP: a call's loop, the connection pool, one request per attempt.

``calls`` is the loop: govern, authorise, attempt, decide (``retry``, ``responses``), decode. ``session`` owns the pool
and the client's state. A request takes one of two paths. ``fast_path`` writes it directly to a pooled connection.
``aiohttp_path`` delegates it to ``ClientSession.request`` if other code takes part: a session of the caller's, a proxy,
a tracer, or a test double such as aioresponses. ``timeouts`` ends attempts that take too long, ``bodies`` reads bodies
within their limit, and ``error_mapping`` maps aiohttp's errors to ours.

Facts of aiohttp 3.14 behind this design:

* ``ClientSession.request`` costs more than the rest of a call, because it serves redirects, cookies, middlewares,
  uploads and tracing. Its connector and its parser are fast, so the fast path uses these two.
* It silently re-sends GET, PUT and DELETE once if the peer closes the connection. The fast path does not, and on the
  other path a middleware refuses the second pass. One attempt is therefore one request.
* It takes the next bytes of a pooled connection for the answer, even if they arrived before the request.
* Its timeouts cost a timer and several context managers per request. Here, attempts with the default timeout share one
  timer.
* Its parser reports a broken response as status 400. Here that is a wire error, never an answer of the API.
* Its exceptions contain the request's headers. Our errors are built inside ``except`` and raised after it. So no
  ``__context__`` leads to the bearer.
* ``read()`` has no limit, and a redirect turns POST into GET and passes the bearer on. Bodies are therefore counted
  while they are read, and redirects are errors.
"""

from __future__ import annotations

from hl_async import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "session": ("SessionManager",),
    },
)
