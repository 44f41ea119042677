"""The records of one list: any number of them, rendered when asked for, changeable while the sandbox runs."""

from __future__ import annotations

import json
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .clock import Clock
from .fields import START, Column, Rows
from .messages import json_text

INTERVAL = 3_607  # seconds between two records, as long as the last one then still lies in the past
SPAN = 63_000_000
REMEMBERED_SELECTIONS = 8


@dataclass(frozen=True)
class Selection:
    """What a request asks of a list: equal fields, a least `updated_at`, an order."""

    equal: tuple[tuple[str, str], ...] = ()
    updated_since: float | None = None
    sort: str = "id"


class Records:
    """A list of records with ids from 1 up. Every method may be called from any thread."""

    def __init__(self, name: str, columns: dict[str, Column], count: int, clock: Clock) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.version = 0
        self._clock = clock
        self._interval = max(1, min(INTERVAL, SPAN // max(count, 1)))
        self._last = count
        self._deleted: set[int] = set()
        self._stamps: dict[int, tuple[int, int]] = {}
        self._changes: dict[int, dict[str, str]] = {}
        self._columns = columns
        self._template = "{" + ",".join(f'"{name}":%s' for name in columns) + "}"
        self._selections: OrderedDict[tuple[int, Selection], Sequence[int]] = OrderedDict()

    def __len__(self) -> int:
        return self._last - len(self._deleted)

    def __contains__(self, record_id: int) -> bool:
        return 1 <= record_id <= self._last and record_id not in self._deleted

    @property
    def field_names(self) -> tuple[str, ...]:
        """The fields of a record, in order."""
        return tuple(self._columns)

    def created(self, record_id: int) -> int:
        """Seconds since 1970 of the record's creation."""
        own = self._stamps.get(record_id)
        return own[0] if own else START + record_id * self._interval

    def updated(self, record_id: int) -> int:
        """Seconds since 1970 of the record's last change."""
        own = self._stamps.get(record_id)
        return own[1] if own else START + record_id * self._interval

    def _stamps_of(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        if not self._stamps:
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
            self._stamps.update((i, (moment, moment)) for i in range(first, self._last + 1))
            self.version += 1
            return list(range(first, self._last + 1))

    def delete(self, ids: Iterable[int]) -> int:
        """Remove these records; answers how many were there."""
        with self.lock:
            gone = {i for i in ids if i in self}
            self._deleted |= gone
            self.version += 1
            return len(gone)

    def touch(self, ids: Iterable[int], *, at: float | None = None) -> int:
        """Set `updated_at` of these records to now or to the given time; answers how many were there."""
        return sum(self.change(i, {}, at=at) for i in ids)

    def change(self, record_id: int, values: Mapping[str, object], *, at: float | None = None) -> bool:
        """Give a record new values (unknown fields are ignored); False if there is no such record."""
        with self.lock:
            if record_id not in self:
                return False
            self._stamps[record_id] = (self.created(record_id), self._moment(at))
            known = {n: json_text(v) for n, v in values.items() if n in self._columns and n != "id"}
            if known:
                self._changes.setdefault(record_id, {}).update(known)
            self.version += 1
            return True

    def _moment(self, at: float | None) -> int:
        return int(self._clock.now() if at is None else at)

    def select(self, selection: Selection) -> Sequence[int]:
        """The ids of the selected records, in the order asked for."""
        with self.lock:
            key = (self.version, selection)
            ids = self._selections.get(key)
            if ids is None:
                ids = self._selections[key] = self._select(selection)
                if len(self._selections) > REMEMBERED_SELECTIONS:
                    self._selections.popitem(last=False)
            return ids

    def _select(self, selection: Selection) -> Sequence[int]:
        ids: Sequence[int] = range(1, self._last + 1)
        since = selection.updated_since
        if since is not None:
            first = bisect_left(ids, since, key=lambda i: START + i * self._interval) + 1
            ids = range(first, self._last + 1)
            if self._stamps:
                moved = [i for i, (_, updated) in self._stamps.items() if updated >= since]
                ids = array("q", sorted([*(i for i in ids if i not in self._stamps), *moved]))
        if self._deleted:
            ids = array("q", [i for i in ids if i not in self._deleted])
        for name, wanted in selection.equal:
            ids = self._equal(ids, name, wanted)
        if selection.sort == "updated_at" and self._stamps:
            ids = array("q", sorted(ids, key=lambda i: (self.updated(i), i)))
        return ids

    def _equal(self, ids: Sequence[int], name: str, wanted: str) -> Sequence[int]:
        """Those whose field is `wanted`, written as text, number, boolean or null."""
        texts = {json_text(wanted), {"1": "true", "0": "false"}.get(wanted, wanted), wanted}
        found = self._column(name, Rows(ids, self._stamps_of))
        return array("q", [i for i, text in zip(ids, found, strict=True) if text in texts])

    def after(self, ids: Sequence[int], selection: Selection, key: tuple[int, ...]) -> int:
        """The index of the first selected record behind a cursor's key."""
        return bisect_right(ids, key, key=self.sort_key(selection))

    def before(self, ids: Sequence[int], selection: Selection, key: tuple[int, ...]) -> int:
        """The number of selected records in front of a cursor's key."""
        return bisect_left(ids, key, key=self.sort_key(selection))

    def sort_key(self, selection: Selection) -> Callable[[int], tuple[int, ...]]:
        """What a cursor remembers of a record: what the list is ordered by."""
        if selection.sort == "updated_at":
            return lambda i: (self.updated(i), i)
        return lambda i: (i,)
