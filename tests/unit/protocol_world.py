"""A world for the explorer of the exactly-once protocol: one item, one location, and what can befall both.

The product's own decisions are executed: the next step, reconciling, looking, sweeping, ownership. Only the journal,
the server and the clock are made here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Container, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from hl_async.bulk.evidence import PAGE
from hl_async.bulk.journals.protocol import SentItem
from hl_async.bulk.ownership import Ownership, own_copies
from hl_async.bulk.protocol import (
    AttemptOutcome,
    Control,
    Copy,
    KnownItem,
    LaneFacts,
    State,
    Step,
    Timing,
    judge,
    next_step,
)
from hl_async.bulk.reconciliation import Inconclusive, Reconciler
from hl_async.errors import NotFound

T = TypeVar("T")

S = 100.0
TIMING = Timing(settle=S, attempt=10.0)
START = 10_000.0
ITEM, CONTROL = "item", "control"

SERVER = {
    "ok": (0.0, "ok"),
    "answer lost": (0.0, "ambiguous"),
    "commits late": (S / 2, "ambiguous"),
    "commits very late": (1.9 * S, "ambiguous"),
    "never": (None, "ambiguous"),
    "refused": (None, "not executed"),
    "rejected": (None, "rejected"),
    "a gateway's page": (0.0, "page"),
}
"""What the server may do with a request: it commits after so many seconds, or never; and what the client sees."""

POISON = (None, "fails")
"""A document that the server fails with, however often it is sent."""

PAGE_OF_A_GATEWAY = NotFound("404", status=404, messages=["nginx"], body="<html>nginx</html>")
HOURS = 3 * 3600.0
"""How long a process stays dead in some executions: longer than clocks may differ."""

CRASHES = (
    "before intent",
    "after intent",
    "after send",
    "before outcome",
    "after outcome",
    "in reconcile",
    "in look",
    "in sweep",
)

LISTS = (
    "true",
    "lags",
    "lags longer",
    "reordered",
    "mixed",
    "keyless",
    "empty once",
    "neighbours",
    "old neighbours",
)
"""How the list behaves: see :meth:`World.listing`."""

PEOPLE = (
    "none",
    "copy the item",
    "copy and change the item",
    "copy the control",
    "copy the item hours later",
)


class Variant(NamedTuple):
    """The protocol with parts left out, to show that the explorer finds what they are for."""

    intent: bool = True
    reconcile: bool = True
    settle: bool = True
    sweep: float = 2.0
    controls: bool = True
    look: bool = True
    pauses: bool = True
    page: int = PAGE
    known: bool = True
    pages: bool = True
    held: bool = True
    own: Callable[[KnownItem, Sequence[Copy], Container[str], Timing], Ownership] = own_copies


class Script(NamedTuple):
    """What happens in one execution."""

    outcomes: tuple[str, ...] = ()
    crashes: tuple[tuple[str, int], ...] = ()
    lists: str = "true"
    people: str = "none"
    loses_writes: bool = False
    """The first crash takes the journal back to the plan, as a lost ``-wal`` does."""
    down: float = 0.5
    """Seconds until a process that died starts again."""
    poison: bool = False
    """The server fails with the item, however often it is sent."""


class Document(NamedTuple):
    id: str
    key: str
    created: float
    owner: str
    content: str = "as sent"


def _created(document: str, at: float) -> KnownItem:
    return KnownItem(0, document, State.CREATED, 1, at, at)


class Record:
    """What the journal holds of the item and of its lane."""

    def __init__(self) -> None:
        self.state = State.PLANNED
        self.attempt = self.possible = self.failures = 0
        self.first_sent: float | None = None
        self.last_sent: float | None = None
        self.words: str | None = None
        self.document: str | None = None
        self.ever: float | None = None
        self.swept: float | None = None

    def copy(self) -> Record:
        other = Record()
        other.__dict__.update(self.__dict__)
        return other


class Lane:
    """A lane of a journal in memory, as far as a reconciler uses one."""

    location = "here"

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now

    def lasts(self, seconds: float) -> bool:
        return True

    async def facts(self) -> LaneFacts:
        return self._world.facts()

    async def known(self) -> dict[str, KnownItem]:
        item = self._world.item
        known = [self._world.elder, *self._world.others] if self._world.variant.known else []
        others = {one.key: _created(one.document, one.sent_at) for one in known}
        mine = KnownItem(1, item.document, item.state, item.possible, item.first_sent, item.last_sent)
        return {**others, ITEM: mine}

    async def controls(self, since: float | None, limit: int) -> list[Control]:
        if not self._world.variant.controls:
            return []
        item = self._world.item
        found = self._world.others[::-1]
        if item.state is State.CREATED and item.document is not None:
            found.insert(0, Control(ITEM, item.document, item.last_sent or 0.0))
        return [one for one in found if one.sent_at >= (since or 0.0)][:limit]

    async def ambiguous(self) -> list[SentItem]:
        item = self._world.item
        sent_at = item.last_sent or 0.0
        failures = item.failures if self._world.variant.held else 0
        sent = SentItem(1, ITEM, item.attempt, sent_at, failures, item.words)
        return [sent] if item.state is State.SENT else []

    async def note_ambiguous(self, at: float) -> None:
        self._world.item.ever = max(self._world.item.ever or 0.0, at)

    async def prove(self) -> None:
        """It is proven: the control was the canary."""

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        self._world.item.state, self._world.item.document = State.CREATED, document
        return True

    async def mark_planned(self, ordinal: int, attempt: int, *, listed: bool = False) -> bool:
        self._world.item.state = State.PLANNED
        self._world.item.failures += self._world.item.words is not None
        return True

    async def mark_unknown(self, ordinal: int, attempt: int, reason: str) -> bool:
        self._world.item.state = State.UNKNOWN
        return True

    async def adopt(self, ordinal: int, document: str) -> bool:
        item = self._world.item
        if ordinal != 1 or item.state not in (State.REJECTED, State.UNKNOWN, State.PLANNED):
            return False
        item.state, item.document, item.possible = State.CREATED, document, max(item.possible, 1)
        return True

    async def listed(self) -> None:
        self._world.resumed = self._world.unclean = False

    async def note_copies(self, documents: Sequence[str]) -> None:
        self._world.noted = list(documents)

    async def swept(self, at: float) -> None:
        self._world.item.swept = at if self._world.variant.sweep != 1.0 else 10.0**9

    async def delete_intended(self, document: str, key: str, reason: str) -> int:
        self._world.die_at("in sweep")
        self._world.log.append(document)
        return len(self._world.log)

    async def delete_ended(self, deletion: int, outcome: str) -> None:
        return


class Place:
    """The location as a target of the reconciler."""

    answerable = True

    def __init__(self, world: World) -> None:
        self._world = world

    async def listing(self) -> AsyncGenerator[tuple[str | None, Copy], None]:
        for document in self._world.listing():
            copy = Copy(document.id, document.created, True, document.content)
            yield document.key or None, copy

    async def exists(self, document_id: str) -> bool | None:
        return None

    async def delete(self, document_id: str) -> bool:
        world = self._world
        assert document_id in world.log, "every deletion is written down before its request leaves"
        owner = world.documents.pop(document_id).owner
        world.deleted[owner] += 1
        return True


class World:
    """One execution of a script."""

    def __init__(self, variant: Variant, script: Script) -> None:
        self.variant = variant
        self.script = script
        self.now = START
        self.item = Record()
        self.resumed = self.unclean = False
        self.documents: dict[str, Document] = {}
        self.others: list[Control] = []
        """What the journal knows of other items, which are created whenever this one is sent."""
        self.create_other(CONTROL, START - 50)
        self.elder = Control("elder", "elder", START - 60)
        """An item that the journal knows, and that is not among the controls: there are too many of them."""
        self.documents["elder"] = Document("elder", "elder", START - 60, "control")
        self.deleted: Counter[str] = Counter()
        self.log: list[str] = []
        self.noted: list[str] = []
        self._outcomes = list(script.outcomes)
        self._crashes = dict(script.crashes)
        self._passed: Counter[str] = Counter()
        self._crashed = False
        self._looks = 0
        self._shown: set[str] = set()
        self._sent_again = False
        self._reconciler = Reconciler(
            Place(self),  # type: ignore[arg-type]
            TIMING,
            asyncio.Event(),
            wait=self._wait,
            own=variant.own,
            page=variant.page,
        )
        self._lane: Any = Lane(self)

    # ------------------------------------------------------------------------------------ what happens

    async def _wait(self, seconds: float) -> None:
        self.now += seconds if self.variant.pauses else 0.0

    def die_at(self, place: str) -> None:
        self._passed[place] += 1
        if self._crashes.get(place) == self._passed[place]:
            raise InterruptedError

    def create_other(self, name: str, at: float) -> None:
        self.documents[name] = Document(name, name, at, "control")
        self.others.append(Control(name, name, at))

    def commit(self, at: float) -> str:
        number = sum(one.owner == "ours" for one in self.documents.values()) + self.deleted["ours"]
        self.documents[f"ours-{number}"] = Document(f"ours-{number}", ITEM, at, "ours")
        if self.script.people in ("copy the item", "copy and change the item"):
            content = "as sent" if self.script.people == "copy the item" else "changed"
            name = f"people-{number}"
            self.documents[name] = Document(name, ITEM, at + 3, "people", content)
        if self.script.people == "copy the item hours later":
            self.documents[f"people-{number}"] = Document(f"people-{number}", ITEM, at + HOURS, "people")
        if self.script.people == "copy the control":
            self.documents["people"] = Document("people", CONTROL, at + 3, "people")
        return f"ours-{number}"

    def listing(self) -> list[Document]:
        """Give what the location shows at this moment.

        A list *lags* by half of the settle time, or three times as *long*. *Reordered*, it begins with a page of
        documents that are far older than the run. *Mixed*, some of these stand between the control and the others.
        *Keyless*, it gives no keys any more. *Empty once*, its first answer holds nothing. *Neighbours* means that the
        control is shown with the key of the item, *old neighbours* that a document is that is not a control.
        """
        self._looks += 1
        lists = self.script.lists
        lag = {"lags": S / 2, "lags longer": 3 * S}.get(lists, 0.0)
        shown = [one for one in self.documents.values() if one.created <= self.now - lag]
        shown.sort(key=lambda one: one.created, reverse=lists != "reordered")
        if lists == "reordered":
            shown = [Document(f"old-{n}", "", 1.0, "people") for n in range(101)] + shown
        elif lists == "mixed":
            shown.sort(key=lambda one: one.owner != "control")
            others = sum(one.owner == "control" for one in shown)
            shown[others:others] = [Document(f"old-{n}", "", 1.0, "people") for n in range(5)]
        elif lists == "keyless":
            shown = [one._replace(key="") for one in shown]
        elif lists == "empty once" and self._looks == 1:
            shown = []
        elif lists == "neighbours":
            shown = [one._replace(key=ITEM) if one.id == "control" else one for one in shown]
        elif lists == "old neighbours":
            shown = [one._replace(key=ITEM) if one.id == "elder" else one for one in shown]
        self._shown = {one.id for one in shown}
        return shown

    # ------------------------------------------------------------------------------------ the protocol

    def facts(self) -> LaneFacts:
        item = self.item
        is_sent = item.state is State.SENT
        known = [moment for moment in (item.ever, item.last_sent if is_sent else None) if moment is not None]
        return LaneFacts(
            planned=int(item.state is State.PLANNED),
            ambiguous=int(is_sent),
            proven=True,
            last_ambiguous_sent=item.last_sent if is_sent else None,
            last_ambiguous_ever=max(known, default=None) if self.variant.sweep else None,
            swept_at=item.swept,
            resumed=self.resumed and self.variant.look,
            unclean=self.unclean,
        )

    def run(self) -> str:
        """Carry the script out; how it ended.

        *Reported* is a second document that the sweep named and did not delete. *Taken for ours* is the deletion of an
        unchanged copy that a person made of an item with more than one request, and no more of them than requests.
        *Deleted* is any other deletion of what is not ours, *stopped* an end with a reason, which leaves the item as it is.
        *Sent again* is an item whose document stood in the list that was read before its request; the sweep heals that,
        but people and automations see both until then. *Held* is an item that was left to a person, *endless* an execution that would go on for ever.
        """
        planned = self.item.copy()
        done = False
        starts = 0
        while not done and starts < 6 and self.item.attempt < 20:
            try:
                done = self.step()
            except InterruptedError:
                self.now += self.script.down
                if self.script.loses_writes and not self._crashed:
                    self.item, self.others = planned.copy(), self.others[:1]
                self._crashed = self.resumed = self.unclean = True
            except Inconclusive:
                starts += 1
                self.now += S  # a person starts it again
                self.resumed = True
        self.now += 10 * S
        return self.verdict(done)

    def verdict(self, done: bool) -> str:
        ours = [one.id for one in self.documents.values() if one.owner == "ours"]
        if self.deleted["control"]:
            return "deleted"
        if self.deleted["people"]:
            is_equal = self.script.people == "copy the item"
            return "taken for ours" if is_equal and len(self.log) < self.item.possible else "deleted"
        if self.item.state is State.CREATED and self.item.document not in ours:
            return "lost"
        if self._sent_again:
            return "sent again"
        if not done:
            return "endless" if self.item.attempt >= 20 else "stopped"
        if self.item.state is State.UNKNOWN and self.script.poison:
            return "held" if not ours else "lost"
        wanted = int(self.item.state is State.CREATED)
        if len(ours) <= wanted:
            return "right" if len(ours) == wanted else "lost"
        return "reported" if set(self.noted) >= set(ours) - {self.item.document} else "duplicate"

    def step(self) -> bool:
        timing = TIMING if self.variant.settle else Timing(0.0, 0.0)
        decision = next_step(self.facts(), self.now, timing)
        if decision.step is Step.WAIT_SWEEP and self.variant.sweep == 1.0:
            self.now += 1.0 + S / 10
            decision = decision._replace(step=Step.SWEEP)
        match decision.step:
            case Step.SEND:
                self.send()
            case Step.SETTLE | Step.WAIT_SWEEP:
                self.now = decision.until
            case Step.LOOK:
                self.die_at("in look")
                finish(self._reconciler.look(self._lane, unclean=self.unclean))
            case Step.RECONCILE:
                self.die_at("in reconcile")
                if self.variant.reconcile:
                    finish(self._reconciler.reconcile(self._lane))
                else:
                    self.item.state = State.PLANNED
            case Step.SWEEP:
                self.die_at("in sweep")
                finish(self._reconciler.sweep(self._lane))
            case Step.DONE:
                return True
        return False

    def send(self) -> None:
        item = self.item
        self._sent_again |= any(
            one.owner == "ours" and one.id in self._shown for one in self.documents.values()
        )
        self.die_at("before intent")
        if self.variant.intent:
            item.state, item.last_sent = State.SENT, self.now
            item.attempt += 1
            item.possible += 1
            item.first_sent = item.first_sent or self.now
        self.die_at("after intent")
        delay, seen = (
            POISON if self.script.poison else SERVER[self._outcomes.pop(0) if self._outcomes else "ok"]
        )
        made = self.commit(self.now + delay) if delay is not None else None
        self.create_other(f"{CONTROL} {item.attempt} {self.now}", self.now)
        self.die_at("after send")
        self.now += 0.1
        self.die_at("before outcome")
        if seen == "page":
            is_believed = (
                not self.variant.pages or judge(PAGE_OF_A_GATEWAY, addressed=False) is AttemptOutcome.REJECTED
            )
            seen = "rejected" if is_believed else "ambiguous"
        item.words = "500 oops" if seen == "fails" else None
        if seen == "ok":
            item.state, item.document = State.CREATED, made
        elif seen == "rejected":
            item.state = State.REJECTED
            item.possible -= 1
        elif seen == "not executed" or not self.variant.intent:
            item.possible -= self.variant.intent
            item.state = State.PLANNED
        else:
            item.ever = self.now
        self.die_at("after outcome")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something real")
