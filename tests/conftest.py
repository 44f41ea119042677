"""What the tests share: a throw-away Airflow, the sandbox, and clients that wait without waiting."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Airflow reads these when it is first imported, which the tests below this folder do.
_HOME = tempfile.mkdtemp(prefix="gofundo-tests-")
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__UNIT_TEST_MODE="True",
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(Path(__file__).resolve().parents[1] / "example_dags"),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME}/airflow.db",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=f"{_HOME}/logs",
)
os.environ.pop("OAUTHLIB_INSECURE_TRANSPORT", None)

pytest_plugins = ["tests.fixtures", "tests.leaks"]
