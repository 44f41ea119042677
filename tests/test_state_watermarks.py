"""The watermark that runs share: under a name of its own, never backwards, and never guessed."""

from __future__ import annotations

import heapq
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models import Variable
from airflow.sdk import Asset, AssetAlias
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoStorageError
from airflow_provider_gofundo.oauth.lease import Alone, Cell, Lease
from airflow_provider_gofundo.state.variables import CertainCell
from airflow_provider_gofundo.state.watermarks import (
    PATIENCE,
    TURN,
    AssetCell,
    SharedWatermark,
    list_name,
    watermarks_of,
)
from tests.fixtures import Waits, settings_of

BY_UPDATE = Incremental(param="updated_since", field="updated_at")
NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)


def at(hour: int) -> str:
    """A watermark of that day."""
    return json.dumps(f"2026-11-23T{hour:02d}:00:00Z")


class Store(dict[str, Any]):
    """An asset's state, as far as a task sees it."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


class Memory:
    """A cell in memory."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


class Broken(Memory):
    """A cell that cannot be reached."""

    def read(self) -> str:
        raise OSError("no database here")


class ReadOnly(Memory):
    """A cell that can be looked at."""

    def write(self, text: str) -> None:
        raise OSError("no database here")


def watermark(cell: Cell) -> SharedWatermark:
    return SharedWatermark(cell, Alone(), "the Variable x")


# --- its name and place -------------------------------------------------------------------------------------------


def name(endpoint: str = "api/donations", *, host: str = "gofundo.nl", **changes: Any) -> str:
    incremental = Incremental(**{"param": "since", "field": "updated_at", **changes.pop("incremental", {})})
    return list_name(settings_of(host), endpoint, changes.pop("query_params", None), incremental)


def test_two_lists_never_share_a_watermark() -> None:
    names = [
        name(),
        name("api/donors"),
        name(host="test.gofundo.nl"),
        name(query_params={"status": "paid"}),
        name(query_params={"status": "open"}),
        name(incremental={"param": "changed_since"}),
        name(incremental={"field": "created_at"}),
    ]

    assert len(set(names)) == len(names)


def test_the_same_list_has_the_same_watermark_whatever_its_page_size_and_lookback() -> None:
    assert (
        name(query_params={"a": 1, "b": 2})
        == name(query_params={"b": 2, "a": 1, "per_page": 500}, incremental={"lookback": timedelta(days=1)})
    )  # fmt: skip


def test_a_name_is_readable_and_fits_every_store() -> None:
    assert name().startswith("gofundo_default__api_donations_")
    assert len(name("api/" + "é" * 500)) < 100


def task(**fields: Any) -> Any:
    return SimpleNamespace(**{"dag_id": "nightly", "task_id": "donations", "outlets": [], **fields})


def test_with_an_asset_it_is_in_the_assets_state() -> None:
    asset, stores = Asset("lake"), {"lake": Store()}
    context = {"asset_state_store": ByAsset(stores)}
    marks = watermarks_of(context, task(outlets=[AssetAlias("any"), asset]), "list")

    marks.read()
    stores["lake"].set("gofundo_watermark__list", "2026-11-23T01:00:00Z")

    assert marks.read() == at(1)


class ByAsset:
    def __init__(self, stores: dict[str, Store]) -> None:
        self._stores = stores

    def __getitem__(self, asset: Any) -> Store:
        return self._stores[asset.name]


@pytest.fixture(scope="module")
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.mark.parametrize(
    ("context", "outlets"),
    [({}, [Asset("lake")]), ({"asset_state_store": ByAsset({})}, []), ({"asset_state_store": None}, [Asset("lake")])],
)
@pytest.mark.usefixtures("_database")
def test_without_an_asset_or_its_state_it_is_in_a_variable_of_the_task(
    context: dict[str, Any], outlets: list[Any], request: pytest.FixtureRequest
) -> None:
    mine, others = (task(outlets=outlets, task_id=f"{request.node.name}{number}") for number in (1, 2))

    watermarks_of(context, mine, "list").advance(at(1))

    assert watermarks_of(context, mine, "list").read() == at(1)
    assert watermarks_of(context, mine, "other").read() is None
    assert watermarks_of(context, others, "list").read() is None


@pytest.mark.usefixtures("_database")
def test_a_variable_of_the_longest_names_can_be_written() -> None:
    long = task(dag_id="d" * 250, task_id="t" * 250)

    watermarks_of({}, long, name("api/" + "x" * 500)).advance(at(1))

    assert watermarks_of({}, long, name("api/" + "x" * 500)).read() == at(1)


# --- reading ------------------------------------------------------------------------------------------------------


def test_none_is_kept_before_the_first_pull() -> None:
    assert watermark(AssetCell(Store(), "key")).read() is None


@pytest.mark.parametrize(
    ("stands", "read"),
    [
        ("2026-11-23T01:00:00Z", at(1)),
        (at(1), at(1)),
        ("2026-11-23 01:00:00", '"2026-11-23 01:00:00"'),
        ("2026-11-23", '"2026-11-23"'),
        ("17", "17"),
        ("0", "0"),
        (17, "17"),
        (0, "0"),
    ],
)
def test_a_watermark_may_be_set_by_hand_as_the_server_writes_it(stands: Any, read: str) -> None:
    store = Store(key=stands)

    assert watermark(AssetCell(store, "key")).read() == read


@pytest.mark.parametrize("stands", ["yesterday", "1.5", "null", "true", "[]"])
def test_what_is_no_watermark_is_an_error_that_names_the_place(stands: str) -> None:
    with pytest.raises(GofundoConfigError, match="What stands in the Variable x is no watermark"):
        watermark(Memory(stands)).read()


def test_a_watermark_that_cannot_be_read_is_an_error_and_not_the_whole_list() -> None:
    with pytest.raises(GofundoStorageError, match=r"could not be read from the Variable x \(OSError\)"):
        watermark(Broken()).read()


@pytest.mark.usefixtures("_database")
def test_a_variable_that_airflow_could_not_look_up_is_not_taken_for_a_missing_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.secrets.metastore import MetastoreBackend

    marks = watermarks_of({}, task(task_id="lookup"), "list")
    marks.advance("17")

    def down(*_: Any, **__: Any) -> str:
        raise OSError("database is down")

    with monkeypatch.context() as broken:
        broken.setattr(MetastoreBackend, "get_variable", down)
        assert Variable.get("no_such", None) is None  # Airflow only logs it

        with pytest.raises(GofundoStorageError, match="could not be read"):
            marks.read()

    assert marks.read() == "17"


@pytest.mark.usefixtures("_database")
def test_a_look_for_a_variable_that_is_not_there_leaves_nothing_behind() -> None:
    from airflow.utils.session import create_session

    assert CertainCell("gofundo_watermark__absent").read() == ""

    with create_session() as session:
        assert session.query(Variable).filter(Variable.key.startswith("gofundo_watermark__absent")).all() == []


# --- writing ------------------------------------------------------------------------------------------------------


def test_it_stands_there_as_the_server_wrote_it() -> None:
    times, numbers = Memory(), Memory()

    watermark(times).advance(at(1))
    watermark(numbers).advance("17")

    assert (times.text, numbers.text) == ("2026-11-23T01:00:00Z", "17")


def test_an_earlier_or_equal_one_is_not_written_and_needs_no_turn() -> None:
    class Never(Alone):
        def acquire(self) -> bool:
            raise AssertionError("no need to take turns")

    cell = ReadOnly("2026-11-23T05:00:00Z")
    for hour in (4, 5):
        SharedWatermark(cell, Never(), "x").advance(at(hour))

    assert cell.text == "2026-11-23T05:00:00Z"


@pytest.mark.parametrize("cell", [Broken(), ReadOnly()])
def test_one_that_cannot_be_written_says_that_nothing_is_lost(cell: Cell) -> None:
    with pytest.raises(
        GofundoStorageError, match=r"dataset is complete.*fetch again from the older watermark.*OSError"
    ):
        watermark(cell).advance(at(1))


def test_one_that_cannot_be_compared_says_why() -> None:
    with pytest.raises(GofundoStorageError, match=r"dataset is complete.*cannot be compared"):
        watermark(Memory("17")).advance(at(1))


def test_the_turn_is_given_back_even_when_writing_fails() -> None:
    turn = Memory()

    with suppress(GofundoStorageError):
        SharedWatermark(ReadOnly(), Lease(turn, life=TURN, sleep=lambda _: None), "x").advance(at(1))

    assert turn.text == ""


def test_where_a_turn_does_not_come_it_is_written_all_the_same_and_the_log_says_so(
    waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    class Taken(Alone):
        def acquire(self) -> bool:
            return False

    cell = Memory("2026-11-23T01:00:00Z")

    with caplog.at_level(logging.WARNING):
        SharedWatermark(cell, Taken(), "the Variable x", sleep=waits, clock=waits.clock).advance(at(2))

    assert cell.text == "2026-11-23T02:00:00Z"
    assert PATIENCE <= sum(waits) < PATIENCE + 5
    assert caplog.messages == ["Another run has been writing the Variable x for 90 s. Writing it all the same."]


def test_an_earlier_one_that_comes_over_it_is_replaced_and_told_if_that_does_not_help() -> None:
    class Contested(Memory):
        def __init__(self, times: int) -> None:
            super().__init__()
            self.times = times

        def write(self, text: str) -> None:
            self.times -= 1
            super().write(text if self.times < 0 else "2026-11-23T01:00:00Z")

    once, always = Contested(1), Contested(100)
    watermark(once).advance(at(2))

    with pytest.raises(GofundoStorageError, match="An earlier one came over it 3 times"):
        watermark(always).advance(at(2))

    assert once.text == "2026-11-23T02:00:00Z"


# --- at the same time ---------------------------------------------------------------------------------------------


class Stage:
    """Runs threads one at a time, on a clock of its own: who waits longer goes on later."""

    def __init__(self) -> None:
        self.time = 0.0
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._idle = threading.Semaphore(0)
        self._count = 0

    def sleep(self, seconds: float) -> None:
        self._count += 1
        go = threading.Event()
        heapq.heappush(self._waiting, (self.time + seconds, self._count, go))
        self._idle.release()
        go.wait()

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.time)

    def play(self, *parts: Any) -> None:
        """Run all the parts to their end."""

        def run(part: Any) -> None:
            self.sleep(0)
            try:
                part()
            finally:
                self._idle.release()

        threads = [threading.Thread(target=run, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
            self._idle.acquire()
        while self._waiting:
            self.time, _, go = heapq.heappop(self._waiting)
            go.set()
            self._idle.acquire()
        for thread in threads:
            thread.join()


class Slow:
    """A cell whose every reading and writing takes a time of its own; `history` is what stood in it."""

    def __init__(self, stage: Stage, delays: Iterator[float]) -> None:
        self.history = [""]
        self._stage = stage
        self._delays = delays

    def read(self) -> str:
        self._stage.sleep(next(self._delays, 0.1))
        return self.history[-1]

    def write(self, text: str) -> None:
        self._stage.sleep(next(self._delays, 0.1))
        self.history.append(text)


@given(
    hours=st.lists(st.integers(0, 23), min_size=2, max_size=4),
    starts=st.lists(st.floats(0, 3), min_size=4, max_size=4),
    delays=st.lists(st.floats(0, 0.9), max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_runs_that_write_at_the_same_time_never_move_it_backwards(
    hours: list[int], starts: list[float], delays: list[float]
) -> None:
    stage = Stage()
    cell, turn = Slow(stage, iter(delays)), Slow(stage, iter(delays[::-1]))

    def run(hour: int, start: float) -> None:
        stage.sleep(start)
        lease = Lease(turn, life=TURN, clock=stage.clock, sleep=stage.sleep)
        SharedWatermark(cell, lease, "x", sleep=stage.sleep, clock=lambda: stage.time).advance(at(hour))

    stage.play(*(lambda hour=hour, start=start: run(hour, start) for hour, start in zip(hours, starts, strict=False)))

    assert cell.history == sorted(cell.history)
    assert json.dumps(cell.history[-1]) == at(max(hours))
