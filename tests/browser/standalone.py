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

from airflow_provider_gofundo.form import EXTRA_FIELDS

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
        """Add one as the form does: with every field, the unset ones as null. It shows no others in an edit."""
        at = urlsplit(host)
        body = {
            "connection_id": conn_id, "conn_type": "gofundo", "login": login, "password": password,
            "host": f"{at.scheme}://{at.hostname}", "port": at.port, "extra": json.dumps({**dict.fromkeys(EXTRA_FIELDS), **extra}),
        }  # fmt: skip
        self.api("POST", "connections", json=body).raise_for_status()

    def secrets_of(self, conn_id: str) -> dict[str, Any]:
        """What the database holds of a connection, decrypted: no page and no API tells that."""
        password, extra = self._stored("SELECT password, extra FROM connection WHERE conn_id = ?", conn_id)
        return {"password": password, **json.loads(extra)}

    def tokens_of(self, conn_id: str) -> tuple[str, str]:
        """The access and the refresh token that the tasks use."""
        (record,) = self._stored("SELECT val FROM variable WHERE key = ?", f"gofundo_token__{conn_id}")
        tokens = json.loads(record)
        return tokens["access_token"], tokens["refresh_token"]

    def logs(self) -> str:
        """Everything that any of its processes and tasks wrote."""
        tasks = "".join(file.read_text() for file in (self._home / "logs").rglob("*.log"))
        return self.log.read_text() + tasks

    def _stored(self, query: str, key: str) -> list[str]:
        with closing(sqlite3.connect(self._home / "airflow.db")) as database:
            return [
                self._fernet.decrypt(text.encode()).decode() for text in database.execute(query, (key,)).fetchone()
            ]
