"""Lists: await a pager for the first page, iterate over it for all pages' items.

The API pages by offset and limit, without a cursor. ``total`` may be missing or wrong
(docs/api-facts.md#api-pagination), and a page may be smaller than its limit. So the offset advances by the entries
that arrived, and a short page ends the list only when ``total`` agrees. Entries of the previous pages are not yielded
again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, overload

from hl_async.errors import InvalidRequest

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

DEFAULT_LIMIT: Final = 100
"""Items per request; the size that production clients use."""

# A document that is created meanwhile pushes others onto the next page. Four pages of ids bound the memory.
_REMEMBERED_PAGES: Final = 4


class ListEnvelope(Protocol[T_co]):
    """The entries and the total of a list answer, under any names on the wire."""

    @property
    def entries(self) -> Sequence[T_co]: ...

    @property
    def total(self) -> int | None: ...


class Page(Generic[T]):
    """One page of a list.

    Attributes:
        items: The entries of the page.
        offset: The position of the page in the list, from 0.
        total: The length of the list as the server states it, None if it states none.
        has_more: Whether another page may follow.
    """

    __slots__ = ("has_more", "items", "offset", "total")

    def __init__(self, items: Sequence[T], *, offset: int, total: int | None, has_more: bool) -> None:
        self.items: list[T] = list(items)
        self.offset: int = offset
        self.total: int | None = total
        self.has_more: bool = has_more

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        return self.items[place]

    def __repr__(self) -> str:
        total = "unknown" if self.total is None else self.total
        return f"<Page of {len(self.items)} from {self.offset}, total {total}>"


class Pager(Generic[T]):
    """A list that is fetched while it is read.

    Nothing is requested before it is awaited or iterated. ``await pager`` gives the first :class:`Page`,
    ``async for item in pager`` every item, ``pager.pages()`` every page, ``await pager.collect()`` a list,
    ``await pager.count()`` the number of items.

    Each iteration starts from the beginning. While documents are created or deleted, an offset list can miss entries
    that move across the edge of a page. The client cannot notice that.

    Args:
        fetch: Reads the page of an offset and a limit.
        limit: Entries per request.
        offset: Entries to skip.
        identity: Returns the identity of an entry, by which entries of earlier pages are left out; by default its
            ``id``.

    Raises:
        InvalidRequest: The limit or the offset is not a whole number in its range.
    """

    __slots__ = ("_fetch", "_identity", "_limit", "_offset")

    def __init__(
        self,
        fetch: Callable[[int, int], Awaitable[ListEnvelope[T]]],
        *,
        limit: int | None = None,
        offset: int = 0,
        identity: Callable[[T], object] | None = None,
    ) -> None:
        self._limit = DEFAULT_LIMIT if limit is None else limit
        if isinstance(self._limit, bool) or not isinstance(self._limit, int) or self._limit < 1:
            raise InvalidRequest("limit", f"{limit!r} is not a page size; give a whole number from 1")
        if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
            raise InvalidRequest("offset", f"{offset!r} is not a position; give a whole number from 0")
        self._fetch = fetch
        self._offset = offset
        self._identity = identity or _id_of

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._first().__await__()

    if not TYPE_CHECKING:

        def __iter__(self) -> Iterator[T]:
            raise TypeError("a Pager is read with 'async for'; 'await pager' gives its first page")

    async def _first(self) -> Page[T]:
        page = await _Walk(self._fetch, self._limit, self._offset, self._identity).next_page()
        assert page is not None  # a walk always gives a first page
        return page

    async def __aiter__(self) -> AsyncIterator[T]:
        walk = _Walk(self._fetch, self._limit, self._offset, self._identity)
        while (page := await walk.next_page()) is not None:
            for item in page.items:
                yield item

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Yield every page, the first one even when it is empty."""
        walk = _Walk(self._fetch, self._limit, self._offset, self._identity)
        while (page := await walk.next_page()) is not None:
            yield page

    async def collect(self, at_most: int | None = None) -> list[T]:
        """Return all items, or the first ``at_most``, as a list in memory."""
        found: list[T] = []
        # The loop below would fetch a page before it compares.
        if at_most is not None and at_most < 1:
            return found
        async for item in self:
            found.append(item)
            if len(found) == at_most:
                break
        return found

    async def count(self) -> int:
        """Return the number of items from the offset on, as the API states it.

        One request reads it, for one entry. If the API states no total, the list is read to its end.
        """
        envelope = await self._fetch(self._offset, 1)
        if not envelope.entries:
            return 0
        if envelope.total is None or envelope.total < 1:
            return sum([len(page) async for page in self.pages()])
        return max(0, envelope.total - self._offset)

    def __repr__(self) -> str:
        return f"<Pager from {self._offset}, {self._limit} per request>"


class _Walk(Generic[T]):
    """One pass through a list: its position and the entries of its latest pages."""

    __slots__ = ("_done", "_fetch", "_first", "_identity", "_largest", "_limit", "_offset", "_recent")

    def __init__(
        self,
        fetch: Callable[[int, int], Awaitable[ListEnvelope[T]]],
        limit: int,
        offset: int,
        identity: Callable[[T], object],
    ) -> None:
        self._fetch = fetch
        self._limit = limit
        self._offset = offset
        self._identity = identity
        self._largest = 0
        self._first: tuple[T, ...] | None = None
        self._recent: deque[frozenset[object]] = deque(maxlen=_REMEMBERED_PAGES)
        self._done = False

    async def next_page(self) -> Page[T] | None:
        """Return the next page, or None after the last one; the first one may be empty."""
        if self._done:
            return None
        first = self._first is None
        envelope = await self._fetch(self._offset, self._limit)
        page = self._take(envelope)
        self._done = not page.has_more
        return page if first or page.items else None

    def _remember(self, identities: Iterable[object]) -> None:
        self._recent.append(frozenset(identities) - {None})

    def _take(self, envelope: ListEnvelope[T]) -> Page[T]:
        entries = envelope.entries
        if self._first is None:
            # Its identities are read when another page follows, because many callers read one page only. A copy,
            # because a caller may change the page.
            self._first = tuple(entries)
            fresh: Sequence[T] = entries
        else:
            if not self._recent:
                self._remember(map(self._identity, self._first))
                self._first = ()  # the documents of the first page need not live as long as the walk
            identities = [self._identity(entry) for entry in entries]
            seen = frozenset[object]().union(*self._recent)
            # A document created meanwhile pushes others onto this page that were yielded already.
            fresh = [
                entry
                for entry, identity in zip(entries, identities, strict=True)
                if identity is None or identity not in seen
            ]
            self._remember(identities)
        self._largest = max(self._largest, len(entries))
        start = self._offset
        self._offset = end = start + len(entries)
        # Without this condition, a server that ignores the offset would answer the first page forever.
        more = bool(fresh) and not _is_last(len(entries), end, envelope.total, self._limit, self._largest)
        return Page(fresh, offset=start, total=envelope.total, has_more=more)


def _is_last(size: int, end: int, total: int | None, limit: int, largest: int) -> bool:
    """Return whether a page of ``size`` entries ending at ``end`` is the last one."""
    if size >= limit:
        return False  # a wrong total must not end the list on a full page
    if total is None or total <= 0:
        # A server may cap pages below the limit. So a first short page proves nothing without a total, and one more
        # request follows. Later, a page shorter than the largest one is the end.
        return size < largest
    return end >= total


def _id_of(entry: object) -> object:
    return getattr(entry, "id", None)
