"""Incremental: pull what has changed since the last time."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from math import ceil
from typing import Any, Protocol, TypeAlias

import msgspec

from airflow_provider_gofundo.dataset.keys import fields_reader, is_field_name
from airflow_provider_gofundo.exceptions import GofundoConfigError

log = logging.getLogger(__name__)

# A point in a list's history: a time, or a number that only grows.
Point: TypeAlias = "datetime | int"

LOOKBACK = timedelta(hours=1)

_DAY = timedelta(days=1)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, kw_only=True)
class Incremental:
    """
    Ask a list only for what has changed since the last pull.

    `param` is the query parameter that takes the time, `field` the top-level field of the records that it is compared
    with: the greatest value seen is the watermark, from which the next pull goes on, `lookback` earlier. The overlap
    is there for records that share the watermark's second, and for those that became visible late; they come again
    with the next pull, so merge by record key. One hour, or 0 for numbers, unless told otherwise.

    `initial` is where the first pull begins, the whole list unless told otherwise. Values are times in ISO 8601 or
    whole numbers, as the server writes them. The number of a record must never change, as that of an `id`.
    """

    param: str
    field: str
    lookback: timedelta | int | None = None
    initial: datetime | str | int | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the server; GofundoConfigError."""
        for name in ("param", "field"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise GofundoConfigError(f"{name} is empty; name it, such as updated_since.")
        if not is_field_name(self.field):
            raise GofundoConfigError("field must be the name of a field, without quotes or backslashes.")
        if self.param in ("page", "cursor"):
            raise GofundoConfigError("param may not be page or cursor: the walk sets them.")
        lookback = self.lookback.total_seconds() if isinstance(self.lookback, timedelta) else self.lookback
        is_kind = isinstance(self.lookback, timedelta) or type(self.lookback) is int
        if lookback is not None and not (is_kind and lookback >= 0):
            raise GofundoConfigError("lookback must be a timedelta, or a whole number, not below 0.")
        if self.initial is not None and point_of(self.initial) is None:
            raise GofundoConfigError("initial must be a time in ISO 8601, or a whole number.")

    def since(self, watermark: str | None) -> str | None:
        """Return what to send in `param`; None for the whole list. `watermark` is JSON, as `Watermark.text`."""
        if watermark is None:
            return None if self.initial is None else _sent(point_of(self.initial))
        point = point_of(msgspec.json.decode(watermark))
        lookback = self.lookback
        if isinstance(point, datetime):
            lookback = LOOKBACK if lookback is None else lookback
            if isinstance(lookback, timedelta):
                try:
                    return _sent(point - lookback)
                except OverflowError:  # there is no year before 1
                    return _sent(datetime.min.replace(tzinfo=point.tzinfo))
        elif isinstance(point, int) and not isinstance(lookback, timedelta):
            return _sent(point - (lookback or 0))
        kind = "times: give a timedelta" if isinstance(point, datetime) else "numbers: give a whole number"
        raise GofundoConfigError(f"incremental: lookback does not fit {self.field}, which holds {kind}.")


class Watermarks(Protocol):
    """Where the watermark of a list is kept between pulls."""

    def read(self) -> str | None:
        """Return the watermark as JSON, None where there is none yet."""

    def advance(self, watermark: str) -> None:
        """Put it in the place of an earlier one, never of a later one."""


class Watermark:
    """
    The greatest value of a field seen so far.

    A time ahead of the pull's own start is left aside: one record with a date in the future would otherwise keep all
    others out for as long. The next pull asks for such records again.

    `since` is what the server was asked for; should it answer what is older, the log says so, once.
    """

    def __init__(
        self, incremental: Incremental, started: datetime, text: str | None = None, since: str | None = None
    ) -> None:
        self.text = text
        self._param = incremental.param
        self._earliest = _with_leeway(point_of(int(since) if since.isdecimal() else since)) if since else None
        self._field = incremental.field
        self._read = fields_reader(incremental.field)
        self._started = started
        self._known = text is not None
        self._point = self._before = None if text is None else point_of(msgspec.json.decode(text))

    def settled(self, now: datetime) -> str | None:
        """
        Return from where the next pull can go on, as JSON, when this one is over.

        What changes on a page that was read already is changed after the start. A time with a zone is not taken from
        after the start; of one without, nobody knows when that was on its clock, so the pull's whole length is taken
        off. Nothing like it can be done for numbers: one that is new has to be greater than all others.
        """
        if not isinstance(self._point, datetime) or self._point.tzinfo or self._point == self._before:
            return self.text
        safe = self._point - timedelta(seconds=ceil((now - self._started).total_seconds()))
        safe = max(safe, self._before) if isinstance(self._before, datetime) else safe
        return msgspec.json.encode(safe.isoformat(" ")).decode()

    def see(self, records: list[msgspec.Raw]) -> None:
        """Take note of records; GofundoConfigError when their field holds no points, or does not exist."""
        values = [value for value in self._read(records) if value is not None]
        if records and not values and not self._known:
            raise GofundoConfigError(
                f"incremental: no record on the first page has a value in {self._field}; name the field that "
                "says when a record was changed."
            )
        self._known = self._known or bool(values)
        for value in values:
            point = point_of(value)
            if point is None:
                raise GofundoConfigError(f"incremental: {self._field} holds something that is no time and no number.")
            if self._is_too_old(point):
                self._earliest = None
                log.warning(
                    "The server was asked by %s, and answered records whose %s lies before that. It seems "
                    "not to know that parameter, so every pull reads the whole list; ask Gofundo for its name.",
                    self._param, self._field,
                )  # fmt: skip
            if self._is_greater(point):
                self._point, self.text = point, msgspec.json.encode(value).decode()

    def go_on(self, text: str | None, started: datetime) -> None:
        """Take over what an earlier try has seen, and when it began: its records are as they were then."""
        self._started = min(self._started, started)
        point = point_of(msgspec.json.decode(text)) if text else None
        if point is not None and is_later(point, self._point):
            self._point, self.text, self._known = point, text, True

    def _is_too_old(self, point: Point) -> bool:
        try:
            return self._earliest is not None and is_later(self._earliest, point)
        except GofundoConfigError:  # `initial` may have a zone where the values have none
            return False

    def _is_greater(self, point: Point) -> bool:
        if isinstance(point, datetime):
            now = self._started if point.tzinfo else self._started.replace(tzinfo=None) + timedelta(hours=14)
            if point > now:
                return False
        return is_later(point, self._point)


def shown(watermark: str | None) -> str | None:
    """Return a watermark as people read it."""
    return None if watermark is None else str(msgspec.json.decode(watermark))


def is_later(point: Point, than: Point | None) -> bool:
    """Whether a point lies behind another; GofundoConfigError when they cannot be compared."""
    if than is None:
        return True
    try:
        return point > than  # type: ignore[operator]  # what cannot be compared says so
    except TypeError:
        raise GofundoConfigError(
            "incremental: some values of the field are times with a zone, others without, or numbers; they cannot be "
            "compared."
        ) from None


def point_of(value: Any) -> Point | None:
    """Return a value as a point, None when it is none. A time without a zone stays without one."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    try:
        return msgspec.convert(f"{value}T00:00:00" if _DATE.fullmatch(value) else value, datetime)
    except msgspec.ValidationError:
        return None


def _with_leeway(point: Point | None) -> Point | None:
    """The earliest point that may come: a server may compare dates only, in its own time zone."""
    if isinstance(point, datetime) and point > datetime.min.replace(tzinfo=point.tzinfo) + _DAY:
        return point - _DAY
    return point


def _sent(point: Point | None) -> str:
    """Write a point as Laravel does, so that every PHP reads it."""
    if not isinstance(point, datetime):
        return str(point)
    if point.tzinfo is None:
        return f"{point:%Y-%m-%d %H:%M:%S}"
    return f"{point.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"
