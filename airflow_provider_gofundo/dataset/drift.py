"""Drift: how a list changed while it was walked, as far as its own total tells."""

from __future__ import annotations

from math import ceil
from typing import Literal

import msgspec

OnDrift = Literal["repull", "warn", "fail"]

# Walks there may be after the first.
REPULLS = 12

# So few records expected to be missing are none: a list that changes both ways in every walk is left then.
NEGLIGIBLE = 1e-5


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was seen of a change during the walk, and done about it.

    `seen`: the list's total changed, records came twice, or there were more or fewer than the server counts.
    `twice` records came again and were left out. `repulls` more walks, of all pages or of those around a change,
    found `added` more records. `complete` says whether every record that was there all the time is in the dataset;
    None where the list has no total to tell by. A record that goes and one that comes between the same two answers
    leave the total as it was, and cannot be seen.
    """

    seen: bool = False
    twice: int = 0
    repulls: int = 0
    added: int = 0
    complete: bool | None = None


class Watch:
    """
    The totals that a walk saw, page by page.

    Rows that are removed move later ones to earlier pages: a walk forward may miss some then, a walk backward sees
    some twice. Rows that are added move later ones to later pages, and it is the other way round.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.last: int | None = None
        self.rose = 0
        self.fell = 0
        self.number = 0
        self._places: list[int] = []  # the numbers of the pages that told another total than the one before

    def see(self, total: int | None, number: int | None) -> None:
        """Take note of a page's total and number."""
        if self.first is None:
            self.first = total
        elif total is not None and self.last is not None:
            self.rose += max(0, total - self.last)
            self.fell += max(0, self.last - total)
            if total != self.last:
                self._places.append(number or 1)
        self.last = total
        self.number = max(self.number, number or 0)

    @property
    def changed(self) -> bool:
        """Whether the total has changed."""
        return self.rose + self.fell > 0

    def odds(self, boundaries: int, records: int) -> float:
        """
        How likely a walk has missed one record of so many, if changes fall at random.

        A change moves one record past each boundary between pages that is just being crossed; a walk that saw none
        is not trusted to the end, but counts as one change.
        """
        return min(1.0, max(1, self.rose + self.fell) * boundaries / max(1, records))

    def explains(self, records: int) -> bool:
        """Whether a list that changed as was seen may have shown so many records."""
        return self.first is not None and self.first - self.fell <= records <= self.first + self.rose

    def around(self, reach: int, per_page: int) -> list[range]:
        """
        The pages that records may have slipped between, where pages up to `reach` apart were under way at once.

        A change that one answer tells of may already have been in the records of the answer before: a server counts
        first and reads after. Since then all changes together may have moved records as far as they are many.
        """
        reach += 1 + ceil((self.rose + self.fell + 1) / per_page)
        found: list[range] = []
        for place in self._places:
            start, stop = max(1, place - reach), min(self.number, place + reach) + 1
            if found and start <= found[-1].stop:
                start = found.pop().start
            found.append(range(start, stop))
        return found
