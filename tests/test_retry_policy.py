"""Which of our errors a task retries, and when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG
from airflow.sdk.definitions.retry_policy import RetryAction

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConfigError,
    GofundoError,
    GofundoRateLimitError,
    GofundoReauthorizationRequired,
)
from airflow_provider_gofundo.operators import base
from airflow_provider_gofundo.operators.gofundo import GofundoOperator
from airflow_provider_gofundo.retry_policy import GofundoRetryPolicy
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import Connect


@pytest.mark.parametrize(
    "error", [GofundoConfigError("x"), GofundoAuthError("x"), GofundoReauthorizationRequired("x")]
)
def test_what_no_retry_can_mend_fails_at_once(error: GofundoError) -> None:
    assert GofundoRetryPolicy().evaluate(error, 1, 6).action is RetryAction.FAIL


def test_a_rate_limit_waits_as_long_as_the_server_asks() -> None:
    decision = GofundoRetryPolicy().evaluate(GofundoRateLimitError("x", status=429, retry_in=1800.0), 1, 6)

    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(minutes=30))


@pytest.mark.parametrize("error", [GofundoApiError("x", status=500), ValueError("x"), GofundoRateLimitError("x")])
def test_everything_else_is_left_to_the_task(error: Exception) -> None:
    assert GofundoRetryPolicy().evaluate(error, 1, 6).action is RetryAction.DEFAULT


def test_our_operators_have_the_policy_unless_another_is_given() -> None:
    class Other(GofundoRetryPolicy):
        pass

    with DAG("d", start_date=datetime(2026, 1, 1), default_args={"retry_policy": Other()}):
        with_default_args: Any = GofundoOperator(task_id="a", endpoint="api/donations")
    ours: Any = GofundoOperator(task_id="b", endpoint="api/donations")
    given: Any = GofundoOperator(task_id="c", endpoint="api/donations", retry_policy=Other())

    assert isinstance(with_default_args.retry_policy, Other)
    assert type(ours.retry_policy) is GofundoRetryPolicy
    assert isinstance(given.retry_policy, Other)


def test_an_airflow_without_policies_fails_the_task_with_the_error_as_its_cause(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, connect: Connect
) -> None:
    monkeypatch.setattr(base, "GofundoRetryPolicy", None)
    connect(sandbox.url, password="wrong")

    with pytest.raises(AirflowFailException, match="invalid_client") as caught:
        GofundoOperator(task_id="a", endpoint="api/donations").execute({})

    assert isinstance(caught.value.__cause__, GofundoAuthError)
