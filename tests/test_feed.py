"""The feed: what is new in a list that answers too much, changes while it is read, or holds odd records."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest

from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.triggers.feed import Feed, Seen
from tests.fixtures import settings_of, waiting_client
from tests.replay import Answer, Replay

FIRST = "2020-01-01T00:00:00Z"


def feed(**options: Any) -> Feed:
    return Feed(**{
        "endpoint": "api/donations", "query_params": None, "param": "updated_since", "field": "updated_at",
        "record_key": "id", "lookback": None, "initial": None, **options,
    })  # fmt: skip


class Looks:
    """Looks one after the other, a minute apart; keeps what is seen as text in between."""

    def __init__(self, url: str, **options: Any) -> None:
        self._client = waiting_client(settings_of(url))
        self._feed = feed(**options)
        self._kept = ""
        self.now = datetime.now(timezone.utc)
        self.events: list[Any] = []

    def look(self) -> list[Any]:
        """The keys that one look tells."""
        seen = self._feed.look(self._client, Seen.load(self._kept), self.now)
        self.now += timedelta(minutes=1)
        self._kept = seen.dump()
        self.events += seen.untold
        return [key for event in seen.untold for key in event["keys"]]


def of(*records: Any) -> Answer:
    return Answer(body=json.dumps({"data": records}).encode())


def minutes_ago(minutes: float) -> float:
    return (datetime.now(timezone.utc) - timedelta(minutes=minutes)).timestamp()


def test_a_server_that_ignores_the_parameter_has_nothing_told_twice(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    looks = Looks(sandbox.url, param="not_known")

    assert looks.look() == []
    assert looks.look() == []
    (new,) = sandbox.records_insert("donations")
    assert looks.look() == [new]
    assert looks.look() == []
    assert "not_known" in caplog.text


def test_what_was_there_before_the_first_look_is_not_told_by_the_second(sandbox: Sandbox) -> None:
    sandbox.records_touch("donations", [1], at=minutes_ago(50))
    sandbox.records_touch("donations", [2, 3], at=minutes_ago(90))
    looks = Looks(sandbox.url)

    assert looks.look() == []
    assert looks.look() == []


@pytest.mark.parametrize("zone", ["", "Z"])
def test_a_list_that_was_empty_tells_what_comes_into_it(replay: Replay, zone: str) -> None:
    now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}{zone}"
    replay.answer(of(), of({"id": 1, "updated_at": now}))
    looks = Looks(replay.url)

    assert [looks.look(), looks.look(), looks.look()] == [[], [1], []]


def test_numbers_need_a_beginning(replay: Replay) -> None:
    replay.answer(of({"id": 1, "updated_at": 500}))

    with pytest.raises(GofundoConfigError, match="initial"):
        Looks(replay.url).look()
    assert Looks(replay.url, initial=400).look() == [1]
    assert Looks(replay.url, initial=600).look() == []


def test_a_record_that_a_deletion_hid_is_told_by_the_next_look(sandbox: Sandbox) -> None:
    requests = count(1)

    def delete(*_: Any) -> None:
        if next(requests) == 3:
            sandbox.records_delete("donations", [1])

    sandbox.before_each(delete)
    looks = Looks(sandbox.url, initial=FIRST, query_params={"per_page": 10})

    first = looks.look()
    assert 21 not in first
    assert looks.look() == [21]
    assert looks.look() == []


def test_a_record_that_changes_twice_makes_two_events(sandbox: Sandbox) -> None:
    looks = Looks(sandbox.url)
    looks.look()
    for minutes in (-60, -70):  # ahead, where the watermark does not go
        sandbox.records_touch("donations", [7], at=minutes_ago(minutes))
        assert looks.look() == [7]

    first, second = looks.events
    assert first["id"] != second["id"]


@pytest.mark.parametrize("odd", [{"id": 2, "updated_at": "0000-00-00 00:00:00"}, {"id": None, "updated_at": FIRST}])
def test_an_odd_record_is_left_out_and_the_others_are_told(
    replay: Replay, caplog: pytest.LogCaptureFixture, odd: dict[str, Any]
) -> None:
    replay.answer(of({"id": 1, "updated_at": FIRST}, odd))

    assert Looks(replay.url, initial=FIRST).look() == [1]
    assert "1 records" in caplog.text


@pytest.mark.parametrize("wrong", [{"record_key": "no_such"}, {"field": "status"}])
def test_a_field_that_no_record_has_is_named(sandbox: Sandbox, wrong: dict[str, str]) -> None:
    with pytest.raises(GofundoConfigError, match="|".join(wrong.values())):
        Looks(sandbox.url, initial=FIRST, **wrong).look()


@pytest.mark.parametrize("odd", [0, "2020-01-02 00:00:00"], ids=["a number", "no zone"])
def test_a_value_unlike_the_others_is_left_out_and_told_in_the_log(
    odd: Any, replay: Replay, caplog: pytest.LogCaptureFixture
) -> None:
    replay.answer(of({"id": 1, "updated_at": FIRST}, {"id": 2, "updated_at": odd}))

    assert Looks(replay.url, initial=FIRST).look() == [1]
    assert "1 records" in caplog.text


@pytest.mark.parametrize("kept", ['{"since":1,"untold":[{}]}', '{"since":1,"untold":[1]}', "garbage"])
def test_what_is_kept_and_cannot_be_read_is_said_so(kept: str) -> None:
    with pytest.raises(GofundoConfigError, match="cannot be read"):
        Seen.load(kept)
