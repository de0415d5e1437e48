"""Internal. Pipelines and opportunities."""

from __future__ import annotations

from typing import Final

from hl_async.sandbox.neighbours import checks
from hl_async.sandbox.neighbours.calls import NeighbourCall
from hl_async.sandbox.neighbours.state import Entry
from hl_async.sandbox.refusals import bad_request, unprocessable

_STATUS: Final = checks.one_of("open", "won", "lost", "abandoned")
_CHANGES: Final[dict[str, checks.Check]] = {
    "name": checks.filled,
    "pipelineId": checks.filled,
    "pipelineStageId": checks.text,
    "status": _STATUS,
    "monetaryValue": checks.number,
    "assignedTo": checks.text,
    "customFields": checks.entries,
}
_NEEDED: Final = ("pipelineId", "name", "status")


def pipelines(call: NeighbourCall) -> Entry:
    return {"pipelines": call.state.pipelines}


def create(call: NeighbourCall) -> Entry:
    needed = {name: _CHANGES[name] for name in _NEEDED}
    known = {name: check for name, check in _CHANGES.items() if name not in _NEEDED}
    located = {"locationId": checks.filled, "contactId": checks.filled}
    checks.check_body(call.body, {**needed, **located}, known)
    if call.body["contactId"] not in call.state.contacts:
        raise bad_request(f"Contact with id {call.body['contactId']} not found")
    now = call.all.clock.timestamp()
    made = call.body | {"id": call.all.new_id("deal"), "createdAt": now}
    call.state.opportunities[made["id"]] = made
    return {"opportunity": _placed(call, made)}


def update(call: NeighbourCall) -> Entry:
    found = call.state.opportunities.get(call.ids[0])
    if found is None:
        raise bad_request(f"Opportunity with id {call.ids[0]} not found")
    checks.check_body(call.body, {}, _CHANGES)
    found |= call.body
    return {"opportunity": _placed(call, found)}


def search(call: NeighbourCall) -> Entry:
    query = call.query
    # this search takes its parameters in snake case, unlike every other route
    wrong = [f"property {name} should not exist" for name in ("locationId", "contactId") if name in query]
    if wrong:
        raise unprocessable(wrong)
    text = query.get("q", "").lower()
    filters = {
        "contactId": query.get("contact_id"),
        "pipelineId": query.get("pipeline_id"),
        "pipelineStageId": query.get("pipeline_stage_id"),
        "status": None if query.get("status") == "all" else query.get("status"),
    }
    found = [
        one
        for one in reversed(call.state.opportunities.values())
        if text in one["name"].lower()
        and all(not value or one.get(name) == value for name, value in filters.items())
    ]
    page, limit = checks.count(query, "page", 1), min(checks.count(query, "limit", 20), 100)
    start = (max(page, 1) - 1) * limit
    meta = {"total": len(found), "currentPage": page}
    return {"opportunities": found[start : start + limit], "meta": meta, "aggregations": {}}


def _placed(call: NeighbourCall, entry: Entry) -> Entry:
    """Return an opportunity whose unknown stage becomes the first of its pipeline."""
    pipeline = next((one for one in call.state.pipelines if one["id"] == entry["pipelineId"]), None)
    if pipeline is None:
        raise bad_request("Pipeline not found")
    stages = [stage["id"] for stage in pipeline["stages"]]
    # measured on the live API: an unknown stage gives 201, and the opportunity is in the first stage
    if entry.get("pipelineStageId") not in stages:
        entry["pipelineStageId"] = stages[0]
    entry["updatedAt"] = call.all.clock.timestamp()
    return entry
