"""Events: what the trigger told, as the task that runs because of it takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_gofundo.exceptions import GofundoConfigError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset

    from airflow_provider_gofundo.triggers.feed import Event

PREFIX = "gofundo_handled__"

# Events of earlier runs that are remembered. One is told again within seconds, or when a triggerer starts.
REMEMBERED = 100


def new_events(asset: Asset, context: Mapping[str, Any]) -> list[Event]:
    """
    Return what `GofundoNewRecordsTrigger` has told of an asset to this run, but for what an earlier run has got.

    Which run has got an event is kept in the asset's state, apart for each task, so a retry or a Clear gets the same
    events again. Events of others, such as one that a person made, are left out. Airflow 3.3 and newer; the task has
    the asset among its inlets, and `max_active_tis_per_dag=1`.
    """
    from airflow_provider_gofundo.dataset.checkpoint import digest_of

    try:
        store = context["asset_state_store"][asset]
    except KeyError:
        raise GofundoConfigError(
            f"new_events needs Airflow 3.3, and asset {asset.name} among the inlets of the task."
        ) from None
    run, task = context["run_id"], context["ti"]
    key = PREFIX + digest_of(task.dag_id, task.task_id)[:20]
    handled = store.get(key) or {}
    new = {event["id"]: event for event in _told(asset, context) if handled.get(event["id"], run) == run}
    if new:
        others = [(event, by) for event, by in handled.items() if event not in new]
        store.set(key, dict(others[-REMEMBERED:]) | dict.fromkeys(new, run))
    return list(new.values())


def _told(asset: Asset, context: Mapping[str, Any]) -> Iterator[Event]:
    for event in context["triggering_asset_events"].get(asset, ()):
        payload = (event.extra or {}).get("payload")
        if isinstance(payload, dict) and {"id", "keys"} <= payload.keys():
            yield payload  # type: ignore[misc]  # as feed.py makes it
