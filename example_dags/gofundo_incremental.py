"""Every quarter of an hour what has changed since the last time, each run in a folder of its own."""

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG, Asset

from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

LAKE = os.environ.get("GOFUNDO_LAKE", "file:///tmp/gofundo-lake")

with DAG(
    "gofundo_incremental",
    schedule=timedelta(minutes=15),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    GofundoToObjectStorageOperator(
        task_id="donations",
        endpoint="api/donations",
        path=f"{LAKE}/donations_changes/{{{{ ts_nodash }}}}",
        incremental=Incremental(param="updated_since", field="updated_at"),
        outlets=[Asset("gofundo_donations")],  # on Airflow 3.3 and newer the watermark is kept with it
        retries=3,
        retry_delay=timedelta(minutes=2),
    )
