"""State: what Airflow keeps for us."""
