"""A list that changes while it is pulled: what was there all the time is in the dataset, and each record once."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.drift import OnDrift
from airflow_provider_gofundo.dataset.pull import Summary
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoDriftError
from airflow_provider_gofundo.pages.shapes import Page
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import files, lake, trust
from tests.fixtures import ClientOf, pull
from tests.replay import Answer, Asked, Replay

QUIET = {"seen": False, "twice": 0, "repulls": 0, "added": 0, "complete": True}
Change = Callable[[Sandbox], object]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


def insert(sandbox: Sandbox) -> None:
    sandbox.records_insert("donations")


def delete(*ids: int) -> Change:
    return lambda sandbox: sandbox.records_delete("donations", ids)


def pull_while(
    sandbox: Sandbox, client: GofundoClient, folder: Path, changes: dict[int, Change], *,
    endpoint: str = "api/donations", query: dict[str, Any] | None = None, **options: Any,
) -> Summary:  # fmt: skip
    """Pull pages of ten; before the nth answer is made the list changes as told."""
    answers = iter(range(1, 1_000))

    def hook(_method: str, _path: str) -> None:
        changes.get(next(answers), id)(sandbox)

    sandbox.before_each(hook)
    try:
        return pull(client, endpoint, lake(folder), query_params={"per_page": 10, **(query or {})}, **options)
    finally:
        sandbox.before_each(None)


def pages_asked(sandbox: Sandbox) -> list[int]:
    return [int(seen.query.get("page", 1)) for seen in sandbox.requests if seen.path.startswith("/api/")]


def drift(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "_manifest.json").read_text())["drift"]
    return found


def ids(folder: Path) -> list[int]:
    found = trust(lake(folder))
    assert found
    return found.ids


# --- what a list may do without harm -----------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["api/paginate/donations", "api/paginate-resource/donations"])
def test_a_list_that_stays_as_it_is_is_walked_once(
    endpoint: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    summary = pull_while(sandbox, client, tmp_path, {}, endpoint=endpoint)

    assert drift(tmp_path) == QUIET
    assert summary.complete is True
    assert pages_asked(sandbox) == [1, 2, 3, 4]


@pytest.mark.parametrize("moment", [2, 3, 4])
def test_records_added_at_the_end_come_along_in_the_one_walk(
    moment: int, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {moment: insert})

    assert ids(tmp_path) == [*range(1, 42)]
    assert drift(tmp_path) == QUIET | {"seen": True}
    assert pages_asked(sandbox) == [1, 2, 3, 4, 5]


def test_records_added_in_front_are_left_to_the_next_pull_and_none_comes_twice(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {2: insert, 4: insert}, query={"sort": "-id"})

    assert ids(tmp_path) == [*range(40, 0, -1)]
    assert drift(tmp_path) == QUIET | {"seen": True, "twice": 2}
    assert pages_asked(sandbox) == [1, 2, 3, 4, 5]


def test_a_change_before_the_first_answer_is_none(sandbox: Sandbox, client: GofundoClient, tmp_path: Path) -> None:
    pull_while(sandbox, client, tmp_path, {1: delete(3)})

    assert drift(tmp_path) == QUIET
    assert 3 not in ids(tmp_path)


# --- what is repaired --------------------------------------------------------------------------------------------


def test_what_a_removal_has_shifted_past_the_walk_is_found_on_a_walk_back(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    summary = pull_while(sandbox, client, tmp_path, {3: delete(3)})

    assert ids(tmp_path) == [n for n in range(1, 41) if n != 21] + [21]
    assert drift(tmp_path) == {"seen": True, "twice": 0, "repulls": 1, "added": 1, "complete": True}
    assert pages_asked(sandbox) == [1, 2, 3, 4, 4, 3, 2, 1]
    assert (summary.complete, summary.records, summary.requests) == (True, 40, 8)


def test_in_a_long_list_only_the_pages_around_a_change_are_walked_again(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {10: delete(3)}, query={"per_page": 2})

    assert sorted(ids(tmp_path)) == [*range(1, 41)]
    assert drift(tmp_path) == {"seen": True, "twice": 0, "repulls": 1, "added": 1, "complete": True}
    assert pages_asked(sandbox) == [*range(1, 21), *range(7, 14)]


def test_changes_far_from_each_other_are_repaired_each_on_its_own(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    sandbox.records_insert("donations", 40)

    pull_while(sandbox, client, tmp_path, {8: delete(1), 32: delete(2)}, query={"per_page": 1})

    assert sorted(ids(tmp_path)) == [*range(1, 81)]
    assert drift(tmp_path) == {"seen": True, "twice": 0, "repulls": 1, "added": 2, "complete": True}
    assert pages_asked(sandbox) == [*range(1, 79), *range(3, 14), *range(27, 38)]


def test_a_change_while_pages_are_walked_again_has_all_of_them_walked_again(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {10: delete(3), 24: delete(4)}, query={"per_page": 2})

    assert sorted(ids(tmp_path)) == [*range(1, 41)]
    assert drift(tmp_path)["repulls"] == 2
    assert drift(tmp_path)["complete"] is True
    assert pages_asked(sandbox)[20:] == [*range(7, 14), 20, *range(19, 0, -1)]


def test_a_removal_behind_the_walk_costs_a_walk_back_and_nothing_else(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {3: delete(39)})

    assert ids(tmp_path) == [n for n in range(1, 41) if n != 39]
    assert drift(tmp_path) == QUIET | {"seen": True, "repulls": 1}


@pytest.mark.parametrize("sort", ["id", "-id"])
def test_removals_and_additions_in_one_walk_lose_nothing_that_stayed(
    sort: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    changes = {2: delete(4, 38), 3: insert, 4: delete(6, 35)}

    pull_while(sandbox, client, tmp_path, changes, query={"sort": sort})

    found = ids(tmp_path)
    assert set(range(1, 41)) - {4, 6, 35, 38} <= set(found)
    assert len(set(found)) == len(found)
    assert drift(tmp_path)["repulls"] == 1
    assert drift(tmp_path)["complete"] is True


def test_a_walk_back_that_meets_additions_is_followed_by_one_forward(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {3: delete(38), 6: insert}, query={"sort": "-id"})

    assert set(range(1, 41)) - {38} <= set(ids(tmp_path))
    assert drift(tmp_path) == {"seen": True, "twice": 0, "repulls": 2, "added": 2, "complete": True}
    assert pages_asked(sandbox) == [1, 2, 3, 4, 4, 3, 2, 1, 1, 2, 3, 4]


@pytest.mark.parametrize(("per_page", "walks_more"), [(3, 9), (7, 6)])
def test_a_list_that_never_rests_is_walked_until_a_missing_record_is_unlikely(
    per_page: int,
    walks_more: int,
    sandbox: Sandbox,
    client: GofundoClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    restless: dict[int, Change] = {n: insert if n % 2 else delete(n // 2) for n in range(1, 200)}

    summary = pull_while(sandbox, client, tmp_path, restless, query={"per_page": per_page})

    assert drift(tmp_path) | {"twice": 0, "added": 0} == {
        "seen": True, "twice": 0, "repulls": walks_more, "added": 0, "complete": False,
    }  # fmt: skip
    assert summary.complete is False
    assert "Some records may be missing" in caplog.text
    assert len(set(ids(tmp_path))) == len(ids(tmp_path))


@pytest.mark.parametrize("parallel", [2, 4, 8])
def test_a_parallel_walk_is_repaired_as_well(
    parallel: int, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {3: delete(1)}, parallel=parallel)

    assert set(ids(tmp_path)) | {1} == set(range(1, 41))
    assert drift(tmp_path)["seen"] is True
    assert drift(tmp_path)["complete"] is True


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("records_per_part", [3, 10, 1_000])
def test_keys_are_read_back_from_parts_that_were_finished_before(
    records_per_part: int, compression: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {4: delete(3)}, records_per_part=records_per_part, compression=compression)

    assert sorted(ids(tmp_path)) == [*range(1, 41)]
    assert drift(tmp_path)["added"] == 1


@pytest.mark.parametrize("schema", [None, {"id": "string"}, {"id": "int64"}])
@pytest.mark.parametrize("records_per_part", [3, 1_000])
def test_keys_are_read_back_from_parquet_whatever_type_they_have_there(
    records_per_part: int, schema: dict[str, str] | None, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(
        sandbox, client, tmp_path, {4: delete(3)}, file_format="parquet", records_per_part=records_per_part,
        schema=schema,
    )  # fmt: skip

    manifest = json.loads((tmp_path / "_manifest.json").read_text())
    found = [
        int(id_)
        for part in manifest["parts"]
        for id_ in pq.read_table(tmp_path / part["name"], columns=["id"]).column(0).to_pylist()
    ]
    assert sorted(found) == [*range(1, 41)]
    assert manifest["drift"] == {"seen": True, "twice": 0, "repulls": 1, "added": 1, "complete": True}


def test_pseudonyms_are_as_good_a_key(sandbox: Sandbox, client_of: ClientOf, tmp_path: Path) -> None:
    client = client_of(sandbox.url, extra={"pseudonym_key_secret": "a key of enough length"})

    pull_while(sandbox, client, tmp_path, {4: delete(3)}, pseudonymize_fields=["id"])

    assert len(set(ids(tmp_path))) == len(ids(tmp_path)) == 40
    assert drift(tmp_path)["complete"] is True


# --- what cannot be repaired, or shall not be ------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("changed", [2, 15, 38])
@pytest.mark.parametrize("sort", ["updated_at", "-updated_at"])
def test_a_record_that_changes_its_place_hides_none_though_the_total_stays(
    sort: str, changed: int, parallel: int, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    def change(sandbox: Sandbox) -> None:
        sandbox.records_touch("donations", [changed])

    query = {"sort": sort, "per_page": 2}
    pull_while(sandbox, client, tmp_path, {3: change}, query=query, parallel=parallel, records_per_part=7)

    assert sorted(ids(tmp_path)) == [*range(1, 41)]
    assert drift(tmp_path)["complete"] is True


def test_a_list_in_another_order_than_its_keys_that_rests_is_walked_once(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    sandbox.records_touch("donations", [3, 30])

    pull_while(sandbox, client, tmp_path, {}, query={"sort": "updated_at"})

    assert ids(tmp_path)[-2:] == [3, 30]
    assert drift(tmp_path) == {"seen": False, "twice": 0, "repulls": 0, "added": 0, "complete": True}
    assert pages_asked(sandbox) == [1, 2, 3, 4]


def test_keys_that_parquet_writes_in_another_way_are_known_as_the_server_wrote_them(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(
        sandbox, client, tmp_path, {4: delete(3)}, file_format="parquet", record_key="created_at", records_per_part=5
    )

    assert drift(tmp_path) == QUIET | {"seen": True, "repulls": 1, "added": 1}


@pytest.mark.parametrize("record_key", [None, "no such field"])
def test_records_without_a_key_cannot_be_told_apart_and_are_not_pulled_again(
    record_key: str | None, sandbox: Sandbox, client: GofundoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pull_while(sandbox, client, tmp_path, {3: delete(3)}, record_key=record_key)

    assert ids(tmp_path) == [n for n in range(1, 41) if n != 21]
    assert drift(tmp_path) == QUIET | {"seen": True, "complete": False}
    assert pages_asked(sandbox) == [1, 2, 3, 4]
    assert "it cannot be walked again" in caplog.text


def test_told_to_warn_it_warns_and_leaves_it_at_that(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pull_while(sandbox, client, tmp_path, {3: delete(3)}, on_drift="warn")

    assert 21 not in ids(tmp_path)
    assert drift(tmp_path) == QUIET | {"seen": True, "complete": False}
    assert pages_asked(sandbox) == [1, 2, 3, 4]
    assert "the server counted 40 at first and 39 at last. Some records may be missing" in caplog.text


def test_told_to_fail_it_fails_and_leaves_the_earlier_dataset(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull(client, "api/donations", lake(tmp_path))
    before = files(tmp_path)

    with pytest.raises(GofundoDriftError, match="39 records came, 0 of them again; the server counted 40 at first"):
        pull_while(sandbox, client, tmp_path, {3: delete(3)}, on_drift="fail")

    assert files(tmp_path) == before


@pytest.mark.parametrize("on_drift", ["warn", "fail"])
def test_a_list_that_only_grows_at_its_end_is_no_reason_to_warn_or_to_fail(
    on_drift: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pull_while(sandbox, client, tmp_path, {3: insert}, on_drift=on_drift)

    assert drift(tmp_path)["complete"] is True
    assert "missing" not in caplog.text


@pytest.mark.parametrize("shape", ["simple-paginate", "simple-paginate-resource", "cursor-paginate"])
def test_a_list_without_a_total_cannot_say_whether_it_is_complete(
    shape: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    summary = pull_while(sandbox, client, tmp_path, {3: delete(3)}, endpoint=f"api/{shape}/donations")

    assert drift(tmp_path) == QUIET | {"complete": None}
    assert summary.complete is None


def test_a_list_without_a_total_that_shows_records_twice_is_walked_back_all_the_same(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    endpoint = "api/simple-paginate/donations"

    pull_while(sandbox, client, tmp_path, {3: insert}, endpoint=endpoint, query={"sort": "-id"})

    assert sorted(ids(tmp_path)) == [*range(1, 42)]
    assert drift(tmp_path) == {"seen": True, "twice": 1, "repulls": 1, "added": 1, "complete": None}


@pytest.mark.parametrize("shape", ["plain", "resource"])
def test_a_list_that_comes_in_one_answer_is_complete(
    shape: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull_while(sandbox, client, tmp_path, {}, endpoint=f"api/{shape}/donations")

    assert drift(tmp_path) == QUIET


def miscounting(asked: Asked) -> Answer:
    """Two pages of one record each, by a server that always counts one too many."""
    page = int(asked.query.get("page", 1))
    body = {
        "data": [{"id": page}], "current_page": page, "last_page": 2, "total": 3,
        "next_page_url": "?page=2" if page == 1 else None,
    }  # fmt: skip
    return Answer(body=json.dumps(body).encode())


def test_a_server_that_counts_wrong_costs_one_more_walk_each_time(
    replay: Replay, client_of: ClientOf, tmp_path: Path
) -> None:
    replay.answer(miscounting)

    pull(client_of(replay.url), "api/list", lake(tmp_path))

    assert ids(tmp_path) == [1, 2]
    assert drift(tmp_path) == QUIET | {"seen": True, "repulls": 1, "complete": False}
    assert [asked.query.get("page", "1") for asked in replay.resource_requests] == ["1", "2", "2", "1"]


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("on_drift", ["repull", "warn", "fail"])
def test_a_key_that_does_not_tell_records_apart_replaces_nothing(
    on_drift: OnDrift, parallel: int, sandbox: Sandbox, client_of: ClientOf, tmp_path: Path
) -> None:
    pull_while(sandbox, client_of(sandbox.url), tmp_path, {})
    before = files(tmp_path)

    with pytest.raises(GofundoConfigError, match="record_key currency does not tell its records apart"):
        pull_while(
            sandbox, client_of(sandbox.url), tmp_path, {}, record_key="currency", parallel=parallel, on_drift=on_drift
        )

    assert files(tmp_path) == before


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_key_that_is_not_unique_on_the_list_is_never_called_complete(
    parallel: int, sandbox: Sandbox, client_of: ClientOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pull_while(
        sandbox, client_of(sandbox.url), tmp_path, {}, query={"per_page": 1}, record_key="currency", parallel=parallel
    )

    assert drift(tmp_path)["complete"] is False
    assert "record_key is not unique" in caplog.text


def test_a_record_that_is_twice_on_one_page_is_written_once(
    replay: Replay, client_of: ClientOf, tmp_path: Path
) -> None:
    body = b'{"data": [{"id": 2}, {"id": 2}, {"id": 1}]}'
    replay.answer(lambda _: Answer(body=body))

    pull(client_of(replay.url), "api/list", lake(tmp_path))

    assert ids(tmp_path) == [2, 1]


def test_rows_that_change_places_are_found_again_or_the_dataset_is_not_called_complete(
    client_of: ClientOf, tmp_path: Path
) -> None:
    for seed in range(20):
        with Sandbox(records=30) as sandbox:
            chance = random.Random(seed)
            touches: dict[int, Change] = {
                answer: partial(touch, number=chance.randint(1, 30))
                for answer in range(2, 12)
                if chance.random() < 0.5
            }
            folder = tmp_path / str(seed)
            query = {"sort": "-updated_at", "per_page": 5}
            pull_while(sandbox, client_of(sandbox.url), folder, touches, query=query)

        assert set(ids(folder)) == {*range(1, 31)} or drift(folder)["complete"] is False, seed
        assert len(ids(folder)) == len(set(ids(folder)))


def touch(sandbox: Sandbox, number: int) -> None:
    sandbox.records_touch("donations", [number])


def test_without_a_key_any_change_of_the_total_is_drift(
    sandbox: Sandbox, client_of: ClientOf, tmp_path: Path
) -> None:
    changes: dict[int, Change] = {3: insert}
    client = client_of(sandbox.url)

    pull_while(sandbox, client, tmp_path, changes, query={"sort": "-id"}, record_key=None, parallel=4)

    assert drift(tmp_path)["seen"] is True
    assert drift(tmp_path)["complete"] is False
    with pytest.raises(GofundoDriftError):
        pull_while(sandbox, client, tmp_path, {3: insert}, query={"sort": "-id"}, record_key=None, on_drift="fail")


def test_a_key_that_no_record_has_is_said_at_once(
    sandbox: Sandbox, client_of: ClientOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pull_while(sandbox, client_of(sandbox.url), tmp_path, {}, record_key="idd")

    assert "the records have no field idd" in caplog.text


def test_a_count_that_no_change_explains_has_the_whole_list_walked_again(
    replay: Replay, client_of: ClientOf, tmp_path: Path
) -> None:
    def answer(asked: Asked) -> Answer:
        page = int(asked.query.get("page", 1))
        body = {
            "data": [{"id": page}], "current_page": page, "last_page": 20, "total": 30 if page < 10 else 29,
            "next_page_url": f"?page={page + 1}" if page < 20 else None,
        }  # fmt: skip
        return Answer(body=json.dumps(body).encode())

    replay.answer(answer)

    pull(client_of(replay.url), "api/list", lake(tmp_path))

    asked = [int(asked.query.get("page", 1)) for asked in replay.resource_requests]
    assert asked[20:40] == [*range(20, 0, -1)]


def test_a_masked_removal_cannot_be_seen(sandbox: Sandbox, client: GofundoClient, tmp_path: Path) -> None:
    """One record goes and one comes between the same two answers: what the docs say is the limit."""

    def one_goes_and_one_comes(changed: Sandbox) -> None:
        delete(3)(changed)
        insert(changed)

    pull_while(sandbox, client, tmp_path, {3: one_goes_and_one_comes})

    assert 21 not in ids(tmp_path)
    assert drift(tmp_path) == QUIET


@pytest.mark.parametrize("record_key", ["", 'a"b', 7])
def test_a_record_key_that_is_no_name_is_refused_before_anything_is_sent(
    record_key: Any, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    with pytest.raises(GofundoConfigError, match="record_key must be the name of a field"):
        pull(client, "api/donations", lake(tmp_path), record_key=record_key)

    assert pages_asked(sandbox) == []


def test_many_changes_at_once_are_repaired_as_one(sandbox: Sandbox, client: GofundoClient, tmp_path: Path) -> None:
    gone: Sequence[int] = range(1, 13)

    pull_while(sandbox, client, tmp_path, {3: delete(*gone)})

    assert set(ids(tmp_path)) == set(range(1, 41))
    assert drift(tmp_path) == {"seen": True, "twice": 0, "repulls": 1, "added": 12, "complete": True}


@pytest.mark.parametrize("file_format", ["ndjson", "parquet"])
def test_a_walk_back_holds_no_more_pages_than_the_walk_before(
    file_format: str, client_of: ClientOf, tmp_path: Path
) -> None:
    with Sandbox(records=400) as sandbox:
        most = {False: 0, True: 0}
        removed = iter(range(50, 400, 40))

        def look(*_: object) -> None:
            number = len(pages_asked(sandbox))
            if number < 200 and number % 25 == 0:
                sandbox.records_delete("donations", [next(removed)])
            if number % 10 == 0:
                alive = sum(isinstance(thing, Page) for thing in gc.get_objects())
                most[number > 205] = max(most[number > 205], alive)

        sandbox.before_each(look)
        pull(client_of(sandbox.url), "api/donations", lake(tmp_path), query_params={"per_page": 2},
             file_format=file_format, records_per_part=10)  # fmt: skip

    assert drift(tmp_path)["repulls"] > 0
    assert 0 < most[True] <= most[False] + 5
