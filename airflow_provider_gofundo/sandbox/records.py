"""The records of one list: any number of them, rendered when asked for, changeable while the sandbox runs."""

from __future__ import annotations

import json
import threading
from array import array
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeVar

from .clock import Clock
from .fields import START, Column, Rows
from .messages import json_text
from .orders import Key, KeyOf, Merged, Newest, Order, Picked, Steady

INTERVAL = 3_607  # seconds between two records, as long as the last one then still lies in the past
SPAN = 63_000_000
REMEMBERED_SELECTIONS = 8
FEW = 32
T = TypeVar("T", int, Key)


@dataclass(frozen=True)
class Selection:
    """What a request asks of a list: equal fields, a least `updated_at`, an order."""

    equal: tuple[tuple[str, str], ...] = ()
    updated_since: float | None = None
    sort: str = "id"
    newest_first: bool = False


class Records:
    """A list of records with ids from 1 up. Every method may be called from any thread."""

    def __init__(self, name: str, columns: dict[str, Column], count: int, clock: Clock) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.version = 0
        self._clock = clock
        self._interval = max(1, min(INTERVAL, SPAN // max(count, 1)))
        self._last = count
        self._deleted: list[int] = []
        self._moved: list[Key] = []  # (updated, id) of the records with stamps of their own
        self._off: list[int] = []  # their ids and the deleted ones: who is not where its id says
        self._stamps: dict[int, tuple[int, int]] = {}
        self._changes: dict[int, dict[str, str]] = {}
        self._columns = columns
        self._template = "{" + ",".join(f'"{name}":%s' for name in columns) + "}"
        self._selections: OrderedDict[tuple[int, Selection], Order] = OrderedDict()

    def __len__(self) -> int:
        return self._last - len(self._deleted)

    def __contains__(self, record_id: int) -> bool:
        return 1 <= record_id <= self._last and not _within(self._deleted, record_id)

    @property
    def field_names(self) -> tuple[str, ...]:
        """The fields of a record, in order."""
        return tuple(self._columns)

    def created(self, record_id: int) -> int:
        """Seconds since 1970 of the record's creation."""
        own = self._stamps.get(record_id)
        return own[0] if own else self._computed(record_id)

    def updated(self, record_id: int) -> int:
        """Seconds since 1970 of the record's last change."""
        own = self._stamps.get(record_id)
        return own[1] if own else self._computed(record_id)

    def _computed(self, record_id: int) -> int:
        """The time of a record without stamps of its own."""
        return START + record_id * self._interval

    def _stamps_of(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        if not self._stamps or self._stamps.keys().isdisjoint(ids):
            same = [START + i * self._interval for i in ids]
            return same, same
        return [self.created(i) for i in ids], [self.updated(i) for i in ids]

    def _column(self, name: str, rows: Rows) -> list[str]:
        texts = self._columns[name](rows)
        if not self._changes:
            return texts
        changes = self._changes
        return [changes[i].get(name, text) if i in changes else text for i, text in zip(rows.ids, texts, strict=True)]

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The records as JSON."""
        rows = Rows(ids, self._stamps_of)
        columns = (self._column(name, rows) for name in self._columns)
        return list(map(self._template.__mod__, zip(*columns, strict=True)))

    def value(self, record_id: int) -> dict[str, Any]:
        """The record as a value."""
        record: dict[str, Any] = json.loads(self.texts((record_id,))[0])
        return record

    def insert(self, count: int = 1, *, at: float | None = None) -> list[int]:
        """Add records at the end, created now or at the given time; answers their ids."""
        with self.lock:
            first, moment = self._last + 1, self._moment(at)
            self._last += count
            ids = list(range(first, self._last + 1))
            self._stamp(dict.fromkeys(ids, (moment, moment)))
            return ids

    def delete(self, ids: Iterable[int]) -> int:
        """Remove these records; answers how many were there."""
        with self.lock:
            gone = sorted({i for i in ids if i in self})
            moved = [i for i in gone if i in self._stamps]
            self._moved = _without(self._moved, [(self._stamps[i][1], i) for i in moved])
            self._off = _with(self._off, [i for i in gone if i not in self._stamps])
            self._deleted = _with(self._deleted, gone)
            self.version += 1
            return len(gone)

    def touch(self, ids: Iterable[int], *, at: float | None = None) -> int:
        """Set `updated_at` of these records to now or to the given time; answers how many were there."""
        with self.lock:
            moment = self._moment(at)
            stamps = {i: (self.created(i), moment) for i in ids if i in self}
            self._stamp(stamps)
            return len(stamps)

    def change(self, record_id: int, values: Mapping[str, object], *, at: float | None = None) -> bool:
        """Give a record new values (unknown fields are ignored); False if there is no such record."""
        with self.lock:
            if record_id not in self:
                return False
            known = {n: json_text(v) for n, v in values.items() if n in self._columns and n != "id"}
            if known:
                self._changes.setdefault(record_id, {}).update(known)
            self._stamp({record_id: (self.created(record_id), self._moment(at))})
            return True

    def _stamp(self, stamps: Mapping[int, tuple[int, int]]) -> None:
        """Give these records stamps of their own."""
        again = [i for i in stamps if i in self._stamps]
        self._moved = _without(self._moved, [(self._stamps[i][1], i) for i in again])
        self._off = _with(self._off, [i for i in stamps if i not in self._stamps])
        self._moved = _with(self._moved, [(updated, i) for i, (_, updated) in stamps.items()])
        self._stamps.update(stamps)
        self.version += 1

    def _moment(self, at: float | None) -> int:
        return int(self._clock.now() if at is None else at)

    def select(self, selection: Selection) -> Order:
        """The selected records, in the order asked for."""
        with self.lock:
            key = (self.version, selection)
            order = self._selections.get(key)
            if order is None:
                order = self._selections[key] = self._select(selection)
                if len(self._selections) > REMEMBERED_SELECTIONS:
                    self._selections.popitem(last=False)
            return order

    def _select(self, selection: Selection) -> Order:
        since, key_of = selection.updated_since, _key_of(selection, self.updated)
        order: Order
        if since is None and selection.sort == "id":
            order = Steady(1, self._last, self._deleted, key_of)
        else:
            first, moved = 1, self._moved
            if since is not None:
                first = min(max(1, ceil((since - START) / self._interval)), self._last + 1)
                moved = moved[bisect_left(moved, (ceil(since),)) :]
            if selection.sort == "id":
                moved = sorted(key[-1:] for key in moved)
            order = Merged(Steady(first, self._last, self._off, _key_of(selection, self._computed)), moved, key_of)
        if selection.equal:
            ids = order.part(0, len(order))
            for name, wanted in selection.equal:
                ids = self._equal(ids, name, wanted)
            order = Picked(ids, key_of)
        return Newest(order) if selection.newest_first else order

    def _equal(self, ids: Sequence[int], name: str, wanted: str) -> Sequence[int]:
        """Those whose field is `wanted`, written as text, number, boolean or null."""
        texts = {json_text(wanted), {"1": "true", "0": "false"}.get(wanted, wanted), wanted}
        found = self._column(name, Rows(ids, self._stamps_of))
        return array("q", [i for i, text in zip(ids, found, strict=True) if text in texts])


def _key_of(selection: Selection, updated: Callable[[int], int]) -> KeyOf:
    """What a record is sorted by."""
    if selection.sort == "updated_at":
        return lambda i: (updated(i), i)
    return lambda i: (i,)


def _within(items: Sequence[T], item: T) -> bool:
    """Whether an ascending sequence holds the item."""
    index = bisect_left(items, item)
    return index < len(items) and items[index] == item


def _with(items: list[T], more: Collection[T]) -> list[T]:
    """A copy of an ascending list with more items in it; orders made before keep the old one."""
    copy = items.copy()
    if len(more) > FEW:
        copy.extend(more)
        copy.sort()
        return copy
    for item in more:
        insort(copy, item)
    return copy


def _without(items: list[T], gone: Collection[T]) -> list[T]:
    """A copy of an ascending list without these items, all of which are in it."""
    if len(gone) > FEW:
        absent = frozenset(gone)
        return [item for item in items if item not in absent]
    copy = items.copy()
    for item in gone:
        del copy[bisect_left(copy, item)]
    return copy
