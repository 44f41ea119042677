"""Checkpoints in a task's state: used where they can be, and never in the way where they cannot."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.state.checkpoints import KEY, TaskCheckpoints, task_checkpoints
from tests.dataset.reader import lake, trust
from tests.fixtures import pull


class Store:
    """A task's state, as far as a task sees it; the methods that are named fail."""

    def __init__(self, *fails: str) -> None:
        self.fails = set(fails)
        self.kept: dict[str, Any] = {}
        self.calls: list[str] = []

    def get(self, key: str) -> Any:
        self._called("get")
        return self.kept.get(key)

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        self._called("set")
        assert retention == timedelta(days=1)
        self.kept[key] = value

    def delete(self, key: str) -> None:
        self._called("delete")
        self.kept.pop(key, None)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            raise OSError("no database here")


def test_where_airflow_keeps_no_task_state_the_log_says_that_a_retry_starts_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "airflow_provider_gofundo")

    assert task_checkpoints({}) is None

    assert caplog.messages == ["This Airflow keeps no task state, which 3.3 and newer do: a retry starts over."]


def test_a_checkpoint_is_what_was_written_last_until_it_is_cleared() -> None:
    store = Store()
    checkpoints = TaskCheckpoints(store)

    assert checkpoints.read() == ""
    checkpoints.write("one")
    checkpoints.write("two")
    assert TaskCheckpoints(store).read() == "two"
    checkpoints.clear()

    assert checkpoints.read() == ""
    assert store.kept == {}


@pytest.mark.parametrize(
    ("fails", "warnings"),
    [(("get",), 1), (("set",), 1), (("delete",), 0), (("get", "set", "delete"), 2)],
)
def test_a_store_that_fails_is_warned_of_and_the_pull_is_complete(
    client: GofundoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, fails: tuple[str, ...], warnings: int
) -> None:
    checkpoints = TaskCheckpoints(Store(*fails))

    pull(client, "api/donations", lake(tmp_path), records_per_part=10, checkpoints=checkpoints)

    found = trust(lake(tmp_path))
    assert found
    assert found.ids == list(range(1, 41))
    assert sum("task state store fails (OSError)" in message for message in caplog.messages) == warnings


def test_a_store_that_fails_is_not_asked_again_but_to_clear() -> None:
    store = Store("set")
    checkpoints = TaskCheckpoints(store)

    checkpoints.write("one")
    checkpoints.write("two")
    checkpoints.clear()

    assert store.calls == ["set", "delete"]


def test_a_checkpoint_that_cannot_be_deleted_is_made_empty() -> None:
    store = Store("delete")
    checkpoints = TaskCheckpoints(store)
    checkpoints.write("one")

    checkpoints.clear()

    assert store.kept == {KEY: ""}
    assert checkpoints.read() == ""


def test_a_checkpoint_that_stays_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    TaskCheckpoints(Store("delete", "set")).clear()

    assert "the checkpoint of this pull is still there. Do not clear this task within a day" in caplog.text
