"""Several tasks pull one list, and one manifest makes it a dataset: complete only when all of them are."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.dataset.recipe import Recipe
from airflow_provider_gofundo.dataset.shard import Shard, by_endpoints, by_pages, by_windows, shard_of
from airflow_provider_gofundo.dataset.shards import publish, pull_shard
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoConfigError,
    GofundoDriftError,
    GofundoStopped,
    GofundoStorageError,
)
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.killable import FileCheckpoints, take_over
from tests.dataset.reader import files, lake, trust
from tests.dataset.storage import Breakdown, Folder, PowerCut, Storage
from tests.fixtures import ClientOf, pull

RECIPE = Recipe(endpoint="api/donations", query_params={"per_page": 3})


def pull_all(client: GofundoClient, folder: Path, shards: Sequence[Shard], recipe: Recipe = RECIPE) -> None:
    for shard in shards:
        pull_shard(client, recipe, lake(folder), shard)


def ranges(shards: Sequence[Shard]) -> list[tuple[int | None, int | None]]:
    return [(shard.first_page, shard.last_page) for shard in shards]


# --- the plan ---------------------------------------------------------------------------------------------------


def test_page_ranges_are_balanced_and_leave_the_end_open(client: GofundoClient) -> None:
    assert ranges(by_pages(client, RECIPE, 4)) == [(1, 3), (4, 7), (8, 10), (11, None)]


@pytest.mark.parametrize(("records", "shards"), [(0, 1), (1, 1), (3, 1), (4, 2), (40, 14)])
def test_there_are_no_more_ranges_than_pages(client_of: ClientOf, records: int, shards: int) -> None:
    with Sandbox(records=records) as sandbox:
        planned = by_pages(client_of(sandbox.url), RECIPE, 100)

    assert len(planned) == shards
    assert {shard.of for shard in planned} == {shards}
    assert len({shard.run for shard in planned}) == 1


def test_a_plan_reads_one_page(client: GofundoClient, sandbox: Sandbox) -> None:
    by_pages(client, RECIPE, 4)

    assert sandbox.counters.requests["GET /api/donations"] == 1


@pytest.mark.parametrize("shape", ["simple-paginate", "cursor-paginate"])
def test_a_list_that_does_not_tell_its_last_page_has_no_page_ranges(shape: str, client: GofundoClient) -> None:
    with pytest.raises(GofundoConfigError, match="does not say how many pages"):
        by_pages(client, Recipe(endpoint=f"api/{shape}/donations"), 4)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "4"])
def test_a_number_of_shards_that_is_none_is_refused(count: Any, client: GofundoClient, sandbox: Sandbox) -> None:
    with pytest.raises(GofundoConfigError, match="shards must be a whole number"):
        by_pages(client, RECIPE, count)

    assert sandbox.requests == ()


def test_a_shard_travels_as_plain_values_and_comes_back_the_same(client: GofundoClient) -> None:
    for shard in [*by_pages(client, RECIPE, 2), *by_windows([{"status": "paid"}]), *by_endpoints(["api/donors"])]:
        assert shard_of(shard.as_xcom()) == shard


@pytest.mark.parametrize("value", [None, 3, {}, {"run": "x", "number": 1, "of": 1, "surprise": 2}])
def test_what_is_no_shard_is_refused(value: Any) -> None:
    with pytest.raises(GofundoConfigError, match="shard"):
        shard_of(value)


# --- the pull and the manifest ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 14])
@pytest.mark.parametrize("file_format", ["ndjson", "parquet"])
def test_the_shards_make_the_dataset_that_one_pull_makes(
    count: int, file_format: Any, client: GofundoClient, tmp_path: Path, sandbox: Sandbox
) -> None:
    recipe = Recipe(endpoint="api/donations", query_params={"per_page": 3}, file_format=file_format)
    planned = by_pages(client, recipe, count)
    pull_all(client, tmp_path, planned, recipe)

    summary = publish(client, recipe, lake(tmp_path), planned)

    assert (summary.records, summary.pages, summary.parts, summary.total) == (40, 14, len(planned), 40)
    assert summary.complete is True
    # Page 1 for the plan, and for each border a look at what comes after it.
    assert sandbox.counters.requests["GET /api/donations"] == 1 + 14 + len(planned) - 1
    if file_format == "ndjson":
        found = trust(lake(tmp_path))
        assert found is not None
        assert found.ids == [*range(1, 41)]
        assert found.manifest["shards"] == len(planned)
        assert set(files(tmp_path)) == {*found.names, "_manifest.json"}


def test_windows_and_endpoints_make_one_dataset(client: GofundoClient, tmp_path: Path) -> None:
    windows = by_windows([{"status": "paid"}, {"status": "open"}])
    pull_all(client, tmp_path / "windows", windows)
    publish(client, RECIPE, lake(tmp_path / "windows"), windows)
    endpoints = by_endpoints(["api/donations", "api/paginate/donations"])
    pull_all(client, tmp_path / "endpoints", endpoints)
    publish(client, RECIPE, lake(tmp_path / "endpoints"), endpoints)

    found = trust(lake(tmp_path / "windows"))
    assert found is not None
    assert set(found.ids) < {*range(1, 41)}
    assert found.manifest["total"] == [len(found.ids)] * 2
    found = trust(lake(tmp_path / "endpoints"))
    assert found is not None
    assert found.ids == [*range(1, 41), *range(1, 41)]
    assert found.manifest["drift"]["complete"] is True


def test_a_dataset_of_shards_began_when_the_first_of_them_did(client: GofundoClient, tmp_path: Path) -> None:
    planned = by_pages(client, RECIPE, 2)
    before = datetime.now(timezone.utc)
    pull_all(client, tmp_path, planned)
    after = datetime.now(timezone.utc)
    publish(client, RECIPE, lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert before <= datetime.fromisoformat(found.manifest["started"]) <= after


def test_windows_that_overlap_are_told_and_not_called_complete(
    client: GofundoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    windows = by_windows([{"from": "2026-01-01"}, {"from": "2026-07-01"}])  # which the sandbox does not know
    pull_all(client, tmp_path, windows)

    with pytest.raises(GofundoDriftError, match="in more than one window"):
        publish(client, replace(RECIPE, on_drift="fail"), lake(tmp_path), windows)
    publish(client, RECIPE, lake(tmp_path), windows)

    found = trust(lake(tmp_path))
    assert found is not None
    assert (found.manifest["records"], found.manifest["drift"]["complete"]) == (80, False)
    assert "in more than one window" in caplog.text


def test_nothing_is_published_before_all_shards_are_there(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/donations", lake(tmp_path), query_params={"status": "paid"})
    before = trust(lake(tmp_path))
    planned = by_pages(client, RECIPE, 3)
    pull_all(client, tmp_path, planned[:2])

    with pytest.raises(GofundoStorageError, match="Shard 3 of 3 has not been pulled"):
        publish(client, RECIPE, lake(tmp_path), planned)

    assert trust(lake(tmp_path)) == before
    pull_all(client, tmp_path, planned[2:])
    assert publish(client, RECIPE, lake(tmp_path), planned).records == 40
    found = trust(lake(tmp_path))
    assert found is not None
    assert set(files(tmp_path)) == {*found.names, "_manifest.json"}


def test_the_dataset_before_is_readable_until_the_shards_are_published(client: GofundoClient, tmp_path: Path) -> None:
    first = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, first)
    publish(client, RECIPE, lake(tmp_path), first)
    before = trust(lake(tmp_path))
    second = by_pages(client, RECIPE, 3)

    for shard in second:
        pull_shard(client, RECIPE, lake(tmp_path), shard)
        assert trust(lake(tmp_path)) == before
    publish(client, RECIPE, lake(tmp_path), second)

    after = trust(lake(tmp_path))
    assert after is not None
    assert after.manifest["run"] == second[0].run
    assert set(files(tmp_path)) == {*after.names, "_manifest.json"}


def test_publishing_twice_changes_nothing(client: GofundoClient, tmp_path: Path) -> None:
    planned = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, planned)
    publish(client, RECIPE, lake(tmp_path), planned)
    before = files(tmp_path)

    assert publish(client, RECIPE, lake(tmp_path), planned).records == 40
    assert files(tmp_path) == before


def test_a_shard_that_is_pulled_again_counts_once(client: GofundoClient, tmp_path: Path) -> None:
    planned = by_pages(client, RECIPE, 3)
    pull_all(client, tmp_path, [planned[0], *planned])

    publish(client, RECIPE, lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert found.ids == [*range(1, 41)]


def test_a_try_of_a_shard_that_a_later_one_has_taken_over_does_not_say_that_it_is_pulled(
    client: GofundoClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    (planned, *_) = by_pages(client, RECIPE, 3)
    store = FileCheckpoints(tmp_path / "checkpoint.json")

    def hook(_method: str, _path: str) -> None:
        take_over(store)

    sandbox.before_each(hook)

    with pytest.raises(GofundoStopped):
        pull_shard(client, RECIPE, lake(tmp_path / "lake"), planned, checkpoints=store)

    assert files(tmp_path / "lake") == {}


def test_shards_pulled_at_the_same_time_are_one_dataset(
    client_of: ClientOf, sandbox: Sandbox, tmp_path: Path
) -> None:
    planned = by_pages(client_of(sandbox.url), RECIPE, 5)
    threads = [
        threading.Thread(target=pull_shard, args=(client_of(sandbox.url), RECIPE, lake(tmp_path), shard))
        for shard in planned
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    publish(client_of(sandbox.url), RECIPE, lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert found.ids == [*range(1, 41)]


def test_parts_that_are_gone_are_said_so(client: GofundoClient, tmp_path: Path) -> None:
    planned = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, planned)
    next(tmp_path.glob("*.ndjson.gz")).unlink()

    with pytest.raises(GofundoStorageError, match="gone"):
        publish(client, RECIPE, lake(tmp_path), planned)


def test_some_of_the_shards_or_two_plans_together_are_refused(client: GofundoClient, tmp_path: Path) -> None:
    one, other = by_pages(client, RECIPE, 2), by_pages(client, RECIPE, 2)

    for shards in ([], one[:1], [one[0], other[1]], [one[0], one[0]]):
        with pytest.raises(GofundoConfigError, match="all that one"):
            publish(client, RECIPE, lake(tmp_path), shards)


def test_incremental_and_shards_do_not_go_together(client: GofundoClient, tmp_path: Path) -> None:
    (shard,) = by_pages(client, RECIPE, 1)
    recipe = Recipe(endpoint="api/donations", incremental=Incremental(param="updated_since", field="updated_at"))

    with pytest.raises(GofundoConfigError, match="do not go together"):
        pull_shard(client, recipe, lake(tmp_path), shard)


# --- a list that changes ----------------------------------------------------------------------------------------


@pytest.fixture
def sandbox_of_its_own() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


def changed_between(client: GofundoClient, sandbox: Sandbox, folder: Path) -> list[Shard]:
    planned = by_pages(client, RECIPE, 4)
    pull_all(client, folder, planned[:2])
    sandbox.records_delete("donations", [2, 5])
    pull_all(client, folder, planned[2:])
    return planned


def test_a_list_that_changed_between_the_shards_is_pulled_again_whole(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = changed_between(client, sandbox_of_its_own, tmp_path)

    publish(client, RECIPE, lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert sorted(found.ids) == [number for number in range(1, 41) if number not in (2, 5)]
    assert found.manifest["drift"] == {"seen": True, "twice": 0, "repulls": 1, "added": 0, "complete": True}


def test_a_list_that_only_grew_is_not_pulled_again(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = by_pages(client, RECIPE, 4)
    pull_all(client, tmp_path, planned[:2])
    sandbox_of_its_own.records_insert("donations", 7)
    pull_all(client, tmp_path, planned[2:])

    publish(client, RECIPE, lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert found.ids == [*range(1, 48)]
    assert found.manifest["total"] == [40, 47]
    assert found.manifest["drift"]["repulls"] == 0


def test_on_drift_warns_or_fails_where_it_is_told_to(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = changed_between(client, sandbox_of_its_own, tmp_path)

    with pytest.raises(GofundoDriftError):
        publish(client, replace(RECIPE, on_drift="fail"), lake(tmp_path), planned)
    assert trust(lake(tmp_path)) is None

    publish(client, replace(RECIPE, on_drift="warn"), lake(tmp_path), planned)
    found = trust(lake(tmp_path))
    assert found is not None
    assert found.manifest["drift"]["complete"] is False
    assert "records may be missing" in caplog.text


def test_a_change_within_one_shard_that_its_totals_hide_is_seen(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = by_pages(client, RECIPE, 2)
    answers = iter(range(1, 1_000))

    def hook(_method: str, _path: str) -> None:
        number = next(answers)
        if number == 2:
            sandbox_of_its_own.records_delete("donations", [1])
        if number == 3:
            sandbox_of_its_own.records_insert("donations")

    sandbox_of_its_own.before_each(hook)
    for shard in planned:
        pull_shard(client, replace(RECIPE, parallel=1), lake(tmp_path), shard)
    sandbox_of_its_own.before_each(None)
    publish(client, replace(RECIPE, parallel=1), lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert sorted(found.ids) == [*range(2, 42)]


@pytest.mark.parametrize("sort", ["id", "-id"])
def test_a_change_between_two_shards_that_leaves_the_total_as_it_was_is_seen(
    sort: str, client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    recipe = replace(RECIPE, query_params={"per_page": 3, "sort": sort})
    planned = by_pages(client, recipe, 2)
    pull_all(client, tmp_path, planned[:1], recipe)
    sandbox_of_its_own.records_insert("donations", 3)
    sandbox_of_its_own.records_delete("donations", [1, 2, 3])
    pull_all(client, tmp_path, planned[1:], recipe)

    publish(client, recipe, lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert sorted(found.ids) == [*range(4, 44)]
    assert set(files(tmp_path)) == {*found.names, "_manifest.json"}


# --- runs after runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "changed"), [(2, 2), (5, 9), (7, 2)])
def test_a_record_that_went_from_one_range_to_the_last_hides_none_though_all_totals_agree(
    at: int, changed: int, client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    sandbox, client = sandbox_of_its_own, client_of(sandbox_of_its_own.url)
    recipe = replace(RECIPE, query_params={"per_page": 5, "sort": "updated_at"}, parallel=1)
    planned = by_pages(client, recipe, 3)
    answers = iter(range(1, 1_000))

    def hook(_method: str, _path: str) -> None:
        if next(answers) == at:
            sandbox.records_touch("donations", [changed])

    sandbox.before_each(hook)
    pull_all(client, tmp_path, planned, recipe)
    publish(client, recipe, lake(tmp_path), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert sorted(found.ids) == [*range(1, 41)]
    assert found.manifest["drift"]["complete"] is True


def test_endpoints_are_pulled_again_into_the_same_path(client: GofundoClient, tmp_path: Path) -> None:
    for _ in range(2):
        planned = by_endpoints(["api/donations", "api/donors"])
        pull_all(client, tmp_path, planned)
        assert publish(client, RECIPE, lake(tmp_path), planned).records == 40 + 250


@pytest.mark.parametrize(
    ("change", "ids"),
    [
        (lambda sandbox: sandbox.records_insert("donations", 5), [*range(1, 46)]),
        (lambda sandbox: sandbox.records_delete("donations", range(1, 41)), []),
    ],
    ids=["more", "none"],
)
def test_shards_that_are_all_pulled_again_are_published_again(
    client_of: ClientOf,
    sandbox_of_its_own: Sandbox,
    tmp_path: Path,
    change: Callable[[Sandbox], object],
    ids: list[int],
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, planned)
    publish(client, RECIPE, lake(tmp_path), planned)
    change(sandbox_of_its_own)
    pull_all(client, tmp_path, planned)

    assert publish(client, RECIPE, lake(tmp_path), planned).records == len(ids)
    found = trust(lake(tmp_path))
    assert found is not None
    assert found.ids == ids
    assert set(files(tmp_path)) == {*found.names, "_manifest.json"}


def test_shards_that_are_pulled_again_while_they_are_published_are_left_for_the_next_publish(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, planned)
    moves = iter([True])

    def meanwhile(step: str) -> None:
        if step == "before mv" and next(moves, False):
            sandbox_of_its_own.records_insert("donations", 5)
            pull_all(client, tmp_path, planned)

    assert publish(client, RECIPE, Folder(Storage(meanwhile), str(tmp_path)), planned).records == 40
    assert publish(client, RECIPE, lake(tmp_path), planned).records == 45
    found = trust(lake(tmp_path))
    assert found is not None
    assert found.ids == [*range(1, 46)]
    assert set(files(tmp_path)) == {*found.names, "_manifest.json"}


def test_a_storage_that_fails_before_shards_are_published_is_told_as_such(
    client: GofundoClient, tmp_path: Path
) -> None:
    planned = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, planned)
    reads = iter(range(9))

    def fail(step: str) -> None:
        if step == "before cat_file" and next(reads) == 2:  # after the manifest and the first shard
            raise PermissionError(13, "Permission denied")

    with pytest.raises(GofundoStorageError, match="its storage failed: PermissionError"):
        publish(client, RECIPE, Folder(Storage(fail), str(tmp_path)), planned)

    assert publish(client, RECIPE, lake(tmp_path), planned).records == 40


def test_what_another_version_has_said_of_a_shard_does_not_count(client: GofundoClient, tmp_path: Path) -> None:
    planned = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, planned)
    (tmp_path / planned[1].file).write_text('{"run": "of another kind"}')

    with pytest.raises(GofundoStorageError, match="Shard 2 of 2 has not been pulled"):
        publish(client, RECIPE, lake(tmp_path), planned)


def test_pulls_with_other_arguments_are_not_published(client: GofundoClient, tmp_path: Path) -> None:
    planned = by_pages(client, RECIPE, 2)
    pull_all(client, tmp_path, planned)

    for other in (replace(RECIPE, exclude_fields=["amount"]), replace(RECIPE, compression="none")):
        with pytest.raises(GofundoConfigError, match="with other arguments"):
            publish(client, other, lake(tmp_path), planned)


def test_an_older_plan_does_not_replace_a_newer_dataset(client: GofundoClient, tmp_path: Path) -> None:
    older, newer = by_pages(client, RECIPE, 2), by_pages(client, RECIPE, 2)
    older = [structs.replace(shard, run="2000" + shard.run[4:]) for shard in older]
    pull_all(client, tmp_path, [*older, *newer])
    publish(client, RECIPE, lake(tmp_path), newer)

    with pytest.raises(GofundoConfigError, match="begun later"):
        publish(client, RECIPE, lake(tmp_path), older)


# --- a publish that fails, is killed, or runs twice --------------------------------------------------------------


def test_a_publish_that_is_killed_once_the_manifest_is_there_is_not_done_again(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = changed_between(client, sandbox_of_its_own, tmp_path)

    def power_cut(step: str) -> None:
        if step == "after mv":
            raise PowerCut

    with pytest.raises(PowerCut):
        publish(client, RECIPE, Folder(Storage(power_cut), str(tmp_path)), planned)
    before, asked = trust(lake(tmp_path)), len(sandbox_of_its_own.requests)

    assert publish(client, RECIPE, lake(tmp_path), planned).records == 38
    assert len(sandbox_of_its_own.requests) == asked
    assert trust(lake(tmp_path)) == before


def test_a_second_publish_that_fails_leaves_the_list_that_the_first_has_pulled_whole(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    recipe = replace(RECIPE, records_per_part=10)
    planned = by_pages(client, recipe, 2)
    for gone in (1, 2):
        pull_all(client, tmp_path, planned[:1], recipe)
        sandbox_of_its_own.records_delete("donations", [gone])
        pull_all(client, tmp_path, planned[1:], recipe)
        if gone == 1:
            publish(client, recipe, lake(tmp_path), planned)
    before = trust(lake(tmp_path))
    sandbox_of_its_own.faults.add("status", "/api/donations", status=403, after=9)

    with pytest.raises(GofundoApiError):
        publish(client, recipe, lake(tmp_path), planned)

    assert trust(lake(tmp_path)) == before
    assert publish(client, recipe, lake(tmp_path), planned).records == 38


def test_two_tries_of_publish_at_the_same_time_leave_the_whole_dataset_of_one(
    client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client = client_of(sandbox_of_its_own.url)
    planned = changed_between(client, sandbox_of_its_own, tmp_path)
    moves = iter([True])

    def meanwhile(step: str) -> None:
        if step == "before mv" and next(moves, False):
            sandbox_of_its_own.records_delete("donations", [30])
            publish(client, RECIPE, lake(tmp_path), planned)

    summary = publish(client, RECIPE, Folder(Storage(meanwhile), str(tmp_path)), planned)

    found = trust(lake(tmp_path))
    assert found is not None
    assert sorted(found.ids) == [number for number in range(1, 41) if number not in (2, 5)]
    assert summary.records == 38


@pytest.mark.parametrize("change", ["grown", "moved"])
@pytest.mark.parametrize("for_ever", [False, True], ids=["fails once", "power cut"])
def test_a_publish_again_that_breaks_at_any_step_is_done_or_can_be_tried_again(
    for_ever: bool, change: str, client_of: ClientOf, sandbox_of_its_own: Sandbox, tmp_path: Path
) -> None:
    client, folder, kept = client_of(sandbox_of_its_own.url), tmp_path / "lake", tmp_path / "kept"
    recipe = replace(RECIPE, query_params={"per_page": 20}, parallel=1)
    planned = by_pages(client, recipe, 2)
    pull_all(client, folder, planned, recipe)
    publish(client, recipe, lake(folder), planned)
    pull_all(client, folder, planned[:1], recipe)
    if change == "grown":
        sandbox_of_its_own.records_insert("donations", 5)
    else:
        sandbox_of_its_own.records_delete("donations", [1])
    pull_all(client, folder, planned[1:], recipe)
    shutil.copytree(folder, kept)
    before, after = 40, 45 if change == "grown" else 39
    whole = Breakdown(None)
    publish(client, recipe, Folder(Storage(whole), str(folder)), planned)

    for at, step in enumerate(whole.steps):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        storage = Storage(Breakdown(at, for_ever=for_ever))
        try:
            publish(client, recipe, Folder(storage, str(folder)), planned)
            there = [after]
        except (PowerCut, OSError, GofundoConfigError, GofundoStorageError):
            there = [before, after] if for_ever else [before]
        storage.close_files()
        found = trust(lake(folder))
        assert found is not None
        assert len(found.ids) in there, f"step {at}, {step}"

        assert publish(client, recipe, lake(folder), planned).records == after, f"step {at}, {step}"
        found = trust(lake(folder))
        assert found is not None
        assert len(found.ids) == after
