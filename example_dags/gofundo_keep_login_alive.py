"""
Every half hour a new pair of tokens, for a connection that cannot log in by itself.

A refresh token of Gofundo lives one hour and works once. A connection with the authorization_code or refresh_token
grant has nothing else to renew its login with, so it has to be used within that hour, always: half an hour leaves
time for one run to fail and be retried. Never let two runs overlap.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_gofundo.operators.gofundo import GofundoRefreshTokenOperator

with DAG(
    "gofundo_keep_login_alive",
    schedule=timedelta(minutes=30),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    GofundoRefreshTokenOperator(
        task_id="refresh", gofundo_conn_id="gofundo_web", retries=3, retry_delay=timedelta(minutes=2)
    )
