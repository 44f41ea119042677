"""A worker that is killed at any moment: the retry makes the dataset that an undisturbed pull makes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.pages.walk import READY
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.killable import FileCheckpoints, Worker
from tests.dataset.reader import Found, Reader, lake, trust
from tests.fixtures import ClientOf, pull

RECORDS = 120
RUNS = 100


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=RECORDS) as running:
        yield running


@pytest.fixture(scope="module")
def worker(sandbox: Sandbox) -> Iterator[Worker]:
    with Worker(sandbox.url) as running:
        yield running


@dataclass(frozen=True)
class Case:
    """A pull as it is drawn by lot."""

    shape: str
    parallel: int
    per_page: int
    records_per_part: int
    file_format: str

    @classmethod
    def drawn(cls, chance: random.Random) -> Case:
        return cls(
            shape=chance.choice(["paginate-resource", "paginate", "simple-paginate", "cursor-paginate"]),
            parallel=chance.choice([1, 1, 4]),
            per_page=chance.choice([5, 12]),
            records_per_part=chance.choice([3, 10, 12, 25, 50]),
            file_format=chance.choice(["ndjson", "ndjson", "parquet"]),
        )

    @property
    def pages(self) -> int:
        return RECORDS // self.per_page

    @property
    def ahead(self) -> int:
        """How many pages are asked for before they are needed."""
        if self.parallel == 1 or self.shape == "cursor-paginate":
            return self.parallel > 1
        return self.parallel * (1 if self.shape == "simple-paginate" else READY)

    @property
    def beyond(self) -> int:
        """How many pages beyond the end may be asked for, by each of two tries."""
        return 2 * self.parallel if self.shape == "simple-paginate" and self.parallel > 1 else 0

    @property
    def part(self) -> int:
        """The most pages that hold records of one part."""
        return ceil(self.records_per_part / self.per_page) + 1

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "endpoint": f"api/{self.shape}/donations",
            "query_params": {"per_page": self.per_page},
            "parallel": self.parallel,
            "records_per_part": self.records_per_part,
            "file_format": self.file_format,
        }


def kill_in_mid_pull(
    sandbox: Sandbox, worker: Worker, chance: random.Random, case: Case, job: dict[str, Any]
) -> None:
    """Kill it a moment after one of its answers, which one and how long after being drawn by lot."""
    last, come, moment = chance.randint(1, case.pages), threading.Event(), chance.uniform(0, 0.004)
    answers = iter(range(1, last))

    def hook(_method: str, _path: str) -> None:
        if next(answers, None) is None:
            come.set()

    sandbox.before_each(hook)
    worker.begin(**case.arguments, **job)
    come.wait()
    time.sleep(moment)
    worker.kill()
    sandbox.before_each(None)


def test_a_retry_after_a_kill_makes_the_dataset_of_an_undisturbed_pull(
    sandbox: Sandbox, worker: Worker, client_of: ClientOf, tmp_path: Path
) -> None:
    chance, client = random.Random(20240607), client_of(sandbox.url)
    undisturbed: dict[Case, Found] = {}
    resumed = repeated = 0

    for number in range(RUNS):
        case = Case.drawn(chance)
        if case not in undisturbed:
            undisturbed[case] = pulled(client, case, tmp_path / f"undisturbed-{number}")
        folder, checkpoints = tmp_path / f"{number}", FileCheckpoints(tmp_path / f"{number}.json")
        old, new = pulled(client, case, folder, status="paid"), undisturbed[case]
        reader = Reader(folder, old.lines, new.lines)
        sandbox.counters.clear()

        kill_in_mid_pull(sandbox, worker, chance, case, {"folder": str(folder), "checkpoint": str(checkpoints.file)})
        was_complete = reader.look().manifest["run"] != old.manifest["run"]
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(reader)
            try:
                summary = pull(client, path=lake(folder), checkpoints=checkpoints, **case.arguments)
            finally:
                reader.stop()
            reading.result()

        found = reader.look()
        assert found.manifest["run"] == summary.run
        assert found.stored == new.stored, case
        assert found.manifest["pages"] == case.pages, case
        assert checkpoints.read() == ""
        requests = sandbox.counters.total - sandbox.counters.grants.total()
        assert was_complete or requests <= case.pages + case.part + case.ahead + case.beyond, case
        resumed += summary.resumed > 0
        repeated += max(0, requests - case.pages)
    print(f"{RUNS} kills: {resumed} retries went on, {repeated} of the pages were asked for again")
    assert resumed > RUNS / 3


def pulled(client: GofundoClient, case: Case, folder: Path, **query: str) -> Found:
    arguments = case.arguments
    arguments["query_params"] |= query
    pull(client, path=lake(folder), **arguments)
    found = trust(lake(folder))
    assert found
    return found
