"""A browser, the pages in an API server with Airflow's own users, and a sandbox that they log in to."""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from airflow_provider_gofundo.sandbox import Client, Sandbox
from airflow_provider_gofundo.sandbox.clients import WEB_GRANTS
from tests.leaks import SECRETS, leaks

AIRFLOW = "https://airflow.example.org"
CALLBACK = f"{AIRFLOW}/gofundo/callback"
OUR_SCRIPT = re.compile(r'<script nonce="[\w-]+">\n// Light or dark as in Airflow')
CLIENT_SECRET = "secret-of-the-page"
FERNET_KEY = "YSBrZXkgb2YgdGhlIHRlc3RzIGFuZCBub2JvZHkncyE="


class Clock:
    """The pages' clock; it stands still."""

    def __init__(self) -> None:
        self.time = datetime.now(timezone.utc)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


@dataclass
class Browser:
    """One user's browser: it keeps what it got, and sends what a browser sends."""

    http: TestClient
    seen: list[Any] = field(default_factory=list)

    def get(self, path: str, **headers: Any) -> Any:
        answer = self.http.get(path, headers={"Sec-Fetch-Site": "none", **headers}, follow_redirects=False)
        self.seen.append(answer)
        return answer

    def post(self, path: str, data: dict[str, str], **headers: Any) -> Any:
        own = {"Sec-Fetch-Site": "same-origin", "Origin": AIRFLOW}
        sent = {name: value for name, value in {**own, **headers}.items() if value}
        answer = self.http.post(path, data=data, headers=sent, follow_redirects=False)
        self.seen.append(answer)
        return answer

    def form(self, path: str, button: str) -> tuple[str, dict[str, str]]:
        """Where a button of a page sends its form, and what is in it."""
        return form_of(self.get(path).text, button)

    def press(self, path: str, button: str) -> Any:
        return self.post(*self.form(path, button))


def form_of(page: str, button: str) -> tuple[str, dict[str, str]]:
    form = next(f for f in re.findall(r"<form.*?</form>", page, re.S) if f">{button}</button>" in f)
    action = re.search('action="(.*?)"', form)
    assert action is not None
    fields = re.findall(r'type="hidden" name="(.*?)" value="(.*?)"', form)
    return html.unescape(action[1]), {name: html.unescape(value) for name, value in fields}


@pytest.fixture(scope="session", autouse=True)
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(autouse=True)
def _airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from airflow.api_fastapi.app import init_auth_manager, purge_cached_app
    from airflow.models import Variable
    from airflow.models.crypto import get_fernet
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", AIRFLOW)
    monkeypatch.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a-signing-key-of-the-tests-and-nobody-else-that-is-long-enough-for-it"
    )
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "olga:op,bram:op,vera:viewer")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", FERNET_KEY)
    # The browser's own log has the address with the code in it.
    for name in ("httpx", "httpx2"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    get_fernet.cache_clear()
    purge_cached_app()
    init_auth_manager()
    yield
    with create_session() as session:  # nobody else has this key
        session.execute(delete(Variable).where(Variable.key.startswith("gofundo_t")))
    get_fernet.cache_clear()
    purge_cached_app()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> FastAPI:
    from airflow_provider_gofundo.ui.app import build, the_time

    pages = build()
    pages.dependency_overrides[the_time] = clock
    app = FastAPI()
    app.mount("/gofundo", pages)
    return app


class People:
    """Whoever opens these pages. All that they are shown is searched for secrets at the end."""

    def __init__(self, server: FastAPI) -> None:
        self._server = server
        self.browsers: list[Browser] = []

    def __call__(self, name: str = "", role: str = "op") -> Browser:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        http = TestClient(self._server, base_url=AIRFLOW)
        if name:
            user = SimpleAuthManagerUser(username=name, role=role)
            http.cookies.set("_token", get_auth_manager().generate_jwt(user))
        browser = Browser(http)
        self.browsers.append(browser)
        return browser


@pytest.fixture
def people(server: FastAPI, sandbox: Sandbox) -> Iterator[People]:
    """Nobody of these ever gets to see a token, a code, a verifier or a client secret."""
    everybody = People(server)
    yield everybody
    answers = [answer for browser in everybody.browsers for answer in browser.seen]
    secrets = {*SECRETS, CLIENT_SECRET, *_sent_to(sandbox)}
    found = leaks([text for answer in answers for text in _texts_of(answer)], secrets)
    assert found == []
    assert all(answer.headers["Cache-Control"] == "no-store" for answer in answers)
    assert all(answer.headers["X-Frame-Options"] == "DENY" for answer in answers)
    assert all(answer.text.count("<script") == len(OUR_SCRIPT.findall(answer.text)) for answer in answers)


def _texts_of(answer: Any) -> Iterator[str]:
    yield answer.text
    yield from (f"{name}: {value}" for name, value in answer.headers.items())


def _sent_to(sandbox: Sandbox) -> set[str]:
    """The verifiers of all logins, finished or not; tokens and codes are known to the search already."""
    from airflow.models import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        waiting = [row.val for row in session.query(Variable) if row.key.startswith("gofundo_token_pending__")]
    finished = {seen.form["code_verifier"] for seen in sandbox.requests if "code_verifier" in seen.form}
    return finished | {json.loads(text)["verifier_token"] for text in waiting if text.startswith("{")}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=5, clients=[Client("9", CLIENT_SECRET, "page", WEB_GRANTS, (CALLBACK,))]) as running:
        yield running


@pytest.fixture
def web(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The id of a connection with the authorization_code grant, of this test alone."""
    conn_id = re.sub(r"\W", "_", request.node.name.lower())[:80]
    connect(monkeypatch, conn_id, sandbox.url)
    return conn_id


def connect(
    monkeypatch: pytest.MonkeyPatch, conn_id: str, host: str, *, secret: str = CLIENT_SECRET, **extra: Any
) -> None:
    """Write a connection into the environment."""
    extra = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, **extra}
    fields = {"conn_type": "gofundo", "login": "9", "password": secret, "host": host, "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
