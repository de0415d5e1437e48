"""What a listing proves and what a run may delete: pure decisions."""

from __future__ import annotations

import pytest

from hl_async.bulk.evidence import HELD_AFTER, PAGE, SKEW, Identical, Scan, is_server_error, pauses
from hl_async.bulk.ownership import own_copies
from hl_async.bulk.protocol import Control, Copy, KnownItem, State, Timing

T0 = 1_000_000.0
TIMING = Timing(settle=100.0, attempt=10.0)


def copy(document: str, at: float, **changes: object) -> Copy:
    return Copy(document, T0 + at, True, "Door 5")._replace(**changes)  # type: ignore[arg-type]


def item(document: str | None = "a", possible: int = 2, state: State = State.CREATED) -> KnownItem:
    return KnownItem(0, document, state, possible, T0, T0 + 50)


def test_a_listing_that_shows_every_control_proves_what_is_missing() -> None:
    scan = Scan({"k"}, [Control("c1", "d1", 1.0), Control("c2", "d2", 2.0)])
    assert scan.see("c1", copy("d1", 0))
    assert not scan.proves_absence
    assert [one.document for one in scan.missing] == ["d2"]
    assert scan.see("c2", copy("d2", 0))
    assert scan.proves_absence
    assert scan.found == {}


@pytest.mark.parametrize("key", [None, "other"])
def test_a_control_without_its_key_proves_that_keys_are_lost(key: str | None) -> None:
    scan = Scan({"k"}, [Control("c1", "d1", 1.0)])
    scan.see(key, copy("d1", 0))
    assert scan.keyless == {"d1"}
    assert scan.missing == []
    assert not scan.proves_absence


def test_a_scan_stops_after_a_whole_page_of_older_documents_only() -> None:
    old = copy("x", -SKEW - 1)
    scan = Scan({"k"}, [], since=T0)
    assert scan.see("k", copy("n", 0))
    assert all(scan.see(None, old) for _ in range(PAGE - 1))
    assert scan.see(None, copy("y", 0)), "a young one among the old: the list is not in the order of age"
    assert all(scan.see(None, old) for _ in range(PAGE - 1))
    assert not scan.see(None, old)


def test_a_scan_does_not_stop_before_its_controls_were_met() -> None:
    old = copy("x", -SKEW - 1)
    scan = Scan({"k"}, [Control("c1", "d1", T0)], since=T0)
    assert all(scan.see(None, old) for _ in range(10 * PAGE))
    scan.see("c1", copy("d1", 0))
    assert not [scan.see(None, old) for _ in range(PAGE)][-1]


def test_documents_without_a_date_never_end_a_scan() -> None:
    scan = Scan({"k"}, [], since=T0)
    assert all(scan.see(None, copy("x", 0, created_at=None)) for _ in range(3 * PAGE))


def test_a_missing_control_was_deleted_if_a_later_one_is_there() -> None:
    scan = Scan(set(), [Control("c3", "d3", 3.0), Control("c2", "d2", 2.0), Control("c1", "d1", 1.0)])
    scan.see("c2", copy("d2", 0))
    scan.drop_deleted(5.0, TIMING)
    assert [one.document for one in scan.missing] == ["d3"], "the newest may lag"
    scan.drop_deleted(3.0 + 11 * 110.0, TIMING)
    assert scan.proves_absence, "no list lags so long"


def test_a_list_that_shows_no_control_vouches_for_nothing() -> None:
    scan = Scan(set(), [Control("c1", "d1", 1.0)])
    scan.drop_deleted(1e9, TIMING)
    assert not scan.proves_absence


def test_the_recorded_document_is_kept_and_second_copies_of_ours_go() -> None:
    own = own_copies(item(), [copy("b", 60), copy("a", 0)], {"a"}, TIMING)
    assert own == (copy("a", 0), [copy("b", 60)], [])


def test_the_oldest_is_kept_where_none_is_recorded() -> None:
    own = own_copies(item(None, state=State.REJECTED), [copy("b", 60), copy("a", 0)], set(), TIMING)
    assert own == (copy("a", 0), [copy("b", 60)], [])


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (item(possible=1), copy("b", 60)),  # answered on its only attempt
        (item(), copy("b", 60, draft=False)),
        (item(), copy("b", 60, content="Door 6")),
        (item(), copy("b", 50 + 210 + SKEW + 1)),  # too late for any request
        (item(), copy("b", 60, created_at=None)),
        (item()._replace(first_sent=None), copy("b", 60)),
    ],
)
def test_what_has_no_proof_is_reported_and_never_deleted(what: KnownItem, found: Copy) -> None:
    own = own_copies(what, [copy("a", 0), found], {"a"}, TIMING)
    assert (own.keep, own.delete, own.report) == (copy("a", 0), [], [found])


def test_the_recorded_document_of_another_item_is_left_alone() -> None:
    """Lists may give a document its neighbour's key."""
    own = own_copies(item(), [copy("a", 0), copy("n", 60)], {"a", "n"}, TIMING)
    assert own == (copy("a", 0), [], [])
    own = own_copies(item(None), [copy("n", 60)], {"n"}, TIMING)
    assert own == (None, [], [])


def test_no_more_copies_go_than_requests_were_sent() -> None:
    copies = [copy("a", 0), copy("b", 60), copy("c", 61), copy("d", 62)]
    own = own_copies(item(possible=3), copies, {"a"}, TIMING)
    assert ([one.id for one in own.delete], [one.id for one in own.report]) == (["b", "c"], ["d"])


def test_a_copy_that_is_older_than_the_recorded_document_is_no_copy_by_others() -> None:
    """The journal lost the request that made it: no other request is known."""
    own = own_copies(item("b", possible=1), [copy("a", 0), copy("b", 60), copy("c", 70)], {"b"}, TIMING)
    assert ([one.id for one in own.delete], [one.id for one in own.report]) == (["a"], ["c"])


def test_nothing_is_deleted_while_the_recorded_document_is_not_there() -> None:
    own = own_copies(item(), [copy("b", 60)], {"a"}, TIMING)
    assert own == (None, [], [copy("b", 60)])


def test_pauses_grow_and_last_the_settle_time() -> None:
    waits = pauses(150.0)
    assert waits == (10.0, 20.0, 40.0, 80.0)
    assert sum(waits) == 150.0


def test_a_row_of_the_same_words_is_noticed() -> None:
    row = Identical(3)
    assert [row.failed("a"), row.failed("a"), row.failed("b"), row.failed("b"), row.failed("b")] == [
        False, False, False, False, True,
    ]  # fmt: skip
    row.succeeded()
    assert not row.failed("b")


def test_only_a_status_of_5xx_is_a_server_error() -> None:
    assert is_server_error("500 validation failed")
    assert not is_server_error("5 of them")
    assert not is_server_error("connection reset")
    assert not is_server_error(None)
    assert HELD_AFTER > 3
