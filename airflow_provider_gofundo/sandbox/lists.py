"""Answers a list request: which records, in which shape, on which page."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from . import shapes
from .messages import JSON, NO_CACHE, Request, Response, json_response, json_text
from .orders import Order
from .records import Records, Selection
from .settings import Settings
from .shapes import DATA, Place

DEFAULT_PER_PAGE = 15
CACHE_BYTES = 64_000_000
PAGE_NUMBER = re.compile(r"\s*\+?[1-9]\d{0,17}\s*")  # what PHP's FILTER_VALIDATE_INT takes and is at least 1


class UnknownCursorField(Exception):
    """A readable cursor that does not fit the list: Laravel answers 500 (e_cursor_foreign_cursor)."""


class ListEndpoint:
    """Renders pages, and remembers the bytes of those it rendered last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cache: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._cached_bytes = 0

    def answer(self, request: Request, records: Records, shape: str) -> Response:
        """The page as the request asks for it; UnknownCursorField for a cursor of another list.

        The caller holds the lock of the records.
        """
        settings = self._settings
        versions = (records.name, records.version, settings.version)
        key = (*versions, shape, request.base_url, request.path, request.query_string)
        body = self._cache.get(key)
        if body is None:
            try:
                selection = self._selection(request, records)
            except ValueError:
                errors = {"updated_since": ["The updated since is not a valid date."]}
                return json_response({"message": "The given data was invalid.", "errors": errors}, 422)
            body = self._render(request, records, shape, selection)
            if settings.pretty:
                body = json_text(json.loads(body), pretty=True).encode()
            self._remember(key, body)
        return Response(200, body, (NO_CACHE, ("Content-Type", JSON)))

    def _remember(self, key: tuple[object, ...], body: bytes) -> None:
        self._cache[key] = body
        self._cached_bytes += len(body)
        while self._cached_bytes > CACHE_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= len(oldest)

    def _selection(self, request: Request, records: Records) -> Selection:
        query = request.query
        names = records.field_names
        since, sort = query.get("updated_since"), query.get("sort", "")
        return Selection(
            equal=tuple((name, value) for name, value in query.items() if name in names and value != ""),
            updated_since=parse_time(since) if since else None,
            sort="updated_at" if sort.removeprefix("-") == "updated_at" else "id",
            newest_first=sort in ("-id", "-updated_at"),
        )

    def _render(self, request: Request, records: Records, shape: str, selection: Selection) -> bytes:
        order = records.select(selection)
        if shape in ("resource", "plain"):
            text = f"[{_joined(records, order.part(0, len(order)))}]"
            return (text if shape == "plain" else f'{{"data":{text}}}').encode()
        if shape == "keyed":  # every second record, under the index it had (e_filtered_keys)
            texts = records.texts(order.part(0, len(order))[1::2])
            return shapes.keyed(list(zip(range(1, len(order), 2), texts, strict=True))).encode()
        envelope, chosen = self._page(request, records, shape, selection, order)
        if shape.endswith("-resource"):
            envelope = shapes.as_resource(envelope)
        head, tail = json_text(envelope).split(f'"{DATA}"', 1)
        return f"{head}[{_joined(records, chosen)}]{tail}".encode()

    def _page(
        self, request: Request, records: Records, shape: str, selection: Selection, order: Order
    ) -> tuple[dict[str, Any], Sequence[int]]:
        settings, query = self._settings, request.query
        base = settings.link_base.rstrip("/") if settings.link_base else request.base_url
        place = Place(base + request.path, tuple(query.items()) if settings.keep_query else ())
        given = query.get("per_page", "")
        size = int(given) if PAGE_NUMBER.fullmatch(given) else DEFAULT_PER_PAGE
        size = min(size, settings.max_per_page)
        if shape.startswith("cursor"):
            return self._cursor_page(place, query.get("cursor", ""), size, records, selection, order)
        number = query.get("page", "")
        page = int(number) if PAGE_NUMBER.fullmatch(number) else 1
        start = (page - 1) * size
        chosen = order.part(start, start + size)
        if shape.startswith("simple"):
            told = str(size) if settings.per_page_string and given else size
            more = start + size < len(order)
            return shapes.simple_paginate(place, page, told, len(chosen), more=more), chosen
        return shapes.paginate(place, page, size, len(chosen), len(order)), chosen

    def _cursor_page(
        self, place: Place, text: str, size: int, records: Records, selection: Selection, order: Order
    ) -> tuple[dict[str, Any], Sequence[int]]:
        cursor = shapes.decode_cursor(text)
        forward = cursor is None or bool(cursor.get("_pointsToNextItems"))
        if cursor is None:
            start, end = 0, size
        elif forward:
            start = order.until(_cursor_key(cursor, selection))
            end = start + size
        else:
            end = order.before(_cursor_key(cursor, selection))
            start = max(0, end - size)
        chosen = order.part(start, end)
        following = previous = None
        if chosen and not (forward and end >= len(order)):
            following = _cursor(records, selection, chosen[-1], forward=True)
        if chosen and cursor is not None and (forward or start > 0):
            previous = _cursor(records, selection, chosen[0], forward=False)
        names = self._settings.cursor_names
        return shapes.cursor_paginate(place, size, following, previous, names=names), chosen


def _joined(records: Records, ids: Sequence[int]) -> str:
    return ",".join(records.texts(ids))


def _cursor(records: Records, selection: Selection, record_id: int, *, forward: bool) -> str:
    key: dict[str, Any] = {"id": record_id}
    if selection.sort == "updated_at":
        moment = datetime.fromtimestamp(records.updated(record_id), timezone.utc)
        key = {"updated_at": f"{moment:%Y-%m-%d %H:%M:%S}", **key}
    return shapes.encode_cursor(key, forward=forward)


def _cursor_key(cursor: dict[str, Any], selection: Selection) -> tuple[int, ...]:
    try:
        if selection.sort == "updated_at":
            return int(parse_time(cursor["updated_at"])), int(cursor["id"])
        return (int(cursor["id"]),)
    except (KeyError, TypeError, ValueError):
        raise UnknownCursorField from None


def parse_time(text: str) -> float:
    """Seconds since 1970 of an ISO timestamp, UTC unless it says otherwise. ValueError if it is none."""
    text = text.strip().replace("Z", "+00:00")
    if len(text) > 6 and text[-6] == " ":  # a "+" of the zone that was not percent-encoded
        text = f"{text[:-6]}+{text[-5:]}"
    if "." in text:  # before Python 3.11 only three or six digits can be read
        text = re.sub(r"\.(\d{1,6})\d*", lambda m: f".{m[1]:0<6}", text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
