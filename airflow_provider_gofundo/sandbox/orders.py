"""The order a list is read in: positions are computed, not stored, so that a change costs no walk over the list."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

Key = tuple[int, ...]
"""What the records are sorted by; the last part is the id, so no two records share one."""
KeyOf = Callable[[int], Key]


class Order(ABC):
    """Selected ids in some order. It does not change; a changed list makes a new one."""

    @abstractmethod
    def __len__(self) -> int:
        """How many are selected."""

    @abstractmethod
    def part(self, start: int, stop: int) -> Sequence[int]:
        """The ids at these positions; fewer, or none, past the end."""

    @abstractmethod
    def before(self, key: Key) -> int:
        """How many stand in front of this place in the order."""

    @abstractmethod
    def until(self, key: Key) -> int:
        """How many stand in front of this place in the order, or in it."""


class Steady(Order):
    """The ids from `first` to `last` but for those `gone` (ascending), where the key grows with the id.

    Keys are asked of the gone ones too, as if they were there.
    """

    def __init__(self, first: int, last: int, gone: Sequence[int], key_of: KeyOf) -> None:
        self._ids = range(first, last + 1)
        self._gone = gone
        self._skip = bisect_left(gone, first)
        self._key_of = key_of

    def __len__(self) -> int:
        return len(self._ids) - (len(self._gone) - self._skip)

    def part(self, start: int, stop: int) -> Sequence[int]:
        stop = min(stop, len(self))
        if start >= stop:
            return ()
        ids = range(self._at(start), self._at(stop - 1) + 1)
        gone = self._gone[bisect_left(self._gone, ids[0]) : bisect_left(self._gone, ids[-1])]
        if not gone:
            return ids
        absent = frozenset(gone)
        return [i for i in ids if i not in absent]

    def _at(self, position: int) -> int:
        """The id at a position: further on by as many as are gone in front of it."""
        gone, skip, first = self._gone, self._skip, self._ids.start
        passed = bisect_right(range(skip, len(gone)), position, key=lambda n: gone[n] - first - (n - skip))
        return first + position + passed

    def before(self, key: Key) -> int:
        return self._less(bisect_left(self._ids, key, key=self._key_of))

    def until(self, key: Key) -> int:
        return self._less(bisect_right(self._ids, key, key=self._key_of))

    def _less(self, offset: int) -> int:
        """How many of the first ids are there."""
        return offset - (bisect_left(self._gone, self._ids.start + offset) - self._skip)


class Merged(Order):
    """An order with records `moved` into it: their keys, ascending, each with the id at its end."""

    def __init__(self, steady: Steady, moved: Sequence[Key], key_of: KeyOf) -> None:
        self._steady = steady
        self._moved = moved
        self._key_of = key_of

    def __len__(self) -> int:
        return len(self._steady) + len(self._moved)

    def part(self, start: int, stop: int) -> Sequence[int]:
        first, end = self._moved_in_front(start), self._moved_in_front(stop)
        ids = self._steady.part(start - first, stop - end)
        if first == end:
            return ids
        return sorted([*ids, *(key[-1] for key in self._moved[first:end])], key=self._key_of)

    def _moved_in_front(self, position: int) -> int:
        return bisect_left(range(len(self._moved)), position, key=lambda n: n + self._steady.before(self._moved[n]))

    def before(self, key: Key) -> int:
        return self._steady.before(key) + bisect_left(self._moved, key)

    def until(self, key: Key) -> int:
        return self._steady.until(key) + bisect_right(self._moved, key)


class Picked(Order):
    """Ids picked one by one, in the order given."""

    def __init__(self, ids: Sequence[int], key_of: KeyOf) -> None:
        self._ids = ids
        self._key_of = key_of

    def __len__(self) -> int:
        return len(self._ids)

    def part(self, start: int, stop: int) -> Sequence[int]:
        return self._ids[start:stop]

    def before(self, key: Key) -> int:
        return bisect_left(self._ids, key, key=self._key_of)

    def until(self, key: Key) -> int:
        return bisect_right(self._ids, key, key=self._key_of)


class Newest(Order):
    """An order from its end to its beginning."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def part(self, start: int, stop: int) -> Sequence[int]:
        size = len(self)
        if start >= size:
            return ()
        return self._order.part(max(0, size - stop), size - start)[::-1]

    def before(self, key: Key) -> int:
        return len(self) - self._order.until(key)

    def until(self, key: Key) -> int:
        return len(self) - self._order.before(key)
