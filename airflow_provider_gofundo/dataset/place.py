"""Place: where in a list the finished parts end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_gofundo.pages.shapes import Page, Step


@dataclass(frozen=True)
class Place:
    """A place in a list: `count` records into the page of `step`, after so many `pages`; `mark` is the last one's."""

    step: Step | None
    pages: int
    count: int
    mark: str


class Placed(NamedTuple):
    """
    A page and its place among what is written: records `start` to `end`, those of the page after `skip`.

    So many `pages` were taken before it.
    """

    page: Page
    pages: int
    skip: int
    start: int
    end: int
