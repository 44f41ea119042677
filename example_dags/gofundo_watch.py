"""A DAG that runs within a minute of a new donation. For Airflow 3."""

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

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

    @task
    def how_many(triggering_asset_events: Any = None) -> int:
        """Count what is new. The events hold keys and a watermark; the records are for a pull to fetch."""
        events = (triggering_asset_events or {}).get(donations, [])
        told = {event.extra["payload"]["id"]: event.extra["payload"]["records"] for event in events}
        return sum(told.values())

    how_many()
