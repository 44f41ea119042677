"""The pages of the Airflow UI plugin: every connection's login, and the Authorize button."""
