"""Drift: how a list changed while it was walked, as far as its own total tells."""

from __future__ import annotations

from typing import Literal

import msgspec

OnDrift = Literal["repull", "warn", "fail"]

# Walks there may be after the first. Each goes the other way than the one before.
REPULLS = 3


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was seen of a change during the walk, and done about it.

    `seen`: the list's total changed, records came twice, or there were more or fewer than the server counts.
    `twice` records came again and were left out. `repulls` more walks found `added` more records. `complete` says
    whether every record that was there all the time is in the dataset; None where the list has no total to tell by.
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
        self.rose = False
        self.fell = False
        self.number = 0

    def see(self, total: int | None, number: int | None) -> None:
        """Take note of a page's total and number."""
        if self.first is None:
            self.first = total
        elif total is not None and self.last is not None:
            self.rose |= total > self.last
            self.fell |= total < self.last
        self.last = total
        self.number = max(self.number, number or 0)

    @property
    def changed(self) -> bool:
        """Whether the total has changed."""
        return self.rose or self.fell
