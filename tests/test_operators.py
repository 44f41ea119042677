"""The operators, as a DAG runs them."""

from __future__ import annotations

import gc
import json
import logging
import pickle
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_gofundo.dataset import pull as engine
from airflow_provider_gofundo.exceptions import GofundoApiError, GofundoConnectionError
from airflow_provider_gofundo.operators.gofundo import GofundoOperator
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator
from tests.fixtures import Connect, Waits
from tests.leaks import SECRETS, leaks
from tests.replay import Answer, Replay, recorded

DONATION = {"project_id": 1, "amount": "12.50", "donor_name": "Zoë Voorbeeld"}


@pytest.fixture
def connected(sandbox: Sandbox, connect: Connect) -> Sandbox:
    connect(sandbox.url)
    return sandbox


# --- GofundoOperator ----------------------------------------------------------------------------------------------


def test_by_default_the_xcom_holds_status_and_size_and_nothing_of_the_body(connected: Sandbox) -> None:
    xcom = GofundoOperator(task_id="one", endpoint="api/donations/1").execute({})

    assert set(xcom) == {"status", "bytes"}
    assert xcom["status"] == 200
    assert xcom["bytes"] > 100


def test_the_xcom_of_a_write_holds_nothing_of_it_either(connected: Sandbox) -> None:
    xcom = GofundoOperator(task_id="one", endpoint="api/donations", method="POST", json=DONATION).execute({})

    assert xcom["status"] == 201
    assert leaks([json.dumps(xcom)], SECRETS) == []


def test_a_response_filter_chooses_what_goes_to_the_xcom(connected: Sandbox) -> None:
    operator = GofundoOperator(
        task_id="one",
        endpoint="api/donations",
        query_params={"per_page": 2},
        response_filter=lambda response: [record["id"] for record in response.json()["data"]],
    )

    assert operator.execute({}) == [1, 2]


@pytest.mark.parametrize("chosen", [None, [], 0, ""])
def test_a_response_filter_may_choose_nothing(connected: Sandbox, chosen: object) -> None:
    operator = GofundoOperator(task_id="one", endpoint="api/donations/1", response_filter=lambda _: chosen)

    assert operator.execute({}) == chosen


def test_the_arguments_of_a_call_are_templates(connected: Sandbox) -> None:
    operator = GofundoOperator(
        task_id="one",
        endpoint="api/{{ name }}",
        method="{{ verb }}",
        query_params={"per_page": "{{ size }}"},
        json={"project_id": 1, "amount": "{{ amount }}"},
        headers={"X-Trace": "{{ run_id }}"},
        gofundo_conn_id="gofundo_{{ where }}",
    )

    operator.render_template_fields(
        {"name": "donations", "verb": "POST", "size": 2, "amount": "3.50", "run_id": "r1", "where": "default"}  # type: ignore[typeddict-unknown-key]  # names of this test
    )
    operator.execute({})

    asked = connected.requests[-1]
    assert (asked.method, asked.path, asked.query) == ("POST", "/api/donations", {"per_page": "2"})
    assert json.loads(asked.body) == {"project_id": 1, "amount": "3.50"}
    assert asked.headers["x-trace"] == "r1"


def test_a_post_whose_answer_is_lost_is_not_sent_again(connected: Sandbox, waits: Waits) -> None:
    connected.faults.add("lost_answer", method="POST")
    operator = GofundoOperator(task_id="one", endpoint="api/donations", method="POST", json=DONATION)

    with pytest.raises(GofundoConnectionError) as caught:
        operator.execute({})

    assert caught.value.answer_lost
    assert connected.counters.requests["POST /api/donations"] == 1
    assert waits == []


def test_a_post_that_fails_on_the_server_is_not_sent_again(connected: Sandbox, waits: Waits) -> None:
    connected.faults.add("status", method="POST", status=500)
    operator = GofundoOperator(task_id="one", endpoint="api/donations", method="POST", json=DONATION)

    with pytest.raises(GofundoApiError):
        operator.execute({})

    assert connected.counters.requests["POST /api/donations"] == 1
    assert waits == []


def test_a_call_is_logged_without_its_parameters_and_answer(connected: Sandbox, kept_lines: list[str]) -> None:
    before = len(kept_lines)

    GofundoOperator(task_id="one", endpoint="api/donors", query_params={"email": "donor1@example.org"}).execute({})

    lines = kept_lines[before:]
    assert [line for line in lines if "GET api/donors answered 200" in line]
    assert leaks(lines, SECRETS) == []


# --- GofundoToObjectStorageOperator -------------------------------------------------------------------------------


def transfer(path: Path, **arguments: Any) -> GofundoToObjectStorageOperator:
    arguments = {"endpoint": "api/donations", "path": path.as_uri(), **arguments}
    return GofundoToObjectStorageOperator(task_id="pull", **arguments)


def test_the_xcom_of_a_pull_is_a_summary_without_records_and_parameters(connected: Sandbox, tmp_path: Path) -> None:
    summary = transfer(tmp_path, query_params={"per_page": 15, "status": "paid"}, records_per_part=10).execute({})

    text = json.dumps(summary)
    assert {"path", "records", "pages", "parts", "bytes", "requests", "retries", "seconds"} <= set(summary)
    assert (summary["records"], summary["pages"], summary["parts"]) == (13, 1, 2)
    assert (summary["requests"], summary["retries"]) == (1, 0)
    assert summary["bytes"] == sum(file.stat().st_size for file in tmp_path.glob("*.ndjson.gz"))
    assert "paid" not in text
    assert leaks([text], SECRETS) == []
    assert not any(isinstance(value, (list, dict)) for value in summary.values())


def test_the_arguments_of_a_pull_are_templates(connected: Sandbox, tmp_path: Path) -> None:
    operator = GofundoToObjectStorageOperator(
        task_id="pull",
        endpoint="api/{{ name }}",
        path=tmp_path.as_uri() + "/{{ ds }}",
        query_params={"status": "{{ status }}"},
        gofundo_conn_id="gofundo_{{ where }}",
    )

    operator.render_template_fields(
        {"name": "donations", "ds": "2026-01-01", "status": "paid", "where": "default"}  # type: ignore[typeddict-unknown-key]  # names of this test
    )
    summary = operator.execute({})

    assert summary["records"] == 13
    assert (tmp_path / "2026-01-01" / "_manifest.json").is_file()


def test_the_dags_params_do_not_filter_the_list(connected: Sandbox, tmp_path: Path) -> None:
    assert transfer(tmp_path, params={"status": "paid"}).execute({})["records"] == 40


def test_a_pull_tells_the_log_how_far_it_is(
    connected: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PROGRESS_EVERY", 0.0)
    caplog.set_level(logging.INFO, "airflow_provider_gofundo")

    transfer(tmp_path, query_params={"per_page": 15}).execute({})

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_gofundo")]
    assert lines[:3] == [
        "api/donations: page 1 of 3, 15 of 40 records",
        "api/donations: page 2 of 3, 30 of 40 records",
        "api/donations: page 3 of 3, 40 of 40 records",
    ]
    assert lines[3].startswith("api/donations: complete. 40 records, 3 pages, 3 requests, 0 retries, ")
    assert leaks(lines, SECRETS) == []


def test_a_retry_is_told_to_the_log_with_its_reason(
    connected: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connected.faults.add("status", status=429, retry_after=7)

    transfer(tmp_path).execute({})

    assert (
        "GET api/donations answered 429. Too many requests. It asks to wait 7 s. Next try in 7 s (2 of 5)."
        in caplog.messages
    )


def test_a_list_that_shrinks_during_the_pull_is_warned_of(
    replay: Replay, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def page(number: int, total: int, after: str | None) -> Answer:
        body = {"data": [{"id": number}], "current_page": number, "total": total, "next_page_url": after}
        return Answer(body=json.dumps(body).encode())

    connect(replay.url)
    replay.answer(page(1, 4, "?page=2"), page(2, 3, None))

    transfer(tmp_path).execute({})

    assert [message for message in caplog.messages if "the list changed while it was pulled" in message]


# --- both ---------------------------------------------------------------------------------------------------------


def operators() -> list[BaseOperator]:
    return [
        GofundoOperator(task_id="one", endpoint="api/donations"),
        GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path="file:///nowhere"),
    ]


@pytest.mark.parametrize("operator", operators(), ids=lambda operator: type(operator).__name__)
def test_every_template_field_is_an_argument_kept_as_it_is(operator: BaseOperator) -> None:
    assert "gofundo_conn_id" in operator.template_fields
    for name in operator.template_fields:
        assert hasattr(operator, name)
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)


def test_making_an_operator_needs_neither_connection_nor_storage() -> None:
    call = GofundoOperator(task_id="one", endpoint="api/donations", gofundo_conn_id="no_such")
    pull = GofundoToObjectStorageOperator(
        task_id="pull", endpoint="api/donations", path="s3://no_such@lake/x", gofundo_conn_id="no_such"
    )

    assert (call.gofundo_conn_id, pull.path) == ("no_such", "s3://no_such@lake/x")


def test_a_pull_survives_pickling(connected: Sandbox, tmp_path: Path) -> None:
    operator = transfer(tmp_path)

    copy = pickle.loads(pickle.dumps(operator))

    assert copy.execute({})["records"] == 40


def test_an_operator_leaves_no_connection_open(connected: Sandbox, tmp_path: Path) -> None:
    transfer(tmp_path).execute({})
    GofundoOperator(task_id="one", endpoint="api/donations").execute({})

    assert sockets_to(connected.port) == []


def test_an_endpoint_of_the_plain_shape_is_pulled_too(replay: Replay, connect: Connect, tmp_path: Path) -> None:
    connect(replay.url)
    replay.answer(recorded("e_all"))

    assert transfer(tmp_path).execute({})["records"] == len(recorded_list("e_all"))


def sockets_to(port: int) -> list[socket.socket]:
    """The open sockets of this process that lead to a port of this machine."""
    found = []
    for thing in gc.get_objects():
        if type(thing) is socket.socket and thing.family == socket.AF_INET:
            with suppress(OSError):  # closed, or listening
                if thing.getpeername()[1] == port:
                    found.append(thing)
    return found


def recorded_list(case: str) -> list[Any]:
    found: list[Any] = json.loads(recorded(case).body)
    return found
