"""
Real triggerers. Killed and started anew, a deferred sensor goes on and each record is told in one event; and 500 of
them share one login.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.sandbox import Sandbox
from tests.system.test_local_executor import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

RECORDS = 1_000
SECONDS = 60

# Deferred at the same time, seconds between two looks of each, and for how long they are watched.
SENSORS = 500
INTERVAL = 20
WATCHED = 60

DAGS = """
from airflow.sdk import DAG, Asset, AssetWatcher, task
from airflow_provider_gofundo.sensors.gofundo import GofundoSensor
from airflow_provider_gofundo.triggers.events import new_events
from airflow_provider_gofundo.triggers.gofundo import GofundoNewRecordsTrigger

with DAG("waiting", schedule="@once", is_paused_upon_creation=False):
    GofundoSensor(task_id="wait", endpoint="api/donors", min_records=251, deferrable=True, poke_interval=2, timeout=600)

new = GofundoNewRecordsTrigger(
    endpoint="api/donations", param="updated_since", field="updated_at", query_params={"per_page": 500}, poke_interval=2
)
donations = Asset("donations", watchers=[AssetWatcher(name="new", trigger=new)])

# As the documentation has it.
with DAG("reacting", schedule=[donations], is_paused_upon_creation=False):
    @task(inlets=[donations], max_active_tis_per_dag=1)
    def new_keys(**context):
        return [key for event in new_events(donations, context) for key in event["keys"]]

    new_keys()
"""

# Their scheduler defers these, so that 500 tasks need no process each; from there on nothing is different.
MANY = f"""
from datetime import datetime, timedelta, timezone
from airflow.sdk import DAG
from airflow.triggers.base import StartTriggerArgs
from airflow_provider_gofundo.sensors.gofundo import GofundoSensor

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)

with DAG("many", schedule="@once", is_paused_upon_creation=True, max_active_tasks={SENSORS}):
    for number in range({SENSORS}):
        sensor = GofundoSensor(task_id=f"wait_{{number}}", endpoint="api/actions", min_records=1_000, deferrable=True)
        sensor.start_from_trigger = True
        sensor.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_provider_gofundo.triggers.gofundo.GofundoTrigger",
            trigger_kwargs={{
                "gofundo_conn_id": "gofundo_default",
                "condition": {{"endpoint": "api/actions", "min_records": 1_000}},
                "poke_interval": {INTERVAL},
                "began": (BEGAN + timedelta(seconds=number * {INTERVAL} / {SENSORS})).isoformat(),
                "deadline": "2126-01-01T00:00:00+00:00",
            }},
            next_method="resume",
        )
"""


class Airflow:
    """An Airflow of separate processes, of which the triggerer can be killed."""

    def __init__(self, home: Path, connection: dict[str, Any]) -> None:
        dags = home / "dags"
        dags.mkdir(parents=True)
        (dags / "dags.py").write_text(DAGS)
        (dags / "many.py").write_text(MANY)
        port = free_port()
        self._home = home
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-this-test-only-for-this-test-only-for-this-test-only-for-it",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
            "AIRFLOW_CONN_GOFUNDO_DEFAULT": json.dumps(connection),
        }
        self.run("db", "migrate")
        self.start("api-server")
        self.until("the API server", 120, lambda: answers(port))  # a task that starts before it fails
        for name in ("dag-processor", "scheduler", "triggerer"):
            self.start(name)

    @property
    def _airflow(self) -> list[str]:
        return [str(Path(sys.executable).with_name("airflow"))]

    def start(self, name: str) -> None:
        own = {"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port())}
        with (self._home / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*self._airflow, name], env={**self._environment, **own},
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(self, *command: str) -> None:
        subprocess.run([*self._airflow, *command], env=self._environment, check=True, capture_output=True)

    def kill(self, name: str) -> None:
        """Kill a process and its children, without a word."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def select(self, query: str) -> list[Any]:
        try:
            with sqlite3.connect(self._home / "airflow.db", timeout=30) as database:
                return [value for (value,) in database.execute(query)]
        except sqlite3.OperationalError:  # busy
            return []

    def until(self, what: str, seconds: float, check: Callable[[], Any]) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                logs = [f"--- {log.name}\n{log.read_text()[-2500:]}" for log in sorted(self._home.glob("*.log"))]
                pytest.fail(f"{what}: not within {seconds} s\n" + "\n".join(logs))
            time.sleep(0.5)

    def events(self) -> list[tuple[float, dict[str, Any]]]:
        """What it was told, each with when that was written down, as seconds since 1970."""
        query = "select json_array(timestamp, json(extra)) from asset_event order by id"
        rows = map(json.loads, self.select(query))
        return [(at(written), extra["payload"]) for written, extra in rows]

    def handled(self) -> list[tuple[float, list[int]]]:
        """The keys that runs of the DAG have returned, each with when."""
        query = (
            "select json_array(timestamp, json(value)) from xcom where dag_id = 'reacting' and key = 'return_value'"
        )
        return [(at(written), keys) for written, keys in map(json.loads, self.select(query))]


def at(written: str) -> float:
    return datetime.fromisoformat(written).replace(tzinfo=timezone.utc).timestamp()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    connection = {"conn_type": "gofundo", "host": sandbox.url, "login": "1", "password": "secret-machine-1"}
    running = Airflow(tmp_path_factory.mktemp("airflow") / "home", connection)
    try:
        yield running
    finally:
        running.stop()


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def looks(sandbox: Sandbox, name: str) -> int:
    return sandbox.counters.requests[f"GET /api/{name}"]


def test_a_deferred_sensor_goes_on_after_its_triggerer_was_killed(airflow: Airflow, sandbox: Sandbox) -> None:
    states = "select state from task_instance where dag_id = 'waiting'"
    airflow.until("the deferral", 240, lambda: airflow.select(states) == ["deferred"])
    airflow.until("a look of the trigger", 60, lambda: looks(sandbox, "donors") >= 2)

    airflow.kill("triggerer")
    before = looks(sandbox, "donors")
    airflow.start("triggerer")
    airflow.until("a look of the next one", 120, lambda: looks(sandbox, "donors") > before)
    sandbox.records_insert("donors")

    airflow.until("the end", 120, lambda: airflow.select(states) == ["success"])
    assert sandbox.counters.grants == {"client_credentials": 1}  # worker and both triggerers


def test_of_a_thousand_records_over_two_kills_each_is_told_in_exactly_one_event(
    airflow: Airflow, sandbox: Sandbox, figures: list[str]
) -> None:
    airflow.until("the first look", 240, lambda: looks(sandbox, "donations"))
    inserted: dict[int, float] = {}
    moments = sorted(random.uniform(0, SECONDS) for _ in range(RECORDS))
    began = time.monotonic()

    def insert() -> None:
        for moment in moments:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            inserted.update(dict.fromkeys(sandbox.records_insert("donations"), time.time()))

    inserting = threading.Thread(target=insert, daemon=True)
    inserting.start()
    for kill_at in (SECONDS * 0.2, SECONDS * 0.6):
        time.sleep(max(0.0, began + kill_at + random.uniform(0, 4) - time.monotonic()))
        airflow.kill("triggerer")
        airflow.start("triggerer")
    inserting.join()
    airflow.until("all of them", 240, lambda: sum(len(keys) for _, keys in airflow.handled()) >= RECORDS)

    handled = airflow.handled()
    assert sorted(key for _, keys in handled for key in keys) == sorted(inserted)
    told = airflow.events()
    events = {event["id"]: event for _, event in told}
    assert sorted(key for event in events.values() for key in event["keys"]) == sorted(inserted)
    # One that was told just before a kill may come again, as the same event.
    again = len(told) - len(events)
    assert again <= 2
    assert all(event == events[event["id"]] for _, event in told)
    assert sandbox.counters.grants == {"client_credentials": 1}
    first_told = {key: when for when, event in reversed(told) for key in event["keys"]}
    until_told = sorted(first_told[key] - inserted[key] for key in inserted)
    until_handled = [when - inserted[key] for when, keys in handled for key in keys]
    figures.append(
        f"{RECORDS} records over two kills of the triggerer: each handled once, in {len(handled)} runs of the DAG; "
        f"{len(events)} events, {again} of them told again. Looking every 2 s a record was told "
        f"{statistics.median(until_told):.1f} s after it came (median; {until_told[-1]:.1f} s at most), and handled "
        f"{statistics.median(until_handled):.1f} s after"
    )


def test_five_hundred_deferred_sensors_share_one_login_and_look_once_an_interval(
    airflow: Airflow, sandbox: Sandbox, figures: list[str]
) -> None:
    deferred = "select count(*) from task_instance where dag_id = 'many' and state = 'deferred'"
    running = (
        "select count(*) from task_instance t join trigger r on r.id = t.trigger_id where r.triggerer_id is not null"
    )
    airflow.run("dags", "unpause", "many")
    airflow.until("their deferral", 240, lambda: airflow.select(deferred) == [SENSORS])
    airflow.until("their triggerer", 120, lambda: airflow.select(running) == [SENSORS])
    airflow.until("a look of each", 240, lambda: looks(sandbox, "actions") >= SENSORS)

    before, began = looks(sandbox, "actions"), time.monotonic()
    time.sleep(WATCHED)
    a_minute = (looks(sandbox, "actions") - before) / (time.monotonic() - began) * 60

    wanted = SENSORS * 60 / INTERVAL
    logins = sandbox.counters.grants["client_credentials"]
    figures.append(
        f"{SENSORS} deferred sensors on one triggerer: {logins} token request, {a_minute:,.0f} requests a minute "
        f"(each once an interval: {wanted:,.0f})"
    )
    assert logins == 1
    assert a_minute <= 1.2 * wanted  # what was late comes as well
    assert airflow.select(deferred) == [SENSORS]
