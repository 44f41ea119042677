"""Wait until a list has enough records, without a worker that waits; then go on."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, task

from airflow_provider_gofundo.sensors.gofundo import GofundoSensor

with DAG("gofundo_wait", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False):
    enough = GofundoSensor(
        task_id="enough",
        endpoint="api/donations",
        min_records=10,
        deferrable=True,
        poke_interval=timedelta(minutes=5).total_seconds(),
        timeout=timedelta(hours=12).total_seconds(),
        soft_fail=True,  # a day without them is no failure
    )

    @task
    def close_the_day() -> str:
        """Stands for what has to wait."""
        return "closed"

    enough >> close_the_day()
