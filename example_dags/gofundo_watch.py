"""A DAG that runs within a minute of a new donation, and handles each event once. For Airflow 3.3."""

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_gofundo.triggers.events import new_events
from airflow_provider_gofundo.triggers.gofundo import GofundoNewRecordsTrigger

donations = Asset(
    "gofundo_new_donations",
    watchers=[
        AssetWatcher(
            name="new_donations",
            trigger=GofundoNewRecordsTrigger(endpoint="api/donations", param="updated_since", field="updated_at"),
        )
    ],
)

with DAG("gofundo_watch", schedule=[donations], start_date=datetime(2026, 1, 1)):

    @task(inlets=[donations], max_active_tis_per_dag=1)
    def new_keys(**context: Any) -> list[Any]:
        """Return the keys of what is new. A triggerer that restarts may tell an event again; it is left out."""
        return [key for event in new_events(donations, context) for key in event["keys"]]

    new_keys()
