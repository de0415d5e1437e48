"""The one room that speaks HTTP: a pool of connections, one request per attempt, aiohttp's errors → ours.

``manager`` owns the pool and the client's state. A request goes one of two ways: ``direct``, written straight to a
pooled connection, or ``delegated`` to aiohttp's own ``ClientSession.request`` wherever somebody else has a say in it:
a session of the caller's, a proxy, a tracer, a stand-in such as aioresponses. ``watch`` ends attempts that take too
long, ``answers`` reads bodies within their limit, ``failures`` gives errors their names.

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

from hl_async.session.answers import CODINGS
from hl_async.session.manager import SessionManager

__all__ = ["CODINGS", "SessionManager"]
