"""Feed: what of a list has been seen, and what of it has still to be told."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from airflow_provider_gofundo.dataset.incremental import LOOKBACK, Incremental, Point, Watermark, point_of
from airflow_provider_gofundo.dataset.keys import fields_reader
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.pages.walk import walk

if TYPE_CHECKING:
    from airflow_provider_gofundo.client.client import GofundoClient

log = logging.getLogger(__name__)

# Records that one event tells of, at most.
MOST = 1_000

DAY = timedelta(days=1).total_seconds()


class Event(TypedDict):
    """What is told of new records: how many, their keys, and how far it has come."""

    id: str
    endpoint: str
    records: int
    keys: list[Any]
    watermark: Any


@dataclass(frozen=True)
class Seen:
    """
    What is known of a list, as it is kept between two processes.

    `since` is where it began. `watermark` is the greatest value of the field as JSON, None before there is one.
    `records` are digests of records that the next look may meet again, each with about when it was changed. `untold`
    are the events that Airflow may not have yet: they are written down here before they are sent, and struck off once
    Airflow has them.
    """

    since: str | int
    watermark: str | None = None
    records: Mapping[str, int] = field(default_factory=dict)
    untold: tuple[Event, ...] = ()

    @classmethod
    def load(cls, text: str) -> Seen | None:
        """Read what `dump` has written; None where nothing was, GofundoConfigError where it is something else."""
        try:
            return msgspec.json.decode(text, type=cls) if text else None
        except msgspec.DecodeError:
            raise GofundoConfigError(
                "What is kept of this watch cannot be read. Remove it, and the watch begins anew as of now."
            ) from None

    def dump(self) -> str:
        """Write it as JSON, without anything of a record but digests and the keys that were told."""
        return msgspec.json.encode(self).decode()

    def told(self, ids: Collection[str]) -> Seen:
        """Strike events off."""
        return replace(self, untold=tuple(event for event in self.untold if event["id"] not in ids))


@dataclass(frozen=True, kw_only=True)
class Feed:
    """
    Finds what is new in a list: records whose key, or whose value of `field`, has not been seen before.

    `param` is the query parameter that takes a time or number, `field` the field it is compared with. `lookback` is
    in seconds, or in units of a number. Without `initial` the first look only takes note of what is there.
    """

    endpoint: str
    query_params: Mapping[str, Any] | None
    param: str
    field: str
    record_key: str
    lookback: float | None
    initial: str | int | None

    def look(self, client: GofundoClient, seen: Seen | None, now: datetime) -> Seen:
        """Ask once, and return what is known after that. `untold` is only what this look has found."""
        beginning = seen is None and self.initial is None
        known = seen or Seen(self.initial if self.initial is not None else (now - self._overlap).isoformat())
        incremental = self._incremental(known)
        since, floor = incremental.since(known.watermark), self._floor(known)
        watermark = Watermark(incremental, now, known.watermark, since)
        records, new = dict(known.records), {}
        readers = fields_reader(self.record_key), fields_reader(self.field)
        usable, unusable, most, fell = 0, 0, 0, False
        kind = _kind(_point(known.watermark))
        began = time.monotonic()
        for page in walk(
            client, self.endpoint, query_params={**(self.query_params or {}), self.param: since}, parallel=1
        ):
            fell = fell or (page.total or 0) < most
            most = max(most, page.total or 0)
            keys, values = (read(page.records) for read in readers)
            points = [point_of(value) for value in values]
            kind = kind or next(filter(None, map(_kind, points)), None)
            points = [point if _kind(point) == kind else None for point in points]
            watermark.see([
                record for record, value, point in zip(page.records, values, points, strict=True)
                if value is None or point is not None
            ])  # fmt: skip
            for key, value, point in zip(keys, values, points, strict=True):
                if key is None or point is None:
                    unusable += value is not None
                    continue
                usable += 1
                if (about := _about(point)) < floor:  # not what was asked for
                    continue
                identity = _digest([key, value])
                if identity not in records:
                    new[identity] = key
                records[identity] = about
        reached = watermark.settled(now + timedelta(seconds=time.monotonic() - began))
        self._check(known, reached, usable, unusable)
        if fell:
            log.warning(
                "%s: records went while it was read, so some may be missing. Asking once more.", self.endpoint
            )
        news = () if beginning else tuple(self._events(new, reached))
        after = replace(known, watermark=known.watermark if fell else reached)
        floor = self._floor(after)
        return replace(after, records={one: about for one, about in records.items() if about >= floor}, untold=news)

    @property
    def _overlap(self) -> timedelta:
        return LOOKBACK if self.lookback is None else timedelta(seconds=self.lookback)

    def _incremental(self, known: Seen) -> Incremental:
        is_number = isinstance(_point(known.watermark), int)
        lookback = int(self.lookback or 0) if is_number else self._overlap
        return Incremental(param=self.param, field=self.field, lookback=lookback, initial=known.since)

    def _floor(self, known: Seen) -> float:
        """The least that a look is meant to meet: a server may answer more, or ignore `param`."""
        start, point = point_of(known.since), _point(known.watermark)
        assert start is not None  # noqa: S101  # checked by Incremental
        if point is None:  # its zone is not known yet
            return _about(start) - (0 if isinstance(start, int) else DAY)
        if isinstance(point, int):
            return point - (self.lookback or 0)
        floor = _about(point) - self._overlap.total_seconds() - 1
        is_comparable = point.tzinfo and isinstance(start, datetime) and start.tzinfo
        return max(floor, _about(start)) if is_comparable else floor

    def _check(self, known: Seen, watermark: str | None, usable: int, unusable: int) -> None:
        if isinstance(_point(watermark), int) and not isinstance(known.since, int):
            raise GofundoConfigError(f"initial: {self.field} holds numbers; name the one to begin at, such as 0.")
        if unusable and not usable:
            raise GofundoConfigError(f"No record has both a {self.record_key} and a time or number in {self.field}.")
        if unusable:
            what = f"a {self.record_key}, and a time or number like the others' in {self.field},"
            log.warning("%s: %d records without %s are left out.", self.endpoint, unusable, what)

    def _events(self, new: Mapping[str, Any], watermark: str | None) -> list[Event]:
        """`new` are identities, each with its key."""
        some = list(new)
        parts = [some[at : at + MOST] for at in range(0, len(some), MOST)]
        return [
            {
                "id": _digest([self.endpoint, part]),
                "endpoint": self.endpoint,
                "records": len(part),
                "keys": [new[identity] for identity in part],
                "watermark": None if watermark is None else msgspec.json.decode(watermark),
            }
            for part in parts
        ]


def _kind(point: Point | None) -> str | None:
    """What a point can be compared with: numbers, times with a zone, or times without."""
    if not isinstance(point, datetime):
        return None if point is None else "number"
    return "time" if point.tzinfo is None else "time with zone"


def _point(watermark: str | None) -> Point | None:
    return None if watermark is None else point_of(msgspec.json.decode(watermark))


def _about(point: Point) -> int:
    """A point as a whole number, rounded down: seconds since 1970 of a time."""
    if not isinstance(point, datetime):
        return point
    return int((point if point.tzinfo else point.replace(tzinfo=timezone.utc)).timestamp() // 1)


def _digest(what: list[Any]) -> str:
    return hashlib.blake2b(msgspec.json.encode(what), digest_size=8).hexdigest()
