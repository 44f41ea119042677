"""Walk: from a page to the next, until the last; one by one, several ahead, or backward."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

from airflow_provider_gofundo.adapter import MOST_AT_ONCE
from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.client.errand import Errand
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoResponseError
from airflow_provider_gofundo.pages.ahead import Idleness, in_parallel, in_turn, threads
from airflow_provider_gofundo.pages.shapes import Page, Step, read_page

log = logging.getLogger(__name__)

# Requests under way at the same time, unless told otherwise.
PARALLEL = 4

# Pages that may be under way or ready, for each request at the same time: one slow answer shall not make the others
# wait. Where the end is not known only as many as are under way, because they may lie beyond it.
READY = 2

# Seconds that a page may be waited for before it counts: to have another thread ask for it costs about as much. And
# seconds of such waiting from which on the walk looks ahead; it stays so, for from then on waiting shows no more.
HANDOVER, WORTHWHILE = 0.001, 0.01

# So many empty pages in a row may be a filter's doing; more are a server that never ends.
EMPTY = 100


def walk(
    client: GofundoClient,
    endpoint: str,
    *,
    query_params: Mapping[str, Any] | None = None,
    parallel: int = PARALLEL,
    begin: Step | None = None,
    end: int | None = None,
) -> Generator[Page, None, None]:
    """
    Yield the pages of a list, first to last, or from `begin` to page number `end`.

    `query_params` are sent again with every page, because the server's links drop them. With `parallel` above 1 that
    many pages are asked for at the same time where pages have numbers, and the next one in advance where each has
    to name its successor, as soon as the server makes us wait; with 1 nothing is asked for before it is needed.

    An error, or a caller who stops, ends it once the requests under way have ended.
    """
    check_parallel(parallel)
    own = _own(query_params)
    with threads(parallel) as pool, client.errand() as errand:
        client.ready(endpoint, own, errand)  # else the first page would seem to have been waited for
        way, idleness = _Way(client, endpoint, own, errand, end), Idleness(HANDOVER)
        page: Page | None = idleness.during(way.fetch, begin)
        if begin is None and page:
            _warn_of_cap(endpoint, own, page)
        while page and (parallel == 1 or idleness.seconds < WORTHWHILE):
            yield page
            page = idleness.during(way.fetch_next, page)
        if page and page.number and page.next and page.next.name == "page":
            yield from _by_number(pool, way, page, parallel)
        elif page:
            yield from in_turn(pool, way.fetch_next, page)


def walk_back(
    client: GofundoClient, endpoint: str, *, query_params: Mapping[str, Any] | None = None, begin: int
) -> Generator[Page, None, None]:
    """
    Yield the pages of a list that has page numbers, one by one, from its last to its first.

    `begin` is where its last page was when it was last seen.
    """
    with threads(1) as pool, client.errand() as errand:
        way = _Way(client, endpoint, _own(query_params), errand, None)
        last = way.fetch(_numbered(begin))
        for _ in range(EMPTY):  # a list may go back and forth between two last pages for ever
            step = _to_the_end(last)
            if step is None:
                break
            last = way.fetch(step)
        yield from in_turn(pool, way.fetch_previous, last)


def check_parallel(parallel: object) -> None:
    """GofundoConfigError unless so many requests may be under way at the same time."""
    if type(parallel) is not int or not 1 <= parallel <= MOST_AT_ONCE:
        raise GofundoConfigError(f"parallel must be a whole number from 1 to {MOST_AT_ONCE}.")


def _own(query_params: Mapping[str, Any] | None) -> dict[str, Any]:
    own = dict(query_params or {})
    for name in ("page", "cursor"):
        if name in own:
            raise GofundoConfigError(
                f"query_params may not hold {name}: the walk begins at the first page and sets it."
            )
    return own


def _by_number(pool: ThreadPoolExecutor, way: _Way, first: Page, parallel: int) -> Iterator[Page]:
    """Look ahead to the last page, as far as it is known. Pages beyond the end are empty, and nobody sees them."""
    yield first
    page, step = first, way.following(first)
    while step:  # once, unless the list grows
        most = parallel * READY if page.last_page else parallel
        ahead = in_parallel(pool, way.fetch, way.numbers_after(page), most=most)
        for page in ahead:
            yield page
            step = way.following(page)
            if step is None:
                return


class _Way:
    """A way through one list: how its pages are asked for, and what must not happen on it."""

    def __init__(
        self, client: GofundoClient, endpoint: str, own: Mapping[str, Any], errand: Errand, end: int | None
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._own = own
        self._errand = errand
        self._end = end
        self._empty = 0
        self._seen: set[int] = set()

    def fetch(self, step: Step | None) -> Page:
        """Ask for the page of a step. May be called from several threads."""
        asked = {**self._own, **({step.name: step.value} if step else {})}
        page = self._client.fetch("GET", self._endpoint, read_page, query_params=asked, errand=self._errand)
        if step and _is_another(page, step):
            raise self._wrong(
                f"was asked for another {step.name} and answered the first page, or a wrong one. The "
                f"server ignores or damages {step.name}; check that the list is paged by it."
            )
        return replace(page, step=step)

    def fetch_next(self, page: Page) -> Page | None:
        """Ask for the page after a page; None after the last. Called once for each, in their order."""
        step = self.following(page)
        return self.fetch(step) if step else None

    def fetch_previous(self, page: Page) -> Page | None:
        """Ask for the page before a page; None before the first."""
        return self.fetch(_numbered(page.number - 1)) if page.number and page.number > 1 else None

    def following(self, page: Page) -> Step | None:
        """The step after a page, None after the last; called once for each, in their order."""
        step = page.next
        if step is None or (self._end is not None and page.number is not None and page.number >= self._end):
            return None
        self._empty = 0 if page.records else self._empty + 1
        if self._empty > EMPTY:
            raise self._wrong(
                f"answered {self._empty} empty pages in a row, each with a link to the next. A list ends; "
                "ask the makers of the server."
            )
        if hash(step) in self._seen:
            raise self._wrong(
                f"leads to the same {step.name} twice, so the walk would never end. "
                "The server ignores or damages it; check that the list is paged."
            )
        if page.number is None:  # numbers only go up
            self._seen.add(hash(step))
        return step

    def numbers_after(self, page: Page) -> Iterator[Step]:
        """The steps that may be taken before it is known where they lead."""
        number = page.number or 0
        last = max(page.last_page, number + 1) if page.last_page else None
        ends = [end for end in (last, self._end) if end is not None]
        return (_numbered(n) for n in (range(number + 1, min(ends) + 1) if ends else count(number + 1)))

    def _wrong(self, what: str) -> GofundoResponseError:
        return GofundoResponseError(f"GET {self._endpoint} {what}", method="GET", path=self._endpoint)


def _numbered(number: int) -> Step:
    return Step("page", str(number))


def _to_the_end(page: Page) -> Step | None:
    """From a page that was the last one, to the one that is the last now, where they differ."""
    if page.last_page is not None:
        return None if page.number == page.last_page else _numbered(page.last_page)
    return None if page.next is None else _numbered((page.number or 0) + 1)


def _is_another(page: Page, step: Step) -> bool:
    """Laravel answers page 1, without a word, to a page or a cursor that it cannot read."""
    if step.name == "page":
        return page.number is not None and str(page.number) != step.value
    return bool(page.records) and page.has_previous is False


def _warn_of_cap(endpoint: str, own: Mapping[str, Any], page: Page) -> None:
    asked = own.get("per_page")
    if asked is not None and page.per_page is not None and str(asked) != str(page.per_page):
        log.warning("%s: asked for %s records a page, the server gives %d", endpoint, asked, page.per_page)
