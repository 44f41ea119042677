"""What is kept of an answer or of a connection carries no secret away, and a failed login is shared by all who wait."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_gofundo.exceptions import GofundoAuthError
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf, settings_of


def test_an_answer_that_is_kept_or_pickled_holds_no_token(sandbox: Sandbox, client_of: ClientOf) -> None:
    client = client_of(sandbox.url)

    response = client.request("GET", "api/donations")

    assert "Authorization" not in response.request.headers
    assert client.tokens.token().access_token.encode() not in pickle.dumps(response)


def test_settings_are_not_pickled() -> None:
    with pytest.raises(TypeError, match="hold secrets"):
        pickle.dumps(settings_of())


def test_threads_that_wait_for_a_login_share_its_failure(sandbox: Sandbox, client_of: ClientOf) -> None:
    sandbox.faults.add("slow", "/oauth/token", seconds=0.3, times=None)
    client = client_of(sandbox.url, password="wrong")

    def ask(_: int) -> str:
        with pytest.raises(GofundoAuthError) as caught:
            client.request("GET", "api/donations")
        return str(caught.value.error)

    with ThreadPoolExecutor(20) as pool:
        errors = list(pool.map(ask, range(20)))

    assert errors == ["invalid_client"] * 20
    assert sandbox.counters.grants["client_credentials"] <= 2
