"""A single call with the operator, and the hook in a Python task."""

from datetime import datetime

from airflow.sdk import DAG, task

from airflow_provider_gofundo.hooks.gofundo import GofundoHook
from airflow_provider_gofundo.operators.gofundo import GofundoOperator

with DAG("gofundo_calls", schedule=None, start_date=datetime(2026, 1, 1)):
    how_many = GofundoOperator(
        task_id="how_many",
        endpoint="api/donations",
        query_params={"per_page": 1},
        response_filter=lambda response: response.json()["meta"]["total"],  # nothing of a donor goes to XCom
    )

    @task
    def sum_of_amounts(status: str) -> str:
        """Add up a list record by record; however long it is, one page is in memory."""
        records = GofundoHook().records("api/donations", query_params={"status": status, "per_page": 500})
        return f"{sum(float(record['amount']) for record in records):.2f}"

    how_many >> sum_of_amounts("paid")
