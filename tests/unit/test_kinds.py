"""Promises about the lanes of a run: each kind has its own, and customers have the location's."""

from __future__ import annotations

import pytest

from hl_async.bulk.keys import MetaKey, NumberKey, SourceKey, TextKey
from hl_async.bulk.kinds import INVOICE_KEY, LaneKinds, kind_in, location_of, with_base_lanes, words_for
from hl_async.operations import (
    CREATE_ESTIMATE,
    CREATE_INVOICE,
    CREATE_INVOICE_FROM_ESTIMATE,
    VOID_INVOICE,
    Operation,
    plain_id,
)


def test_a_run_of_one_kind_names_its_lanes_after_the_locations() -> None:
    kinds = LaneKinds(CREATE_ESTIMATE, "meta")
    assert kinds.lane_of("loc", "estimate") == kinds.lane_of("loc", "") == "loc"
    assert kinds.count([("a", 2), ("b", 3)]) == {}


@pytest.mark.parametrize(
    ("own", "other", "operation"),
    [(CREATE_ESTIMATE, "invoice", CREATE_INVOICE), (CREATE_INVOICE, "estimate", CREATE_ESTIMATE)],
)
def test_documents_of_the_other_kind_have_a_lane_of_their_own(
    own: Operation[object], other: str, operation: Operation[object]
) -> None:
    kinds = LaneKinds(own, "meta")
    lane = kinds.lane_of("loc", other)
    assert (location_of(lane), kind_in(lane), words_for(lane)) == ("loc", other, f"loc ({other}s)")
    assert (kinds.kind_of(lane), kinds.operation_of(lane)) == (other, operation)
    assert kinds.operation_of("loc") is own
    assert kinds.count([("loc", 2), (lane, 3)])[other] == 3


@pytest.mark.parametrize("operation", [CREATE_INVOICE_FROM_ESTIMATE, VOID_INVOICE])
def test_other_operations_have_one_lane_for_each_location(operation: Operation[object]) -> None:
    assert LaneKinds(operation, "meta").lane_of("loc", "invoice") == "loc"


def test_an_invoice_carries_its_key_where_it_has_room() -> None:
    kinds = LaneKinds(CREATE_ESTIMATE, "meta")
    own, other = kinds.keys_of("loc"), kinds.keys_of(kinds.lane_of("loc", "invoice"))
    assert isinstance(own, MetaKey) and isinstance(other, TextKey) and other.name == INVOICE_KEY
    assert isinstance(LaneKinds(CREATE_INVOICE, INVOICE_KEY).keys_of("loc#estimate"), MetaKey)
    assert isinstance(LaneKinds(CREATE_ESTIMATE, "number:7").keys_of("loc#invoice"), NumberKey)
    assert isinstance(LaneKinds(CREATE_INVOICE_FROM_ESTIMATE, "meta").keys_of("loc"), SourceKey)


def test_the_name_of_a_lane_is_never_the_id_of_a_location() -> None:
    with pytest.raises(Exception, match="characters that no id has"):
        plain_id("location", LaneKinds(CREATE_ESTIMATE, "meta").lane_of("loc", "invoice"))


def test_the_lane_of_a_location_comes_before_its_other_kind_and_is_there_without_documents() -> None:
    assert with_base_lanes(["a#invoice", "b"], ["a", "b"]) == ["b", "a", "a#invoice"]
