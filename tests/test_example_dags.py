"""Every example DAG runs, in Airflow, against the sandbox."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.sandbox import Sandbox

EXAMPLES = Path(__file__).resolve().parents[1] / "example_dags"


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an example to its end; gives what its tasks returned, by task id."""
    connection = {"conn_type": "gofundo", "host": sandbox.url, "login": "1", "password": "secret-machine-1"}
    monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("GOFUNDO_LAKE", tmp_path.as_uri())

    def run(name: str) -> dict[str, Any]:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(EXAMPLES / f"{name}.py"))
        assert not bag.import_errors
        run = bag.dags[name].test()
        assert run.state == "success"
        return {task.task_id: task.xcom_pull(task_ids=task.task_id) for task in run.get_task_instances()}

    return run


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text()

    assert all(f'run("{example.stem}")' in here for example in EXAMPLES.glob("*.py"))


def test_the_daily_pull_leaves_a_complete_dataset(run: Any, tmp_path: Path) -> None:
    returned = run("gofundo_daily_pull")

    manifest = json.loads((tmp_path / "donations" / "_manifest.json").read_text())
    (part,) = manifest["parts"]
    records = gzip.decompress((tmp_path / "donations" / part["name"]).read_bytes()).splitlines()
    assert len(records) == manifest["records"] == returned["donations"]["records"] == 40


def test_the_incremental_pull_lands_only_what_has_changed_since_the_run_before(
    run: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    first = run("gofundo_incremental")["donations"]
    sandbox.records_touch("donations", [7], at=sandbox.records["donations"].updated(40) + 60)
    second = run("gofundo_incremental")["donations"]

    assert (first["records"], second["records"]) == (40, 2)  # the changed one, and the last one again
    folders = sorted((tmp_path / "donations_changes").iterdir())
    assert [json.loads((folder / "_manifest.json").read_text())["records"] for folder in folders] == [40, 2]


def test_the_login_is_kept_alive_by_a_new_pair_that_all_workers_find(
    run: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {
        "conn_type": "gofundo", "host": sandbox.url, "login": "3", "password": "secret-web-3",
        "extra": {"grant_type": "authorization_code", "redirect_uri": "http://127.0.0.1:8765/callback"},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_WEB", json.dumps(connection))
    hook = GofundoHook("gofundo_web")
    request = hook.authorization()
    hook.authorize(request, requests.get(request.url, allow_redirects=False, timeout=10).headers["Location"])
    before = hook.client.tokens.token()

    returned = run("gofundo_keep_login_alive")

    assert set(returned["refresh"]) == {"expires_at", "refresh_expires_at"}
    assert sandbox.counters.grants == {"authorization_code": 1, "refresh_token": 1}
    assert hook.request("GET", "api/user/me").json()["name"] == "Alice"  # the refresh has revoked its own token
    assert hook.client.tokens.token() != before
    assert sandbox.counters.grants["refresh_token"] == 1


def test_the_single_calls_return_what_their_filters_chose(run: Any) -> None:
    returned = run("gofundo_calls")

    # The sandbox's amounts are 79.19 times the id, and every third donation is paid.
    assert returned == {"how_many": 40, "sum_of_amounts": 21618.87}


def test_python_tasks_with_the_hook_return_summaries_only(run: Any, sandbox: Sandbox) -> None:
    returned = run("gofundo_taskflow")

    counts = returned["count_by_status"]
    assert (counts["paid"], sum(counts.values())) == (13, 40)
    assert returned["register"] == {"status": 201, "id": 41}
    assert sandbox.counters.requests["POST /api/donations"] == 1


def test_the_shards_become_one_dataset(run: Any, tmp_path: Path) -> None:
    returned = run("gofundo_shards")

    manifest = json.loads((tmp_path / "donations_in_shards" / "_manifest.json").read_text())
    assert (manifest["records"], manifest["shards"]) == (40, 1)
    assert returned["publish"]["records"] == 40
    assert returned["plan"] == [{"run": manifest["run"], "number": 1, "of": 1, "first_page": 1}]


def test_the_sensor_lets_the_next_task_go_when_there_is_enough(run: Any) -> None:
    returned = run("gofundo_wait")

    assert returned["enough"] == 40


def test_the_watched_asset_says_what_is_new(run: Any) -> None:
    run("gofundo_watch")
