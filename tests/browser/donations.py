"""The DAG that the browser test runs: it pulls the donations, with the login that somebody made in the browser."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

with DAG("donations", schedule=None, start_date=datetime(2026, 1, 1)):
    GofundoToObjectStorageOperator(
        task_id="pull",
        endpoint="api/donations",
        path=(Path(__file__).parents[1] / "lake").as_uri(),
        gofundo_conn_id="gofundo_web",
    )
