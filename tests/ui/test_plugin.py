"""The plugin as Airflow finds it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from airflow_provider_gofundo.ui.plugin import GofundoPlugin
from tests.ui.conftest import AIRFLOW, People


def test_airflow_finds_the_plugin_through_its_entry_point() -> None:
    found = [point.load() for point in entry_points(group="airflow.plugins") if point.name == "gofundo"]

    assert found == [GofundoPlugin]


def test_the_link_is_in_the_admin_menu_and_leaves_airflows_frame() -> None:
    (view,) = GofundoPlugin.external_views

    assert (view["href"], view["category"]) == ("/gofundo/connections", "admin")
    assert "url_route" not in view


def test_the_pages_are_mounted_and_answer() -> None:
    (app,) = GofundoPlugin.fastapi_apps
    server = FastAPI()
    server.mount(app["url_prefix"], app["app"])

    answer = TestClient(server, base_url=AIRFLOW).get("/gofundo/connections")

    assert answer.status_code == 401
    assert "Log in to Airflow" in answer.text


def test_schedulers_and_workers_import_the_plugin_without_its_pages() -> None:
    heavy = ("fastapi", "requests", "requests_oauthlib", "airflow_provider_gofundo.ui.app")
    code = f"import sys, airflow_provider_gofundo.ui.plugin; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("root_path", ["", "/airflow"])
def test_every_link_stays_below_the_path_of_airflow(
    server: FastAPI, people: People, web: str, root_path: str
) -> None:
    server.root_path = root_path
    olga = people("olga")

    page = olga.get(f"{root_path}/gofundo/connections/{web}").text

    links = [part.split('"')[0] for part in page.split('href="')[1:] + page.split('action="')[1:]]
    assert links[1:] == [
        f"{root_path}/",
        f"{root_path}/gofundo/connections",
        f"{root_path}/gofundo/connections/{web}/check",
        f"{root_path}/gofundo/connections/{web}/authorize",
    ]
