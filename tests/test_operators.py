"""The operators, as a DAG runs them."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import re
import signal
import socket
import threading
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger

from airflow_provider_gofundo.dataset import progress
from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoRateLimitError,
    GofundoResponseError,
    GofundoStopped,
)
from airflow_provider_gofundo.operators.gofundo import GofundoOperator
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.state.stats import count_in_stats
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator
from tests.dag_runs import runner
from tests.fixtures import Connect, Waits, until
from tests.leaks import PSEUDONYM_KEY, SECRETS, leaks
from tests.replay import Replay, recorded

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


def write(method: str, **arguments: Any) -> GofundoOperator:
    endpoint = "api/donations" if method.upper() == "POST" else "api/donations/1"
    return GofundoOperator(task_id="write", endpoint=endpoint, method=method, json=DONATION, **arguments)


def sent_to(sandbox: Sandbox) -> list[str]:
    """The methods of the calls that came, logins aside."""
    return [request.method for request in sandbox.requests if request.path.startswith("/api/")]


@pytest.mark.parametrize("method", ["POST", "PATCH", "post"])
@pytest.mark.parametrize(
    ("fault", "options", "cause"),
    [
        ("lost_answer", {}, GofundoConnectionError),
        ("truncate", {}, GofundoConnectionError),
        ("status", {"status": 500}, GofundoApiError),
        ("status", {"status": 503, "retry_after": 1}, GofundoApiError),
        ("html", {}, GofundoResponseError),
        ("broken_json", {}, GofundoResponseError),
    ],
)
def test_a_write_that_may_have_been_done_is_sent_once_and_fails_without_retries(
    connected: Sandbox, waits: Waits, method: str, fault: str, options: dict[str, Any], cause: type[Exception]
) -> None:
    connected.faults.add(fault, method=method.upper(), times=None, **options)

    with pytest.raises(AirflowFailException, match="look in Gofundo before you clear") as caught:
        write(method).execute({})

    assert isinstance(caught.value.__cause__, cause)
    assert leaks([str(caught.value)], SECRETS) == []
    assert sent_to(connected) == [method.upper()]
    assert waits == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(("fault", "options"), [("lost_answer", {}), ("status", {"status": 500})])
def test_a_write_that_may_be_done_twice_is_sent_again(
    connected: Sandbox, waits: Waits, method: str, fault: str, options: dict[str, Any]
) -> None:
    connected.faults.add(fault, method=method, **options)
    with suppress(GofundoApiError):  # the first DELETE was done, so there is nothing left to delete
        write(method).execute({})

    assert sent_to(connected) == [method, method]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_write_that_was_surely_not_done_is_sent_again(connected: Sandbox, waits: Waits, method: str) -> None:
    connected.faults.add("status", method=method, status=429, retry_after=3)

    assert write(method).execute({})["status"] in (200, 201)

    assert sent_to(connected) == [method, method]
    assert waits == [3]


@pytest.mark.parametrize(
    ("arguments", "fault", "error"),
    [
        ({}, {"status": 404}, GofundoApiError),
        ({}, {"status": 422}, GofundoApiError),
        ({}, {"status": 429}, GofundoRateLimitError),
        ({"headers": {"Authorization": "Basic x"}}, None, GofundoConfigError),
    ],
)
def test_a_write_that_was_surely_not_done_leaves_the_task_its_retries(
    connected: Sandbox, arguments: dict[str, Any], fault: dict[str, Any] | None, error: type[Exception]
) -> None:
    if fault:
        connected.faults.add("status", method="POST", times=None, **fault)

    with pytest.raises(error):
        write("POST", **arguments).execute({})


def test_a_server_that_cannot_be_reached_leaves_a_write_its_retries(connect: Connect) -> None:
    with Sandbox() as gone:
        connect(gone.url)

    with pytest.raises(GofundoConnectionError):
        write("POST").execute({})


def test_a_filter_that_fails_after_a_write_does_not_let_the_task_write_again(connected: Sandbox) -> None:
    operator = write("POST", response_filter=lambda response: response.json()["no_such"])

    with pytest.raises(AirflowFailException, match=r"POST api/donations is done, .* \(KeyError\)"):
        operator.execute({})


def test_a_filter_that_fails_after_a_read_leaves_the_task_its_retries(connected: Sandbox) -> None:
    operator = GofundoOperator(
        task_id="one", endpoint="api/donations", response_filter=lambda response: response.json()["no_such"]
    )

    with pytest.raises(KeyError):
        operator.execute({})


@pytest.mark.parametrize(("method", "sent"), [("POST", 1), ("PUT", 3)])
def test_of_its_retries_a_task_uses_only_those_that_do_nothing_twice(
    connected: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, sent: int
) -> None:
    connected.faults.add("status", method=method, status=500, times=None)
    monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", one_try(os.environ["AIRFLOW_CONN_GOFUNDO_DEFAULT"]))

    run = runner(tmp_path, monkeypatch)(
        f"retries_of_{method}",
        f"""
        from datetime import timedelta

        GofundoOperator(
            task_id="write", endpoint="api/donations/1", method="{method}", json={{"amount": "1.00"}},
            retries=2, retry_delay=timedelta(0),
        )
        """,
    )

    assert run.state == "failed"
    assert sent_to(connected) == [method] * sent


def one_try(connection: str) -> str:
    """The connection, with one attempt for each request."""
    values = json.loads(connection)
    return json.dumps({**values, "extra": {**values["extra"], "max_attempts": 1}})


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
        exclude_fields=["donor_{{ hidden }}"],
        pseudonymize_fields=["donor_{{ replaced }}"],
        gofundo_conn_id="gofundo_{{ where }}",
    )

    operator.render_template_fields(
        {
            "name": "donations",
            "ds": "2026-01-01",
            "status": "paid",
            "where": "default",
            "hidden": "name",
            "replaced": "email",
        }  # type: ignore[typeddict-unknown-key]  # names of this test
    )
    assert (operator.exclude_fields, operator.pseudonymize_fields) == (["donor_name"], ["donor_email"])
    operator.pseudonymize_fields = []
    summary = operator.execute({})

    assert summary["records"] == 13
    assert (tmp_path / "2026-01-01" / "_manifest.json").is_file()


def test_the_dags_params_do_not_filter_the_list(connected: Sandbox, tmp_path: Path) -> None:
    assert transfer(tmp_path, params={"status": "paid"}).execute({})["records"] == 40


def test_a_pull_tells_the_log_how_far_it_is(
    connected: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    caplog.set_level(logging.INFO, "airflow_provider_gofundo")

    transfer(tmp_path, query_params={"per_page": 15}).execute({})

    lines = [
        record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_gofundo.dataset")
    ]
    first, second, third = lines[:3]
    assert first == "api/donations: page 1 of 3, 15 of 40 records"
    assert re.fullmatch(r"api/donations: page 2 of 3, 30 of 40 records, [\d,]+ a second, about \d+ s to go", second)
    assert re.fullmatch(r"api/donations: page 3 of 3, 40 of 40 records, [\d,]+ a second", third)
    assert lines[3].startswith("api/donations: complete. 40 records, 3 pages, 3 requests, 0 retries, ")
    assert leaks(lines, SECRETS) == []


def test_a_pull_is_counted_in_airflows_stats(connected: Sandbox, tmp_path: Path) -> None:
    from airflow.sdk.observability import stats

    counted: dict[str, int] = {}
    tagged: set[tuple[tuple[str, str], ...]] = set()

    class Backend(NoStatsLogger):
        @classmethod
        def incr(cls, stat: str, count: int = 1, rate: int = 1, *, tags: dict[str, str] | None = None) -> None:
            counted[stat] = counted.get(stat, 0) + count
            tagged.add(tuple(sorted((tags or {}).items())))

    connected.faults.add("status", status=429, retry_after=7)
    stats.initialize(factory=Backend, export_legacy_names=False)
    try:
        transfer(tmp_path, query_params={"per_page": 15}, parallel=1).execute({})
    finally:
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)

    assert counted == {
        "gofundo.records": 40, "gofundo.requests": 4, "gofundo.retries": 1, "gofundo.waited_seconds": 7,
    }  # fmt: skip
    assert tagged == {(("conn_id", "gofundo_default"), ("endpoint", "api/donations"))}


def test_stats_that_fail_do_not_fail_the_pull(connected: Sandbox, tmp_path: Path) -> None:
    from airflow.sdk.observability import stats

    def broken() -> Any:
        raise OSError("no such host")

    stats.initialize(factory=broken, export_legacy_names=False)
    try:
        assert transfer(tmp_path).execute({})["records"] == 40
    finally:
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def test_counters_are_whole_numbers_and_lose_nothing_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.common.compat.sdk import Stats

    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(Stats, "incr", lambda name, count, **_: counted.append((name, count)))
    count = count_in_stats({"endpoint": "api/donations"})

    for _ in range(4):
        count({"records": 0, "waited": 0.75})

    assert counted == [("gofundo.waited_seconds", 1)] * 3


def test_a_pull_looks_as_it_was_told_to(connected: Sandbox, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    summary = transfer(
        tmp_path,
        file_format="parquet",
        compression="zstd",
        schema={"amount": "decimal128(12, 2)"},
        exclude_fields=["donor_name"],
        parallel=2,
    ).execute({})

    manifest = json.loads(Path(urlsplit(summary["manifest"]).path).read_text())
    table = pq.read_table(tmp_path / manifest["parts"][0]["name"])
    assert (table.num_rows, str(table.schema.field("amount").type)) == (40, "decimal128(12, 2)")
    assert "donor_name" not in table.column_names
    assert (manifest["compression"], manifest["excluded"]) == ("zstd", ["donor_name"])


def test_personal_fields_become_pseudonyms_under_the_connections_key(
    sandbox: Sandbox, connect: Connect, tmp_path: Path
) -> None:
    connect(sandbox.url, extra={"pseudonym_key_secret": PSEUDONYM_KEY})

    transfer(
        tmp_path, compression="none", pseudonymize_fields=["donor_email", "no_such"], unknown_fields="ignore"
    ).execute({})

    (part,) = tmp_path.glob("*.ndjson")
    emails = [json.loads(line)["donor_email"] for line in part.read_text().splitlines()]
    assert {len(email) for email in emails if email is not None} == {64}


@pytest.mark.parametrize(
    "wrong",
    [
        {"parallel": 0},
        {"on_drift": "ignore"},
        {"incremental": {"param": "updated_since", "field": "updated_at"}},
        {"exclude_fields": ["id"]},
        {"file_format": "csv"},
        {"unknown_fields": "warn"},
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_sent(
    connected: Sandbox, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(GofundoConfigError):
        transfer(tmp_path, **wrong).execute({})

    assert not connected.requests
    assert list(tmp_path.iterdir()) == []


def test_a_retry_is_told_to_the_log_with_its_reason(
    connected: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connected.faults.add("status", status=429, retry_after=7)

    transfer(tmp_path).execute({})

    assert (
        "GET api/donations answered 429. Too many requests. It asks to wait 7 s. Next try in 7 s (2 of 5)."
        in caplog.messages
    )


@pytest.mark.parametrize(("on_drift", "complete"), [("repull", True), ("warn", False)])
def test_a_list_that_shrinks_during_the_pull_is_pulled_again_or_warned_of(
    connected: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, on_drift: str, complete: bool
) -> None:
    def shrink(*_: object) -> None:
        if connected.requests[-1].query.get("page") == "2":
            connected.records_delete("donations", [1])

    connected.before_each(shrink)

    summary = transfer(tmp_path, query_params={"per_page": 15}, parallel=1, on_drift=on_drift).execute({})

    warned = [message for message in caplog.messages if "Some records may be missing" in message]
    assert (summary["complete"], not warned) == (complete, complete)
    assert summary["records"] == (40 if complete else 39)


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


def test_a_dag_with_a_pull_of_every_kind_goes_to_airflows_database_and_back() -> None:
    from airflow.sdk import DAG, Asset
    from airflow.serialization.serialized_objects import DagSerialization

    arguments: dict[str, Any] = {
        "path": "s3://lake/{{ ts_nodash }}",
        "incremental": Incremental(
            param="since", field="updated_at", initial=datetime(2026, 1, 1, tzinfo=timezone.utc)
        ),
        "schema": {"amount": "decimal128(12, 2)"},
        "exclude_fields": ("donor_name",),
        "outlets": [Asset("lake")],
    }
    with DAG("pulls", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        GofundoToObjectStorageOperator(task_id="one", endpoint="api/donations", **arguments)
        GofundoToObjectStorageOperator.partial(task_id="many", **arguments).expand(endpoint=["api/a", "api/b"])

    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))

    assert set(DagSerialization.from_dict(stored).task_dict) == {"one", "many"}


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_kill_ends_what_is_under_way(connected: Sandbox, tmp_path: Path, parallel: int) -> None:
    asked = threading.Event()
    connected.before_each(lambda *_: asked.set())
    connected.faults.add("slow", query="page=2", seconds=30)
    operator = transfer(tmp_path, query_params={"per_page": 15}, parallel=parallel)

    def kill() -> None:
        asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())  # as Airflow does
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(GofundoStopped):
            operator.execute({})
    finally:
        killer.join()
        signal.signal(signal.SIGTERM, before)

    assert not list(tmp_path.iterdir())
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("gofundo_")] == []


def test_a_write_that_is_killed_may_have_been_done(connected: Sandbox) -> None:
    connected.faults.add("slow", "/api/", method="POST", seconds=30)
    operator = write("POST")

    def kill() -> None:
        until(lambda: connected.counters.grants)  # logged in, so the write is next
        operator.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(AirflowFailException, match="look in Gofundo") as caught:
            operator.execute({})
    finally:
        killer.join()

    assert isinstance(caught.value.__cause__, GofundoStopped)


def test_a_kill_does_no_harm_where_nothing_is_under_way(connected: Sandbox, tmp_path: Path) -> None:
    operator = transfer(tmp_path)

    operator.on_kill()
    assert operator.execute({})["records"] == 40
    operator.on_kill()
    assert operator.execute({})["records"] == 40


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
