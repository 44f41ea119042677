"""What Airflow keeps for a pull, in Airflow: checkpoints from try to try, watermarks from run to run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import lake, trust

DAGS = """
import os
from datetime import datetime, timedelta
from airflow.sdk import DAG, Asset
from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

LAKE = os.environ["GOFUNDO_LAKE"]
whole = dict(
    query_params={"per_page": 5, "sort": "id"}, records_per_part=10, parallel=1, retry_delay=timedelta(0),
)
changes = dict(
    endpoint="api/donations", path=LAKE + "/{{ ts_nodash }}",
    incremental=Incremental(param="updated_since", field="updated_at", lookback=timedelta(minutes=5)),
)

def dag(name):
    return DAG(name, schedule=None, start_date=datetime(2026, 1, 1))

with dag("whole"):
    GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path=LAKE + "/whole", **whole)

with dag("again"):
    GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path=LAKE + "/again", retries=1, **whole)

with dag("mapped"):
    GofundoToObjectStorageOperator.partial(task_id="pull", retries=1, **whole).expand_kwargs(
        [{"endpoint": f"api/{name}", "path": f"{LAKE}/{name}"} for name in ("donations", "donors")]
    )

with dag("with_asset"):
    GofundoToObjectStorageOperator(task_id="pull", outlets=[Asset("lake")], **changes)

with dag("with_variable"):
    GofundoToObjectStorageOperator(task_id="pull", **changes)

with dag("stateless"):
    GofundoToObjectStorageOperator(
        task_id="pull", endpoint="api/donations", path=LAKE + "/{{ ts_nodash }}",
        query_params={"updated_since": "{{ data_interval_start.subtract(hours=1) | ts }}"},
    )

with dag("mapped_changes"):
    GofundoToObjectStorageOperator.partial(
        task_id="pull", path=LAKE + "/{{ ts_nodash }}/{{ ti.map_index }}", incremental=changes["incremental"],
        outlets=[Asset("mapped")],
    ).expand(endpoint=["api/donations", "api/donors"])
"""
LAST = datetime(2024, 1, 1, tzinfo=timezone.utc) + 40 * timedelta(seconds=3_607)
Run = Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """
    Run a DAG of this file, its run of a day of January 2026; gives its state.

    A day that has been run is run anew; with `clear` that is its old run, whose task was cleared.
    """
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "pulls.py").write_text(DAGS)
    bundle = {
        "name": "pulls",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    connection = {
        "conn_type": "gofundo", "host": sandbox.url, "login": "1", "password": "secret-machine-1",
        "extra": {"share_login": False},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("GOFUNDO_LAKE", (tmp_path / "lake").as_uri())

    def run(dag: str, day: int = 1, *, clear: bool = False) -> str:
        from airflow.dag_processing.dagbag import DagBag

        sandbox.counters.clear()
        bag = DagBag(str(folder / "pulls.py"))
        assert not bag.import_errors
        if clear:
            return clear_and_run(bag.dags[dag].task_dict["pull"])
        return str(bag.dags[dag].test(logical_date=datetime(2026, 1, day, tzinfo=timezone.utc)).state)

    return run


def clear_and_run(task: Any) -> str:
    """Clear a task as the page of Airflow does, and run it again, as its scheduler does."""
    from airflow.models.taskinstance import TaskInstance, clear_task_instances
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session

    with create_session() as session:
        clear_task_instances(session.query(TaskInstance).filter_by(dag_id=task.dag_id).all(), session)
    with create_session() as session:
        instance = session.query(TaskInstance).filter_by(dag_id=task.dag_id).one()
        assert instance.state is None
        instance.try_number += 1
        session.commit()
        ran = _run_task(ti=instance, task=task)
        assert ran
        return ran.ti.state.value if ran.ti.state else ""


def pages(sandbox: Sandbox) -> list[int]:
    """The pages that were asked for, in order."""
    return [int(request.query.get("page", 1)) for request in sandbox.requests if request.method == "GET"]


def ids(folder: Path) -> list[int]:
    found = trust(lake(folder))
    assert found
    return found.ids


def task_state(dag: str) -> list[Any]:
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session

    with create_session() as session:
        return [row.value for row in session.query(TaskStateStoreModel).filter_by(dag_id=dag)]


# --- checkpoints --------------------------------------------------------------------------------------------------


def test_a_retry_goes_on_after_the_last_finished_part(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add("status", query="page=8", status=403)

    assert run("again") == "success"

    assert pages(sandbox) == [1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8]
    assert ids(tmp_path / "lake" / "again") == list(range(1, 41))


def test_a_checkpoint_waits_for_a_clear_and_is_gone_after_success(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add("status", query="page=4", status=403)

    assert run("whole") == "failed"
    assert len(task_state("whole")) == 1
    assert run("whole", clear=True) == "success"
    assert pages(sandbox) == [2, 3, 4, 5, 6, 7, 8]
    assert task_state("whole") == []

    sandbox.records_delete("donations", [1])
    assert run("whole", clear=True) == "success"  # somebody wants it all again
    assert pages(sandbox) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ids(tmp_path / "lake" / "whole") == list(range(2, 41))


def test_mapped_tasks_have_a_checkpoint_each(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add("status", path="/api/donations", query="page=6", status=403)
    sandbox.faults.add("status", path="/api/donors", query="page=20", status=403)

    assert run("mapped") == "success"

    assert ids(tmp_path / "lake" / "donations") == list(range(1, 41))
    assert ids(tmp_path / "lake" / "donors") == list(range(1, 251))
    assert sandbox.counters.requests["GET /api/donations"] == 8 + 3
    assert sandbox.counters.requests["GET /api/donors"] == 50 + 3


# --- watermarks ---------------------------------------------------------------------------------------------------


def watermarks_with(asset: str) -> dict[str, str]:
    from airflow.models.asset import AssetModel
    from airflow.models.asset_state_store import AssetStateStoreModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(AssetStateStoreModel).join(AssetModel).filter(AssetModel.name == asset)
        return {row.key: json.loads(row.value) for row in rows}


def watermarks_in_variables(dag: str) -> dict[str, str]:
    from airflow.models import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(Variable).filter(Variable.key.startswith(f"gofundo_watermark__{dag}."))
        return {row.key: str(row.val) for row in rows}


@pytest.mark.parametrize(
    ("dag", "place"),
    [
        ("with_asset", lambda: watermarks_with("lake")),
        ("with_variable", lambda: watermarks_in_variables("with_variable")),
    ],
)
def test_each_run_pulls_what_has_changed_since_the_one_before(
    run: Run, sandbox: Sandbox, tmp_path: Path, dag: str, place: Callable[[], dict[str, str]]
) -> None:
    assert run(dag, 1) == "success"
    sandbox.records_touch("donations", [7], at=LAST.timestamp() + 60)
    assert run(dag, 2) == "success"
    assert run(dag, 1) == "success"  # as it was: without a watermark to begin with

    folder = tmp_path / "lake"
    assert ids(folder / "20260101T000000") == list(range(1, 41))
    assert ids(folder / "20260102T000000") == [7, 40]
    later = (LAST + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    assert sorted(place().values()) == ["", later]  # nobody's turn, and the watermark
    assert watermarks_in_variables("with_asset") == {}


def test_mapped_tasks_with_one_asset_have_a_watermark_each(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    assert run("mapped_changes", 1) == "success"
    assert run("mapped_changes", 2) == "success"

    marks = {key for key in watermarks_with("mapped") if not key.endswith("__turn")}
    assert len(marks) == 2
    assert ids(tmp_path / "lake" / "20260102T000000" / "0") == [40]
    assert ids(tmp_path / "lake" / "20260102T000000" / "1") == [250]


def test_the_stateless_way_asks_by_the_data_interval(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.records_touch("donations", [7], at=datetime(2026, 1, 1, 23, 30, tzinfo=timezone.utc).timestamp())

    assert run("stateless", 2) == "success"

    assert sandbox.requests[-1].query["updated_since"] == "2026-01-01T23:00:00+00:00"
    assert ids(tmp_path / "lake" / "20260102T000000") == [7]
