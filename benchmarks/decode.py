"""Decoding a list of 100 estimates: typed structs with exact money against plain dicts, and their memory."""

from __future__ import annotations

import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.documents import list_bytes
from hl_async.models import EstimateList
from hl_async.models.codec import decoder

BODY = list_bytes()


def peers() -> dict[str, Callable[[], Any]]:
    """Whatever is installed."""
    found: dict[str, Callable[[], Any]] = {
        "hl_async structs": lambda: decode(BODY),
        "json, dicts": lambda: json.loads(BODY),
        "msgspec, dicts": lambda: msgspec.json.decode(BODY),
    }
    try:
        import orjson

        found["orjson, dicts"] = lambda: orjson.loads(BODY)
    except ImportError:
        print("(orjson is not installed)")
    return found


decode = decoder(EstimateList)


def main() -> int:
    """Print time and memory per estimate."""
    calls = peers()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(15):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(5):
                call()
            times[name].append((time.perf_counter() - began) / 5)
    floor = statistics.median(times["json, dicts"])
    print(f"{len(BODY):,} bytes, 100 estimates")
    for name, call in calls.items():
        tracemalloc.start()
        kept = call()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del kept
        median = statistics.median(times[name])
        print(
            f"{name:<18} {median * 1e4:6.1f} µs per estimate   {median / floor:4.2f} of json   {size / 100:7.0f} bytes per estimate"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
