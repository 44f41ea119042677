"""The commands as processes: Airflow's own, `python -m`, connections in the database, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import MACHINE, until

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
OURS = [sys.executable, "-m", "airflow_provider_gofundo"]


@pytest.fixture
def env(sandbox: Sandbox) -> Mapping[str, str]:
    """What a process of a test needs: the tests' Airflow, and the sandbox as connection sb."""
    from airflow.configuration import conf

    made = {"conn_type": "gofundo", "host": sandbox.url, **MACHINE, "extra": {"share_login": False}}
    key = conf.get("core", "fernet_key")
    return {**plain_environment(), "AIRFLOW_CONN_SB": json.dumps(made), "AIRFLOW__CORE__FERNET_KEY": key}


def plain_environment() -> dict[str, str]:
    """Without Airflow's mode for tests, which says on stdout that it is on."""
    return {name: value for name, value in os.environ.items() if name != "AIRFLOW__CORE__UNIT_TEST_MODE"}


@pytest.fixture
def stored(sandbox: Sandbox) -> Iterator[str]:
    """A connection in Airflow's database."""
    from airflow.models import Connection
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    login, password = MACHINE["login"], MACHINE["password"]
    made = Connection("in_the_database", "gofundo", host=sandbox.url, login=login, password=password)
    with create_session() as session:
        session.add(made)
    yield "in_the_database"
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id == "in_the_database").delete()


def done(command: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False, timeout=100)


def test_airflow_lists_the_commands(env: Mapping[str, str]) -> None:
    ended = done([AIRFLOW, "gofundo", "--help"], env)

    assert ended.returncode == 0, ended.stderr
    for name in ("authorize", "check", "peek", "pull", "tokens"):
        assert f"\n    {name}" in ended.stdout


def test_airflow_checks_a_connection_of_its_database(env: Mapping[str, str], stored: str) -> None:
    ended = done([AIRFLOW, "gofundo", "check", stored], env)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "client_credentials works" in ended.stdout


def test_python_does_the_same_and_fails_with_1(env: Mapping[str, str]) -> None:
    good, bad = (done([*OURS, "check", name], env) for name in ("sb", "nobody_made_this"))

    assert (good.returncode, bad.returncode) == (0, 1), good.stderr
    assert good.stdout.splitlines()[0].startswith("settings    ok")
    assert bad.stdout.startswith("settings    FAILED")
    assert "Traceback" not in good.stderr + bad.stderr


def test_a_reader_that_has_seen_enough_is_no_trouble(env: Mapping[str, str]) -> None:
    command = " ".join([*OURS, "peek", "sb", "api/donations", "-n", "40", "|", "head", "-1"])

    ended = done(["sh", "-c", command], env)

    assert ended.stdout.startswith("api/donations: 40 records")
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pull_that_is_stopped_leaves_nothing(
    sandbox: Sandbox, env: Mapping[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    sandbox.faults.add("slow", "/api/donations", query="page=3", seconds=60)
    command = [*OURS, "pull", "sb", "api/donations", str(tmp_path / "lake"), "-q", "per_page=5", "--parallel", "1"]
    with subprocess.Popen(
        command, env=dict(env), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as pulling:
        try:
            until_asked(sandbox, pulling)
            pulling.send_signal(number)
            out, err = pulling.communicate(timeout=90)
        finally:
            pulling.kill()

    assert (pulling.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "gofundo pull: Stopped. The directory holds what it held before."
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def until_asked(sandbox: Sandbox, process: subprocess.Popen[str]) -> None:
    """Wait until the page is asked for whose answer is slow: from then on it waits."""
    until(lambda: process.poll() is not None or not sandbox.faults.waiting)
    assert process.poll() is None, "it ended before it was stopped"


def test_the_names_of_the_commands_cost_airflow_nothing() -> None:
    code = (
        "import sys; import airflow.cli.cli_config; before = set(sys.modules);"
        "from airflow_provider_gofundo.cli.commands import get_commands; get_commands(); print(*set(sys.modules) - before)"
    )
    ended = done([sys.executable, "-c", code], plain_environment())

    assert set(ended.stdout.split()) - {"airflow_provider_gofundo"} == {
        "airflow_provider_gofundo.cli",
        "airflow_provider_gofundo.cli.commands",
    }
