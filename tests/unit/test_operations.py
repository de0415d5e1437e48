"""Promises of the operations table and of the paths it builds."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from hl_async import operations as op
from hl_async.errors import InvalidRequest
from hl_async.operations import NEIGHBOURS, OPERATIONS, Alt, Replay, path_segment


def test_the_table_has_all_operations_once() -> None:
    assert len(OPERATIONS) == 66
    assert len({(row.method, row.path) for row in OPERATIONS.values()}) == 66
    assert len({row.at for row in OPERATIONS.values()}) == 66


def test_whatever_creates_sends_or_pays_is_unsafe() -> None:
    unsafe = {row.at for row in OPERATIONS.values() if row.replay is Replay.UNSAFE}
    assert {
        "estimates.create",
        "estimates.send",
        "estimates.create_invoice",
        "invoices.create",
        "invoices.send",
        "invoices.record_payment",
        "invoices.text2pay",
        "invoice_schedules.start",
        "oauth.token",
    } <= unsafe
    assert all(row.replay is Replay.SAFE for row in OPERATIONS.values() if row.method == "GET")
    assert all(
        row.replay is Replay.IDEMPOTENT for row in OPERATIONS.values() if row.method in ("PUT", "DELETE")
    )


def test_reads_carry_the_location_in_the_query_and_writes_in_the_body() -> None:
    for row in OPERATIONS.values():
        if row.resource == "oauth":
            assert row.alt is Alt.NONE
        elif row in NEIGHBOURS:
            assert row.alt is not Alt.BOTH
        elif row.method == "GET":
            assert row.alt is Alt.QUERY
        elif row.method == "PUT":
            assert row.alt is Alt.BODY
    assert op.DELETE_ESTIMATE.alt is op.DELETE_ESTIMATE_TEMPLATE.alt is Alt.BOTH


def test_neighbours_name_the_location_as_their_service_wants_it() -> None:
    assert {row.at for row in NEIGHBOURS if row.alt is Alt.SNAKE_QUERY} == {"opportunities.search"}
    assert {row.at for row in NEIGHBOURS if row.alt is Alt.QUERY} == {
        "transactions.list",
        "transactions.orders",
    }
    with_id = {row.at for row in NEIGHBOURS if row.alt is Alt.NONE}
    assert {"contacts.get", "contacts.update", "location.details", "opportunities.update"} <= with_id
    assert all(row.params or row.resource == "agency" for row in NEIGHBOURS if row.alt is Alt.NONE)


def test_a_path_is_its_template_with_the_ids_in_place() -> None:
    assert op.SEND_ESTIMATE.expand("64f0a1") == "/invoices/estimate/64f0a1/send"
    assert op.LIST_INVOICES.expand() == "/invoices/"
    assert repr(op.LIST_INVOICES) == "<Operation invoices.list: GET /invoices/>"


def test_the_number_of_ids_is_checked() -> None:
    with pytest.raises(InvalidRequest, match="takes 1 ids, got 0"):
        op.GET_INVOICE.expand()


@pytest.mark.parametrize(
    "value", ["", " ", ".", "..", "%2e%2e", "%2E", "a\r\nX: 1", "a\x00", "x" * 129, "\ud800", "\x7f"]
)
def test_an_id_that_could_reach_another_route_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="invoiceId"):
        op.GET_INVOICE.expand(value)


def test_an_id_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="must be a string, got int"):
        op.GET_INVOICE.expand(7)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=1000, derandomize=True)
@given(st.text(st.characters(), min_size=1, max_size=140))
@example("../settings")
@example("a/b?c#d")
@example("a;b=1")
@example("ünïcode")
@pytest.mark.untraced
def test_any_id_stays_one_segment_of_its_own_route_or_is_refused(value: str) -> None:
    try:
        path = op.GET_INVOICE.expand(value)
    except InvalidRequest:
        return
    url = URL(f"https://host{path}?altId=x", encoded=True)
    assert path.isascii()
    assert path.count("/") == 2
    assert unquote(path.removeprefix("/invoices/")) == value
    assert url.raw_path == path
    assert url.query_string == "altId=x"


@pytest.mark.parametrize("value", ["64f0a1b2c3d4e5f6a7b8c9d0", "ABCdef0123"])
def test_an_ordinary_id_goes_as_it_is(value: str) -> None:
    assert path_segment("id", value) == value


@pytest.mark.parametrize("spelling", ["estimates.create", "create-new-estimate", "CREATE_ESTIMATE"])
def test_an_operation_is_found_by_each_of_its_spellings(spelling: str) -> None:
    assert op.operation_named(spelling) is op.CREATE_ESTIMATE
    assert op.find_operation(spelling) is op.CREATE_ESTIMATE


def test_an_unknown_operation_is_refused_with_the_nearest_ones() -> None:
    assert op.find_operation("estimates.creat") is None
    with pytest.raises(
        InvalidRequest, match=r"unknown operation 'estimates.creat'; did you mean .*estimates.create"
    ):
        op.operation_named("estimates.creat")
    with pytest.raises(InvalidRequest, match="see: hl-async call --list"):
        op.operation_named("xyzzy")
