"""What an orchestrator asks a worker: alive, ready, and its figures in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from hl_async.errors import ConfigurationError

if TYPE_CHECKING:
    from hl_async.bulk.workers.worker import Worker

_TEXT = "text/plain; version=0.0.4"


class HealthPage:
    """Serves ``/live``, ``/ready`` and ``/metrics`` at ``address`` (``HOST:PORT``, port 0 for a free one).

    ``/ready`` is 503 while the worker can't reach its database, and once it drains. Nothing here is secret, and nothing
    can be changed.
    """

    def __init__(self, worker: Worker, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            raise ConfigurationError("--health", f"{address!r} is not a HOST:PORT")
        self._worker = worker
        self._host = host.strip("[]") or "127.0.0.1"
        self._port = int(port)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it is; once it serves."""
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._worker.stop.is_set():
            return web.Response(text="draining\n", status=503)
        if not self._worker.ready:
            return web.Response(text="the database was not reached\n", status=503)
        return web.Response(text="ready\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        text = "".join(f"{line}\n" for line in metrics(self._worker))
        return web.Response(body=text.encode(), headers={"Content-Type": _TEXT})


def metrics(worker: Worker) -> Iterator[str]:
    """The figures of a worker, a line each."""
    counts = worker.counts
    yield from _metric(
        "hl_async_items_total",
        "counter",
        "Items by how their last request ended.",
        {
            f'{{outcome="{name}"}}': counts[name]
            for name in ("created", "rejected", "ambiguous", "not_executed", "stop")
        },
    )
    yield from _metric(
        "hl_async_slices_total",
        "counter",
        "Turns of locations by how they ended.",
        {
            '{outcome="ended"}': counts["slices"],
            '{outcome="lost"}': counts["slices_lost"],
            '{outcome="failed"}': counts["slices_failed"],
        },
    )
    yield from _metric("hl_async_requests_total", "counter", "Requests to the API.", {"": counts["requests"]})
    yield from _metric(
        "hl_async_refused_total", "counter", "Requests that the rate limit refused.", {"": counts["refused"]}
    )
    yield from _metric("hl_async_lanes", "gauge", "Locations in this worker's hands.", {"": len(worker.held)})
    yield from _metric(
        "hl_async_draining", "gauge", "1 once the worker was told to stop.", {"": int(worker.stop.is_set())}
    )


def _metric(name: str, kind: str, about: str, values: dict[str, Any]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values.items():
        yield f"{name}{labels} {value}"
