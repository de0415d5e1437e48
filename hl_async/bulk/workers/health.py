"""Internal. The health page of a worker: alive, ready, and Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from aiohttp import web

from hl_async.errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from hl_async.bulk.workers.worker import Worker


class HealthPage:
    """The pages ``/live``, ``/ready`` and ``/metrics`` of a worker.

    ``/ready`` answers 503 while the worker cannot reach its database, and once it drains. The page shows no secrets and
    changes nothing.

    Args:
        worker: The worker to report on.
        address: ``HOST:PORT``; port 0 takes a free one.

    Raises:
        ConfigurationError: The address is not valid, or ``prometheus-client`` is missing.
    """

    def __init__(self, worker: Worker, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            raise ConfigurationError("--health", f"{address!r} is not a HOST:PORT")
        try:
            from prometheus_client import CollectorRegistry
        except ImportError:
            raise ConfigurationError("--health", "needs more: pip install 'hl-async[dbos]'") from None
        # A registry of its own: the library's global one would add figures of the whole process.
        self._registry = CollectorRegistry()
        self._registry.register(WorkerMetrics(worker))
        self._worker = worker
        self._host = host.strip("[]") or "127.0.0.1"
        self._port = int(port)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The page's URL, known once it serves."""
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def __aenter__(self) -> Self:
        # Liveness says nothing about the database: a restart would not bring it back.
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
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        text = generate_latest(self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


class WorkerMetrics:
    """Metrics of a worker, read at each scrape; a collector of `prometheus_client`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; see :class:`prometheus_client.registry.Collector`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = self._worker.counts
        items = CounterMetricFamily(
            "hl_async_items", "Items by how their last request ended.", labels=["outcome"]
        )
        for name in ("created", "rejected", "ambiguous", "not_executed", "stop"):
            items.add_metric([name], counts[name])
        slices = CounterMetricFamily(
            "hl_async_slices", "Turns of locations by how they ended.", labels=["outcome"]
        )
        for name, key in (("ended", "slices"), ("lost", "slices_lost"), ("failed", "slices_failed")):
            slices.add_metric([name], counts[key])
        yield items
        yield slices
        # prometheus_client appends _total to the name of a counter.
        yield CounterMetricFamily("hl_async_requests", "Requests to the API.", value=counts["requests"])
        yield CounterMetricFamily(
            "hl_async_refused", "Requests that the rate limit refused.", value=counts["refused"]
        )
        yield GaugeMetricFamily(
            "hl_async_lanes", "Locations that this worker holds.", value=len(self._worker.held)
        )
        yield GaugeMetricFamily(
            "hl_async_draining",
            "1 once the worker was asked to stop.",
            value=int(self._worker.stop.is_set()),
        )
