"""Internal. Which documents a run made, and which of them may be deleted. Pure.

A key in a free field proves nothing by itself: people copy documents with everything in them, and a list may give a
document its neighbour's fields. So every deletion needs a positive proof. A document without one is kept and named.

A request of an item can have created a document only within the time of the item's requests. That rule, and the
tolerance for clocks in it, hold for both deciders.

`own_copies` decides in a run, where second copies may go while the run goes on:

- the id is not the recorded document of any item;
- the item had more requests that may have been executed than documents that stand for it, or the copy is older than
  the recorded document, which no copy by others can be;
- its content equals that of the document that is kept: name, lines, total, the user of the last change.

`claims` decides for verification and rollback, where everything that the run made may go:

- a document that the journal recorded is the run's, whatever key it carries now;
- an unrecorded document is the run's only if its item had a request that may have made it, if it was created in the
  time of that item's requests, and if it is among the oldest of its key: a copy is younger than its original;
- a second copy of a recorded document must also equal its request;
- where keys are unique to the run, an unrecorded document as it was sent is the run's: the journal lost a write.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from hl_async.bulk.evidence import LONGEST_LAG, SKEW
from hl_async.bulk.protocol import Copy, KnownItem, Timing

TOUCHED_AFTER: Final = 10.0
"""Seconds after its creation from which an update of a document counts as a change by people."""


class Ownership(NamedTuple):
    """Documents with one key: the item's own, those to delete, those to report."""

    keep: Copy | None
    delete: list[Copy]
    report: list[Copy]


def own_copies(
    item: KnownItem, copies: Sequence[Copy], recorded: Container[str], timing: Timing
) -> Ownership:
    """Decide about the documents that carry the key of one item.

    The recorded document is kept, or the oldest one if none is recorded. Drafts that the run provably made as well
    are deleted. Documents without a proof, and those that are drafts no longer, are reported.

    Args:
        item: What the journal knows of the key.
        copies: The documents of a listing that carry the key.
        recorded: The ids that the journal recorded for any item of the location.
        timing: The waits of the run.
    """
    ordered = sorted(copies, key=lambda copy: (copy.created_at or 0.0, copy.id))
    others = [copy for copy in ordered if copy.id not in recorded]
    if item.document is None:
        # The oldest stands for the item, because a copy by people is younger than its original.
        keep = others.pop(0) if others else None
    else:
        keep = next((copy for copy in ordered if copy.id == item.document), None)
    delete: list[Copy] = []
    report: list[Copy] = []
    # One of the possible requests made the kept document, so the others made the copies at most.
    room = item.possible - 1
    # A copy older than the recorded document proves one more executed request.
    if keep is not None and others and _is_older(others[0], keep):
        room = max(room, 1)
    for copy in others:
        ours = (
            keep is not None
            and len(delete) < room
            and copy.content == keep.content
            and _in_time(copy.created_at, item, timing)
        )
        # A copy that is not provably ours, or was sent already, is for people to decide about.
        if ours and copy.draft:
            delete.append(copy)
        else:
            report.append(copy)
    return Ownership(keep, delete, report)


def _is_older(copy: Copy, than: Copy) -> bool:
    return copy.created_at is not None and than.created_at is not None and copy.created_at < than.created_at


class Listed(NamedTuple):
    """A listed document that carries a key of the run, or whose id the run recorded.

    Times are in seconds since the epoch, None if the list does not say. ``changes`` names the differences from
    the request that made the document; empty without any.
    """

    id: str
    key: str | None
    created: float | None
    updated: float | None
    draft: bool
    changes: str
    total: Decimal | None = None
    currency: str = ""

    @property
    def touched(self) -> str:
        """Why people seem to have changed the document since its creation, or empty."""
        if self.changes:
            return self.changes
        if self.created is not None and self.updated is not None:
            after = self.updated - self.created
            if after > TOUCHED_AFTER:
                return f"updated {after:,.0f} s after it was created"
        return ""


class Claim(NamedTuple):
    """A listed document and what the run may say of it.

    ``key`` names the item; None if nothing proves that the run made the document. ``is_first`` marks the document
    that stands for its item, recorded or found by its key; the others are second copies.
    """

    listed: Listed
    key: str | None
    is_first: bool


def claims(
    documents: Iterable[Listed], known: Mapping[str, KnownItem], timing: Timing, *, unique_keys: bool
) -> list[Claim]:
    """Assign listed documents to the items of a run.

    Args:
        documents: The documents of one location that carry a key of the run or a recorded id.
        known: The items of that location by key.
        timing: The waits that the run was executed with.
        unique_keys: No document can carry a key of the run unless a request of the run, or a copy of what it made,
            brought it there. Then a document as it was sent shows that a request was executed, even if the journal
            lost its last writes.
    """
    recorded = {item.document: key for key, item in known.items() if item.document}
    found: list[Claim] = []
    by_key: dict[str, list[Listed]] = {}
    for one in documents:
        # the id goes before the key: a list may show a document with its neighbour's key
        if one.id in recorded:
            found.append(Claim(one, recorded[one.id], True))
        elif one.key is not None and one.key in known:
            by_key.setdefault(one.key, []).append(one)
    for key, candidates in by_key.items():
        found += _unrecorded(key, known[key], candidates, timing, unique_keys)
    return found


def _unrecorded(
    key: str, item: KnownItem, candidates: list[Listed], timing: Timing, unique_keys: bool
) -> list[Claim]:
    """Claim unrecorded documents with an item's key, oldest first."""
    # The recorded document used up one of the possible requests.
    room = item.possible - bool(item.document)
    needs_first = not item.document
    found = []
    # oldest first, because a copy by people is younger than its original
    for one in sorted(candidates, key=lambda one: (one.created or 0.0, one.id)):
        # A key that only this run makes is a proof on its own, also where the journal has lost the times.
        is_recovered = needs_first and unique_keys and not one.changes
        is_possible = room > 0 and _in_time(one.created, item, timing) and (needs_first or not one.changes)
        if not (is_recovered or is_possible):
            found.append(Claim(one, None, False))
            continue
        found.append(Claim(one, key, needs_first))
        room -= 1
        needs_first = False
    return found


def _in_time(created: float | None, item: KnownItem, timing: Timing) -> bool:
    """Return whether a request of the item can have created the document."""
    if created is None or item.first_sent is None or item.last_sent is None:
        return False
    return item.first_sent - SKEW <= created <= timing.sweep_at(item.last_sent) + SKEW


def vouches(
    ours: float | None, others: float | None, sent_at: float | None, now: float, timing: Timing
) -> bool:
    """Return whether a listing vouches for the absence of a recorded document.

    A list that lags lacks the newest documents. So it has to show a later one, or the document has to be far older than
    any lag. A list that shows nothing vouches for nothing.

    Args:
        ours: When the last sent one of the run's documents in the listing was sent; None if it shows none.
        others: When the newest document of the listing was created, by the API's clock.
        sent_at: When the missing document was sent.
        now: The time of day.
        timing: The waits that the run was executed with.
    """
    # an empty list may be a proxy's, or the index's that is being rebuilt
    if others is None or sent_at is None:
        return False
    # A younger document in the list proves that the list is newer than the request.
    if (ours is not None and ours > sent_at) or others > sent_at + SKEW:
        return True
    return now - sent_at > LONGEST_LAG * (timing.attempt + timing.settle)


def reason_to_keep(claim: Claim, *, even_changed: bool) -> tuple[str, str] | None:
    """Return why a rollback must keep a document, as a kind and in words, or None."""
    one = claim.listed
    if claim.key is None:
        return "copy", "carries a key of the run, but nothing proves that the run created it"
    if not one.draft:
        return "not_draft", "is no longer a draft"
    # customers never saw a draft, so --even-changed may overrule this, and nothing above
    if one.touched and not even_changed:
        return "changed", one.touched
    return None
