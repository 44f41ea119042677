"""The search for secrets at the end of the run finds them; without that its silence would mean nothing."""

from __future__ import annotations

import logging
from urllib.parse import urlencode

import pytest
import requests

from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import MACHINE
from tests.leaks import SECRETS, exposed, leaks

HARMLESS = "GET api/donations answered 200, 6498 bytes, donors@example.org, run 20260101T000000Z-0123abcd"


@pytest.mark.parametrize(
    "line",
    [
        "client_secret=secret-machine-1&scope=",
        "sent secret-password-2 and alice-password",
        "Authorization: Bearer replayed-access",
        '{"donor_name":"Zo\\u00eb Voorbeeld"}',
        "for Zoë Voorbeeld",
        "for Bo Sjabloon\\/Proef",
        urlencode({"name": "Тест Примеров"}),
        "GET /api/donations?email=donor12%40example.org",
        "donor12@example.org",
    ],
)
def test_a_planted_secret_is_found(line: str) -> None:
    assert leaks([HARMLESS, line], SECRETS) == [line]


def test_every_token_that_any_sandbox_issues_is_known(sandbox: Sandbox) -> None:
    user = {"username": sandbox.user.email, "password": sandbox.user.password}
    client = {"client_id": "2", "client_secret": "secret-password-2"}
    with requests.Session() as session:
        form = {"grant_type": "password", **client, **user}
        answer = session.post(f"{sandbox.url}/oauth/token", data=form, timeout=10).json()
    tokens = [answer["access_token"], answer["refresh_token"], sandbox.token()]

    lines = [f"Bearer%20{token}." for token in tokens]

    assert leaks([HARMLESS, *lines], ()) == lines


def test_what_python_and_airflow_log_at_debug_is_kept(kept_lines: list[str]) -> None:
    from airflow_provider_gofundo.operators.gofundo import GofundoOperator

    logging.getLogger("requests_oauthlib.oauth2_session").debug("planted one")
    logging.getLogger("airflow_provider_gofundo.somewhere").debug("planted two")
    GofundoOperator(task_id="planted", endpoint="api/donations").log.info("planted %s", "three")

    for planted in ("planted one", "planted two", "planted three"):
        assert [line for line in kept_lines[-5:] if planted in line]


def test_a_request_or_secret_that_hangs_on_an_error_is_found() -> None:
    request = requests.Request("POST", "https://gofundo.nl/oauth/token", data=MACHINE).prepare()
    inner = ValueError("inner")
    inner.__context__ = requests.ConnectionError("no", request=request)
    outer = RuntimeError({"body": [b"client_secret=secret-machine-1"]})
    outer.__cause__ = inner

    assert exposed(outer) == ["a text with a secret", "PreparedRequest", "a text with a secret"]
    assert exposed(ValueError("harmless")) == []
