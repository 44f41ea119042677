"""The sensor: what it waits for, in a worker and deferred, and how its waits end."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_provider_gofundo.exceptions import GofundoAuthError, GofundoConfigError
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.sensors.gofundo import GofundoSensor
from tests.fixtures import Connect

LIST = "/api/donations"


@pytest.fixture(autouse=True)
def _connected(connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.url, extra={"max_attempts": 1})


def sensor(**arguments: Any) -> GofundoSensor:
    return GofundoSensor(**{"task_id": "wait", "endpoint": "api/donations", "poke_interval": 0, **arguments})


def looks(sandbox: Sandbox) -> int:
    return sandbox.counters.requests[f"GET {LIST}"]


def deferred(waiting: GofundoSensor) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        waiting.execute({})
    return caught.value


def test_it_waits_for_so_many_records_and_says_how_many_there_are(sandbox: Sandbox) -> None:
    def insert(*_: Any) -> None:
        sandbox.records_insert("donations")

    sandbox.before_each(insert)

    assert sensor(min_records=43).execute({}) == 43
    assert looks(sandbox) == 3


def test_records_are_counted_page_by_page_where_the_server_tells_no_total(sandbox: Sandbox) -> None:
    query = {"per_page": 10}

    assert sensor(endpoint="api/simple-paginate/donations", min_records=25, query_params=query).execute({}) == 30
    assert sandbox.counters.requests["GET /api/simple-paginate/donations"] == 3


def test_it_waits_for_a_field_of_some_record_on_whatever_page(sandbox: Sandbox) -> None:
    last = sandbox.records["donations"].value(40)

    assert sensor(field="id", equals=40, query_params={"per_page": 15}).execute({}) is None
    assert looks(sandbox) == 3
    assert last["id"] == 40


def test_it_waits_for_a_field_of_the_one_object_that_the_endpoint_answers(sandbox: Sandbox) -> None:
    waiting = sensor(endpoint="api/donations/7", field="status", equals="settled")
    waiting.timeout = 0

    with pytest.raises(AirflowSensorTimeout):
        waiting.execute({})
    sandbox.records["donations"].change(7, {"status": "settled"})
    waiting.execute({})


@pytest.mark.parametrize(("value", "other"), [(1, True), (True, 1), (0, False), (False, 0)])
def test_numbers_are_not_truth_values(sandbox: Sandbox, value: Any, other: Any) -> None:
    sandbox.records["donations"].change(7, {"status": value})
    one = {"endpoint": "api/donations/7", "field": "status", "timeout": 0}

    sensor(**one, equals=value).execute({})
    with pytest.raises(AirflowSensorTimeout):
        sensor(**one, equals=other).execute({})


def test_it_waits_for_a_function_of_the_answer(sandbox: Sandbox) -> None:
    answers: list[int] = []

    def third(response: Any) -> bool:
        answers.append(response.status_code)
        return len(answers) == 3

    sensor(response_check=third).execute({})

    assert answers == [200, 200, 200]


def test_a_function_may_be_given_by_its_import_path(sandbox: Sandbox) -> None:
    sensor(response_check=f"{__name__}.has_records").execute({})

    assert looks(sandbox) == 1


def has_records(response: Any) -> bool:
    return bool(response.json()["data"])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"min_records": 1, "response_check": has_records},
        {"min_records": 0},
        {"field": "status"},
        {"equals": "paid"},
        {"field": 'a"b', "equals": 1},
        {"field": "", "equals": 1},
        {"response_check": "no.such.function"},
        {"response_check": has_records, "deferrable": True},
    ],
)
def test_a_condition_that_is_none_fails_before_anything_is_sent(sandbox: Sandbox, arguments: dict[str, Any]) -> None:
    with pytest.raises(GofundoConfigError):
        sensor(**arguments).execute({})

    assert looks(sandbox) == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_outage_is_waited_out(sandbox: Sandbox, deferrable: bool) -> None:
    sandbox.faults.add("status", LIST, status=503, times=1)
    sandbox.faults.add("drop", LIST, times=1)
    waiting = sensor(min_records=1, deferrable=deferrable)

    if deferrable:
        deferred(waiting)
        assert looks(sandbox) == 1
    else:
        assert waiting.execute({}) == 40
        assert looks(sandbox) == 3


def test_a_wrong_secret_fails_at_once_also_softly(sandbox: Sandbox, connect: Connect) -> None:
    connect(sandbox.url, password="wrong")

    with pytest.raises(GofundoAuthError):
        sensor(min_records=1, soft_fail=True).execute({})


@pytest.mark.parametrize("deferrable", [False, True])
def test_one_that_never_fails_is_skipped(sandbox: Sandbox, connect: Connect, deferrable: bool) -> None:
    connect(sandbox.url, password="wrong")

    with pytest.raises(AirflowSkipException):
        sensor(min_records=1, never_fail=True, deferrable=deferrable).execute({})


def test_it_times_out_as_all_sensors_do() -> None:
    with pytest.raises(AirflowSensorTimeout):
        sensor(min_records=41, timeout=0).execute({})
    with pytest.raises(AirflowSkipException):
        sensor(min_records=41, timeout=0, soft_fail=True).execute({})


def test_rescheduled_it_gives_its_slot_back(sandbox: Sandbox) -> None:
    class Instance:
        def get_first_reschedule_date(self, _context: Any) -> None:
            return None

    with pytest.raises(Exception) as caught:  # noqa: PT011  # which class depends on Airflow's version
        sensor(min_records=41, mode="reschedule", poke_interval=60).execute({"ti": Instance()})  # type: ignore[typeddict-item]

    assert type(caught.value).__name__ == "AirflowRescheduleException"
    assert looks(sandbox) == 1


def test_what_is_there_already_is_not_deferred(sandbox: Sandbox) -> None:
    assert sensor(min_records=40, deferrable=True).execute({}) == 40


def test_deferred_it_leaves_a_trigger_without_a_secret(sandbox: Sandbox) -> None:
    left = deferred(sensor(min_records=41, deferrable=True, timeout=600, query_params={"status": "paid"}))

    _, kept = left.trigger.serialize()
    assert kept["condition"] == {
        "endpoint": "api/donations", "query_params": {"status": "paid"}, "min_records": 41,
    }  # fmt: skip
    assert set(kept) == {"gofundo_conn_id", "condition", "poke_interval", "began", "deadline"}
    assert left.timeout is not None
    assert left.timeout.total_seconds() == 600


def test_a_function_is_not_deferred_because_that_is_the_default(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")

    assert sensor(response_check=has_records).deferrable is False
    assert sensor(min_records=1).deferrable is True


def test_resumed_it_ends_as_the_trigger_found_it() -> None:
    waiting = sensor(min_records=1, deferrable=True)

    assert waiting.resume({}, {"status": "found", "records": 3}) == 3
    with pytest.raises(AirflowSensorTimeout):
        waiting.resume({}, {"status": "timeout"})
    with pytest.raises(GofundoConfigError, match="correct it"):
        waiting.resume({}, {"status": "failed", "error": "GofundoConfigError", "text": "correct it"})


def test_a_deferred_timeout_is_a_skip_where_it_fails_softly() -> None:
    waiting = sensor(min_records=1, deferrable=True, soft_fail=True)

    with pytest.raises(AirflowSkipException):
        waiting.resume_execution("resume", {"event": {"status": "timeout"}}, {})
