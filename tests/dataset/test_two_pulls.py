"""The same pull several times at once, into one folder: one complete dataset at the end, and at every moment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from msgspec import Raw
from msgspec.structs import replace

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.manifest import read_manifest
from airflow_provider_gofundo.dataset.part import format_of
from airflow_provider_gofundo.dataset.writer import DatasetWriter
from airflow_provider_gofundo.exceptions import GofundoApiError, GofundoStopped, GofundoStorageError
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.killable import OVERTAKEN, FileCheckpoints, Worker
from tests.dataset.reader import Found, Reader, files, lake, trust
from tests.dataset.storage import Folder, Storage
from tests.fixtures import ClientOf, pull

ROUNDS = 8


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


@pytest.fixture
def folder(client: GofundoClient, tmp_path: Path) -> Path:
    pull(client, "api/donations", lake(tmp_path / "lake"))
    return tmp_path / "lake"


@contextmanager
def growing(sandbox: Sandbox, chance: random.Random) -> Iterator[None]:
    """Let the list grow at its end now and then, so that pulls of one moment differ from those of another."""

    def hook(_method: str, _path: str) -> None:
        if chance.random() < 0.1:
            sandbox.records_insert("donations")

    sandbox.before_each(hook)
    yield
    sandbox.before_each(None)


class Watching(Reader):
    """Believes only a list with all that was there when its pull began, and nothing twice."""

    def look(self) -> Found:
        found = super().look()
        assert {*range(1, found.manifest["total"][0] + 1)} <= {*found.ids}
        assert len({*found.ids}) == len(found.ids) == found.manifest["records"]
        return found


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    reader = Watching(folder)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader)
        try:
            yield
        finally:
            reader.stop()
        reading.result()
    reader.look()
    assert reader.looks > 1


def drawn(chance: random.Random) -> dict[str, Any]:
    return {
        "query_params": {"per_page": chance.choice([7, 20])},
        "records_per_part": chance.choice([4, 15, 1_000]),
        "parallel": chance.choice([1, 4]),
    }


def parts_left(folder: Path) -> set[str]:
    """Files of pulls that are over, besides the dataset."""
    found = trust(lake(folder))
    assert found
    return set(files(folder)) - {"_manifest.json", *found.names}


@pytest.mark.parametrize(
    ("rivals", "shares"),
    [
        pytest.param(2, False, id="two"),
        pytest.param(4, False, id="four"),
        # A checkpoint is of one task, so these take each other for tries of it: who sees a later one ends.
        pytest.param(2, True, id="two tries"),
        pytest.param(4, True, id="four tries"),
    ],
)
def test_threads_that_make_the_same_pull_leave_one_complete_dataset(
    rivals: int, shares: bool, sandbox: Sandbox, client_of: ClientOf, folder: Path, tmp_path: Path
) -> None:
    chance = random.Random(rivals)
    clients = [client_of(sandbox.url) for _ in range(rivals)]
    stores = [FileCheckpoints(tmp_path / f"{0 if shares else n}.json") for n in range(rivals)]
    start = Barrier(rivals)

    def rival(number: int, options: dict[str, Any]) -> str | None:
        path = Folder(LocalFileSystem(skip_instance_cache=True), str(folder))
        start.wait()
        try:
            return pull(clients[number], "api/donations", path, checkpoints=stores[number], **options).run
        except GofundoStopped:
            return None
        except GofundoStorageError as error:  # who was published first may have removed what this one went on after
            if not shares or "are gone" not in str(error):
                raise
            return None

    with ThreadPoolExecutor(rivals) as pool, watched(folder), growing(sandbox, chance):
        for _ in range(ROUNDS):
            options = drawn(chance)
            runs = list(pool.map(rival, range(rivals), [options] * rivals))
            found = trust(lake(folder))
            assert found
            assert found.manifest["run"] in runs
            if not shares:
                assert {name.rpartition("-")[0] for name in found.names} == {found.manifest["run"]}


@pytest.mark.parametrize("rivals", [2, 4])
def test_processes_that_make_the_same_pull_leave_one_complete_dataset(
    rivals: int, sandbox: Sandbox, folder: Path
) -> None:
    chance = random.Random(rivals)
    with ExitStack() as running, watched(folder), growing(sandbox, chance):
        workers = [running.enter_context(Worker(sandbox.url)) for _ in range(rivals)]
        for _ in range(ROUNDS):
            options = drawn(chance)
            for worker in workers:
                worker.begin(folder=str(folder), endpoint="api/donations", **options)
            ended = {worker.wait() for worker in workers}
            assert 0 in ended
            assert ended <= {0, OVERTAKEN}  # whoever began a second earlier than one that was published


def test_a_process_that_is_killed_takes_nothing_from_one_that_makes_the_same_pull(
    sandbox: Sandbox, client: GofundoClient, folder: Path
) -> None:
    chance = random.Random(7)
    with Worker(sandbox.url) as worker, watched(folder), growing(sandbox, chance):
        for _ in range(ROUNDS):
            options = drawn(chance)
            worker.begin(folder=str(folder), endpoint="api/donations", **options)
            run = ""
            with suppress(GofundoStopped):  # the other began a second later, and was faster
                run = pull(client, "api/donations", lake(folder), **options).run
            worker.kill()
            found = trust(lake(folder))
            assert found
            assert found.manifest["run"] >= run[:16]


def test_a_pull_that_fails_beside_the_same_one_that_does_not_takes_nothing_from_it(
    sandbox: Sandbox, client_of: ClientOf, folder: Path
) -> None:
    chance = random.Random(11)
    clients = [client_of(sandbox.url) for _ in range(2)]
    start = Barrier(2)

    def rival(client: GofundoClient, options: dict[str, Any]) -> str | None:
        path = Folder(LocalFileSystem(skip_instance_cache=True), str(folder))
        start.wait()
        try:
            return pull(client, "api/donations", path, **options).run
        except GofundoApiError:
            return None

    with ThreadPoolExecutor(2) as pool, watched(folder), growing(sandbox, chance):
        for _ in range(ROUNDS):
            options = drawn(chance) | {"parallel": 1}
            sandbox.faults.add("status", status=403, after=chance.randrange(4))

            runs = list(pool.map(rival, clients, [options] * 2))

            found = trust(lake(folder))
            assert found
            assert runs.count(None) == 1
            assert found.manifest["run"] in runs
            assert parts_left(folder) == set()


@pytest.mark.parametrize("moment", ["before write", "before close"])
def test_a_pull_is_not_published_over_one_that_began_later_and_was_published_meanwhile(
    moment: str, sandbox: Sandbox, client: GofundoClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["99991231T000000Z-00000000", "99991231T000001Z-00000000"])
    monkeypatch.setattr("airflow_provider_gofundo.dataset.writer.run_name", lambda _: next(names))
    later: list[str] = []

    def meanwhile(step: str) -> None:
        if step == moment and not later:
            later.append("is under way")
            sandbox.records_insert("donations")
            later.append(pull(client, "api/donations", lake(folder)).run)

    with pytest.raises(GofundoStopped, match="a pull that began later has been published meanwhile"):
        pull(client, "api/donations", Folder(Storage(meanwhile), str(folder)))

    found = trust(lake(folder))
    assert found
    assert found.manifest["run"] == later[1]
    assert found.ids == [*range(1, 42)]
    assert parts_left(folder) == set()


def test_a_try_that_replaces_parts_leaves_those_that_another_try_has_published_meanwhile(folder: Path) -> None:
    def writer(storage: Any) -> DatasetWriter:
        path = Folder(storage, str(folder))
        made = DatasetWriter(
            path, file_format=format_of("ndjson", "none"), records_per_part=10, started=datetime.now(timezone.utc)
        )
        made.open()
        return made

    def publish(what: DatasetWriter) -> None:
        before = read_manifest(lake(folder))
        assert before
        what.publish(replace(before, run=what.run, parts=what.finish(), records=1, file_format="ndjson"))

    slow = writer(LocalFileSystem(skip_instance_cache=True))
    slow.write([Raw(b'{"id": 1}')])
    heir = writer(LocalFileSystem(skip_instance_cache=True))
    assert heir.adopt(slow.finish())
    publish(heir)  # of what the slow one has written, and told in a checkpoint

    def meanwhile(step: str) -> None:
        if step == "after mv":
            publish(slow)

    third = writer(Storage(meanwhile))
    third.write([Raw(b'{"id": 2}')])
    publish(third)

    manifest = read_manifest(lake(folder))
    assert manifest
    assert manifest.run == slow.run
    assert all((folder / part.name).exists() for part in manifest.parts)
