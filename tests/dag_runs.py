"""DAGs of a test, run in Airflow."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAD = """
import os
from datetime import datetime
from airflow.sdk import DAG, Asset, AssetAlias, task
from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.operators.gofundo import GofundoOperator
from airflow_provider_gofundo.transfers.gofundo_shards import GofundoPlanShardsOperator, GofundoPublishShardsOperator
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

LAKE = os.environ["GOFUNDO_LAKE"]

with DAG("{name}", schedule=None, start_date=datetime(2026, 1, 1)):
"""

RunDag = Callable[..., Any]


def runner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunDag:
    """Return what runs the tasks of a DAG, given as Python, and returns the run when it has come to the end."""
    from airflow.utils.db import initdb

    initdb()
    dags = folder / "dags"
    dags.mkdir()
    bundle = {
        "name": "tests",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dags)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setenv("GOFUNDO_LAKE", (folder / "lake").as_uri())

    def run(name: str, tasks: str) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        file = dags / f"{name}.py"
        file.write_text(HEAD.format(name=name) + textwrap.indent(textwrap.dedent(tasks), "    "))
        bag = DagBag(str(file))
        assert not bag.import_errors
        return bag.dags[name].test()

    return run
