"""The sandbox under a fuzzer that reads the official specification, for as long as CI can bear.

Runs where the specification lies beside the repository and the program ``schemathesis`` is installed, by itself
(``pipx install schemathesis``) or named in ``HL_SCHEMATHESIS``. It is no dependency: its pytest plugin would load with
every run of every suite.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hl_async.sandbox import Quirks, Sandbox
from plain_client import SEND, Shop, estimate, invoice

SPEC = Path(os.environ.get("HL_SHARED", Path(__file__).parents[3] / "shared")) / "spec" / "invoices.json"
PROGRAM = os.environ.get("HL_SCHEMATHESIS") or shutil.which("schemathesis")
SECONDS = 45
LISTS = ("items", "invoiceItems", "estimates", "data", "estimateActionHistory", "schedules", "charges")
UNDECLARED = ("400", "401", "403", "404", "422")
# what the ledger beside this test explains
ABSENT = {
    "EstimateResponseDto": {"meta", "sentTo", "lastVisitedAt", "automaticTaxesEnabled", "traceId"},
    "FrequencySettingsDto": {"schedule"},
}
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def documents(box: Sandbox) -> dict[str, list[str]]:
    """A few documents of every kind, by the start of the paths that name them."""
    async with aiohttp.ClientSession() as session:
        shop = Shop(box, session)
        parts = ("name", "currency", "businessDetails", "items", "discount")
        recurring = invoice(
            schedule={"rrule": {"intervalType": "daily", "interval": 1, "startDate": "2030-01-01"}}
        )
        bodies = {
            "/invoices/estimate/template": {name: estimate()[name] for name in parts},
            "/invoices/estimate": estimate(),
            "/invoices/template": {name: invoice()[name] for name in parts},
            "/invoices/schedule": recurring,
            "/invoices/": invoice(),
        }
        found = {
            path: [(await shop.made(path, body))["_id"] for _ in range(5)] for path, body in bodies.items()
        }
        for one in found["/invoices/estimate"]:
            await shop.post(f"/invoices/estimate/{one}/send", SEND)
            box.customer.accept(one)
    return found


def corrected(spec: dict[str, Any], location: str, ids: dict[str, list[str]]) -> dict[str, Any]:
    """The specification without its known errors, and with the location and the documents there are."""
    spec = copy.deepcopy(spec)
    for name, schema in spec["components"]["schemas"].items():
        properties = schema.get("properties", {})
        for key, inner in properties.items():
            if key in LISTS and inner.get("type") == "array" and "$ref" not in inner.get("items", {}):
                inner["items"] = {"type": "object"}
            elif key == "altId":
                inner["enum"] = [location]
            elif (key == "invoiceNumber" and inner.get("type") == "number") or (
                key == "status" and inner.get("type") == "object"
            ):
                inner["type"] = "string"
        schema["required"] = [key for key in schema.get("required", ()) if key not in ABSENT.get(name, ())]
        if not schema["required"]:
            del schema["required"]
    for path, methods in spec["paths"].items():
        held = next(known for start, known in ids.items() if path.startswith(start))
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "altId":
                    parameter["schema"]["enum"] = [location]
                elif parameter["in"] == "path" or parameter["name"] == "templateId":
                    parameter["schema"]["enum"] = [*held, "none"]
                elif parameter["name"] in ("limit", "offset"):
                    parameter["schema"] = {"type": "string", "pattern": "^[1-9][0-9]?$"}
            answers = operation["responses"]
            if operation.get("operationId") in ("create-invoice", "record-invoice"):
                answers["201"] = answers["200"]
            for status in UNDECLARED:
                answers[status] = {"description": "refused", "content": {"application/json": {"schema": {}}}}
    return spec


@pytest.mark.skipif(not SPEC.is_file(), reason="the specification is not here")
@pytest.mark.skipif(PROGRAM is None, reason="schemathesis is not installed")
@pytest.mark.untraced
async def test_a_fuzzer_finds_no_crash_and_no_undeclared_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # the two rules whose refusal is a 500 by intent; a null that is kept is answered where the schema has none
    rules = ("title_required", "item_type_required")
    async with Sandbox(
        rate_max=10**6, rate_interval=1.0, daily=10**9, rules_off=rules, quirks=Quirks(keep_nulls=False)
    ) as box:
        spec = corrected(json.loads(SPEC.read_text()), box.location_id, await documents(box))
        await asyncio.to_thread((tmp_path / "spec.json").write_text, json.dumps(spec))
        with caplog.at_level(logging.WARNING, "hl_async.sandbox"):
            process = await asyncio.create_subprocess_exec(
                str(PROGRAM), "run", "spec.json", "--url", box.url, "--max-time", str(SECONDS), "--seed", "7",
                "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-color",
                "--generation-database", "none", "--warnings", "off",
                "-H", f"Authorization: Bearer {box.token}", "-H", "Version: 2021-07-28",
                cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said[-20_000:]
        exits = [one.getMessage() for one in caplog.records if one.name == "hl_async.sandbox"]
        assert exits == [], "requests needed the emergency exit"
        reached = {one.operation for one in box.requests if 200 <= one.status < 300}
        print(f"{box.count} requests, {len(reached)} of 42 operations answered 2xx")
        # how far the fuzzer comes in its time depends on the machine
        assert len(reached) >= 10, sorted(reached)
        assert box.refused == 0
