"""A retry goes on after the last part that was finished, where that is right, and starts over where it is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.checkpoint import mark_of
from airflow_provider_gofundo.dataset.keys import key_of
from airflow_provider_gofundo.dataset.pull import Summary
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoConnectionError,
    GofundoStopped,
    GofundoStorageError,
)
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.killable import BEHIND, LATER, FileCheckpoints, take_over
from tests.dataset.reader import files, lake, trust
from tests.dataset.storage import Folder, Storage
from tests.fixtures import ClientOf, pull, settings_of
from tests.replay import Answer, Asked, Replay

OPTIONS: dict[str, Any] = {"query_params": {"per_page": 10}, "records_per_part": 7}
EVERY = [*range(1, 41)]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> FileCheckpoints:
    return FileCheckpoints(tmp_path / "checkpoint.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lake"


Failing = Callable[..., None]


@pytest.fixture
def fail(sandbox: Sandbox, client: GofundoClient, folder: Path, store: FileCheckpoints) -> Failing:
    """A first try, which the server refuses after so many pages."""

    def make(after: int = 2, *, endpoint: str = "api/donations", **options: Any) -> None:
        sandbox.faults.add("status", status=403, after=after)
        with pytest.raises(GofundoApiError):
            pull(client, endpoint, lake(folder), checkpoints=store, **{**OPTIONS, **options})
        assert store.read()
        sandbox.counters.clear()

    return make


@pytest.fixture
def retry(sandbox: Sandbox, client: GofundoClient, folder: Path, store: FileCheckpoints) -> Callable[..., Summary]:
    def make(*, endpoint: str = "api/donations", **options: Any) -> Summary:
        return pull(client, endpoint, lake(folder), checkpoints=store, **{**OPTIONS, **options})

    return make


Retry = Callable[..., Summary]


def pages_asked(sandbox: Sandbox) -> list[int]:
    return [int(seen.query.get("page", 1)) for seen in sandbox.requests if seen.path.startswith("/api/")]


def ids(folder: Path) -> list[int]:
    found = trust(lake(folder))
    assert found
    return found.ids


def insert_before_answer(number: int, sandbox: Sandbox) -> None:
    answers = iter(range(1, 1_000))

    def hook(_method: str, _path: str) -> None:
        if next(answers) == number:
            sandbox.records_insert("donations")

    sandbox.before_each(hook)


# --- it goes on --------------------------------------------------------------------------------------------------


def test_a_retry_asks_for_nothing_that_a_finished_part_holds(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path, store: FileCheckpoints
) -> None:
    fail(after=3)

    summary = retry()

    assert ids(folder) == EVERY
    assert pages_asked(sandbox) == [3, 4]
    assert (summary.resumed, summary.records, summary.pages, summary.requests) == (28, 40, 4, 2)
    assert store.read() == ""


def test_what_a_retry_makes_is_what_an_undisturbed_pull_makes(
    fail: Failing, retry: Retry, client: GofundoClient, folder: Path, tmp_path: Path
) -> None:
    pull(client, "api/donations", lake(tmp_path / "undisturbed"), **OPTIONS)
    fail()

    retry()

    one, two = trust(lake(folder)), trust(lake(tmp_path / "undisturbed"))
    assert one
    assert two
    assert one.stored == two.stored
    own = {"run", "started", "finished", "parts"}
    assert {k: v for k, v in one.manifest.items() if k not in own} == {
        k: v for k, v in two.manifest.items() if k not in own
    }
    assert set(files(folder)) == {"_manifest.json", *one.names}


def test_a_try_that_fails_leaves_the_parts_it_finished_and_nothing_else(
    fail: Failing, folder: Path, store: FileCheckpoints
) -> None:
    fail()

    kept = [part["name"] for part in json.loads(store.read())["parts"]]
    assert len(kept) == 2
    assert set(files(folder)) == set(kept)


def test_a_third_try_goes_on_where_the_second_ended(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path
) -> None:
    fail(after=2)
    fail(after=2)

    summary = retry()

    assert ids(folder) == EVERY
    assert (pages_asked(sandbox), summary.resumed) == ([3, 4], 28)


@pytest.mark.parametrize("shape", ["paginate", "simple-paginate", "cursor-paginate", "cursor-paginate-resource"])
@pytest.mark.parametrize("parallel", [1, 4])
def test_lists_of_every_style_are_resumed(
    shape: str, parallel: int, fail: Failing, retry: Retry, folder: Path
) -> None:
    endpoint = f"api/{shape}/donations"
    fail(endpoint=endpoint, after=3)

    summary = retry(endpoint=endpoint, parallel=parallel)

    assert ids(folder) == EVERY
    assert summary.resumed == 28
    assert summary.pages == 4


@pytest.mark.parametrize("records_per_part", [1, 3, 10, 20])
def test_parts_of_every_size_are_resumed(records_per_part: int, fail: Failing, retry: Retry, folder: Path) -> None:
    fail(records_per_part=records_per_part)

    assert retry(records_per_part=records_per_part).resumed == 20 // records_per_part * records_per_part
    assert ids(folder) == EVERY


def test_a_list_that_has_grown_at_its_end_is_resumed(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path
) -> None:
    fail()
    sandbox.records_insert("donations", 3)

    summary = retry()

    assert ids(folder) == [*range(1, 44)]
    assert (pages_asked(sandbox), summary.resumed, summary.complete) == ([2, 3, 4, 5], 14, True)


def test_records_without_a_key_are_told_by_all_they_hold(fail: Failing, retry: Retry, folder: Path) -> None:
    fail(record_key=None)

    assert retry(record_key=None).resumed == 14
    assert ids(folder) == EVERY


def test_a_removal_behind_the_place_is_seen_and_repaired_as_in_any_walk(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path
) -> None:
    fail()
    sandbox.records_delete("donations", [16])

    summary = retry()

    assert summary.resumed == 14
    assert sorted(ids(folder)) == [n for n in EVERY if n != 16]
    assert summary.complete is True


def test_a_record_that_moves_out_of_what_was_resumed_is_not_written_again(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path
) -> None:
    newest = {"per_page": 10, "sort": "-id"}
    endpoint = "api/simple-paginate/donations"
    fail(endpoint=endpoint, query_params=newest, records_per_part=10)
    insert_before_answer(2, sandbox)

    summary = retry(endpoint=endpoint, query_params=newest, records_per_part=10)

    assert summary.resumed == 20
    assert sorted(ids(folder)) == [*range(1, 42)]


def test_without_checkpoints_a_failed_try_leaves_nothing(
    sandbox: Sandbox, client: GofundoClient, folder: Path
) -> None:
    sandbox.faults.add("status", status=403, after=2)

    with pytest.raises(GofundoApiError):
        pull(client, "api/donations", lake(folder), **OPTIONS)

    assert files(folder) == {}


# --- it starts over ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"query_params": {"per_page": 10, "status": "paid"}},
        {"query_params": {"per_page": 11}},
        {"record_key": None},
        {"record_key": "created_at"},
        {"file_format": "parquet"},
        {"compression": "none"},
        {"records_per_part": 8},
        {"exclude_fields": ["amount"]},
    ],
)
def test_a_checkpoint_of_other_parameters_is_not_used(
    other: dict[str, Any], fail: Failing, retry: Retry, client: GofundoClient, folder: Path, tmp_path: Path
) -> None:
    fail()

    assert retry(**other).resumed == 0

    pull(client, "api/donations", lake(tmp_path / "undisturbed"), **{**OPTIONS, **other})
    found, undisturbed = trust(lake(folder)), trust(lake(tmp_path / "undisturbed"))
    assert found
    assert undisturbed
    assert found.stored == undisturbed.stored


def test_a_checkpoint_of_another_list_is_not_used(fail: Failing, retry: Retry, folder: Path) -> None:
    fail()

    assert retry(endpoint="api/donors").resumed == 0
    assert ids(folder) == [*range(1, 251)]


def test_a_checkpoint_of_another_server_is_not_used(
    fail: Failing, sandbox: Sandbox, client_of: ClientOf, folder: Path, store: FileCheckpoints
) -> None:
    fail()
    elsewhere = client_of(f"http://localhost:{sandbox.port}")

    assert pull(elsewhere, "api/donations", lake(folder), checkpoints=store, **OPTIONS).resumed == 0
    assert ids(folder) == EVERY


def test_a_checkpoint_of_another_user_is_not_used(
    fail: Failing, sandbox: Sandbox, client_of: ClientOf, folder: Path, store: FileCheckpoints
) -> None:
    fail()
    person, app = sandbox.user, sandbox.clients["2"]
    extra = {"grant_type": "password", "username": person.email, "user_password": person.password}
    somebody = client_of(sandbox.url, login=app.id, password=app.secret, extra=extra)

    assert pull(somebody, "api/donations", lake(folder), checkpoints=store, **OPTIONS).resumed == 0
    assert ids(folder) == EVERY


def test_a_checkpoint_of_another_path_is_not_used(
    fail: Failing, client: GofundoClient, store: FileCheckpoints, tmp_path: Path
) -> None:
    fail()

    summary = pull(client, "api/donations", lake(tmp_path / "other"), checkpoints=store, **OPTIONS)

    assert summary.resumed == 0
    assert ids(tmp_path / "other") == EVERY


def change(store: FileCheckpoints, **fields: Any) -> None:
    store.write(json.dumps(json.loads(store.read()) | fields))


@pytest.mark.parametrize(
    ("age", "resumed"),
    [(timedelta(hours=23, minutes=59), 14), (timedelta(hours=24), 0), (-timedelta(minutes=1), 0)],
)
def test_a_checkpoint_is_good_for_a_day(
    age: timedelta, resumed: int, fail: Failing, retry: Retry, folder: Path, store: FileCheckpoints
) -> None:
    fail()
    change(store, saved=(datetime.now(timezone.utc) - age).isoformat())

    assert retry().resumed == resumed
    assert ids(folder) == EVERY


@pytest.mark.parametrize(
    "text", ["not json", "[]", "{}", "null", '{"recipe":1}', "\x00", '{"recipe":"x","saved":"y"}']
)
def test_a_text_that_is_no_checkpoint_is_not_used(
    text: str, retry: Retry, folder: Path, store: FileCheckpoints
) -> None:
    store.write(text)

    assert retry().resumed == 0
    assert ids(folder) == EVERY
    assert store.read() == ""


def test_half_a_checkpoint_is_not_used(fail: Failing, retry: Retry, folder: Path, store: FileCheckpoints) -> None:
    fail()
    store.write(store.read()[:-20])

    assert retry().resumed == 0
    assert ids(folder) == EVERY


@pytest.mark.parametrize("harm", ["gone", "cut", "empty"])
@pytest.mark.parametrize("which", [0, 1])
def test_parts_that_are_not_whole_any_more_are_not_used(
    which: int, harm: str, fail: Failing, retry: Retry, folder: Path, store: FileCheckpoints
) -> None:
    fail()
    part = folder / json.loads(store.read())["parts"][which]["name"]
    if harm == "gone":
        part.unlink()
    else:
        part.write_bytes(b"" if harm == "empty" else part.read_bytes()[:-1])

    assert retry().resumed == 0
    assert ids(folder) == EVERY


@pytest.mark.parametrize(
    ("sort", "move"),
    [
        ("id", lambda sandbox: sandbox.records_delete("donations", [3])),
        ("id", lambda sandbox: sandbox.records_delete("donations", [14])),  # the last one written
        ("-id", lambda sandbox: sandbox.records_delete("donations", [38])),
        ("-id", lambda sandbox: sandbox.records_insert("donations")),
        ("id", lambda sandbox: sandbox.records_delete("donations", range(1, 38))),
        ("id", lambda sandbox: sandbox.records_delete("donations", EVERY)),
    ],
    ids=["removed", "last one removed", "newest removed", "newest added", "few left", "none left"],
)
@pytest.mark.parametrize("shape", ["paginate", "simple-paginate"])
def test_a_list_that_has_moved_is_pulled_from_its_beginning(
    shape: str, sort: str, move: Callable[[Sandbox], object], fail: Failing, retry: Retry, sandbox: Sandbox,
    folder: Path,
) -> None:  # fmt: skip
    options = {"endpoint": f"api/{shape}/donations", "query_params": {"per_page": 10, "sort": sort}}
    fail(**options)
    move(sandbox)

    summary = retry(**options)

    there = [id_ for id_ in range(1, 42) if id_ in sandbox.records["donations"]]
    assert summary.resumed == 0
    assert ids(folder) == (there[::-1] if sort == "-id" else there)


def test_a_cursor_that_the_server_refuses_is_not_used(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path
) -> None:
    fail(endpoint="api/cursor-paginate/donations")
    sandbox.faults.add("status", status=400)

    assert retry(endpoint="api/cursor-paginate/donations").resumed == 0
    assert ids(folder) == EVERY


@pytest.mark.parametrize("cursor", ["unreadable", "eyJub25lIjoxLCJfcG9pbnRzVG9OZXh0SXRlbXMiOnRydWV9"])
def test_a_cursor_that_the_server_no_longer_knows_is_not_used(
    cursor: str, fail: Failing, retry: Retry, folder: Path, store: FileCheckpoints
) -> None:
    fail(endpoint="api/cursor-paginate/donations")
    change(store, step=["cursor", cursor])

    assert retry(endpoint="api/cursor-paginate/donations").resumed == 0
    assert ids(folder) == EVERY


def test_a_server_that_is_down_takes_no_checkpoint_away(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path
) -> None:
    fail()
    sandbox.faults.add("drop", times=None)
    with pytest.raises(GofundoConnectionError):
        retry()
    sandbox.faults.clear()
    sandbox.faults.add("status", status=503, times=None)
    with pytest.raises(GofundoApiError):
        retry()
    sandbox.faults.clear()

    assert retry().resumed == 14
    assert ids(folder) == EVERY


def test_parts_that_are_not_used_stay_until_they_are_old(
    fail: Failing, retry: Retry, folder: Path, store: FileCheckpoints
) -> None:
    fail()
    kept = {part["name"] for part in json.loads(store.read())["parts"]}
    store.clear()

    retry()

    found = trust(lake(folder))
    assert found
    assert set(files(folder)) == {"_manifest.json", *found.names} | kept


def test_keys_that_an_earlier_try_wrote_in_another_way_cannot_be_compared_and_nothing_is_walked_again(
    fail: Failing, retry: Retry, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"file_format": "parquet", "record_key": "created_at", "parallel": 1}
    fail(**options)
    answers = iter(range(1, 1_000))

    def hook(_method: str, _path: str) -> None:
        if next(answers) == 2:
            sandbox.records_delete("donations", [15])

    sandbox.before_each(hook)

    summary = retry(**options)

    assert summary.resumed == 14
    assert summary.complete is False
    assert pages_asked(sandbox) == [2, 3, 4]
    assert "it cannot be walked again" in caplog.text


@pytest.mark.parametrize("order", ["id", "-id", "updated_at", "-updated_at"])
def test_a_list_in_any_order_is_resumed(
    order: str, sandbox: Sandbox, fail: Failing, retry: Retry, folder: Path
) -> None:
    sandbox.records_touch("donations", [3, 15, 30])
    options = {**OPTIONS["query_params"], "sort": order}
    fail(query_params=options)

    assert retry(query_params=options).resumed == 14
    assert sorted(ids(folder)) == EVERY


def test_no_checkpoint_is_left_of_a_list_that_was_seen_to_change(
    sandbox: Sandbox, client: GofundoClient, folder: Path, store: FileCheckpoints
) -> None:
    insert_before_answer(2, sandbox)
    sandbox.faults.add("status", status=403, after=3)

    with pytest.raises(GofundoApiError):
        pull(client, "api/donations", lake(folder), checkpoints=store, **OPTIONS)

    assert len(json.loads(store.read())["parts"]) == 1


# --- a first try that is not dead --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "nth", "goes_on_after"),
    [
        ("before open", 1, 0), ("before close", 1, 0), ("before close", 3, 7), ("before close", 5, 14),
        ("before open", 5, 7), ("before mv", 1, 35), ("before rm_file", 1, 0),
        # The first one has been published by then, so the second starts over.
        ("after mv", 1, 0), ("before ls", 1, 0), ("before rm_file", 3, 0),
    ],
)  # fmt: skip
def test_a_first_try_that_goes_on_while_the_second_runs_leaves_one_whole_dataset(
    moment: str, nth: int, goes_on_after: int, client: GofundoClient, retry: Retry, folder: Path,
    store: FileCheckpoints,
) -> None:  # fmt: skip
    pull(client, "api/donations", lake(folder), query_params={"per_page": 10, "status": "paid"}, records_per_part=3)
    came = iter(range(1, 1_000))
    resumed: list[int] = []

    def second_try(step: str) -> None:
        if step == moment and next(came) == nth:
            resumed.append(retry().resumed)
            assert ids(folder) == EVERY

    with suppress(GofundoStopped):  # where it sees that the second one is done
        pull(client, "api/donations", Folder(Storage(second_try), str(folder)), checkpoints=store, **OPTIONS)

    assert resumed == [goes_on_after]
    assert ids(folder) == EVERY
    assert retry().resumed == 0
    assert ids(folder) == EVERY


def test_a_first_try_that_fails_after_the_second_was_published_takes_nothing_from_it(
    client: GofundoClient, retry: Retry, folder: Path, store: FileCheckpoints
) -> None:
    resumed: list[int] = []

    def second_try_and_full(step: str) -> None:
        if step == "before mv":
            resumed.append(retry().resumed)
            raise OSError(28, "No space left on device")

    with pytest.raises(GofundoStorageError):
        pull(client, "api/donations", Folder(Storage(second_try_and_full), str(folder)), checkpoints=store, **OPTIONS)

    assert resumed == [35]
    assert ids(folder) == EVERY


@pytest.mark.parametrize(
    ("records_per_part", "answer", "parts", "run"),
    [(7, 3, 2, LATER), (7, 4, 4, LATER), (7, 3, 2, BEHIND), (7, 4, 4, BEHIND), (39, 4, 0, LATER), (100, 4, 0, LATER)],
)
def test_a_try_that_a_later_one_has_taken_over_ends_and_leaves_what_the_later_goes_on_after(
    records_per_part: int, answer: int, parts: int, run: str, sandbox: Sandbox, client: GofundoClient, folder: Path,
    store: FileCheckpoints,
) -> None:  # fmt: skip
    pull(client, "api/donations", lake(folder), query_params={"per_page": 10, "status": "paid"}, records_per_part=3)
    before = set(files(folder))
    said: list[str] = []
    answers = iter(range(1, 1_000))

    def hook(_method: str, _path: str) -> None:
        if next(answers) == answer:
            said.append(take_over(store, run))

    sandbox.before_each(hook)
    options = {**OPTIONS, "records_per_part": records_per_part, "parallel": 1}

    with pytest.raises(GofundoStopped, match="A later try of this task has taken this pull over"):
        pull(client, "api/donations", lake(folder), checkpoints=store, **options)

    assert [store.read()] == said
    named = {part["name"] for part in json.loads(said[0])["parts"]}
    assert len(named) == parts
    assert set(files(folder)) == before | named


def test_a_try_whose_retry_is_done_ends_and_leaves_no_checkpoint(
    sandbox: Sandbox, client: GofundoClient, retry: Retry, folder: Path, store: FileCheckpoints
) -> None:
    came, later = iter(range(1, 1_000)), list[str]()

    def second_try(step: str) -> None:
        if step == "before close" and next(came) == 3:
            sandbox.records_insert("donations")
            later.append(retry().run)

    with pytest.raises(GofundoStopped, match="Another try of this task has come to its end"):
        pull(client, "api/donations", Folder(Storage(second_try), str(folder)), checkpoints=store, **OPTIONS)

    found = trust(lake(folder))
    assert found
    assert found.manifest["run"] == later[0]
    assert found.ids == [*EVERY, 41]
    assert store.read() == ""


def test_a_store_that_cannot_be_read_any_more_ends_no_try(
    client: GofundoClient, folder: Path, store: FileCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = iter(["", ""])  # at its start, and before its first checkpoint
    monkeypatch.setattr(store, "read", lambda: next(texts, None))

    pull(client, "api/donations", lake(folder), checkpoints=store, **OPTIONS)

    assert ids(folder) == EVERY


def test_who_starts_over_takes_no_checkpoint_of_a_later_try_away(
    fail: Failing, retry: Retry, sandbox: Sandbox, store: FileCheckpoints
) -> None:
    fail()
    said: list[str] = []

    def hook(_method: str, _path: str) -> None:
        if not said:
            said.append(take_over(store))

    sandbox.before_each(hook)

    with pytest.raises(GofundoStopped):
        retry(query_params={"per_page": 20})

    assert [store.read()] == said


def test_a_try_whose_clock_is_behind_that_of_the_dead_one_takes_over_all_the_same(
    fail: Failing, retry: Retry, sandbox: Sandbox, folder: Path, store: FileCheckpoints
) -> None:
    fail()
    dead = take_over(store)
    before = json.loads(dead)
    seen: list[dict[str, Any]] = []

    def hook(_method: str, _path: str) -> None:
        seen.append(json.loads(store.read()))
        if len(seen) == 2:  # it is not dead
            store.write(dead)

    sandbox.before_each(hook)

    summary = retry(parallel=1)

    assert seen[0] == {**before, "run": summary.run, "overtaken": [*before["overtaken"], LATER]}
    assert summary.resumed == 14
    assert ids(folder) == EVERY


# --- what a part knew of those before it -------------------------------------------------------------------------


def replay_list(replay: Replay, pages: list[list[dict[str, Any]]], *, fails_at: int) -> None:
    """A list that refuses one page once."""
    refused = iter([fails_at])

    def answer(asked: Asked) -> Answer:
        number = int(asked.query.get("page", 1))
        if number == fails_at and next(refused, None):
            return Answer(403)
        body = {
            "data": pages[number - 1], "current_page": number, "last_page": len(pages),
            "total": sum(map(len, pages)),
            "next_page_url": f"?page={number + 1}" if number < len(pages) else None,
        }  # fmt: skip
        return Answer(body=json.dumps(body).encode())

    replay.answer(answer)


MIXED: list[list[dict[str, Any]]] = [
    [{"id": 1, "amount": 1.5, "note": "x", "donor": {"email": "a@b.c"}}, {"id": 2, "amount": None, "tags": [1.5]}],
    [{"id": 3, "amount": 2, "note": None}, {"id": 4, "amount": 3, "tags": [2]}],
    [{"id": 5, "amount": 4}, {"id": 6, "amount": 5, "extra": True}],
    [{"id": 7, "amount": 6, "note": None}, {"id": 8, "amount": 7}],
]


@pytest.mark.parametrize("schema", [None, {"amount": "decimal128(12, 2)", "late": "string"}])
@pytest.mark.parametrize("fails_at", [2, 3, 4])
def test_a_resumed_parquet_pull_knows_the_columns_that_earlier_parts_had(
    fails_at: int, schema: dict[str, str] | None, replay: Replay, client_of: ClientOf, folder: Path,
    store: FileCheckpoints, tmp_path: Path,
) -> None:  # fmt: skip
    replay_list(replay, MIXED, fails_at=fails_at)
    client = client_of(replay.url)
    options: dict[str, Any] = {"file_format": "parquet", "records_per_part": 2, "schema": schema}
    with pytest.raises(GofundoApiError):
        pull(client, "api/list", lake(folder), checkpoints=store, **options)

    assert pull(client, "api/list", lake(folder), checkpoints=store, **options).resumed == 2 * (fails_at - 1)

    pull(client, "api/list", lake(tmp_path / "undisturbed"), **options)
    found, undisturbed = trust(lake(folder)), trust(lake(tmp_path / "undisturbed"))
    assert found
    assert undisturbed
    assert found.stored == undisturbed.stored


def test_whoever_sees_a_checkpoint_cannot_look_for_an_address_in_it(
    sandbox: Sandbox, fail: Failing, retry: Retry, store: FileCheckpoints
) -> None:
    fail(endpoint="api/donors", record_key="email")

    kept = json.loads(store.read())
    addresses = [sandbox.records["donors"].value(number)["email"] for number in EVERY]
    plain = [str(key_of(address)) for address in addresses]
    guesses = {hashlib.sha256(text.encode()).hexdigest() for text in [*addresses, *plain]}
    assert guesses.isdisjoint({kept["first"], kept["mark"]})
    assert retry(endpoint="api/donors", record_key="email").resumed


def test_marks_are_the_same_for_all_workers_and_others_under_another_secret() -> None:
    ours, theirs = settings_of("gofundo.nl"), settings_of("gofundo.nl", password="another secret")

    assert mark_of(ours, b"7") == mark_of(settings_of("gofundo.nl"), b"7")
    assert len({mark_of(ours, b"7"), mark_of(ours, b"8"), mark_of(theirs, b"7")}) == 3


@pytest.mark.parametrize("fails_at", [2, 3, 4])
@pytest.mark.parametrize("how", ["exclude_fields", "pseudonymize_fields"])
def test_fields_to_hide_are_looked_for_on_the_first_page_and_not_where_a_retry_goes_on(
    how: str, fails_at: int, replay: Replay, client_of: ClientOf, folder: Path, store: FileCheckpoints
) -> None:
    replay_list(replay, MIXED, fails_at=fails_at)
    client = client_of(replay.url, extra={"pseudonym_key_secret": "a key of enough length"})
    options: dict[str, Any] = {"records_per_part": 1, how: ["donor.email"]}
    with pytest.raises(GofundoApiError):
        pull(client, "api/list", lake(folder), checkpoints=store, **options)

    assert pull(client, "api/list", lake(folder), checkpoints=store, **options).resumed == 2 * (fails_at - 1)
    assert ids(folder) == [*range(1, 9)]
    found = trust(lake(folder))
    assert found
    assert "a@b.c" not in "".join(found.lines)
