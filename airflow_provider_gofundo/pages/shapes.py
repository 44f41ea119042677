"""Shapes: the ways a Laravel API answers a list, told apart by their keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec
import requests
from msgspec import UNSET, Raw, UnsetType

from airflow_provider_gofundo.answer import decode
from airflow_provider_gofundo.exceptions import GofundoResponseError

_STEPS = ("page", "cursor")
_OBJECT, _LIST = ord("{"), ord("[")


class Step(NamedTuple):
    """The one query parameter that asks for the next page: `page` or `cursor`, and its value."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """
    One page of a list.

    `records` are JSON objects as the server wrote them, each on one line.
    `step` asked for it, and is None for the first page; `next` asks for the next one, and is None on the last page.
    `number` counts from 1, and is None in cursor lists; `has_previous` is None where the list does not say.
    `total` (records) and `last_page` are known of `paginate()` only; `per_page` is what the server really uses.
    """

    records: list[Raw]
    next: Step | None = None
    number: int | None = None
    has_previous: bool | None = None
    total: int | None = None
    last_page: int | None = None
    per_page: int | None = None
    step: Step | None = None


def read_page(response: requests.Response, method: str, path: str) -> Page:
    """Read a page of any shape; GofundoResponseError when the answer is no list of objects."""
    body = response.content
    # What is usual is looked at once; whatever is odd about the rest, `decode` finds it and says so.
    if not body.isascii() or body[:1] not in (b"{", b"["):
        body = _json(response, method, path)
    try:
        return _page(body, pretty=b"\n" in body or b"\r" in body)
    except _NoList as error:
        fault = str(error)
    except msgspec.ValidationError:
        fault = "it has a list's keys with values of another type"
    except msgspec.DecodeError:
        fault = ""
    except RecursionError:
        fault = "it is nested too deeply"
    if not fault:
        _json(response, method, path)  # says how the JSON is broken, and raises
    raise GofundoResponseError(
        f"{method} {path} answered {response.status_code}, but no list of records: {fault}.",
        status=response.status_code,
        method=method,
        path=path,
    )


def _json(response: requests.Response, method: str, path: str) -> bytes:
    return bytes(decode(response, Raw, method=method, path=path, idempotent=True))


class _NoList(ValueError):
    """The JSON is not one of the list shapes."""


class _Meta(msgspec.Struct):
    """Where we are in the list; at the top level, or under `meta` of a Resource."""

    current_page: int | None = None
    last_page: int | None = None
    total: int | None = None
    per_page: int | str | None = None
    next_cursor: str | None = None
    pagination: Raw | None = None


class _Links(msgspec.Struct):
    next: str | UnsetType | None = UNSET
    prev: str | UnsetType | None = UNSET


class _Envelope(_Meta):
    data: list[Raw] | dict[str, Raw] | str | float | bool | UnsetType | None = UNSET
    next_page_url: str | UnsetType | None = UNSET
    prev_page_url: str | UnsetType | None = UNSET
    links: Raw | UnsetType = UNSET
    meta: _Meta | list[Raw] | None = None  # PHP writes an empty one as []
    next: Raw | None = None


def _page(body: bytes, *, pretty: bool) -> Page:
    if body[0] == _LIST:
        return Page(records=_records(msgspec.json.decode(body, type=list[Raw]), pretty=pretty))
    if body[0] != _OBJECT:
        raise _NoList("it is a single value")
    envelope = _envelope(body)
    if envelope.data is UNSET:
        return Page(records=_records(msgspec.json.decode(body, type=dict[str, Raw]), pretty=pretty))
    records = _records(envelope.data, pretty=pretty)
    meta = envelope.meta if isinstance(envelope.meta, _Meta) else envelope
    links = _links(envelope)
    step = _step(links.next) if links.next else None
    _refuse_a_part(meta, links, step, len(records), foreign=envelope.next or meta.pagination or envelope.pagination)
    return Page(
        records=records,
        next=step,
        number=meta.current_page,
        has_previous=None if links.prev is UNSET else links.prev is not None,
        total=meta.total,
        last_page=meta.last_page,
        # simplePaginate() may echo it as the text that was asked for.
        per_page=int(str(meta.per_page)) if str(meta.per_page).isdecimal() else None,
    )


def _refuse_a_part(meta: _Meta, links: _Links, step: Step | None, count: int, *, foreign: Raw | None) -> None:
    """Refuse a page that would show a part of a list as the whole: its own words have to agree on what follows."""
    whole = meta.total == count
    if step and step.name == "page" and meta.current_page and step.value != str(meta.current_page + 1):
        raise _NoList(f"it is page {meta.current_page}, and its link leads past the next")
    if step:
        return
    if links.next is UNSET and not whole:
        words = (meta.current_page, meta.last_page, meta.per_page, meta.total, meta.next_cursor, foreign)
        if any(word is not None for word in words):
            raise _NoList("it is paged in a way not known here: nothing leads to the next page")
    if meta.next_cursor or (meta.current_page or 0) < (meta.last_page or 0):
        raise _NoList("it is not the last page, and has no link to the next")
    if meta.current_page in (None, 1) and (meta.total or 0) > count:
        raise _NoList(f"it has {count} of {meta.total} records, and no link to the next page")


def _envelope(body: bytes) -> _Envelope:
    try:
        return msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError:
        if "data" in msgspec.json.decode(body, type=dict[str, Raw]):
            raise
        return _Envelope()  # one item that has fields of such names


def _links(envelope: _Envelope) -> _Links:
    """Paginators have `next_page_url`, Resources `links.next`; `links` of a paginator is a list of buttons."""
    if envelope.next_page_url is not UNSET:
        return _Links(next=envelope.next_page_url, prev=envelope.prev_page_url)
    if envelope.links is UNSET or memoryview(envelope.links)[0] != _OBJECT:
        return _Links()
    return msgspec.json.decode(envelope.links, type=_Links)


def _step(link: str) -> Step:
    """Take nothing from a link but its step: its host may be another, and the other parameters are lost."""
    query = parse_qs(link.partition("#")[0].partition("?")[2])
    for name in _STEPS:
        if name in query:
            return Step(name, query[name][-1])
    raise _NoList("its link to the next page holds neither page nor cursor")


def _records(data: object, *, pretty: bool) -> list[Raw]:
    if isinstance(data, dict):
        # A filtered collection keeps its numeric keys and so becomes an object.
        if not data or not all(key.isdigit() for key in data):
            raise _NoList("it is one item; for that use GofundoHook.request or GofundoOperator")
        records = list(data.values())
    elif isinstance(data, list):
        records = data
    else:
        raise _NoList("its data is a single value")
    if {memoryview(record)[0] for record in records} - {_OBJECT}:
        raise _NoList("some of its records are no objects")
    return [Raw(msgspec.json.format(bytes(record), indent=-1)) for record in records] if pretty else records
