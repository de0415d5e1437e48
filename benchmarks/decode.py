"""Decoding a list of 100 estimates: typed structs with exact money against plain dicts, and their memory."""

from __future__ import annotations

import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from benchmarks.bars import Row, note, of_ratios
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
    try:
        found["pydantic models"] = pydantic_peer()
    except ImportError:
        print("(pydantic is not installed)")
    return found


def pydantic_peer() -> Callable[[], Any]:
    """The same fields as our structs, in pydantic models that are as tolerant and as exact."""
    from pydantic import ConfigDict, create_model

    def model(kind: type[msgspec.Struct]) -> Any:
        """A pydantic model of a struct, made from its fields."""
        if kind not in models:
            fields = {
                field.name: (translated(field.type), Field(alias=field.encode_name, default=None))
                for field in msgspec.structs.fields(kind)
            }
            models[kind] = create_model(
                kind.__name__, __config__=ConfigDict(extra="ignore", coerce_numbers_to_str=True), **fields
            )
        return models[kind]

    def translated(hint: Any) -> Any:
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return model(hint) | None
        if get_origin(hint) is Literal:
            return str  # its members are texts, not types
        parts = [part for part in get_args(hint) if part is not msgspec.UnsetType]
        if get_origin(hint) is list:
            return list[translated(parts[0])]
        if parts and get_origin(hint) is not dict:
            return Union[tuple(translated(part) for part in parts)]  # noqa: UP007 - the members are computed
        return hint

    from pydantic import Field

    models: dict[type, Any] = {}
    validate = model(EstimateList).model_validate_json
    return lambda: validate(BODY)


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
    ratio, noise = of_ratios(
        [a / b for a, b in zip(times["hl_async structs"], times["json, dicts"], strict=True)]
    )
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
    return int(not note(Row("decoding 100 typed estimates, time to json.loads", ratio, 1.0, noise=noise)))


if __name__ == "__main__":
    sys.exit(main())
