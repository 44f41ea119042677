"""Incremental pulls: whatever is run, fails, is run again or runs at the same time, no change is lost."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.incremental import Incremental, Watermark, is_later, point_of
from airflow_provider_gofundo.dataset.pull import Summary
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoConfigError,
    GofundoStorageError,
)
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import lake, trust
from tests.dataset.storage import Folder, Storage
from tests.fixtures import ClientOf, pull, settings_of
from tests.replay import Answer, Asked, Replay

BY_UPDATE = Incremental(param="updated_since", field="updated_at")
LAST = 1_704_067_200 + 40 * 3_607  # when the last of the sandbox's forty records was changed
HOUR = 3_600.0


class Memory:
    """Watermarks in memory; `on_read` is called with each reading."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text
        self.on_read: Callable[[], object] = lambda: None

    def read(self) -> str | None:
        text = self.text
        self.on_read()
        return text

    def advance(self, watermark: str) -> None:
        if self.text is None or is_later(_point(watermark), _point(self.text)):
            self.text = watermark


def _point(watermark: str) -> Any:
    return point_of(msgspec.json.decode(watermark))


def stamp(seconds: float) -> str:
    """A time as the sandbox writes it."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S.000000Z}"


def asked(sandbox: Sandbox) -> str | None:
    """From when on the latest request asked for changes."""
    return sandbox.requests[-1].query.get("updated_since")


class Pulls:
    """Pulls of the sandbox's donations, each into a folder of its own unless told otherwise, and what they hold."""

    def __init__(self, client: GofundoClient, folder: Path) -> None:
        self.marks = Memory()
        self.folder = folder
        self._client = client
        self._number = 0

    def __call__(self, name: str | None = None, **options: Any) -> Summary:
        self._number += 1
        path = lake(self.folder / (name or f"{self._number:03d}"))
        options = {"incremental": BY_UPDATE, "watermarks": self.marks, "query_params": {"per_page": 10}, **options}
        return pull(self._client, "api/donations", path, **options)

    def ids(self, name: str) -> list[int]:
        found = trust(lake(self.folder / name))
        assert found
        return found.ids

    def merged(self) -> dict[int, str]:
        """What a merge by key over all datasets makes of them: when each record was changed last."""
        found: dict[int, str] = {}
        for path in self.folder.iterdir():
            if dataset := trust(lake(path)):
                for record in map(json.loads, dataset.lines):
                    found[record["id"]] = max(found.get(record["id"], ""), record["updated_at"])
        return found


@pytest.fixture
def pulls(client: GofundoClient, tmp_path: Path) -> Pulls:
    return Pulls(client, tmp_path)


def on_server(sandbox: Sandbox) -> dict[int, str]:
    donations = sandbox.records["donations"]
    return {
        number: stamp(donations.updated(number)) for number in range(1, len(donations) + 1) if number in donations
    }


# --- one after the other ------------------------------------------------------------------------------------------


def test_the_first_run_pulls_the_whole_list_and_keeps_the_greatest_value(pulls: Pulls, sandbox: Sandbox) -> None:
    summary = pulls("first")

    assert asked(sandbox) is None
    assert pulls.ids("first") == list(range(1, 41))
    assert pulls.marks.text == json.dumps(summary.watermark) == json.dumps(stamp(LAST))


def test_the_next_run_asks_for_what_has_changed_since_an_hour_before(pulls: Pulls, sandbox: Sandbox) -> None:
    pulls("first")
    sandbox.records_touch("donations", [7], at=LAST + 60)

    pulls("second")

    assert asked(sandbox) == stamp(LAST - HOUR)
    assert pulls.ids("second") == [7, 40]
    assert pulls.marks.text == json.dumps(stamp(LAST + 60))


def test_the_first_run_begins_where_initial_says(pulls: Pulls, sandbox: Sandbox) -> None:
    initial = datetime.fromtimestamp(LAST - 2 * 3_607, timezone.utc)

    pulls("first", incremental=Incremental(param="updated_since", field="updated_at", initial=initial))

    assert pulls.ids("first") == [38, 39, 40]
    assert pulls.marks.text == json.dumps(stamp(LAST))


def test_a_run_without_news_is_a_complete_dataset_of_nothing_and_leaves_the_watermark(
    pulls: Pulls, sandbox: Sandbox
) -> None:
    pulls("first")
    sandbox.records_delete("donations", [40])
    before = pulls.marks.text

    summary = pulls("second")

    assert (summary.records, json.dumps(summary.watermark), pulls.marks.text) == (0, before, before)
    assert pulls.ids("second") == []


def test_a_first_run_of_an_empty_list_leaves_no_watermark(pulls: Pulls, sandbox: Sandbox) -> None:
    sandbox.records_delete("donations", range(1, 41))

    pulls("first")
    sandbox.records_insert("donations", 1, at=LAST)
    pulls("second")

    assert asked(sandbox) is None
    assert pulls.ids("second") == [41]


def test_records_of_the_watermarks_own_second_and_late_ones_within_lookback_are_not_lost(
    pulls: Pulls, sandbox: Sandbox
) -> None:
    pulls("first")
    tie = sandbox.records_insert("donations", 1, at=LAST)
    late = sandbox.records_insert("donations", 1, at=LAST - HOUR + 1)

    pulls("second")

    assert pulls.ids("second") == [40, *tie, *late]
    assert pulls.marks.text == json.dumps(stamp(LAST))


def test_lookback_is_as_long_as_told(pulls: Pulls, sandbox: Sandbox) -> None:
    short = Incremental(param="updated_since", field="updated_at", lookback=timedelta(minutes=5))
    pulls("first")

    pulls("second", incremental=short)

    assert asked(sandbox) == stamp(LAST - 300)


def test_records_that_change_during_a_pull_are_in_it_or_in_the_next(pulls: Pulls, sandbox: Sandbox) -> None:
    def touch(*_: object) -> None:
        page = sandbox.requests[-1].query.get("page") if sandbox.requests else None
        if page == "2":
            sandbox.records_touch("donations", [3, 25])  # the one has been pulled already, the other not yet

    sandbox.before_each(touch)
    pulls("first")
    sandbox.before_each(None)

    pulls("second")

    assert 3 in pulls.ids("second")
    assert pulls.merged() == on_server(sandbox)


def test_one_date_in_the_far_future_does_not_keep_the_others_out(pulls: Pulls, sandbox: Sandbox) -> None:
    sandbox.records_touch("donations", [5], at=4_102_444_800)  # the year 2100
    pulls("first")
    sandbox.records_touch("donations", [6], at=LAST + 60)

    pulls("second")

    assert pulls.marks.text == json.dumps(stamp(LAST + 60))
    assert pulls.ids("second") == [5, 6, 40]


# --- again, at the same time, and not at all ----------------------------------------------------------------------


def test_an_old_run_done_again_covers_what_it_covered_and_takes_nothing_from_later_ones(
    pulls: Pulls, sandbox: Sandbox
) -> None:
    pulls("first")
    sandbox.records_touch("donations", [7], at=LAST + 2 * HOUR)
    pulls("second")
    sandbox.records_touch("donations", [8], at=LAST + 4 * HOUR)
    pulls("third")

    again = pulls("second")

    assert asked(sandbox) == stamp(LAST - HOUR)
    assert pulls.ids("second") == [7, 8, 40]
    assert json.dumps(again.watermark) == pulls.marks.text == json.dumps(stamp(LAST + 4 * HOUR))
    assert pulls.merged() == on_server(sandbox)


def test_the_first_run_done_again_pulls_the_whole_list_again(pulls: Pulls, sandbox: Sandbox) -> None:
    pulls("first")
    pulls("second")

    pulls("first")

    assert pulls.ids("first") == list(range(1, 41))


@pytest.mark.parametrize("other", [None, Incremental(param="updated_since", field="created_at")])
def test_a_dataset_that_was_pulled_otherwise_is_not_replaced(
    pulls: Pulls, sandbox: Sandbox, other: Incremental | None
) -> None:
    pulls("first", incremental=other)
    sandbox.counters.clear()

    with pytest.raises(GofundoConfigError, match="give every incremental pull a path of its own"):
        pulls("first")

    assert not sandbox.requests
    assert pulls.ids("first") == list(range(1, 41))


def test_a_backfill_at_the_same_time_as_the_live_run_loses_nothing(pulls: Pulls, sandbox: Sandbox) -> None:
    pulls("first")
    sandbox.records_touch("donations", [7], at=LAST + HOUR)

    def live() -> None:
        pulls.marks.on_read = lambda: None
        sandbox.records_touch("donations", [8], at=LAST + 3 * HOUR)
        pulls("live")
        sandbox.records_touch("donations", [9], at=LAST + 2.5 * HOUR)

    pulls.marks.on_read = live
    pulls("backfill")  # has read its watermark when the live run comes past it

    assert 9 in pulls.ids("backfill")
    assert pulls.marks.text == json.dumps(stamp(LAST + 3 * HOUR))
    assert pulls.merged() == on_server(sandbox)


def test_a_pull_that_cannot_be_published_leaves_the_watermark(
    pulls: Pulls, client: GofundoClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    def no_move(step: str) -> None:
        if step == "before mv":
            raise OSError(28, "No space left on device")

    pulls("first")
    sandbox.records_touch("donations", [7], at=LAST + 60)
    second = Folder(Storage(no_move), str(tmp_path / "second"))

    with pytest.raises(GofundoStorageError, match="No space left"):
        pull(client, "api/donations", second, incremental=BY_UPDATE, watermarks=pulls.marks)

    assert pulls.marks.text == json.dumps(stamp(LAST))


def test_a_pull_that_fails_halfway_leaves_the_watermark_and_the_next_one_gets_it_all(
    pulls: Pulls, sandbox: Sandbox
) -> None:
    sandbox.faults.add("status", query="page=3", status=403)

    with pytest.raises(GofundoApiError):
        pulls("first")
    assert pulls.marks.text is None
    pulls("first")

    assert pulls.ids("first") == list(range(1, 41))


@pytest.mark.parametrize("on_drift", ["repull", "warn"])
def test_where_records_may_be_missing_the_watermark_stays_unless_a_warning_is_enough(
    on_drift: str, pulls: Pulls, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("airflow_provider_gofundo.dataset.repair.REPULLS", 0)
    answers = iter(range(1, 1_000))

    def hook(_method: str, path: str) -> None:
        if path == "/api/donations" and next(answers) == 3:
            sandbox.records_delete("donations", [2])

    sandbox.before_each(hook)
    first = pulls("first", on_drift=on_drift)
    sandbox.before_each(None)
    assert first.complete is False

    second = pulls("second")

    stays = on_drift == "repull"
    assert (first.watermark is None) is stays
    assert ("the watermark stays" in caplog.text) is stays
    assert second.watermark == stamp(LAST)
    assert ({*pulls.ids("first")} | {*pulls.ids("second")} == {*range(1, 41)}) is stays


def test_a_watermark_that_cannot_be_read_is_an_error_before_anything_is_asked(pulls: Pulls, sandbox: Sandbox) -> None:
    def unreadable() -> None:
        raise GofundoStorageError("down")

    pulls.marks.on_read = unreadable

    with pytest.raises(GofundoStorageError, match="down"):
        pulls("first")

    assert not sandbox.requests


LATE = st.sampled_from([0, 0, 60, 3_599])  # seconds; the lookback is an hour
STEPS = st.one_of(
    st.tuples(st.just("touch"), st.lists(st.integers(1, 40), min_size=1, max_size=12), LATE),
    st.tuples(st.just("insert"), st.integers(1, 3), LATE),
    st.tuples(st.just("wait"), st.integers(1, 20_000)),
    st.tuples(st.just("pull")),
    st.tuples(st.just("fail")),
    st.tuples(st.just("again"), st.integers(0, 5)),
)


def until_it_fails(pulls: Pulls, done: int) -> int:
    try:
        while True:
            pulls(f"run{done}")
            done += 1
    except GofundoApiError:
        return done


@given(st.lists(STEPS, max_size=14))
@settings(max_examples=40, deadline=None)
def test_after_any_story_a_merge_by_key_holds_what_the_server_holds(story: list[Any]) -> None:
    with Sandbox(records=40) as sandbox, tempfile.TemporaryDirectory() as folder:
        credentials = settings_of(sandbox.url)
        with GofundoClient(credentials, TokenManager(grant_for(credentials), MemoryTokenStore())) as client:
            pulls, time, done = Pulls(client, Path(folder)), float(LAST), 0
            marks: list[Any] = []
            for kind, *more in [*story, ("pull",)]:
                if kind == "touch":
                    at, donations = time - more[1], sandbox.records["donations"]
                    sandbox.records_touch("donations", [i for i in more[0] if donations.updated(i) < at], at=at)
                elif kind == "insert":
                    sandbox.records_insert("donations", more[0], at=time - more[1])
                elif kind == "wait":
                    time += more[0]
                elif kind == "pull":
                    pulls(f"run{done}")
                    done += 1
                elif kind == "again" and done:
                    pulls(f"run{more[0] % done}")
                elif kind == "fail":
                    sandbox.faults.add("status", path="/api/donations", status=403, after=len(marks) % 3)
                    done = until_it_fails(pulls, done)
                marks.append(_point(pulls.marks.text) if pulls.marks.text else None)

            assert pulls.merged() == on_server(sandbox)
            known = [mark for mark in marks if mark is not None]
            assert known == sorted(known)


# --- other values than times with a zone --------------------------------------------------------------------------


def test_a_number_that_only_grows_is_a_watermark_too(pulls: Pulls, sandbox: Sandbox) -> None:
    by_id = Incremental(param="after_id", field="id")
    pulls("first", incremental=by_id)
    sandbox.records_insert("donations", 2)

    pulls("second", incremental=by_id)
    pulls("third", incremental=Incremental(param="after_id", field="id", lookback=10))

    firsts = [
        request.query for request in sandbox.requests if request.method == "GET" and "page" not in request.query
    ]
    assert [query.get("after_id") for query in firsts] == [None, "40", "32"]
    assert pulls.marks.text == "42"


def list_of(*values: Any) -> Answer:
    records = [{"id": number, "changed": value} for number, value in enumerate(values, 1)]
    return Answer(body=json.dumps(records).encode())


def pull_list(client_of: ClientOf, replay: Replay, path: Path, marks: Memory, **options: Any) -> Summary:
    incremental = Incremental(param="since", field="changed", **options)
    return pull(client_of(replay.url), "api/list", lake(path), incremental=incremental, watermarks=marks)


@pytest.mark.parametrize(
    ("value", "kept", "since"),
    [  # without a zone it is kept less the pull's length, in whole seconds
        ("2026-01-02 03:04:05", "2026-01-02 03:04:04", "2026-01-02 02:04:04"),
        ("2026-01-02T03:04:05", "2026-01-02 03:04:04", "2026-01-02 02:04:04"),
        ("2026-01-02", "2026-01-01 23:59:59", "2026-01-01 22:59:59"),
        ("2026-01-02T03:04:05+01:00", "2026-01-02T03:04:05+01:00", "2026-01-02T01:04:05.000000Z"),
        ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678901Z", "2026-01-02T02:04:05.678901Z"),
    ],
)
def test_a_time_is_sent_back_without_a_zone_if_it_came_without_one(
    client_of: ClientOf, replay: Replay, tmp_path: Path, value: str, kept: str, since: str
) -> None:
    replay.answer(list_of(value, None))
    marks = Memory()

    pull_list(client_of, replay, tmp_path / "1", marks)
    pull_list(client_of, replay, tmp_path / "2", marks)

    assert marks.text == json.dumps(kept)
    assert replay.resource_requests[-1].query["since"] == since


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((None, None), "no record on the first page has a value in changed"),
        (("yesterday",), "changed holds something that is no time and no number"),
        ((True,), "changed holds something that is no time and no number"),
        (("2026-01-02T03:04:05Z", "2026-01-02 03:04:05"), "cannot be compared"),
        (("2026-01-02T03:04:05Z", 7), "cannot be compared"),
    ],
)
def test_a_field_that_cannot_be_a_watermark_is_an_error_and_nothing_lands(
    client_of: ClientOf, replay: Replay, tmp_path: Path, values: tuple[Any, ...], text: str
) -> None:
    replay.answer(list_of(*values))

    with pytest.raises(GofundoConfigError, match=text):
        pull_list(client_of, replay, tmp_path, Memory())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"param": ""}, "param is empty"),
        ({"field": " "}, "field is empty"),
        ({"param": "page"}, "param may not be page or cursor"),
        ({"lookback": timedelta(-1)}, "lookback must be"),
        ({"lookback": "1h"}, "lookback must be"),
        ({"initial": "{{ ds }}"}, "initial must be"),
    ],
)
def test_what_is_wrong_with_it_is_told_when_it_is_made(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(GofundoConfigError, match=text):
        Incremental(**{"param": "since", "field": "changed", **wrong})


def test_a_lookback_that_does_not_fit_the_values_is_told(client_of: ClientOf, replay: Replay, tmp_path: Path) -> None:
    replay.answer(list_of(7))

    with pytest.raises(GofundoConfigError, match="give a whole number"):
        pull_list(client_of, replay, tmp_path, Memory("7"), lookback=timedelta(hours=1))


def test_a_parameter_that_is_set_twice_is_an_error(pulls: Pulls, sandbox: Sandbox) -> None:
    with pytest.raises(GofundoConfigError, match="query_params may not hold updated_since too"):
        pulls("first", query_params={"updated_since": "2026-01-01"})

    assert not sandbox.requests


@pytest.mark.parametrize("hidden", ["exclude_fields", "pseudonymize_fields"])
def test_a_watermark_of_a_hidden_field_is_refused(hidden: str, client: GofundoClient, tmp_path: Path) -> None:
    with pytest.raises(GofundoConfigError, match="name another field"):
        pull(
            client, "api/donations", lake(tmp_path), incremental=BY_UPDATE, watermarks=Memory(),
            **{hidden: ["updated_at"]},
        )  # fmt: skip


def test_a_retry_moves_the_watermark_no_further_than_when_the_first_try_began(
    sandbox: Sandbox, client_of: ClientOf, tmp_path: Path
) -> None:
    kept, watermarks = Checkpoint(), Memory()
    client = client_of(sandbox.url)
    options: dict[str, Any] = {
        "query_params": {"per_page": 5}, "records_per_part": 10, "incremental": BY_UPDATE,
        "watermarks": watermarks, "checkpoints": kept,
    }  # fmt: skip
    sandbox.faults.add("status", "/api/", status=404, after=5)
    with pytest.raises(GofundoApiError):
        pull(client, "api/donations", lake(tmp_path), **options)
    then = datetime.now(timezone.utc) - timedelta(hours=6)
    kept.text = kept.text.replace(json.loads(kept.text)["started"], then.isoformat())
    sandbox.records_touch("donations", [1], at=(then + timedelta(hours=1)).timestamp())
    sandbox.records_touch("donations", [40], at=(then + timedelta(hours=5)).timestamp())

    resumed = pull(client, "api/donations", lake(tmp_path), **options)

    assert resumed.resumed == 20
    assert watermarks.text is not None
    assert _point(watermarks.text) < then


class Checkpoint:
    """A place for a checkpoint, in memory."""

    def __init__(self) -> None:
        self.text = ""

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text

    def clear(self) -> None:
        self.text = ""


def test_a_server_that_does_not_know_the_parameter_is_told_in_the_log_once(
    pulls: Pulls, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = Incremental(param="changed_after", field="updated_at")

    pulls("first", incremental=unknown)
    assert "changed_after" not in caplog.text
    pulls("second", incremental=unknown)

    assert caplog.text.count("asked by changed_after, and answered records whose updated_at lies before") == 1


def test_a_number_that_the_server_ignores_is_told_as_well(pulls: Pulls, caplog: pytest.LogCaptureFixture) -> None:
    unknown = Incremental(param="above_id", field="id")

    pulls("first", incremental=unknown)
    pulls("second", incremental=unknown)

    assert caplog.text.count("asked by above_id, and answered records whose id lies before") == 1


def test_a_server_that_knows_the_parameter_is_not_complained_of(
    pulls: Pulls, caplog: pytest.LogCaptureFixture
) -> None:
    pulls("first")
    pulls("second")

    assert "asked by" not in caplog.text


def test_a_field_that_is_no_name_is_refused() -> None:
    with pytest.raises(GofundoConfigError, match="must be the name of a field"):
        Incremental(param="since", field='a"b')


@pytest.mark.parametrize(
    ("values", "before", "reached"),
    [
        (["2026-01-01 12:00:00"], None, "2026-01-01 11:58:29"),
        (["2026-01-01 12:00:00"], "2026-01-01 11:59:00", "2026-01-01 11:59:00"),  # never backwards
        (["2026-01-01 11:00:00"], "2026-01-01 11:59:00", "2026-01-01 11:59:00"),
        (["2026-01-01T12:00:00Z"], None, "2026-01-01T12:00:00Z"),  # the start is known on this clock
        ([41, 42], None, 42),
        ([], None, None),
    ],
)
def test_of_a_time_without_a_zone_the_length_of_the_pull_is_taken_off(
    values: list[Any], before: str | None, reached: Any
) -> None:
    began = datetime(2026, 6, 1, tzinfo=timezone.utc)
    how = Incremental(param="since", field="at")
    watermark = Watermark(how, began, None if before is None else json.dumps(before))
    watermark.see([msgspec.Raw(json.dumps({"at": value}).encode()) for value in values])

    found = watermark.settled(began + timedelta(seconds=90.2))

    assert found == (None if reached is None else json.dumps(reached))


def test_what_changes_on_a_page_that_was_read_comes_with_the_next_pull_though_times_have_no_zone(
    replay: Replay, client_of: ClientOf, tmp_path: Path
) -> None:
    marks = Memory()

    def answer(asked: Asked) -> Answer:
        time.sleep(1.2)  # the length of the pull is what it is about
        number = int(asked.query.get("page", "1"))
        meta = {"current_page": number, "last_page": 2, "total": 2, "per_page": 1}
        links = {"next": f"?page={number + 1}" if number < 2 else None, "prev": None}
        record = {"id": number, "updated_at": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}"}
        return Answer(body=json.dumps({"data": [record], "meta": meta, "links": links}).encode())

    replay.answer(answer)
    how = Incremental(param="updated_since", field="updated_at", lookback=timedelta(0))
    began = datetime.now(timezone.utc).replace(tzinfo=None)
    pull(client_of(replay.url), "api/list", lake(tmp_path), incremental=how, watermarks=marks)

    reached = point_of(json.loads(marks.text or ""))
    assert isinstance(reached, datetime)
    assert reached <= began
