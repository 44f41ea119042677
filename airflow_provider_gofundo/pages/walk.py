"""Walk: from a page to the next, until the last."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoResponseError
from airflow_provider_gofundo.pages.shapes import Page, Step, read_page

log = logging.getLogger(__name__)

# So many empty pages in a row may be a filter's doing; more are a server that never ends.
EMPTY = 100


def walk(client: GofundoClient, endpoint: str, *, query_params: Mapping[str, Any] | None = None) -> Iterator[Page]:
    """
    Yield the pages of a list, first to last.

    `query_params` are sent again with every page, because the server's links drop them.
    """
    own = dict(query_params or {})
    for name in ("page", "cursor"):
        if name in own:
            raise GofundoConfigError(
                f"query_params may not hold {name}: the walk begins at the first page and sets it."
            )
    seen: set[Step] = set()
    empty = 0
    step: Step | None = None
    while True:
        page = client.fetch("GET", endpoint, read_page, query_params={**own, **_parameter(step)})
        if step is None:
            _warn_of_cap(endpoint, own, page)
        elif _is_another(page, step):
            raise GofundoResponseError(
                f"GET {endpoint} was asked for another {step.name} and answered the first page, or a wrong one. The "
                f"server ignores or damages {step.name}; check that the list is paged by it.",
                method="GET",
                path=endpoint,
            )
        yield page
        step = page.next
        if step is None:
            return
        empty = 0 if page.records else empty + 1
        if empty > EMPTY:
            raise GofundoResponseError(
                f"GET {endpoint} answered {empty} empty pages in a row, each with a link to the next. A list ends; "
                "ask the makers of the server.",
                method="GET",
                path=endpoint,
            )
        if step in seen:
            raise GofundoResponseError(
                f"GET {endpoint} leads to the same {step.name} twice, so the walk would never end. "
                "The server ignores or damages it; check that the list is paged.",
                method="GET",
                path=endpoint,
            )
        seen.add(step)


def _is_another(page: Page, step: Step) -> bool:
    """Laravel answers page 1, without a word, to a page or a cursor that it cannot read."""
    if step.name == "page":
        return page.number is not None and str(page.number) != step.value
    return bool(page.records) and page.has_previous is False


def _parameter(step: Step | None) -> dict[str, str]:
    return {step.name: step.value} if step else {}


def _warn_of_cap(endpoint: str, own: Mapping[str, Any], page: Page) -> None:
    asked = own.get("per_page")
    if asked is not None and page.per_page is not None and str(asked) != str(page.per_page):
        log.warning("%s: asked for %s records a page, the server gives %d", endpoint, asked, page.per_page)
