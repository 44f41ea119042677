"""A long list, pulled by several tasks at the same time: a plan, mapped tasks, and one manifest at the end."""

import os
from datetime import datetime
from typing import Any

from airflow.sdk import DAG

from airflow_provider_gofundo.transfers.gofundo_shards import GofundoPlanShardsOperator, GofundoPublishShardsOperator
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

LAKE = os.environ.get("GOFUNDO_LAKE", "file:///tmp/gofundo-lake")
LIST: dict[str, Any] = {"endpoint": "api/donations", "query_params": {"per_page": 100}}
PULL = {**LIST, "path": f"{LAKE}/donations_in_shards"}

with DAG("gofundo_shards", schedule="@weekly", start_date=datetime(2026, 1, 1), catchup=False):
    plan = GofundoPlanShardsOperator(task_id="plan", shards=4, **LIST)
    pulls = GofundoToObjectStorageOperator.partial(task_id="pull", **PULL).expand(shard=plan.output)
    publish = GofundoPublishShardsOperator(task_id="publish", shards=plan.output, **PULL)
    pulls >> publish
