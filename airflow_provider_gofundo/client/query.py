"""Query: parameters as a PHP server reads them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from airflow_provider_gofundo.exceptions import GofundoConfigError


def encode(query_params: Mapping[str, Any] | None) -> dict[str, str | list[str]]:
    """
    Return query parameters as they are sent: yes and no as 1 and 0, dates in ISO 8601, None left out.

    GofundoConfigError for what PHP would read as something else, or not at all: nested values, empty lists, and
    lists under a name without `[]`, of which it takes the last item.
    """
    encoded: dict[str, str | list[str]] = {}
    for name, value in (query_params or {}).items():
        if isinstance(value, (list, tuple)):
            if not str(name).endswith("[]"):
                raise GofundoConfigError(f"query_params: {name} is a list; name it {name}[], as PHP does.")
            if not value:
                raise GofundoConfigError(f"query_params: {name} is an empty list; put an item in, or leave it out.")
            encoded[str(name)] = [_text(name, item) for item in value]
        elif value is not None:
            encoded[str(name)] = _text(name, value)
    return encoded


def _text(name: object, value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (str, int, float, Decimal)):
        return str(value)
    raise GofundoConfigError(
        f"query_params: {name} is no text, number, date, yes or no; write nested values like filter[status]."
    )
