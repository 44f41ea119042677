"""Fifty processes share one login in Airflow's Variables: one asks, and all go on with what it got."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.state.login import shared_login
from tests.fixtures import settings_of

WORKERS = 50


@pytest.fixture(scope="module")
def airflow_database() -> None:
    from airflow.utils.db import initdb

    initdb()


def _work(url: str, extra: dict[str, Any], start: Any, outcomes: Any) -> None:
    """What one worker does: wait for the starting shot, then ask for one page."""
    from airflow import settings

    settings.dispose_orm(do_log=False)
    settings.configure_orm()  # type: ignore[no-untyped-call]
    os.environ["AIRFLOW_CONN_GOFUNDO_MANY"] = json.dumps({"conn_type": "gofundo", "host": url, **extra})
    from airflow_provider_gofundo.hooks.gofundo import GofundoHook

    start.wait()
    try:
        outcomes.put(GofundoHook("gofundo_many").request("GET", "api/donations").status_code)
    except Exception as error:  # noqa: BLE001
        outcomes.put(f"{type(error).__name__}: {error}")


def run_workers(url: str, extra: dict[str, Any]) -> list[Any]:
    context = multiprocessing.get_context("fork")
    start, outcomes = context.Event(), context.SimpleQueue()
    processes = [context.Process(target=_work, args=(url, extra, start, outcomes)) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    start.set()
    results = [outcomes.get() for _ in processes]
    for process in processes:
        process.join()
    return results


@pytest.mark.timeout(300)
def test_fifty_workers_at_once_ask_for_one_token(airflow_database: None) -> None:
    with Sandbox(records=5, token_per_minute=60) as sandbox:
        results = run_workers(sandbox.url, {"login": "1", "password": "secret-machine-1"})

        assert results == [200] * WORKERS
        assert sandbox.counters.grants["client_credentials"] <= 2


@pytest.mark.timeout(300)
def test_fifty_workers_that_find_an_expired_login_refresh_it_once(airflow_database: None) -> None:
    password = {
        "login": "2",
        "password": "secret-password-2",
        "extra": {"grant_type": "password", "username": "alice@example.org", "user_password": "alice-password"},
    }
    with Sandbox(records=5, token_per_minute=60) as sandbox:
        settings = settings_of(sandbox.url, conn_id="gofundo_many", **password)
        token = grant_for(settings).fetch()
        shared_login(settings)[0].save(replace(token, expires_at=token.issued_at))

        results = run_workers(sandbox.url, password)

        assert results == [200] * WORKERS
        assert sandbox.counters.grants["password"] == 1  # the one above
        assert sandbox.counters.grants["refresh_token"] <= 2
