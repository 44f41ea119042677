"""A page of records in every shape a Laravel API answers with.

Keys, their order and their values are those of the recorded exchanges (`tests/transcripts/e_*`); the window of page
links is Laravel's UrlWindow.
"""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

PAGED = ("paginate", "simple-paginate", "cursor-paginate")
SHAPES = (*PAGED, *(f"{shape}-resource" for shape in PAGED), "resource", "plain", "keyed")
DATA = "@records@"
"""Stands in an envelope for the records."""

ON_EACH_SIDE = 3  # page links left and right of the current page


@dataclass(frozen=True)
class Place:
    """Where a list is read from: its URL and the query parameters that its links keep."""

    url: str
    kept: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _prefix(self) -> str:
        kept = [(name, value) for name, value in self.kept if value != "" and name not in ("page", "cursor")]
        return f"{self.url}?{urlencode(kept, quote_via=quote)}{'&' if kept else ''}"

    def link(self, parameter: str, value: object) -> str:
        """The URL of another page of the list; an empty parameter is lost, as in Laravel."""
        return f"{self._prefix}{parameter}={value}"


def paginate(place: Place, page: int, per_page: int | str, count: int, total: int) -> dict[str, Any]:
    """LengthAwarePaginator: knows the total. `count` records are on this page."""
    size = int(per_page)
    last = max(1, -(-total // size))
    previous = place.link("page", page - 1) if page > 1 else None
    following = place.link("page", page + 1) if page < last else None
    numbers = [
        {"url": None, "label": "...", "active": False}
        if number is None
        else {"url": place.link("page", number), "label": str(number), "active": number == page}
        for number in page_window(page, last)
    ]
    return {
        "current_page": page,
        "data": DATA,
        "first_page_url": place.link("page", 1),
        "from": (page - 1) * size + 1 if count else None,
        "last_page": last,
        "last_page_url": place.link("page", last),
        "links": [
            {"url": previous, "label": "&laquo; Previous", "active": False},
            *numbers,
            {"url": following, "label": "Next &raquo;", "active": False},
        ],
        "next_page_url": following,
        "path": place.url,
        "per_page": per_page,
        "prev_page_url": previous,
        "to": (page - 1) * size + count if count else None,
        "total": total,
    }


def page_window(page: int, last: int) -> list[int | None]:
    """The page numbers that get a link; None where pages are left out."""
    near = ON_EACH_SIDE + 4
    if last < ON_EACH_SIDE * 2 + 8:
        return [*range(1, last + 1)]
    if page <= near:
        return [*range(1, near + ON_EACH_SIDE + 1), None, last - 1, last]
    if page > last - near:
        return [1, 2, None, *range(last - (near + ON_EACH_SIDE - 1), last + 1)]
    return [1, 2, None, *range(page - ON_EACH_SIDE, page + ON_EACH_SIDE + 1), None, last - 1, last]


def simple_paginate(place: Place, page: int, per_page: int | str, count: int, *, more: bool) -> dict[str, Any]:
    """Paginator: knows only whether there is more."""
    size = int(per_page)
    return {
        "current_page": page,
        "data": DATA,
        "first_page_url": place.link("page", 1),
        "from": (page - 1) * size + 1 if count else None,
        "next_page_url": place.link("page", page + 1) if more else None,
        "path": place.url,
        "per_page": per_page,
        "prev_page_url": place.link("page", page - 1) if page > 1 else None,
        "to": (page - 1) * size + count if count else None,
    }


def cursor_paginate(
    place: Place, per_page: int, following: str | None, previous: str | None, *, names: bool
) -> dict[str, Any]:
    """CursorPaginator; with `names` also the cursors themselves, as from Laravel 9.1."""
    envelope: dict[str, Any] = {"data": DATA, "path": place.url, "per_page": per_page}
    if names:
        envelope["next_cursor"] = following
    envelope["next_page_url"] = place.link("cursor", following) if following else None
    if names:
        envelope["prev_cursor"] = previous
    envelope["prev_page_url"] = place.link("cursor", previous) if previous else None
    return envelope


def as_resource(envelope: dict[str, Any]) -> dict[str, Any]:
    """The same page through an API resource: links as an object, the rest as meta."""
    named = {"first_page_url", "last_page_url", "prev_page_url", "next_page_url", "data"}
    links = {name: envelope.get(f"{name}_page_url") for name in ("first", "last", "prev", "next")}
    meta = {name: value for name, value in envelope.items() if name not in named}
    return {"data": DATA, "links": links, "meta": meta}


def keyed(texts: Sequence[tuple[int, str]]) -> str:
    """A filtered collection: an object keyed by the index each record had; empty, PHP makes it a list."""
    if not texts:
        return '{"data":[]}'
    entries = ",".join(f'"{index}":{text}' for index, text in texts)
    return f'{{"data":{{{entries}}}}}'


def encode_cursor(key: dict[str, Any], *, forward: bool) -> str:
    """A cursor as Laravel writes it: base64url of JSON, without padding."""
    text = json.dumps({**key, "_pointsToNextItems": forward}, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(text: str) -> dict[str, Any] | None:
    """What a cursor says, or None if it cannot be read, which Laravel takes for the first page."""
    standard = text.replace("-", "+").replace("_", "/")
    try:
        value = json.loads(b64decode(standard + "=" * (-len(standard) % 4)))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
