"""Block: records that wait to be converted together, one a line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import msgspec


class Block:
    """
    Takes records until it holds so many of them, or so many bytes.

    Its memory serves one block after the other: to get it anew each time is 5 % of a pull's CPU.
    """

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self.records = 0
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._memory = bytearray()
        self._size = 0

    @property
    def lines(self) -> memoryview:
        """Its records, each with a newline after it; good until `clear`."""
        return memoryview(self._memory)[: self._size]

    @property
    def is_full(self) -> bool:
        return self.records >= self._most_records or self._size >= self._most_bytes

    def take(self, records: Sequence[msgspec.Raw]) -> int:
        """Take as many of these as it has room for, the first ones; return how many."""
        some = records[: self._most_records - self.records]
        lines = _lines(some)
        if self._size + len(lines) > self._most_bytes:
            sizes = [*accumulate((len(record) + 1 for record in some), initial=self._size)]
            some = some[: bisect_left(sizes, self._most_bytes)]
            lines = _lines(some)
        end = self._size + len(lines)
        if end > len(self._memory):
            # Not made longer where it is, for someone may still be looking at its lines.
            self._memory = bytearray(self.lines).ljust(max(end, self._most_bytes))
        self._memory[self._size : end] = lines
        self._size = end
        self.records += len(some)
        return len(some)

    def all(self) -> list[msgspec.Raw]:
        """Copies of its records."""
        return [msgspec.Raw(line) for line in bytes(self.lines).splitlines()]

    def clear(self) -> None:
        self.records = self._size = 0


def _lines(records: Sequence[msgspec.Raw]) -> bytes:
    return b"\n".join((*records, b""))
