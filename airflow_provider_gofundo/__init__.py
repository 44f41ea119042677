"""Apache Airflow provider for Gofundo, the Dutch fundraising platform."""

__version__ = "0.1.0"
