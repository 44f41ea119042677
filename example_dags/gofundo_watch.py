"""A DAG that runs within a minute of a new donation, and handles each event once. For Airflow 3.3."""

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

    @task(inlets=[donations], max_active_tis_per_dag=1)
    def new_keys(triggering_asset_events: Any = None, asset_state_store: Any = None) -> list[Any]:
        """Return the keys of what is new. A triggerer that restarts may tell an event again, with the same id."""
        handled = asset_state_store.get("handled", [])
        keys = []
        for event in (triggering_asset_events or {}).get(donations, []):
            told = event.extra["payload"]
            if told["id"] not in handled:
                keys += told["keys"]
                handled = [*handled[-99:], told["id"]]
        asset_state_store.set("handled", handled)
        return keys

    new_keys()
