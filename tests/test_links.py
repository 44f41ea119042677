"""Links from a task, and what else Airflow's pages show of one: its rendered templates."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_gofundo.get_provider_info import get_provider_info
from airflow_provider_gofundo.operators.gofundo import GofundoOperator, GofundoRefreshTokenOperator
from airflow_provider_gofundo.operators.links import GofundoConnectionLink, GofundoManifestLink
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.transfers.gofundo_shards import GofundoPlanShardsOperator, GofundoPublishShardsOperator
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator
from tests.dag_runs import RunDag, runner
from tests.fixtures import Connect
from tests.leaks import PSEUDONYM_KEY, SECRETS, leaks

MANIFEST, CONNECTION = GofundoManifestLink.name, GofundoConnectionLink.name
PULL = 'GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path=LAKE)\n'


@pytest.fixture
def run_dag(sandbox: Sandbox, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDag:
    connect(sandbox.url, extra={"pseudonym_key_secret": PSEUDONYM_KEY})
    return runner(tmp_path, monkeypatch)


def links_of(run: Any, *, map_index: int = -1) -> dict[str, str | None]:
    """The links of a run's only task, as Airflow's page gets them."""
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get_dag(run.dag_id)
    assert dag
    (instance,) = [found for found in run.get_task_instances() if found.map_index == map_index]
    task = dag.get_task(instance.task_id)
    return {name: task.get_extra_links(instance, name) for name in task.extra_links}


def test_a_pull_leads_to_where_its_manifest_is_named_and_to_its_connection(run_dag: RunDag) -> None:
    run = run_dag("leads", PULL)

    page = f"/dags/leads/runs/{run.run_id.replace(':', '%3A').replace('+', '%2B')}/tasks/pull/xcom"
    assert links_of(run) == {MANIFEST: page, CONNECTION: "/gofundo/connections/gofundo_default"}


def test_links_begin_with_airflows_address_where_that_is_configured(
    run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/team/")

    links = links_of(run_dag("leads_outside", PULL))

    assert links[CONNECTION] == "https://airflow.example.org/team/gofundo/connections/gofundo_default"
    assert str(links[MANIFEST]).startswith("https://airflow.example.org/team/dags/leads_outside/runs/")


def test_a_mapped_pull_leads_to_its_own_page(run_dag: RunDag) -> None:
    run = run_dag(
        "leads_mapped",
        """
        GofundoToObjectStorageOperator.partial(task_id="pull", endpoint="api/donations").expand(
            path=[LAKE + "/a", LAKE + "/b"]
        )
        """,
    )

    assert str(links_of(run, map_index=1)[MANIFEST]).endswith("/tasks/pull/mapped/1/xcom")


def test_a_pull_that_failed_leads_to_its_connection_only(run_dag: RunDag, sandbox: Sandbox) -> None:
    sandbox.faults.add("status", status=404, times=None)

    links = links_of(run_dag("leads_to_the_cause", PULL))

    assert links == {MANIFEST: "", CONNECTION: "/gofundo/connections/gofundo_default"}


def test_the_connection_is_the_one_that_the_template_named(run_dag: RunDag) -> None:
    run = run_dag(
        "leads_rendered",
        'GofundoOperator(task_id="one", endpoint="api/donations/1", gofundo_conn_id="gofundo_{{ params.which }}",'
        ' params={"which": "default"})',
    )

    assert links_of(run) == {CONNECTION: "/gofundo/connections/gofundo_default"}


def test_a_connection_id_is_no_path() -> None:
    operator = GofundoOperator(task_id="one", endpoint="api/donations", gofundo_conn_id="a/../b?c")

    assert GofundoConnectionLink().get_link(operator, ti_key=None) == "/gofundo/connections/a%2F..%2Fb%3Fc"


def test_every_link_is_declared_and_every_operator_leads_to_its_connection() -> None:
    declared = {name.rpartition(".")[2] for name in get_provider_info()["extra-links"]}
    operators = (
        GofundoOperator, GofundoRefreshTokenOperator, GofundoPlanShardsOperator, GofundoPublishShardsOperator,
        GofundoToObjectStorageOperator,
    )  # fmt: skip

    used = [{type(link).__name__ for link in operator.operator_extra_links} for operator in operators]

    assert set.union(*used) == declared
    assert all("GofundoConnectionLink" in links for links in used)


def test_links_survive_airflows_database() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("links", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path="s3://lake")

    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))

    assert set(DagSerialization.from_dict(stored).task_dict["pull"].extra_links) == {MANIFEST, CONNECTION}


# --- rendered templates --------------------------------------------------------------------------------------------


def test_no_secret_of_the_connection_is_shown_in_rendered_templates(run_dag: RunDag, sandbox: Sandbox) -> None:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    run = run_dag(
        "renders",
        """
        GofundoOperator(
            task_id="one",
            method="POST",
            endpoint="api/donations",
            query_params={"code": "{{ conn.gofundo_default.password }}"},
            json={
                "project_id": 1, "amount": "1.00",
                "donor_name": "x {{ conn.gofundo_default.extra_dejson.pseudonym_key_secret }} y",
            },
            headers={"X-Client": "{{ conn.get('gofundo_default').password }}"},
        )
        """,
    )

    assert run.state == "success"
    asked = sandbox.requests[-1]
    assert (asked.headers["x-client"], asked.query) == ("secret-machine-1", {"code": "secret-machine-1"})
    assert PSEUDONYM_KEY in asked.body.decode()
    (instance,) = run.get_task_instances()
    rendered = RenderedTaskInstanceFields.get_templated_fields(instance)
    assert rendered
    assert rendered["endpoint"] == "api/donations"
    assert rendered["headers"] == {"X-Client": "***"}
    assert leaks([json.dumps(rendered)], SECRETS) == []
