"""Every night the whole list of donations: one task, one connection."""

import os
from datetime import datetime

from airflow.sdk import DAG

from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

LAKE = os.environ.get("GOFUNDO_LAKE", "file:///tmp/gofundo-lake")

with DAG("gofundo_daily_pull", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False):
    GofundoToObjectStorageOperator(
        task_id="donations", endpoint="api/donations", path=f"{LAKE}/donations", query_params={"per_page": 100}
    )
