"""Internal. The one room that speaks HTTP: the loop of a call, a pool of connections, one request per attempt.

``calls`` is the loop: govern, authorise, attempt, decide (``retry``, ``responses``), decode. ``session`` owns the pool
and the client's state. A request takes one of two paths: ``fast_path`` writes it straight to a pooled connection,
``aiohttp_path`` hands it to aiohttp's own ``ClientSession.request`` wherever the caller's code takes part: a session of
the caller's, a proxy, a tracer, a stand-in such as aioresponses. ``timeouts`` ends attempts that take too long,
``bodies`` reads bodies within their limit, ``error_mapping`` turns aiohttp's errors into ours.

Facts of aiohttp 3.14 that shape it:

* ``ClientSession.request`` costs more than everything else in a call together: it serves redirects, cookies,
  middlewares, uploads and tracing. Its connector and its parser are fast, and they are what is used directly;
* it silently re-sends GET, PUT and DELETE once when the peer closes the connection. Directly, nothing is; where
  requests are delegated, a middleware refuses the second pass. So one attempt is one request;
* it takes the next bytes of a pooled connection for the answer, even when they were there before the request;
* its timeouts cost a timer and several context managers per request. Attempts with the usual one share one timer;
* its parser reports a broken response as status 400: here that is a wire error, never an answer of the API;
* its exceptions hold the request's headers. Errors of ours are built inside ``except`` and raised after it, so that no
  bearer travels along in ``__context__``;
* ``read()`` has no limit of its own, and a redirect would turn POST into GET and take the bearer along: bodies are
  counted while they are read, redirects are errors.
"""

from __future__ import annotations

from hl_async import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "session": ("SessionManager",),
    },
)
