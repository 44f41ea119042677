"""Condition: what a list has to answer before somebody goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_gofundo.exceptions import (
    GofundoConfigError,
    GofundoConnectionError,
    GofundoError,
    GofundoResponseError,
    GofundoStorageError,
)

if TYPE_CHECKING:
    import requests

    from airflow_provider_gofundo.client.client import GofundoClient
    from airflow_provider_gofundo.pages.shapes import Page


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What one look found: whether it is what somebody waits for, and how many records, where they were counted."""

    done: bool
    records: int | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """
    Something about an endpoint that is true sooner or later.

    Exactly one of: at least `min_records` records in the list; `field` equals `equals` in some record of the list, or
    in the one object that the endpoint answers; `response_check(response)` is true, where `response_check` is a
    function or its import path.
    """

    endpoint: str
    query_params: Mapping[str, Any] | None = None
    min_records: int | None = None
    field: str | None = None
    equals: Any = None
    response_check: Callable[[requests.Response], Any] | str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the server; GofundoConfigError."""
        if sum(way is not None for way in (self.min_records, self.field, self.response_check)) != 1:
            raise GofundoConfigError("Give exactly one of min_records, field with equals, and response_check.")
        if (self.field is None) != (self.equals is None):
            raise GofundoConfigError("field and equals go together; to wait for null use response_check.")
        if self.field is not None:
            check_field("field", self.field)
        if self.equals is not None and not isinstance(self.equals, (str, int, float, list, dict)):
            raise GofundoConfigError("equals must be what JSON has: text, number, true or false, list or object.")
        if self.min_records is not None and (type(self.min_records) is not int or self.min_records < 1):
            raise GofundoConfigError("min_records must be a whole number, at least 1.")

    def arguments(self) -> dict[str, Any]:
        """Return what makes an equal one, as JSON where no function is among it."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def look(self, client: GofundoClient) -> Look:
        """Ask the server once, in as many pages as it takes."""
        if self.min_records is not None:
            return self._count(client, self.min_records)
        if self.field is not None:
            return Look(self._is_there(client, self.field))
        check = function_of(self.response_check)
        return Look(bool(check(client.request("GET", self.endpoint, query_params=self.query_params))))

    def _count(self, client: GofundoClient, least: int) -> Look:
        from airflow_provider_gofundo.pages.walk import walk

        found = 0
        for page in walk(client, self.endpoint, query_params=self.query_params, parallel=1):
            if page.total is not None:
                found = page.total
                break
            found += len(page.records)
            if found >= least:
                break
        return Look(found >= least, found)

    def _pages(self, client: GofundoClient) -> Iterator[Page]:
        """The pages of the list, or one page with the object that the endpoint answers instead."""
        from airflow_provider_gofundo.pages.walk import walk

        first = client.fetch("GET", self.endpoint, _list_or_object, query_params=self.query_params)
        yield first
        if first.next:
            yield from walk(client, self.endpoint, query_params=self.query_params, parallel=1, begin=first.next)

    def _is_there(self, client: GofundoClient, field: str) -> bool:
        from airflow_provider_gofundo.dataset.keys import fields_reader

        read = fields_reader(field)
        # JSON's true is no 1, and its false no 0.
        is_bool = isinstance(self.equals, bool)
        records = found = 0
        for page in self._pages(client):
            values = [value for value in read(page.records) if value is not None]
            if any(value == self.equals and isinstance(value, bool) == is_bool for value in values):
                return True
            records, found = records + len(page.records), found + len(values)
        if records and not found:
            log.warning("%s: none of %d records has a value in %s; is it called so?", self.endpoint, records, field)
        return False


def check_field(argument: str, name: str) -> None:
    """GofundoConfigError unless a field of that name can be read."""
    from airflow_provider_gofundo.dataset.keys import is_field_name

    if not is_field_name(name):
        raise GofundoConfigError(f"{argument} must be the name of a field, without quotes or backslashes.")


def is_passing(error: GofundoError) -> bool:
    """Whether it may be over by the next look; otherwise somebody has to correct something."""
    return error.retry_in is not None or isinstance(error, (GofundoConnectionError, GofundoStorageError))


def function_of(path: Callable[..., Any] | str | None) -> Callable[..., Any]:
    """Return a function, or the one of an import path."""
    if callable(path):
        return path
    from importlib import import_module

    module, _, name = str(path).rpartition(".")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, ValueError, AttributeError):
        function = None
    if not callable(function):
        raise GofundoConfigError(
            f"response_check: there is no function {path} to import here; name one in a module that the workers and "
            "the triggerer can import, such as checks.is_settled."
        )
    return function  # type: ignore[no-any-return]  # callable, as was just seen


def _list_or_object(response: requests.Response, method: str, path: str) -> Page:
    import msgspec

    from airflow_provider_gofundo.pages.shapes import Page, read_page

    try:
        return read_page(response, method, path)
    except GofundoResponseError:
        try:
            body = msgspec.json.decode(response.content)
        except msgspec.DecodeError:
            body = None
        item = body.get("data", body) if isinstance(body, dict) else None
        if not isinstance(item, dict):
            raise
    return Page(records=[msgspec.Raw(msgspec.json.encode(item))])
