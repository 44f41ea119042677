"""Feed: what of a list has been seen, and what of it has still to be told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_gofundo.dataset.incremental import LOOKBACK, Incremental, Point, Watermark, point_of
from airflow_provider_gofundo.dataset.keys import fields_reader
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.pages.walk import walk

if TYPE_CHECKING:
    from airflow_provider_gofundo.client.client import GofundoClient

# Records that one event tells of, at most.
MOST = 1_000


@dataclass(frozen=True)
class Seen:
    """
    What is known of a list, as it is kept between two processes.

    `watermark` is the greatest value of the field as JSON, None before there is one. `records` are digests of records
    that the next look may meet again, each with about when it was changed. `untold` are the events that Airflow
    may not have yet: they are written down here before they are sent, and struck off once Airflow has them.
    """

    watermark: str | None = None
    records: Mapping[str, int] = field(default_factory=dict)
    untold: tuple[dict[str, Any], ...] = ()

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
        return msgspec.json.encode(asdict(self)).decode()

    def told(self, event_id: str) -> Seen:
        """Strike an event off."""
        return replace(self, untold=tuple(event for event in self.untold if event["id"] != event_id))


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
        known = seen or Seen()
        incremental = self._incremental(known.watermark, now if beginning else None)
        watermark = Watermark(incremental, now, known.watermark)
        query = dict(self.query_params or {})
        if since := incremental.since(known.watermark):
            query[self.param] = since
        records, keys = dict(known.records), []
        identities = fields_reader(self.record_key), fields_reader(self.field)
        for page in walk(client, self.endpoint, query_params=query, parallel=1):
            watermark.see(page.records)
            for key, value in zip(*(read(page.records) for read in identities), strict=True):
                point = point_of(value)
                if point is None:
                    continue
                if key is None:
                    raise GofundoConfigError(f"record_key: a record has no {self.record_key}; name its key field.")
                identity = _digest([key, value])
                if identity not in records:
                    keys.append(key)
                records[identity] = _about(point)
        # An empty list has no watermark yet; what comes into it from now on is new.
        text = watermark.text or (msgspec.json.encode(now.isoformat()).decode() if beginning else None)
        news = () if beginning else tuple(self._events(keys, text))
        return Seen(text, self._still_met(records, text), news)

    def _incremental(self, watermark: str | None, begin: datetime | None) -> Incremental:
        lookback: timedelta | int
        if watermark and isinstance(point_of(msgspec.json.decode(watermark)), int):
            lookback = int(self.lookback or 0)
        else:
            lookback = LOOKBACK if self.lookback is None else timedelta(seconds=self.lookback)
        initial = self.initial if begin is None or isinstance(lookback, int) else begin - lookback
        return Incremental(param=self.param, field=self.field, lookback=lookback, initial=initial)

    def _events(self, keys: list[Any], watermark: str | None) -> list[dict[str, Any]]:
        parts = [keys[at : at + MOST] for at in range(0, len(keys), MOST)]
        value = None if watermark is None else msgspec.json.decode(watermark)
        return [
            {
                "id": _digest([self.endpoint, part, value]),
                "endpoint": self.endpoint,
                "records": len(part),
                "keys": part,
                "watermark": value,
            }
            for part in parts
        ]

    def _still_met(self, records: dict[str, int], watermark: str | None) -> dict[str, int]:
        """Those that the next look may meet."""
        point = None if watermark is None else point_of(msgspec.json.decode(watermark))
        if point is None:
            return records
        lookback = self.lookback if self.lookback is not None else LOOKBACK.total_seconds()
        least = _about(point) - (lookback if isinstance(point, datetime) else (self.lookback or 0)) - 1
        return {identity: about for identity, about in records.items() if about >= least}


def _about(point: Point) -> int:
    """A point as a whole number, rounded down: seconds since 1970 of a time."""
    if not isinstance(point, datetime):
        return point
    return int((point if point.tzinfo else point.replace(tzinfo=timezone.utc)).timestamp() // 1)


def _digest(what: list[Any]) -> str:
    return hashlib.blake2b(msgspec.json.encode(what), digest_size=8).hexdigest()
