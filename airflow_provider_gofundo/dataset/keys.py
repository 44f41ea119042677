"""Keys: which records have been seen, in little memory."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from operator import gt, lt
from typing import Any

import msgspec

from airflow_provider_gofundo.exceptions import GofundoResponseError

_MASK = (1 << 64) - 1
_TOP = 1 << 63
_LAST = _TOP - 1
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}").fullmatch
_ESCAPED = re.compile(r'["\\\x00-\x1f]').search
_SPREAD = 0x9E3779B97F4A7C15  # Knuth's multiplier: neighbours land far from each other
_BITS = 6  # of a spread key: in which of the tables it lies


def is_field_name(name: object) -> bool:
    """Whether a field of that name can be read: one that JSON need not escape."""
    return isinstance(name, str) and bool(name) and not _ESCAPED(name)


def field_reader(field: str) -> Callable[[bytes | msgspec.Raw], Any]:
    """Return a function that decodes one top-level field of a raw record, and no other; None where it is missing."""
    decode = msgspec.json.Decoder(_with_only(field)).decode

    def read(raw: bytes | msgspec.Raw) -> Any:
        try:
            return decode(raw).value
        except msgspec.DecodeError:
            pass
        raise _unreadable(field)

    return read


def fields_reader(field: str) -> Callable[[Sequence[msgspec.Raw]], list[Any]]:
    """Return a function that does so for many records at once, which is several times faster."""
    decode = msgspec.json.Decoder(_with_only(field)).decode_lines

    def read(records: Sequence[msgspec.Raw]) -> list[Any]:
        try:
            return [record.value for record in decode(b"\n".join(records))]
        except msgspec.DecodeError:
            pass
        raise _unreadable(field)

    return read


def _unreadable(field: str) -> GofundoResponseError:
    return GofundoResponseError(f"The {field} of some record cannot be read, such as a number that is too large.")


def _with_only(field: str) -> Any:
    return msgspec.defstruct("Record", [("value", Any, None)], rename={"value": field}, gc=False)


def key_of(value: Any) -> int | None:
    """
    Return a key as a number from 1 to 2^64 - 1, None where there is none.

    Whole numbers are themselves, so they never collide. Of anything else it is a digest of 63 bits: among a million
    keys two that differ agree with a chance of one in 18 million. A number and its text have the same key, because a
    column of a part may make one of the other.
    """
    if type(value) is int and 0 <= value < _LAST:
        return value + 1
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER(value):
        return key_of(int(value))
    text = value.encode(errors="surrogatepass") if isinstance(value, str) else msgspec.json.encode(value)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") | _TOP


class KeySet:
    """
    A set of keys, in 11 to 16 bytes each: open-addressing tables that are never more than three quarters full.

    There are many, so that one that grows, and is there twice meanwhile, is a small part of them all.
    """

    def __init__(self) -> None:
        self._tables = [_empty(16) for _ in range(1 << _BITS)]
        self._used = [0] * len(self._tables)

    def __len__(self) -> int:
        return sum(self._used)

    def __contains__(self, key: int) -> bool:
        slots = self._tables[_table(key)]
        return slots[_place(slots, key)] == key

    @property
    def bytes(self) -> int:
        """How much memory its keys take."""
        return sum(len(slots) * slots.itemsize for slots in self._tables)

    def add(self, key: int) -> bool:
        """Put a key in; say whether it is new."""
        at = _table(key)
        slots = self._tables[at]
        if not _put(slots, key):
            return False
        self._used[at] += 1
        if 4 * self._used[at] > 3 * len(slots):
            self._tables[at] = _empty(len(slots) * 3 // 2)
            for old in slots:
                if old:
                    _put(self._tables[at], old)
        return True


def _empty(size: int) -> array[int]:
    return array("Q", bytes(8 * size))


def _table(key: int) -> int:
    """In which table a key is, or would be."""
    return (key * _SPREAD & _MASK) >> (64 - _BITS)


def _place(slots: array[int], key: int) -> int:
    """Where in its table a key is, or would be: the bits after those that say in which."""
    at = ((key * _SPREAD << _BITS & _MASK) * len(slots)) >> 64
    while (found := slots[at]) and found != key:
        at = at + 1 if at + 1 < len(slots) else 0
    return at


def _put(slots: array[int], key: int) -> bool:
    at = _place(slots, key)
    if slots[at]:
        return False
    slots[at] = key
    return True


def repeats(values: Iterable[Any], known: KeySet) -> bool:
    """Whether some of these keys are known, or come twice; they are known from then on."""
    return not all(known.add(key) for key in map(key_of, values) if key is not None)


def are_in_order(rows: Sequence[tuple[int, int] | None]) -> bool:
    """Whether rows of keys, of each the first and the last, only rise or only fall from one to the next."""
    known = [row for row in rows if row]
    rises = all(row[0] <= row[1] for row in known) and all(one[1] < next_[0] for one, next_ in pairwise(known))
    falls = all(row[0] >= row[1] for row in known) and all(one[1] > next_[0] for one, next_ in pairwise(known))
    return len(known) == len(rows) and (rises or falls)


class Once:
    """
    Lets every record through once, told by the key in one of its fields; all of them where `field` is None.

    As long as the keys only rise, or only fall, none can have come twice, and there is nothing to remember but the
    last one. From `remember` on it knows all.
    """

    def __init__(self, field: str | None) -> None:
        self.field = field
        self.twice = 0
        self.keyless = 0
        self._odd = False  # whether parts hold keys as something else than the server wrote
        self._read = fields_reader(field) if field else None
        self._goes_on: Callable[[int, int], bool] | None = None
        self._first: int | None = None
        self._last: int | None = None
        self._all: KeySet | None = None

    @property
    def remembers(self) -> bool:
        """Whether all keys are known."""
        return self._all is not None

    @property
    def can_tell(self) -> bool:
        """Whether every record had a key, and where all are known the last one in order is among them."""
        is_lost = self._all is not None and self._last is not None and self._last not in self._all
        return not (self.keyless or self._odd or is_lost)

    def keys(self, records: Sequence[msgspec.Raw]) -> list[int | None]:
        """The keys of records."""
        values = self._read(records) if self._read else ()
        # What key_of says of the usual ones, said here: there is one for every record.
        return [value + 1 if type(value) is int and 0 <= value < _LAST else key_of(value) for value in values]

    def in_order(self, keys: Sequence[int | None]) -> bool:
        """Whether keys go on, up or down, as all before them did."""
        row = [key for key in (self._last, *keys) if key is not None]
        if len(row) > 1:
            goes_on = self._goes_on or (lt if row[0] < row[1] else gt)
            if not all(map(goes_on, row, row[1:])):
                return False
            self._goes_on = goes_on
        if row:
            self._first = row[0] if self._first is None else self._first
            self._last = row[-1]
        return True

    def clash(self, records: Sequence[msgspec.Raw], keys: Sequence[int | None]) -> bool:
        """Whether one page holds unlike records of the same key, which then tells none from others."""
        if len(set(keys)) == len(keys):
            return False
        pairs = {(key, bytes(record)) for key, record in zip(keys, records, strict=True) if key is not None}
        return len({key for key, _ in pairs}) < len(pairs)

    @property
    def order(self) -> tuple[int, int] | None:
        """The first key and the last, where all are whole numbers in order; else None. Anyone can make a digest."""
        first, last = self._first, self._last
        if self.remembers or first is None or last is None or max(first, last) >= _TOP:
            return None
        return first, last

    def remember(self, values: Iterable[Any]) -> None:
        """From now on know all keys, and these among them, which are values of the field."""
        self._all = self._all or KeySet()
        for value in values:
            self._odd |= not isinstance(value, (int, str))
            if (key := key_of(value)) is not None:
                self._all.add(key)

    def new(self, records: list[msgspec.Raw], keys: Sequence[int | None]) -> list[msgspec.Raw]:
        """Return the records that were not seen before, as far as that is known."""
        if self._read is None:
            return records
        self.keyless += keys.count(None)
        if self._all is None:
            return records
        known = self._all
        new = [record for record, key in zip(records, keys, strict=True) if key is None or known.add(key)]
        self.twice += len(records) - len(new)
        return new
