"""Query parameters arrive as a PHP server reads them, or are refused."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pendulum
import pytest

from airflow_provider_gofundo.client.query import encode
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.sandbox import Sandbox
from tests.fixtures import ClientOf


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("paid", "paid"), ("", ""), (3, "3"), (1.5, "1.5"), (Decimal("1.10"), "1.10"), (True, "1"), (False, "0"),
        (date(2026, 1, 2), "2026-01-02"), (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00+00:00"),
        (pendulum.datetime(2026, 1, 2), "2026-01-02T00:00:00+00:00"),
    ],
)  # fmt: skip
def test_a_value_is_sent_as_text(value: Any, sent: str) -> None:
    assert encode({"name": value}) == {"name": sent}


def test_a_list_is_sent_item_by_item_under_a_name_with_brackets(sandbox: Sandbox, client_of: ClientOf) -> None:
    client_of(sandbox.url).request("GET", "api/donations", query_params={"ids[]": [1, True], "none": None})

    assert sandbox.requests[-1].query_string == "ids%5B%5D=1&ids%5B%5D=1"


@pytest.mark.parametrize(
    "query_params",
    [
        {"filter": {"status": "paid"}},
        {"ids": [1, 2]},
        {"ids[]": []},
        {"b": b"abc"},
        pytest.param({"o": object()}, id="an object"),
        {"ids[]": [[1]]},
    ],
    ids=str,
)
def test_what_php_would_read_otherwise_is_refused(query_params: dict[str, Any]) -> None:
    with pytest.raises(GofundoConfigError, match="query_params: "):
        encode(query_params)
