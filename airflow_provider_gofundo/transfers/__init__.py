"""Airflow operators that carry lists elsewhere."""
