"""Lineage: what OpenLineage is told of a pull, and that nothing is imported for it elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset

from airflow_provider_gofundo.assets import convert_asset_to_openlineage, list_name
from airflow_provider_gofundo.lineage import directory_name
from airflow_provider_gofundo.operators.gofundo import GofundoOperator
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.transfers.gofundo_shards import GofundoPlanShardsOperator, GofundoPublishShardsOperator
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator
from tests.dag_runs import HEAD
from tests.fixtures import Connect
from tests.leaks import SECRETS, leaks


@pytest.fixture
def connected(sandbox: Sandbox, connect: Connect) -> Sandbox:
    connect(sandbox.url)
    return sandbox


def extracted(operator: Any) -> Any:
    """What OpenLineage's provider gets out of an operator when its task is done."""
    base = pytest.importorskip("airflow.providers.openlineage.extractors.base")

    return base.DefaultExtractor(operator).extract_on_complete(task_instance=None)


def test_a_pull_tells_what_it_has_read_and_written_and_how_much(connected: Sandbox, tmp_path: Path) -> None:
    operator = GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path=tmp_path.as_uri())
    summary = operator.execute({})

    told = extracted(operator)

    (source,), (landed,) = told.inputs, told.outputs
    assert (source.namespace, source.name) == (f"gofundo://127.0.0.1:{connected.port}", "api/donations")
    assert (landed.namespace, landed.name) == ("file", str(tmp_path))
    statistics = landed.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size) == (40, summary["bytes"])


def test_nothing_personal_and_no_parameter_is_told(connected: Sandbox, tmp_path: Path) -> None:
    operator = GofundoToObjectStorageOperator(
        task_id="pull", endpoint="api/donors", query_params={"email": "donor1@example.org"}, path=tmp_path.as_uri()
    )
    operator.execute({})

    assert leaks([repr(extracted(operator))], SECRETS) == []


def test_a_list_in_shards_is_told_by_the_task_that_publishes_it(connected: Sandbox, tmp_path: Path) -> None:
    lists = ["api/donations", "api/donors"]
    pulls: dict[str, Any] = {"endpoint": "both", "path": tmp_path.as_uri(), "record_key": None}
    shards = GofundoPlanShardsOperator(task_id="plan", endpoints=lists).execute({})
    pulled = [GofundoToObjectStorageOperator(task_id="pull", shard=shard, **pulls) for shard in shards]
    for operator in pulled:
        operator.execute({})
    publish = GofundoPublishShardsOperator(task_id="publish", shards=shards, **pulls)
    summary = publish.execute({})

    told = extracted(publish)

    assert [extracted(operator) for operator in pulled] == [None, None]
    assert [source.name for source in told.inputs] == lists
    assert told.outputs[0].outputFacets["outputStatistics"].rowCount == summary["records"]


def test_a_pull_that_failed_tells_nothing(connected: Sandbox, tmp_path: Path) -> None:
    connected.faults.add("status", status=404)
    operator = GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path=tmp_path.as_uri())
    with pytest.raises(Exception, match="404"):
        operator.execute({})

    assert extracted(operator) is None


def test_an_operator_that_is_executed_again_does_not_tell_of_the_time_before(
    connected: Sandbox, tmp_path: Path
) -> None:
    operator = GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path=tmp_path.as_uri())
    operator.execute({})
    connected.faults.add("status", status=404)
    with pytest.raises(Exception, match="404"):
        operator.execute({})

    assert extracted(operator) is None


@pytest.mark.parametrize(
    ("base_url", "namespace", "name"),
    [
        ("https://gofundo.nl", "gofundo://gofundo.nl", "api/donations"),
        ("https://GoFundo.nl:8443", "gofundo://gofundo.nl:8443", "api/donations"),
        ("https://gofundo.nl/test", "gofundo://gofundo.nl", "test/api/donations"),
        ("http://127.0.0.1", "gofundo://127.0.0.1:80", "api/donations"),
        ("http://[::1]:8080", "gofundo://[::1]:8080", "api/donations"),
    ],
)
def test_a_list_has_one_name_whether_a_pull_or_an_asset_tells_it(base_url: str, namespace: str, name: str) -> None:
    pytest.importorskip("openlineage.client")
    told = convert_asset_to_openlineage(Asset(f"{namespace}/{name}"), None)

    assert list_name(base_url, "/api/donations/") == (namespace, name) == (told.namespace, told.name)


def test_openlineage_finds_the_converter_of_an_asset_by_its_scheme() -> None:
    utils = pytest.importorskip("airflow.providers.openlineage.utils.utils")

    told = utils.translate_airflow_asset(Asset("gofundo://gofundo.nl/api/donations"), None)

    assert told
    assert (told.namespace, told.name) == ("gofundo://gofundo.nl", "api/donations")


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("file:///lake/donations", "file", "/lake/donations"),
        ("/lake/donations/", "file", "/lake/donations"),
        ("s3://lake/gofundo/donations/", "s3://lake", "gofundo/donations"),
        ("s3://aws_default@lake/gofundo", "s3://lake", "gofundo"),
        ("s3a://lake", "s3://lake", "/"),
        ("gcs://lake/gofundo", "gs://lake", "gofundo"),
        ("abfss://azure@container/gofundo", "abfs://container", "gofundo"),
    ],
)
def test_storage_is_named_as_openlineage_names_it(path: str, namespace: str, name: str) -> None:
    assert directory_name(path) == (namespace, name)


RUN = """
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb
initdb()
assert DagBag({file!r}).dags["told"].test().state == "success"
"""


def test_a_task_run_in_airflow_sends_its_lineage(sandbox: Sandbox, tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.openlineage")
    file = tmp_path / "dags" / "told.py"
    file.parent.mkdir()
    pull = f'GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path="{(tmp_path / "lake").as_uri()}")'
    file.write_text(f"{HEAD.format(name='told')}    {pull}\n")
    connection = {"conn_type": "gofundo", "host": sandbox.url, "login": "1", "password": "secret-machine-1"}
    environment = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(file.parent),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(tmp_path / "events"), "append": True}
        ),
        "AIRFLOW_CONN_GOFUNDO_DEFAULT": json.dumps({**connection, "extra": {"share_login": False}}),
        "GOFUNDO_LAKE": tmp_path.as_uri(),
    }

    code = RUN.format(file=str(file))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    text = (tmp_path / "events").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    (told,) = [event for event in events if event["eventType"] == "COMPLETE" and event["inputs"]]
    assert told["job"]["name"] == "told.pull"
    assert told["inputs"][0]["name"] == "api/donations"
    assert told["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 40
    assert leaks([text], SECRETS) == []


# --- without OpenLineage -------------------------------------------------------------------------------------------

PULL = """
import sys
OF_OPENLINEAGE = ("openlineage", "airflow.providers.openlineage.extractors")
{before}
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator
summary = GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path={path!r}).execute({{}})
print(summary["records"], *[name for name in sys.modules if name.startswith(OF_OPENLINEAGE) and sys.modules[name]])
"""


@pytest.mark.parametrize("before", ["", "sys.modules.update(dict.fromkeys(OF_OPENLINEAGE))"])
def test_a_pull_imports_nothing_of_openlineage(sandbox: Sandbox, tmp_path: Path, before: str) -> None:
    connection = {"conn_type": "gofundo", "host": sandbox.url, "login": "1", "password": "secret-machine-1"}
    environment = {"AIRFLOW_CONN_GOFUNDO_DEFAULT": json.dumps({**connection, "extra": {"share_login": False}})}
    code = PULL.format(before=before, path=tmp_path.as_uri())

    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "40"


def test_a_single_call_tells_nothing(connected: Sandbox) -> None:
    operator = GofundoOperator(task_id="one", endpoint="api/donations")
    operator.execute({})

    told = extracted(operator)

    assert (told.inputs, told.outputs) == ([], [])
