"""A list that changes all the time it is pulled: what was there from start to end is in the dataset, each once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.client.rate import Pace
from airflow_provider_gofundo.oauth.grants import grant_for
from airflow_provider_gofundo.oauth.manager import TokenManager
from airflow_provider_gofundo.oauth.store import MemoryTokenStore
from airflow_provider_gofundo.pages.shapes import Page
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import lake, trust
from tests.fixtures import pull, settings_of

RUNS = 200


class Listening(GofundoClient):
    """A client that remembers the pages it was given."""

    heard: list[Page]

    def fetch(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().fetch(*args, **kwargs)
        if isinstance(answer, Page):
            self.heard.append(answer)
        return answer

    def heard_a_change(self) -> bool:
        """Whether the totals differed, but for pages beyond the end, which nobody looks at."""
        end = min(page.number or 1 for page in self.heard if page.next is None)
        return len({page.total for page in self.heard if (page.number or 1) <= end}) > 1


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=0) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Listening]:
    settings = settings_of(sandbox.url)
    client = Listening(settings, TokenManager(grant_for(settings), MemoryTokenStore()), pace=Pace(None))
    with client:
        yield client


class Donations:
    """The list, with the ids that are in it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.ids: list[int] = []
        self._sandbox = sandbox

    def resize(self, size: int, chance: random.Random) -> None:
        self.remove(chance.sample(self.ids, max(0, len(self.ids) - size)))
        self.add(size - len(self.ids))

    def add(self, count: int = 1) -> None:
        self.ids += self._sandbox.records_insert("donations", count) if count else []

    def remove(self, gone: list[int]) -> None:
        self._sandbox.records_delete("donations", gone)
        self.ids = [id_ for id_ in self.ids if id_ not in set(gone)]


@dataclass
class Churn:
    """Before an answer, with a chance of `rate`, removes a record (`removals` of the times) or adds one."""

    donations: Donations
    chance: random.Random
    rate: float
    removals: float
    changes: int = 0

    def __call__(self, _method: str, _path: str) -> None:
        if self.chance.random() < self.rate:
            self.change()

    def change(self) -> None:
        self.changes += 1
        if self.donations.ids and self.chance.random() < self.removals:
            self.donations.remove([self.chance.choice(self.donations.ids)])
        else:
            self.donations.add()


def drawn(chance: random.Random, size: int) -> dict[str, Any]:
    """How to pull a list, by lot."""
    sort = chance.choice(["id", "-id"])
    per_page = chance.choice([3, 5, 7]) if size <= 60 else chance.choice([3, 7, 10, 15])
    return {
        "endpoint": f"api/{chance.choice(['paginate', 'paginate-resource'])}/donations",
        "query_params": {"sort": sort, "per_page": per_page},
        "parallel": chance.choice([1, 4, 8]),
        "file_format": chance.choice(["ndjson", "ndjson", "ndjson", "parquet"]),
        "records_per_part": chance.choice([7, 50, 1_000]),
    }


@dataclass(frozen=True)
class Outcome:
    """What came of one pull of a list that changed."""

    changes: int
    lost: set[int]
    twice: bool
    heard: bool
    drift: dict[str, Any]
    requests: int


def pull_while_it_changes(
    sandbox: Sandbox, client: Listening, donations: Donations, churn: Churn, folder: Path, options: dict[str, Any]
) -> Outcome:
    before = {*donations.ids}
    client.heard = []
    sandbox.before_each(churn)
    try:
        pull(client, path=lake(folder / options["endpoint"]), **options)
    finally:
        sandbox.before_each(None)
    found = trust(lake(folder / options["endpoint"]))
    assert found
    ids = found.ids
    return Outcome(
        changes=churn.changes,
        lost=before.intersection(donations.ids).difference(ids),
        twice=len(set(ids)) < len(ids),
        heard=client.heard_a_change(),
        drift=found.manifest["drift"],
        requests=len(client.heard),
    )


def soak(
    sandbox: Sandbox, client: Listening, folder: Path, runs: int, churning: type[Churn] = Churn
) -> Iterator[tuple[dict[str, Any], Outcome]]:
    chance, donations = random.Random(20240607), Donations(sandbox)
    for _ in range(runs):
        size = chance.choice([30, 60, 120, 240])
        donations.resize(size, chance)
        rate, removals = chance.choice([0.02, 0.1, 0.3, 1.0]), chance.choice([0.0, 0.3, 0.5, 1.0])
        options = drawn(chance, size)
        churn = churning(donations, chance, rate, removals)
        yield options, pull_while_it_changes(sandbox, client, donations, churn, folder, options)


def test_a_list_that_never_rests_loses_nothing_that_stayed_and_shows_nothing_twice(
    sandbox: Sandbox, client: Listening, tmp_path: Path
) -> None:
    outcomes = []
    for options, outcome in soak(sandbox, client, tmp_path, RUNS):
        assert not outcome.lost, options
        assert not outcome.twice, options
        assert outcome.drift["seen"] == outcome.heard, options
        outcomes.append(outcome)
    drifts = [outcome.drift for outcome in outcomes]
    told = {
        "runs": len(outcomes),
        "changes": sum(outcome.changes for outcome in outcomes),
        "seen to change": sum(drift["seen"] for drift in drifts),
        "repaired": sum(drift["repulls"] > 0 and drift["complete"] for drift in drifts),
        "walks again": sum(drift["repulls"] for drift in drifts),
        "records found by them": sum(drift["added"] for drift in drifts),
        "restless to the end": sum(not drift["complete"] for drift in drifts),
    }
    print(", ".join(f"{number:,} {name}" for name, number in told.items()))
    assert min(told.values()) > 20
