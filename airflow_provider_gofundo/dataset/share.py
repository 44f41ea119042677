"""Share: what pulling one shard left, and what several say together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import msgspec

from airflow_provider_gofundo.dataset.drift import Drift
from airflow_provider_gofundo.dataset.manifest import Part


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """
    What pulling a shard left.

    `run` is the try that pulled it, and began when it `started`; `recipe` is a digest of what was asked for. `total`
    is what the server said first and last, of the whole list for a page range, and `fell` whether that has fallen in
    between. To hold page ranges against each other there are marks of the `first` record and of the one `following`
    the last, and in `order` the first key and the last, None where they were not in order.
    """

    run: str
    started: str
    recipe: str
    fell: bool
    first: str | None
    following: str | None
    order: tuple[int, int] | None
    parts: list[Part]
    records: int
    pages: int
    total: tuple[int | None, int | None]
    drift: Drift


def share_of(document: bytes | None) -> Share | None:
    """Return what a shard's file says, None where there is none, or one of another version of this package."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(document or b"", type=Share)
    return None


def have_moved(ranges: Sequence[Share]) -> bool:
    """Whether records may have moved from one page range to another: all but a list that only grew, at its end."""
    totals = [total for share in ranges for total in share.total]
    fell = any(a is not None and b is not None and b < a for a, b in pairwise(totals))
    return (
        fell
        or any(share.fell or share.drift.twice for share in ranges)
        or any(one.following != other.first for one, other in pairwise(ranges))
        or sum(share.records for share in ranges) != totals[-1]
    )


def together(shares: Sequence[Share]) -> Drift:
    """What several lists of their own say of themselves, as one."""
    drifts = [share.drift for share in shares]
    complete = {drift.complete for drift in drifts}
    return Drift(
        seen=any(drift.seen for drift in drifts),
        twice=sum(drift.twice for drift in drifts),
        repulls=sum(drift.repulls for drift in drifts),
        added=sum(drift.added for drift in drifts),
        complete=False if False in complete else None if None in complete else True,
    )


def totals_of(shares: Sequence[Share]) -> tuple[int | None, int | None]:
    """What the servers of several lists said first and last, taken together; None where one of them said nothing."""
    first, last = ([share.total[n] for share in shares] for n in (0, 1))
    return _sum(first), _sum(last)


def _sum(totals: Sequence[int | None]) -> int | None:
    known = [total for total in totals if total is not None]
    return sum(known) if len(known) == len(totals) else None
