"""The command line: `airflow gofundo …`, and `python -m airflow_provider_gofundo …` before Airflow 3.2."""
