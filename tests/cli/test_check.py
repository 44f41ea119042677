"""`airflow gofundo check`: a line for each step, and the reason of the first that fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_gofundo.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.fixtures import Connect
from tests.leaks import SECRETS, leaks


def test_a_good_connection_is_told_step_by_step(sandbox: Sandbox, connect: Connect, run: Run) -> None:
    connect(sandbox.url, extra={"check_endpoint": "api/donations"})

    done = run("check", "gofundo_default")

    assert (done.code, done.err) == (0, "")
    assert [line.split()[:2] for line in done.lines] == [
        [step, "ok"] for step in ("settings", "address", "connection", "login", "list")
    ]
    assert "client_credentials works, with a token until 20" in done.out


@pytest.mark.parametrize(
    ("host", "fields", "step", "says"),
    [
        (None, {"extra": {"timeout": "tomorrow"}}, "settings", "Timeout must be a number"),
        ("https://nowhere.invalid", {}, "address", "No such host: nowhere.invalid. Check Host"),
        ("http://127.0.0.1:1", {}, "connection", "Check Host and Port"),
        (None, {"password": "wrong"}, "login", "Compare Client ID and Client Secret"),
        (None, {"extra": {"check_endpoint": "api/nothing"}}, "list", "answered 404"),
    ],
)
def test_the_first_step_that_fails_is_the_last_line_and_says_why(
    sandbox: Sandbox, connect: Connect, run: Run, host: str | None, fields: dict[str, Any], step: str, says: str
) -> None:
    connect(host or sandbox.url, **fields)

    done = run("check", "gofundo_default")

    assert done.code == 1
    assert done.lines[-1].split()[:2] == [step, "FAILED"]
    assert says in done.lines[-1]
    assert done.err == ""
    assert not [line for line in done.lines[:-1] if "FAILED" in line]


def test_a_connection_that_is_not_there_is_told(run: Run) -> None:
    done = run("check", "nobody_made_this")

    assert done.code == 1
    assert "nobody_made_this" in done.lines[-1]
    assert "AIRFLOW_CONN_NOBODY_MADE_THIS" in done.lines[-1]


@pytest.mark.parametrize("value", ['{"conn_type": "gofundo", "password": "x-secret"', "gofundo://:x-secret@[half"])
def test_a_variable_that_is_no_connection_is_told(run: Run, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HALF", value)

    done = run("check", "half")

    assert done.code == 1
    assert "AIRFLOW_CONN_HALF holds no connection. It has to be JSON" in done.lines[-1]
    assert "x-secret" not in done.out + done.err


def test_a_connection_of_another_type_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_THEIRS", "postgres://user:word@127.0.0.1/db")

    done = run("check", "theirs")

    assert done.code == 1
    assert "is of type postgres; its type has to be gofundo" in done.out
    assert "word" not in done.out


def test_a_warning_goes_to_stderr_and_not_between_the_lines(sandbox: Sandbox, connect: Connect, run: Run) -> None:
    connect(sandbox.url, extra={"tineout": 3})

    done = run("check", "gofundo_default")

    assert "tineout" in done.err
    assert "tineout" not in done.out


@pytest.mark.parametrize("flags", [[], ["-v"]])
@pytest.mark.parametrize("password", ["secret-machine-1", "a-wrong-secret-of-some-length"])
def test_nothing_it_prints_holds_a_secret(
    sandbox: Sandbox, connect: Connect, run: Run, flags: list[str], password: str
) -> None:
    connect(sandbox.url, password=password, extra={"check_endpoint": "api/donations"})

    done = run("check", "gofundo_default", *flags)

    assert leaks([*done.lines, *done.err.splitlines()], {*SECRETS, password}) == []


def test_the_log_is_as_it_was_when_a_command_is_done(sandbox: Sandbox, connect: Connect, run: Run) -> None:
    def state() -> Any:
        ours = logging.getLogger("airflow_provider_gofundo")
        return ours.level, ours.handlers, set(logging.getLogger().handlers)

    connect(sandbox.url)
    before = state()
    run("check", "gofundo_default", "-v")

    assert state() == before
