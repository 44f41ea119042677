"""A walk with several requests at once gives what one by one gives: every record once, in order; and no more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoConfigError,
    GofundoResponseError,
    GofundoStopped,
)
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.pages import walk as walks
from airflow_provider_gofundo.pages.ahead import Idleness
from airflow_provider_gofundo.pages.shapes import Page, Step
from airflow_provider_gofundo.pages.walk import EMPTY, READY, WORTHWHILE, walk, walk_back
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.sandbox.shapes import SHAPES
from tests.fixtures import ClientOf, Connect, settings_of, until, waiting_client, walking_threads
from tests.pages.test_walk import FAULTS, PAGED_SHAPES, ids, list_requests
from tests.replay import Answer, Asked, Replay

EVERY = [*range(1, 41)]
NUMBERED = [shape for shape in PAGED_SHAPES if "cursor" not in shape]
COUNTED = ["paginate", "paginate-resource"]
LANES = [1, 2, 3, 8]


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_walk() -> Iterator[None]:
    yield
    assert walking_threads() == []


@pytest.fixture
def waiting(sandbox: Sandbox) -> Iterator[GofundoClient]:
    """A client that really waits."""
    with waiting_client(settings_of(sandbox.url)) as client:
        yield client


def asked_pages(sandbox: Sandbox) -> list[int]:
    """The numbers of the pages that were asked for, in the order of the server's answers."""
    return [int(seen.query.get("page", "1")) for seen in list_requests(sandbox)]


def numbers(pages: Iterable[Page]) -> list[int | None]:
    return [page.number for page in pages]


# --- what comes, and what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parallel", range(1, 9))
def test_every_record_comes_once_and_in_order(
    shape: str, parallel: int, sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.settings.latency_ms = 2

    found = ids(walk(client, f"api/{shape}/donations", query_params={"per_page": 3}, parallel=parallel))

    assert found == (EVERY[1::2] if shape == "keyed" else EVERY)
    assert sandbox.counters.in_flight_max <= parallel
    assert sandbox.counters.connections_max <= parallel + 1, "the login has one of its own"


@pytest.mark.parametrize("shape", PAGED_SHAPES)
@pytest.mark.parametrize("parallel", LANES)
@pytest.mark.parametrize("per_page", [7, 8, 39, 40, 41])
def test_exactly_the_pages_that_there_are_are_asked_for_where_that_is_told(
    shape: str, parallel: int, per_page: int, sandbox: Sandbox, client: GofundoClient
) -> None:
    pages = list(walk(client, f"api/{shape}/donations", query_params={"per_page": per_page}, parallel=parallel))

    count = -(-40 // per_page)
    assert len(pages) == count
    beyond = len(list_requests(sandbox)) - count
    assert 0 <= beyond <= (parallel if "simple" in shape and parallel > 1 and count > 1 else 0)
    if "cursor" not in shape:
        assert sorted(asked_pages(sandbox)) == [*range(1, count + beyond + 1)]


@pytest.mark.parametrize("shape", NUMBERED)
def test_so_many_requests_as_are_wanted_are_under_way_at_the_same_time(
    shape: str, sandbox: Sandbox, waiting: GofundoClient
) -> None:
    sandbox.faults.add("slow", after=1, seconds=300, times=None)
    pages = walk(waiting, f"api/{shape}/donations", query_params={"per_page": 2}, parallel=5)
    next(pages)
    with ThreadPoolExecutor(1) as elsewhere:
        walking = elsewhere.submit(next, pages)
        until(lambda: sandbox.counters.in_flight == 5)
        waiting.stop()
        with pytest.raises(GofundoStopped):
            walking.result(10)


def test_a_cursor_list_is_asked_for_one_page_ahead_and_no_more(sandbox: Sandbox, client: GofundoClient) -> None:
    with closing(walk(client, "api/cursor-paginate/donations", query_params={"per_page": 4}, parallel=8)) as pages:
        for number in range(1, 6):
            next(pages)
            until(lambda: len(list_requests(sandbox)) == number + 1)  # noqa: B023  # called at once
    assert sandbox.counters.in_flight_max == 1


@pytest.mark.parametrize("parallel", [2, 3, 8])
@pytest.mark.parametrize("shape", NUMBERED)
def test_while_nobody_takes_a_page_so_many_are_asked_for_and_no_more(
    shape: str, parallel: int, client_of: ClientOf
) -> None:
    ahead = parallel * READY if shape in COUNTED else parallel
    half = (ahead + 1) // 2  # is asked for once the half before has been taken
    with Sandbox(records=200) as sandbox:
        client = client_of(sandbox.url)
        with closing(
            walk(client, f"api/{shape}/donations", query_params={"per_page": 1}, parallel=parallel)
        ) as pages:
            next(pages)
            assert asked_pages(sandbox) == [1]
            for taken in range(2, 40):
                assert next(pages).number == taken
                most = 1 + ahead + (taken - 2) // half * half
                until(lambda: len(asked_pages(sandbox)) >= most and not sandbox.counters.in_flight)  # noqa: B023
                assert sorted(asked_pages(sandbox)) == [*range(1, most + 1)]


@pytest.mark.parametrize("shape", PAGED_SHAPES)
def test_from_a_server_that_makes_nobody_wait_pages_are_taken_one_by_one(
    shape: str, sandbox: Sandbox, client: GofundoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "WORTHWHILE", float("inf"))

    pages = walk(client, f"api/{shape}/donations", query_params={"per_page": 4}, parallel=8)

    found = []
    for page in pages:
        found += ids([page])
        assert walking_threads() == []
    assert found == EVERY
    assert len(list_requests(sandbox)) == 10
    assert sandbox.counters.in_flight_max == 1


@pytest.mark.parametrize("shape", NUMBERED)
@pytest.mark.parametrize("after", [0, 1, 5])
def test_pages_are_asked_for_in_parallel_as_soon_as_one_was_waited_for(
    shape: str, after: int, sandbox: Sandbox, client: GofundoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "WORTHWHILE", WORTHWHILE)
    client.tokens.token()
    sandbox.faults.add("slow", after=after, seconds=0.1, times=None)

    assert ids(walk(client, f"api/{shape}/donations", query_params={"per_page": 2}, parallel=5)) == EVERY

    assert sandbox.counters.in_flight_max == 5
    assert sorted(asked_pages(sandbox))[:20] == [*range(1, 21)]


def test_a_slow_login_does_not_make_a_walk_look_ahead(
    sandbox: Sandbox, client: GofundoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "WORTHWHILE", 0.5)
    sandbox.faults.add("slow", path="/oauth/token", seconds=0.6)

    assert ids(walk(client, "api/donations", query_params={"per_page": 4}, parallel=8)) == EVERY

    assert sandbox.counters.in_flight_max == 1


def test_what_is_waited_for_now_and_then_adds_up_and_wears_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"perf_counter": 0.0, "thread_time": 0.0}
    for name in clock:
        monkeypatch.setattr(time, name, lambda name=name: clock[name])
    idleness = Idleness(spared=1)

    def fetch(took: tuple[float, float]) -> str:
        clock["perf_counter"] += took[0]
        clock["thread_time"] += took[1]
        return "page"

    # Seconds it took, seconds of them worked, and what is left of all waiting.
    for took, worked, left in ((1, 0.25, 0), (8, 1, 6), (4, 1, 8), (4, 4, 7), (9, 9, 6), (2, 0, 7), (3, 3, 6)):
        assert idleness.during(fetch, (took, worked)) == "page"
        assert idleness.seconds == left


@pytest.mark.parametrize("parallel", [0, -1, 33, 2.0, "4", True, None])
def test_a_parallelism_that_is_none_is_refused_before_anything_is_sent(
    parallel: Any, sandbox: Sandbox, client: GofundoClient
) -> None:
    with pytest.raises(GofundoConfigError, match="parallel must be a whole number from 1 to 32"):
        next(walk(client, "api/donations", parallel=parallel))

    assert sandbox.counters.total == 0


# --- lists that change meanwhile ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", NUMBERED)
@pytest.mark.parametrize("parallel", LANES)
def test_a_list_that_grows_is_walked_to_its_new_end(shape: str, parallel: int, client_of: ClientOf) -> None:
    with Sandbox(records=20) as sandbox:
        pages = walk(
            client_of(sandbox.url), f"api/{shape}/donations", query_params={"per_page": 2}, parallel=parallel
        )
        taken = [next(pages)]
        sandbox.records_insert("donations", 5)
        taken += [next(pages)]
        sandbox.records_insert("donations", 15)

        assert ids([*taken, *pages]) == EVERY


@pytest.mark.parametrize("shape", NUMBERED)
@pytest.mark.parametrize("parallel", LANES)
def test_a_list_that_shrinks_ends_where_it_ends_now(shape: str, parallel: int, client_of: ClientOf) -> None:
    with Sandbox(records=40) as sandbox:
        pages = walk(
            client_of(sandbox.url), f"api/{shape}/donations", query_params={"per_page": 1}, parallel=parallel
        )
        taken = [next(pages)]
        sandbox.records_delete("donations", range(12, 41))

        assert ids([*taken, *pages]) == [*range(1, 12)]
        beyond = parallel if parallel > 1 else 0
        assert len(asked_pages(sandbox)) <= 11 + beyond * (READY if shape in COUNTED else 1)


@pytest.mark.parametrize("shape", NUMBERED)
@pytest.mark.parametrize("parallel", LANES)
def test_a_list_that_shrinks_to_less_than_was_taken_ends(shape: str, parallel: int, client_of: ClientOf) -> None:
    with Sandbox(records=40) as sandbox:
        pages = walk(
            client_of(sandbox.url), f"api/{shape}/donations", query_params={"per_page": 1}, parallel=parallel
        )
        taken = [next(pages)]
        sandbox.records_delete("donations", range(1, 41))

        assert [page.records for page in pages] == [[]]
        assert ids(taken) == [1]


def test_a_list_of_empty_pages_without_end_ends_in_an_error(replay: Replay, client_of: ClientOf) -> None:
    def empty(asked: Asked) -> Answer:
        number = int(asked.query.get("page", "1"))
        link = f"http://h/?page={number + 1}"
        body = {"current_page": number, "data": [], "next_page_url": link, "prev_page_url": None}
        return Answer(body=json.dumps(body).encode())

    replay.answer(empty)
    pages: list[Page] = []

    with pytest.raises(GofundoResponseError, match="empty pages in a row"):
        pages.extend(walk(client_of(replay.url), "api/list", parallel=4))

    assert len(replay.resource_requests) <= EMPTY + 1 + 4


# --- parts of a list ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", NUMBERED)
@pytest.mark.parametrize("parallel", LANES)
@pytest.mark.parametrize(
    ("begin", "end"), [(None, 1), (None, 3), (1, 1), (2, 2), (2, 5), (4, 10), (9, None), (10, 10), (5, 99)]
)
def test_a_range_of_pages_is_walked_and_nothing_outside_of_it_asked_for(
    begin: int | None, end: int | None, shape: str, parallel: int, sandbox: Sandbox, client: GofundoClient
) -> None:
    step = Step("page", str(begin)) if begin else None

    pages = walk(
        client, f"api/{shape}/donations", query_params={"per_page": 4}, parallel=parallel, begin=step, end=end
    )

    expected = [*range(begin or 1, min(end or 10, 10) + 1)]
    assert numbers(pages) == expected
    beyond = parallel if "simple" in shape and (end or 99) > 10 else 0
    assert expected == sorted(asked_pages(sandbox))[: len(expected)]
    assert len(asked_pages(sandbox)) <= len(expected) + beyond


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_cursor_list_goes_on_from_a_page_of_before(parallel: int, sandbox: Sandbox, client: GofundoClient) -> None:
    own = {"per_page": 7}
    third = [*walk(client, "api/cursor-paginate/donations", query_params=own)][2]

    pages = [*walk(client, "api/cursor-paginate/donations", query_params=own, parallel=parallel, begin=third.step)]

    assert ids(pages) == EVERY[14:]
    assert pages[0].step == third.step


# --- backward -----------------------------------------------------------------------------------------------------


def back(client: GofundoClient, begin: int, shape: str = "paginate") -> Iterator[Page]:
    return walk_back(client, f"api/{shape}/donations", query_params={"per_page": 4}, begin=begin)


@pytest.mark.parametrize("shape", NUMBERED)
def test_a_list_is_walked_backward_one_page_at_a_time(shape: str, sandbox: Sandbox, client: GofundoClient) -> None:
    pages = [*back(client, 10, shape)]

    assert numbers(pages) == [*range(10, 0, -1)]
    assert sorted(ids(pages)) == EVERY
    assert asked_pages(sandbox) == [*range(10, 0, -1)]
    assert sandbox.counters.in_flight_max == 1


@pytest.mark.parametrize("begin", [1, 7, 9])
@pytest.mark.parametrize("shape", NUMBERED)
def test_a_list_that_has_grown_is_walked_backward_from_its_new_end(
    shape: str, begin: int, client: GofundoClient
) -> None:
    assert numbers(back(client, begin, shape)) == [*range(10, 0, -1)]


@pytest.mark.parametrize("shape", NUMBERED)
def test_a_list_that_has_shrunk_is_walked_backward_from_its_new_end(
    shape: str, sandbox: Sandbox, client: GofundoClient
) -> None:
    pages = [*back(client, 13, shape)]

    assert sorted(ids(pages)) == EVERY
    assert [page.number for page in pages if page.records] == [*range(10, 0, -1)]
    if shape in COUNTED:
        assert asked_pages(sandbox) == [13, *range(10, 0, -1)]


def test_records_that_go_during_a_walk_backward_make_it_miss_none_of_the_others(client_of: ClientOf) -> None:
    with Sandbox(records=40) as sandbox:
        pages = back(client_of(sandbox.url), 10)
        taken = [next(pages), next(pages)]
        sandbox.records_delete("donations", [3, 17, 18])

        assert {*ids([*taken, *pages])} >= {*EVERY} - {3, 17, 18}


def test_an_empty_list_is_walked_backward_as_one_page_without_records(client_of: ClientOf) -> None:
    with Sandbox(records=0) as sandbox:
        assert [page.records for page in back(client_of(sandbox.url), 1)] == [[]]


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", PAGED_SHAPES)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("parallel", [2, 8])
def test_a_server_that_fails_in_mid_walk_costs_no_record_and_doubles_none(
    parallel: int, fault: str, shape: str, sandbox: Sandbox, client: GofundoClient
) -> None:
    # More than one login at a time cannot be lost: a new one that is refused at once is an error.
    for after, times in ((2, 1),) if fault == "revoking" else ((0, 1), (2, 2), (3, 1)):
        sandbox.faults.add(path="/api/", after=after, times=times, **FAULTS[fault])

    assert ids(walk(client, f"api/{shape}/donations", query_params={"per_page": 4}, parallel=parallel)) == EVERY
    assert sandbox.faults.waiting == ()


@pytest.mark.parametrize("shape", PAGED_SHAPES)
def test_a_token_that_dies_in_mid_walk_is_renewed_once(shape: str, sandbox: Sandbox, client: GofundoClient) -> None:
    pages = walk(client, f"api/{shape}/donations", query_params={"per_page": 1}, parallel=8)
    taken = [next(pages) for _ in range(3)]
    sandbox.revoke_all()

    assert ids([*taken, *pages]) == EVERY
    assert sandbox.counters.grants["client_credentials"] == 2


@pytest.mark.parametrize("shape", NUMBERED)
@pytest.mark.parametrize("parallel", LANES)
def test_a_page_that_fails_for_good_raises_after_the_pages_before_it_were_given(
    shape: str, parallel: int, sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.faults.add("status", query="&page=6", status=404, times=None)
    sandbox.faults.add("slow", query="&page=5", seconds=0.1)
    pages = walk(client, f"api/{shape}/donations", query_params={"per_page": 4}, parallel=parallel)
    taken: list[int | None] = []

    with pytest.raises(GofundoApiError, match="answered 404"):
        taken.extend(page.number for page in pages)

    assert taken == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_cursor_page_that_fails_for_good_raises_after_the_pages_before_it_were_given(
    parallel: int, sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.faults.add("status", after=3, status=404, times=None)
    taken: list[Page] = []

    with pytest.raises(GofundoApiError, match="answered 404"):
        taken.extend(walk(client, "api/cursor-paginate/donations", query_params={"per_page": 4}, parallel=parallel))

    assert ids(taken) == [*range(1, 13)]


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_page_that_leads_in_a_circle_is_given_before_the_error(
    parallel: int, replay: Replay, client_of: ClientOf
) -> None:
    replay.answer(*(Answer(body=b'{"data":[{"id":%d}],"next_page_url":"?cursor=a"}' % n) for n in (1, 2)))
    taken: list[Page] = []

    with pytest.raises(GofundoResponseError, match="leads to the same cursor twice"):
        taken.extend(walk(client_of(replay.url), "api/list", parallel=parallel))

    assert ids(taken) == [1, 2]


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", PAGED_SHAPES)
@pytest.mark.parametrize("taken", [0, 1, 2, 5])
def test_a_walk_that_is_closed_early_leaves_no_thread(
    taken: int, shape: str, sandbox: Sandbox, client: GofundoClient
) -> None:
    pages = walk(client, f"api/{shape}/donations", query_params={"per_page": 2}, parallel=8)
    for _ in range(taken):
        next(pages)

    pages.close()

    assert walking_threads() == []


def test_a_walk_whose_consumer_fails_leaves_no_thread(client: GofundoClient) -> None:
    def consume() -> None:
        for page in walk(client, "api/donations", query_params={"per_page": 2}, parallel=8):
            if page.number == 3:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        consume()

    assert walking_threads() == []
    del caught


@pytest.mark.parametrize("waits_for", [3, 4, 5])
def test_an_error_ends_the_waits_of_the_pages_after_it(
    waits_for: int, sandbox: Sandbox, waiting: GofundoClient
) -> None:
    sandbox.faults.add("status", query=f"&page={waits_for}", status=503, retry_after=300)
    sandbox.faults.add("status", query="&page=2", status=404, seconds=0.2)

    with pytest.raises(GofundoApiError, match="answered 404"):
        list(walk(waiting, "api/donations", query_params={"per_page": 2}, parallel=4))

    assert walking_threads() == []
    assert waiting.traffic.retries == 1


def test_a_walk_that_is_closed_ends_the_waits_of_its_pages_and_those_of_nobody_else(
    sandbox: Sandbox, waiting: GofundoClient
) -> None:
    sandbox.faults.add("status", query="&page=4", status=503, retry_after=300)
    pages = walk(waiting, "api/donations", query_params={"per_page": 2}, parallel=2)
    assert [next(pages).number, next(pages).number] == [1, 2]
    until(lambda: waiting.traffic.retries)

    with ThreadPoolExecutor(1) as elsewhere:
        other = elsewhere.submit(waiting.request, "GET", "api/donations")
        until(lambda: waiting.traffic.waited > 500)
        pages.close()

        assert walking_threads() == []
        assert not other.done()
        waiting.stop()
        with pytest.raises(GofundoStopped):
            other.result(10)


# --- through the hook ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [None, 1, 5])
def test_the_hook_walks_with_as_many_requests_as_it_is_told(
    parallel: int | None, sandbox: Sandbox, connect: Connect
) -> None:
    sandbox.settings.latency_ms = 20
    connect(sandbox.url)

    hook = GofundoHook()
    with hook.client:
        records = [*hook.records("api/donations", query_params={"per_page": 2}, parallel=parallel)]
        pages = [*hook.pages("api/donations", parallel=parallel)]

    assert [record["id"] for record in records] == EVERY
    assert numbers(pages) == [1, 2, 3]
    assert sandbox.counters.in_flight_max == (parallel or 4)
