"""A whole Airflow of its own on loopback, as `airflow standalone` starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.fernet import Fernet

PASSWORDS = {"admin": "admin-password", "viewer": "viewer-password"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Standalone:
    """Airflow with LocalExecutor, SQLite, a Fernet key, and the users admin and viewer."""

    def __init__(self, home: Path, dags: Path) -> None:
        port = free_port()
        key = Fernet.generate_key().decode()
        self.url = f"http://127.0.0.1:{port}"
        self.log = home / "standalone.log"
        self._home, self._fernet = home, Fernet(key)
        (home / "passwords.json").write_text(json.dumps(PASSWORDS))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__FERNET_KEY": key,
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            # A machine with much else to do keeps a task waiting for its first answer.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("airflow")), "standalone"],
                env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def until(self, what: str, check: Callable[[], Any], seconds: float = 240) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                found = check()
            except requests.RequestException:
                found = None
            if found:
                return found
            time.sleep(0.5)
        pytest.fail(f"{what}: not within {seconds:.0f} s\n{self.log.read_text()[-3000:]}")

    def bearer(self, user: str) -> dict[str, str]:
        answer = requests.post(
            f"{self.url}/auth/token", json={"username": user, "password": PASSWORDS[user]}, timeout=60
        )
        return {"Authorization": f"Bearer {answer.json()['access_token']}"} if answer.ok else {}

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(
            method, f"{self.url}/api/v2/{path}", headers=self.bearer("admin"), timeout=60, **options
        )

    def add_connection(self, conn_id: str, host: str, login: str, password: str, **extra: Any) -> None:
        at = urlsplit(host)
        body = {
            "connection_id": conn_id, "conn_type": "gofundo", "login": login, "password": password,
            "host": f"{at.scheme}://{at.hostname}", "port": at.port, "extra": json.dumps(extra),
        }  # fmt: skip
        self.api("POST", "connections", json=body).raise_for_status()

    def secrets_of(self, conn_id: str) -> dict[str, Any]:
        """What the database holds of a connection, decrypted: no page and no API tells that."""
        with closing(sqlite3.connect(self._home / "airflow.db")) as database:
            query = "SELECT password, extra FROM connection WHERE conn_id = ?"
            password, extra = database.execute(query, (conn_id,)).fetchone()
        return {
            "password": self._fernet.decrypt(password.encode()).decode(),
            **json.loads(self._fernet.decrypt(extra.encode())),
        }
