"""A whole Airflow with LocalExecutor: all that it runs shares one login, and what is stopped there stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

DAG = """
from datetime import datetime
from airflow.sdk import DAG
from airflow_provider_gofundo.operators.gofundo import GofundoOperator

with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=100):
    GofundoOperator.partial(task_id="call", endpoint="api/donations").expand(
        query_params=[{"page": page} for page in range(1, 101)]
    )
"""

LONG = """
from datetime import datetime
from airflow.sdk import DAG
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator

with DAG("long", schedule=None, start_date=datetime(2026, 1, 1)):
    GofundoToObjectStorageOperator(
        task_id="pull", endpoint="api/donations", query_params={"per_page": 1}, parallel=4, path="file://%s"
    )
"""

DEFERRED = """
from datetime import datetime
from airflow.sdk import DAG, BaseOperator
from asking import Ask

class Deferred(BaseOperator):
    def execute(self, context):
        self.defer(trigger=Ask(), method_name="resume")

    def resume(self, context, event):
        assert event == 200, event

with DAG("deferred", schedule=None, start_date=datetime(2026, 1, 1)):
    Deferred(task_id="ask")
"""

# The same question asked by a trigger and, through a plugin, by the API server.
PLUGIN = """
import asyncio
from airflow.plugins_manager import AirflowPlugin
from airflow.triggers.base import BaseTrigger, TriggerEvent
from fastapi import FastAPI

def ask():
    from airflow_provider_gofundo.hooks.gofundo import GofundoHook
    return GofundoHook().request("GET", "api/donations").status_code

class Ask(BaseTrigger):
    def serialize(self):
        return "asking.Ask", {}

    async def run(self):
        yield TriggerEvent(await asyncio.to_thread(ask))

app = FastAPI()
app.get("/")(ask)

class Asking(AirflowPlugin):
    name = "asking"
    fastapi_apps = [{"app": app, "url_prefix": "/asking", "name": "asking"}]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Standalone:
    """An `airflow standalone` of its own, spoken to through its REST API."""

    def __init__(self, home: Path, connection: dict[str, Any]) -> None:
        dags = home / "dags"
        dags.mkdir(parents=True)
        (dags / "mapped.py").write_text(DAG)
        (dags / "deferred.py").write_text(DEFERRED)
        self.lake = home / "lake"
        (dags / "long.py").write_text(LONG % self.lake)
        (home / "plugins").mkdir()
        (home / "plugins" / "asking.py").write_text(PLUGIN)
        self._home, self._port = home, free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__BASE_URL": self._url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._url}/execution/",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW_CONN_GOFUNDO_DEFAULT": json.dumps(connection),
        }
        self._log = (home / "standalone.log").open("wb")
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name("airflow")), "standalone"],
            env=environment, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def until(self, what: str, seconds: float, check: Any) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                found = check()
            except (requests.ConnectionError, OSError, KeyError):
                found = None
            if found:
                return found
            time.sleep(1)
        pytest.fail(f"{what}: not within {seconds} s\n" + (self._home / "standalone.log").read_text()[-3000:])

    def _login(self) -> dict[str, str]:
        passwords = json.loads((self._home / "simple_auth_manager_passwords.json.generated").read_text())
        ((name, password),) = passwords.items()
        answer = requests.post(f"{self._url}/auth/token", json={"username": name, "password": password}, timeout=10)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def get(self, path: str) -> Any:
        return requests.get(f"{self._url}{path}", timeout=60).json()

    def begin(self, dag: str) -> Run:
        """Begin a run of a DAG."""
        headers = self.until("the API", 180, self._login)
        api = f"{self._url}/api/v2/dags/{dag}"
        self.until(
            "the DAG", 120, lambda: requests.patch(api, json={"is_paused": False}, headers=headers, timeout=10).ok
        )
        created = requests.post(f"{api}/dagRuns", json={"logical_date": None}, headers=headers, timeout=10).json()
        return Run(self, f"{api}/dagRuns/{created['dag_run_id']}", headers)

    def run(self, dag: str) -> dict[str, int]:
        """Run a DAG to its end; returns how many task instances ended in which state."""
        return self.begin(dag).states()


@dataclass
class Run:
    """A run of a DAG, at a URL of the REST API."""

    airflow: Standalone
    url: str
    headers: dict[str, str]

    def states(self) -> dict[str, int]:
        """Wait for its end; returns how many task instances ended in which state."""
        self.airflow.until(
            "the run", 600,
            lambda: requests.get(self.url, headers=self.headers, timeout=30).json()["state"] in ("success", "failed"),
        )  # fmt: skip
        found = requests.get(f"{self.url}/taskInstances", params={"limit": 200}, headers=self.headers, timeout=30)
        return dict(Counter(str(instance["state"]) for instance in found.json()["task_instances"]))

    def mark_failed(self, task: str) -> None:
        """Do what a person does who stops a task in the UI."""
        url = f"{self.url}/taskInstances/{task}"
        requests.patch(url, json={"new_state": "failed"}, headers=self.headers, timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def throttled() -> Iterator[Sandbox]:
    with Sandbox(records=2_000, token_per_minute=60) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(throttled: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    connection = {"conn_type": "gofundo", "host": throttled.url, "login": "1", "password": "secret-machine-1"}
    running = Standalone(tmp_path_factory.mktemp("airflow"), connection)
    try:
        yield running
    finally:
        running.stop()


def test_tasks_triggers_and_api_server_log_in_once(throttled: Sandbox, airflow: Standalone) -> None:
    states = airflow.run("mapped")
    by_tasks = dict(throttled.counters.grants)
    deferred = airflow.run("deferred")
    by_api_server = airflow.get("/asking/")

    print(f"\n100 mapped tasks on LocalExecutor: {states}, token requests: {by_tasks}")
    assert states == {"success": 100}
    assert by_tasks["client_credentials"] <= 2
    assert (deferred, by_api_server) == ({"success": 1}, 200)
    assert dict(throttled.counters.grants) == by_tasks  # both have found the tasks' token
    assert throttled.counters.requests["GET /api/donations"] == 102


def test_a_pull_that_is_stopped_in_the_ui_asks_for_no_more_pages_and_leaves_nothing(
    throttled: Sandbox, airflow: Standalone
) -> None:
    throttled.settings.latency_ms = 300
    run = airflow.begin("long")
    airflow.until("the pull", 120, lambda: throttled.counters.in_flight == 4 and any(airflow.lake.iterdir()))

    run.mark_failed("pull")

    assert run.states() == {"failed": 1}
    airflow.until("the end of its requests", 60, lambda: throttled.counters.in_flight == 0)
    asked = throttled.counters.total
    assert asked < 2_000
    airflow.until("the end of its files", 60, lambda: not any(airflow.lake.iterdir()))
    assert throttled.counters.total == asked
