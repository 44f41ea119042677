"""A page whose own words show that more must follow is never taken for the whole list."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_gofundo.exceptions import GofundoResponseError
from airflow_provider_gofundo.pages.walk import EMPTY, walk
from tests.fixtures import ClientOf
from tests.replay import Answer, Replay

DATA = [{"id": 1}, {"id": 2}, {"id": 3}]


def answer(**body: Any) -> Answer:
    return Answer(body=json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"meta": {"next_cursor": "abc", "per_page": 3}},
        {"next_cursor": "abc", "per_page": 3},
        {"meta": {"next_cursor": "abc"}, "links": {"next": None}},
        {"meta": {"current_page": 1, "per_page": 3, "from": 1, "to": 3}},
        {"next": "http://h/?page=2"},
        {"meta": {"total": 100, "per_page": 3, "current_page": 1}},
        {"meta": {"total": 100, "per_page": 3, "current_page": 1}, "links": None},
        {"meta": {"total": 100}, "links": {"next": None}},
        {"meta": {"pagination": {"total_pages": 3}}},
        {"current_page": 1, "last_page": 5, "next_page_url": None},
        {"current_page": 1, "last_page": 5, "next_page_url": "?page=3"},
    ],
    ids=json.dumps,
)
def test_a_part_is_refused(body: dict[str, Any], replay: Replay, client_of: ClientOf) -> None:
    replay.answer(answer(data=DATA, **body))

    with pytest.raises(GofundoResponseError, match="no list of records"):
        list(walk(client_of(replay.url), "api/list"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"meta": []},
        {"meta": None},
        {"meta": {"total": 3}},
        {"total": 3, "per_page": 15, "current_page": 1},
        {"meta": {"locale": "nl"}, "links": {"self": "http://h/"}},
        {"current_page": 1, "last_page": 1, "total": 3, "next_page_url": None},
    ],
    ids=json.dumps,
)
def test_a_whole_list_is_taken_whatever_stands_beside_it(
    body: dict[str, Any], replay: Replay, client_of: ClientOf
) -> None:
    replay.answer(answer(data=DATA, **body))

    (page,) = walk(client_of(replay.url), "api/list")

    assert len(page.records) == 3


def test_a_list_of_nothing_but_empty_pages_ends_in_an_error(replay: Replay, client_of: ClientOf) -> None:
    replay.answer(*(answer(data=[], next_page_url=f"?cursor={number}") for number in range(EMPTY + 9)))

    with pytest.raises(GofundoResponseError, match="empty pages in a row"):
        list(walk(client_of(replay.url), "api/list"))
