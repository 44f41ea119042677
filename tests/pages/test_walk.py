"""A walk gives every record of a list exactly once and in order, whatever the server and the network do."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import GofundoApiError, GofundoConfigError, GofundoResponseError
from airflow_provider_gofundo.pages import walk as walks
from airflow_provider_gofundo.pages.shapes import Page
from airflow_provider_gofundo.sandbox import Sandbox, Seen
from airflow_provider_gofundo.sandbox.shapes import PAGED, SHAPES
from tests.fixtures import ClientOf, Waits
from tests.replay import Answer, Replay, replay_server

WAYS_TO_WRITE: dict[str, dict[str, Any]] = {
    "as_it_is": {},
    "links_keep_the_query": {"keep_query": True},
    "pretty": {"pretty": True},
    "compressed": {"gzip": True},
    "pretty_and_compressed": {"pretty": True, "gzip": True},
    "cursors_named": {"cursor_names": True},
    "per_page_as_text": {"per_page_string": True},
    "links_to_another_host": {"link_base": "http://elsewhere.invalid"},
}
# One request at a time, so that it is known which one meets a fault; many at a time: test_parallel_walk.py.
walk = partial(walks.walk, parallel=1)

PAGED_SHAPES = [shape for shape in SHAPES if shape.startswith(PAGED)]


def lines(pages: Iterable[Page]) -> list[str]:
    return [bytes(record).decode() for page in pages for record in page.records]


def ids(pages: Iterable[Page]) -> list[int]:
    return [json.loads(line)["id"] for line in lines(pages)]


def list_requests(sandbox: Sandbox) -> list[Seen]:
    return [seen for seen in sandbox.requests if seen.path.startswith("/api/")]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS_TO_WRITE)
def test_every_shape_written_in_any_way_gives_every_record_once_and_in_order(
    shape: str, way: str, sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.settings.update(WAYS_TO_WRITE[way])
    every = range(1, 41)
    expected = sandbox.records["donations"].texts(every[1::2] if shape == "keyed" else every)

    pages = list(walk(client, f"api/{shape}/donations", query_params={"per_page": 7}))

    assert lines(pages) == expected
    assert len(pages) == (6 if shape in PAGED_SHAPES else 1)


@pytest.mark.parametrize("shape", PAGED_SHAPES)
@pytest.mark.parametrize("per_page", [1, 39, 40, 41])
def test_the_page_size_changes_nothing_about_what_comes(
    shape: str, per_page: int, sandbox: Sandbox, client: GofundoClient
) -> None:
    assert ids(walk(client, f"api/{shape}/donations", query_params={"per_page": per_page})) == [*range(1, 41)]


@pytest.mark.parametrize("shape", PAGED_SHAPES)
@pytest.mark.parametrize("keep_query", [False, True])
def test_own_parameters_go_with_every_page_once(
    shape: str, keep_query: bool, sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.settings.keep_query = keep_query
    own = {"per_page": 4, "status": "paid", "anonymous": False, "empty": ""}

    found = ids(walk(client, f"api/{shape}/donations", query_params=own))

    assert found == [number for number in range(1, 41) if number % 3 == 0 and number % 5]
    sent = [seen.query_string for seen in list_requests(sandbox)]
    assert len(sent) == 3
    assert all(query.startswith("per_page=4&status=paid&anonymous=0&empty=") for query in sent)
    assert [query.count("per_page=") for query in sent] == [1, 1, 1]
    assert [query.count("page=2") for query in sent] == ([0, 0, 0] if "cursor" in shape else [0, 1, 0])


def test_the_callers_parameters_are_not_changed_by_the_walk(client: GofundoClient) -> None:
    own = {"per_page": 10}

    assert len(list(walk(client, "api/donations", query_params=own))) == 4
    assert own == {"per_page": 10}


@pytest.mark.parametrize("shape", PAGED_SHAPES)
def test_a_link_to_another_host_is_never_called_and_gets_no_token(
    shape: str, sandbox: Sandbox, client: GofundoClient
) -> None:
    with replay_server() as elsewhere:
        elsewhere.answer(Answer(body=b"[]"))
        sandbox.settings.link_base = elsewhere.url

        assert ids(walk(client, f"api/{shape}/donations", query_params={"per_page": 9})) == [*range(1, 41)]
        assert elsewhere.asked == []


def test_nothing_but_its_step_is_taken_from_a_link(replay: Replay, client_of: ClientOf) -> None:
    link = "http:\\/\\/elsewhere.invalid\\/api\\/salaries?admin=1&per_page=1&page=2&status=open"
    replay.answer(
        Answer(body=f'{{"data":[{{"id":1}}],"next_page_url":"{link}"}}'.encode()),
        Answer(body=b'{"data":[{"id":2}],"next_page_url":null}'),
    )

    assert ids(walk(client_of(replay.url), "api/list", query_params={"status": "paid"})) == [1, 2]
    _, first, second = replay.asked
    assert (first.path, first.query) == ("/api/list", {"status": "paid"})
    assert (second.path, second.query) == ("/api/list", {"status": "paid", "page": "2"})


def test_a_cursor_comes_back_to_the_server_as_it_was(replay: Replay, client_of: ClientOf) -> None:
    replay.answer(
        Answer(body=b'{"data":[{"id":1}],"next_page_url":"?cursor=a%2Bb%2Fc%3D%3D%20%26%C3%BC"}'),
        Answer(body=b'{"data":[{"id":2}],"next_page_url":null}'),
    )

    assert ids(walk(client_of(replay.url), "api/list")) == [1, 2]
    assert replay.asked[-1].query == {"cursor": "a+b/c== &ü"}


@pytest.mark.parametrize("name", ["page", "cursor"])
def test_a_step_among_the_own_parameters_is_refused_before_anything_is_sent(
    name: str, sandbox: Sandbox, client: GofundoClient
) -> None:
    with pytest.raises(GofundoConfigError, match=f"may not hold {name}"):
        next(walk(client, "api/donations", query_params={name: "2"}))

    assert sandbox.requests == ()


def envelope(link: str) -> Answer:
    return Answer(body=f'{{"data":[{{"id":1}}],"links":{{"next":"{link}"}}}}'.encode())


@pytest.mark.parametrize(
    "links",
    [
        ["?page=2", "?page=2"],
        ["?page=1", "?page=1"],
        ["?page=2", "?page=3", "?page=1", "?page=2"],
        ["?cursor=abc", "?cursor=abc"],
        ["?cursor=abc", "?cursor=def", "?cursor=abc"],
    ],
    ids=" ".join,
)
def test_a_server_that_leads_in_a_circle_ends_in_an_error_and_not_in_a_list(
    links: list[str], replay: Replay, client_of: ClientOf
) -> None:
    replay.answer(*map(envelope, links))

    with pytest.raises(GofundoResponseError, match=r"GET api/list leads to the same (page|cursor) twice"):
        list(walk(client_of(replay.url), "api/list"))

    assert len(replay.asked) == 1 + len(links)


def test_a_cap_of_the_page_size_is_told_once_and_costs_no_record(
    sandbox: Sandbox, client: GofundoClient, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.settings.max_per_page = 6

    with caplog.at_level(logging.WARNING):
        found = ids(walk(client, "api/donations", query_params={"per_page": 500}))

    assert found == [*range(1, 41)]
    assert [record.getMessage() for record in caplog.records] == [
        "api/donations: asked for 500 records a page, the server gives 6"
    ]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_page_size_that_the_server_keeps_to_is_no_news(
    as_text: bool, sandbox: Sandbox, client: GofundoClient, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.settings.per_page_string = as_text

    with caplog.at_level(logging.WARNING):
        list(walk(client, "api/simple-paginate/donations", query_params={"per_page": "20"}))

    assert caplog.records == []


@pytest.mark.parametrize("shape", SHAPES)
def test_an_empty_list_is_one_page_without_records(shape: str, client_of: ClientOf) -> None:
    with Sandbox(records=0) as sandbox:
        pages = list(walk(client_of(sandbox.url), f"api/{shape}/donations"))

    assert [page.records for page in pages] == [[]]


@pytest.mark.parametrize("shape", PAGED_SHAPES)
def test_a_list_that_shrinks_below_the_next_page_ends_there(shape: str, client_of: ClientOf) -> None:
    with Sandbox(records=40) as sandbox:
        pages = walk(client_of(sandbox.url), f"api/{shape}/donations", query_params={"per_page": 10})
        first = next(pages)
        sandbox.records_delete("donations", range(5, 41))

        rest = list(pages)

    assert ids([first]) == [*range(1, 11)]
    assert [page.records for page in rest] == [[]]
    assert rest[0].next is None


def test_a_page_is_asked_for_when_the_one_before_has_been_taken(sandbox: Sandbox, client: GofundoClient) -> None:
    pages = walk(client, "api/donations", query_params={"per_page": 10})
    assert sandbox.requests == ()

    for number, _ in enumerate(pages, 1):
        assert len(list_requests(sandbox)) == number


@pytest.mark.parametrize("shape", PAGED_SHAPES)
def test_a_token_that_dies_in_mid_walk_costs_no_record(shape: str, sandbox: Sandbox, client: GofundoClient) -> None:
    pages: Iterator[Page] = walk(client, f"api/{shape}/donations", query_params={"per_page": 10})
    taken = [next(pages), next(pages)]
    sandbox.revoke_all()

    assert ids([*taken, *pages]) == [*range(1, 41)]
    assert [seen.status for seen in list_requests(sandbox)] == [200, 200, 401, 200, 200]


FAULTS: dict[str, dict[str, Any]] = {
    "throttled": {"kind": "status", "status": 429, "retry_after": 7},
    "throttled_until_a_date": {
        "kind": "status", "status": 429, "retry_after": datetime(2020, 1, 1, tzinfo=timezone.utc),
    },
    "failing": {"kind": "status", "status": 500},
    "failing_in_html": {"kind": "status", "status": 502, "body": "html"},
    "in_maintenance": {"kind": "status", "status": 503},
    "hanging_up": {"kind": "drop"},
    "losing_the_answer": {"kind": "lost_answer"},
    "cut_off": {"kind": "truncate"},
    "breaking_the_json": {"kind": "broken_json"},
    "revoking": {"kind": "revoke"},
}  # fmt: skip


@pytest.mark.parametrize("shape", PAGED_SHAPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_in_mid_walk_costs_no_record_and_doubles_none(
    fault: str, shape: str, sandbox: Sandbox, client: GofundoClient, waits: Waits
) -> None:
    for page, times in ((0, 1), (2, 2), (3, 1)):
        sandbox.faults.add(path="/api/", after=page, times=times if fault != "revoking" else 1, **FAULTS[fault])

    assert ids(walk(client, f"api/{shape}/donations", query_params={"per_page": 10})) == [*range(1, 41)]
    assert sandbox.faults.waiting == ()
    assert not waits or min(waits) >= (7 if fault == "throttled" else 1)


@pytest.mark.parametrize("kind", ["truncate", "broken_json"])
def test_a_compressed_page_that_breaks_off_costs_no_record(
    kind: str, sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.settings.gzip = True
    sandbox.faults.add(kind, after=1, times=3)

    assert ids(walk(client, "api/donations", query_params={"per_page": 10})) == [*range(1, 41)]


@pytest.mark.parametrize(
    "fault", [{"kind": "html"}, {"kind": "login_redirect"}, {"kind": "wrong_type", "value": {"message": "busy"}}]
)
def test_a_page_that_is_no_list_ends_the_walk_with_an_error(
    fault: dict[str, Any], sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.faults.add(**fault, after=2)
    pages = walk(client, "api/donations", query_params={"per_page": 10})

    assert ids([next(pages), next(pages)]) == [*range(1, 21)]
    with pytest.raises(GofundoResponseError):
        next(pages)


def test_a_server_that_goes_on_failing_ends_the_walk_with_its_error(
    sandbox: Sandbox, client: GofundoClient, waits: Waits
) -> None:
    sandbox.faults.add("status", status=500, after=2, times=None)
    pages = walk(client, "api/donations", query_params={"per_page": 10})
    taken = [next(pages), next(pages)]

    with pytest.raises(GofundoApiError, match="api/donations answered 500"):
        next(pages)

    assert ids(taken) == [*range(1, 21)]
    assert len(waits) == 4


def test_a_server_that_always_answers_page_1_with_a_new_cursor_ends_in_an_error(
    replay: Replay, client_of: ClientOf
) -> None:
    def first_page(cursor: str) -> Answer:
        return Answer(
            body=json.dumps(
                {"data": [{"id": 1}], "path": "", "per_page": 1, "next_page_url": f"http://h/?cursor={cursor}",
                 "prev_page_url": None}
            ).encode()
        )  # fmt: skip

    replay.answer(*(first_page(f"c{number}") for number in range(9)))

    with pytest.raises(GofundoResponseError, match="was asked for another cursor and answered the first page"):
        list(walk(client_of(replay.url), "api/list"))


def test_a_server_that_answers_another_page_than_it_was_asked_for_ends_in_an_error(
    replay: Replay, client_of: ClientOf
) -> None:
    def page(number: int, after: int) -> Answer:
        return Answer(
            body=json.dumps(
                {"current_page": number, "data": [{"id": number}], "next_page_url": f"http://h/?page={after}",
                 "prev_page_url": None}
            ).encode()
        )  # fmt: skip

    replay.answer(page(1, 2), page(1, 2))

    with pytest.raises(GofundoResponseError, match="was asked for another page and answered the first page"):
        list(walk(client_of(replay.url), "api/list"))
