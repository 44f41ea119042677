"""Whoever trusts the manifest sees a whole dataset: the old one or the new one, whatever happens to a pull."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pendulum
import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.manifest import Directory, read_manifest
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoError,
    GofundoResponseError,
    GofundoStorageError,
)
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import Found, content, files, lake, trust
from tests.dataset.storage import Breakdown, Folder, PowerCut, Storage
from tests.fixtures import ClientOf, pull

ROOT = Path(__file__).resolve().parents[2]
EVERY = [*range(1, 41)]
STATUS = {
    "paid": [number for number in EVERY if number % 3 == 0],
    "open": [number for number in EVERY if number % 3 == 1],
    "refunded": [number for number in EVERY if number % 3 == 2],
}


def pull_status(client: GofundoClient, path: Directory, status: str, *, records_per_part: int = 5) -> None:
    query = {"status": status, "per_page": 5}
    pull(client, "api/donations", path, query_params=query, records_per_part=records_per_part)


def status_of(found: Found | None) -> str:
    """Which of the lists a dataset is; AssertionError if it isn't exactly one of them."""
    assert found, "there is no dataset"
    status: str = found.manifest["query_params"]["status"]
    assert found.ids == STATUS[status]
    return status


@pytest.fixture
def old(client: GofundoClient, tmp_path: Path) -> Path:
    """A folder with a complete dataset, of the paid ones."""
    folder = tmp_path / "lake"
    pull_status(client, lake(folder), "paid")
    return folder


# --- while a pull is under way ---------------------------------------------------------------------------------


def test_the_earlier_dataset_can_be_read_at_every_moment_until_the_new_one_can(
    old: Path, client: GofundoClient
) -> None:
    seen: list[str] = []

    def look(_step: str) -> None:
        seen.append(status_of(trust(lake(old))))

    def clock() -> float:  # is read between two pages
        look("")
        return 0.0

    pull(
        client, "api/donations", Folder(Storage(look), str(old)),
        query_params={"status": "open", "per_page": 2}, records_per_part=3, clock=clock,
    )  # fmt: skip

    assert seen == sorted(seen, reverse=True)
    assert {seen[0], seen[-1]} == {"paid", "open"}
    assert seen.count("paid") > 20


def test_the_earlier_parts_go_when_the_new_manifest_has_come(old: Path, client: GofundoClient) -> None:
    replaced = set(files(old))

    pull_status(client, lake(old), "open")

    found = trust(lake(old))
    assert status_of(found) == "open"
    assert found
    assert set(files(old)) == {"_manifest.json", *found.names}
    assert set(files(old)) & replaced == {"_manifest.json"}


def test_parts_are_complete_before_the_manifest_names_them(old: Path, client: GofundoClient) -> None:
    steps = Breakdown(None)

    pull_status(client, Folder(Storage(steps), str(old)), "open")

    published = steps.steps.index("after mv")
    assert not {"before write", "before close"} & set(steps.steps[published:])
    assert "before rm_file" in steps.steps[published:]


# --- a pull that fails -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 500}, GofundoApiError),
        ({"kind": "status", "status": 403}, GofundoApiError),
        ({"kind": "status", "status": 401}, GofundoAuthError),
        ({"kind": "drop"}, GofundoConnectionError),
        ({"kind": "truncate"}, GofundoConnectionError),
        ({"kind": "broken_json"}, GofundoResponseError),
        ({"kind": "html"}, GofundoResponseError),
        ({"kind": "login_redirect"}, GofundoResponseError),
        ({"kind": "wrong_type", "value": {"data": {"id": 1}}}, GofundoResponseError),
    ],
)
@pytest.mark.parametrize("pages", [0, 1, 3])
def test_a_pull_that_the_server_fails_leaves_the_earlier_dataset_and_nothing_else(
    pages: int, fault: dict[str, Any], error: type[Exception], old: Path, sandbox: Sandbox, client: GofundoClient
) -> None:
    before = files(old)
    sandbox.faults.add(**fault, after=pages, times=None)

    with pytest.raises(error):
        pull(client, "api/donations", lake(old), query_params={"per_page": 10}, records_per_part=3)

    assert files(old) == before


def test_a_first_pull_that_fails_leaves_no_dataset_and_no_file(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    sandbox.faults.add("status", status=500, after=2, times=None)

    with pytest.raises(GofundoApiError):
        pull(client, "api/donations", lake(tmp_path), query_params={"per_page": 10}, records_per_part=3)

    assert files(tmp_path) == {}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, MemoryError])
def test_a_pull_that_is_interrupted_leaves_the_earlier_dataset_and_nothing_else(
    interruption: type[BaseException], old: Path, client: GofundoClient
) -> None:
    before, ticks = files(old), iter(range(3))

    def clock() -> float:
        for tick in ticks:
            return float(tick)
        raise interruption

    with pytest.raises(interruption):
        pull(client, "api/donations", lake(old), query_params={"per_page": 5}, records_per_part=3, clock=clock)

    assert files(old) == before


def test_a_value_that_no_manifest_can_hold_is_refused_before_anything_is_sent(
    old: Path, client: GofundoClient
) -> None:
    before, sent = files(old), client.traffic.requests

    with pytest.raises(GofundoConfigError, match="query_params: odd is no text"):
        pull(client, "api/donations", lake(old), query_params={"status": "open", "odd": object()})

    assert files(old) == before
    assert client.traffic.requests == sent


def test_dates_are_sent_and_written_down_in_iso_8601(tmp_path: Path, client: GofundoClient, sandbox: Sandbox) -> None:
    since = pendulum.datetime(2024, 1, 2)

    pull(client, "api/donations", lake(tmp_path), query_params={"updated_since": since, "id": since.date()})

    assert sandbox.requests[-1].query == {"updated_since": "2024-01-02T00:00:00+00:00", "id": "2024-01-02"}
    found = trust(lake(tmp_path))
    assert found
    assert found.manifest["query_params"] == sandbox.requests[-1].query


def test_parts_that_somebody_removes_during_the_pull_are_missed_before_anything_is_published(
    old: Path, client: GofundoClient
) -> None:
    before = files(old)

    def clock() -> float:
        for part in set(old.glob("*-00001.ndjson.gz")) - {old / name for name in before}:
            part.unlink()
        return 0.0

    with pytest.raises(GofundoError, match="1 parts of this pull are gone"):
        pull(client, "api/donations", lake(old), query_params={"per_page": 7}, records_per_part=14, clock=clock)

    assert files(old) == before


def steps_of_a_pull(client: GofundoClient, old: Path, scratch: Path) -> list[str]:
    shutil.copytree(old, scratch)
    counting = Breakdown(None)
    pull_status(client, Folder(Storage(counting), str(scratch)), "open", records_per_part=6)
    shutil.rmtree(scratch)
    return counting.steps


def test_a_storage_that_fails_once_at_any_step_never_shows_half_a_dataset(
    old: Path, client: GofundoClient, tmp_path: Path
) -> None:
    before, scratch = files(old), tmp_path / "scratch"
    steps = steps_of_a_pull(client, old, scratch)
    outcomes = []

    for at, step in enumerate(steps):
        shutil.copytree(old, scratch)
        storage = Storage(Breakdown(at))
        try:
            pull_status(client, Folder(storage, str(scratch)), "open", records_per_part=6)
        except Exception:  # noqa: BLE001  # the storage's own error, or ours
            outcomes.append((at, step, "raised", status_of(trust(lake(scratch)))))
            if outcomes[-1][-1] == "paid":
                assert files(scratch) == before, f"step {at}, {step}"
        else:
            outcomes.append((at, step, "returned", status_of(trust(lake(scratch)))))
        finally:
            storage.close_files()
        shutil.rmtree(scratch)

    assert {outcome[2:] for outcome in outcomes} == {("raised", "paid"), ("returned", "open")}
    after_publishing = [outcome[2] for outcome in outcomes if outcome[0] > steps.index("after mv")]
    assert set(after_publishing) == {"returned"}


def test_a_power_cut_at_any_step_leaves_a_whole_dataset_that_the_next_pull_replaces(
    old: Path, client: GofundoClient, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    steps = steps_of_a_pull(client, old, scratch)

    for at in range(len(steps)):
        shutil.copytree(old, scratch)
        storage = Storage(Breakdown(at, for_ever=True))
        with pytest.raises(PowerCut):
            pull_status(client, Folder(storage, str(scratch)), "open", records_per_part=6)
        storage.close_files()
        assert status_of(trust(lake(scratch))) == ("paid" if at <= steps.index("before mv") else "open")

        pull_status(client, lake(scratch), "refunded")

        assert status_of(trust(lake(scratch))) == "refunded"
        shutil.rmtree(scratch)


class Unlistable(LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A file system that may be read and written, but not listed, as some buckets."""

    cachable = False

    def ls(self, *_: Any, **__: Any) -> list[str]:
        raise PermissionError(13, "ListBucket is not allowed")


def test_a_directory_that_cannot_be_listed_keeps_what_was_published(
    old: Path, client: GofundoClient, caplog: pytest.LogCaptureFixture
) -> None:
    pull_status(client, Folder(Unlistable(), str(old)), "open")

    assert status_of(trust(lake(old))) == "open"
    assert "files no longer needed could not be removed: PermissionError" in caplog.text


class Undeletable(LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A file system that gives no part back, as a bucket with a retention policy."""

    cachable = False

    def rm_file(self, path: str) -> None:
        if path.endswith(".gz"):
            raise PermissionError(13, "retention policy")
        super().rm_file(path)


def test_parts_that_may_not_be_removed_do_not_fail_a_pull_that_is_complete(old: Path, client: GofundoClient) -> None:
    pull_status(client, Folder(Undeletable(), str(old)), "open")

    assert status_of(trust(lake(old))) == "open"


# --- a process that is killed ----------------------------------------------------------------------------------


def test_a_process_killed_at_any_time_leaves_a_whole_dataset(client_of: ClientOf, tmp_path: Path) -> None:
    moments = random.Random(20240101)
    possible: set[int] = set()
    leftovers = 0
    with Sandbox(records=40, latency_ms=2) as sandbox:
        client = client_of(sandbox.url)
        pull(client, "api/donations", lake(tmp_path))
        for _ in range(10):
            possible = {len(sandbox.records["donations"])}
            sandbox.records_insert("donations", moments.randrange(1, 9))
            possible.add(len(sandbox.records["donations"]))

            kill_in_mid_pull(sandbox.url, tmp_path, after=moments.uniform(0, 0.12))

            found = trust(lake(tmp_path))
            assert found
            assert found.ids == [*range(1, len(found.ids) + 1)]
            assert len(found.ids) in possible
            young = set(files(tmp_path)) - {"_manifest.json", *found.names}
            leftovers += len(young)
            pull(client, "api/donations", lake(tmp_path), records_per_part=11)
            complete = trust(lake(tmp_path))
            assert complete
            assert complete.ids == [*range(1, max(possible) + 1)]
            assert set(files(tmp_path)) == {"_manifest.json", *complete.names, *young}
    assert leftovers, "no kill hit a pull"


def kill_in_mid_pull(url: str, folder: Path, *, after: float) -> None:
    command = [sys.executable, "-m", "tests.dataset.puller", url, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()
    assert process.returncode == -signal.SIGKILL


# --- what is left over -----------------------------------------------------------------------------------------

TAILS = ["-00001.ndjson.gz", "-00002.ndjson", "-123456.ndjson.gz", ".started", ".manifest"]


def stamp(age: timedelta) -> str:
    return f"{datetime.now(timezone.utc) - age:%Y%m%dT%H%M%SZ}-0123abcd"


def test_leftovers_of_killed_runs_go_after_seven_days_with_the_next_complete_pull(
    old: Path, sandbox: Sandbox, client: GofundoClient
) -> None:
    young = {f"{stamp(timedelta(days=6, hours=23))}{tail}" for tail in TAILS}
    aged = {f"{stamp(timedelta(days=7, hours=1))}{tail}" for tail in TAILS}
    for name in young | aged:
        (old / name).write_bytes(b"half of")
    sandbox.faults.add("status", status=403)

    with pytest.raises(GofundoApiError):
        pull_status(client, lake(old), "open")
    assert young | aged < set(files(old))

    pull_status(client, lake(old), "open")
    found = trust(lake(old))
    assert found
    assert set(files(old)) == {"_manifest.json", *found.names} | young


def test_the_dataset_itself_may_grow_old(old: Path, client: GofundoClient) -> None:
    found = trust(lake(old))
    assert found
    aged, run = stamp(timedelta(days=400)), found.manifest["run"]
    for file in old.glob(f"{run}*"):
        file.rename(old / file.name.replace(run, aged))
    manifest = old / "_manifest.json"
    manifest.write_text(manifest.read_text().replace(run, aged))
    before = files(old)

    client_fails = {"status": "open", "page": 2}
    with pytest.raises(GofundoConfigError):
        pull(client, "api/donations", lake(old), query_params=client_fails)

    assert files(old) == before
    pull_status(client, lake(old), "open")
    assert status_of(trust(lake(old))) == "open"
    assert not list(old.glob(f"{aged}*"))


FOREIGN = [
    "_SUCCESS",
    "part-00001.ndjson.gz",
    "00001.ndjson.gz",
    "20200101T000000Z.ndjson.gz",
    "20200101T000000Z-0123abcd",
    "20200101T000000Z-0123abcd.csv",
    "20200101T000000Z-0123abcd-report.xlsx",
    "20200101T000000Z-0123abcd-00001.ndjson.gz.bak",
    "20200101T000000Z-0123abcd-1.ndjson",
    "20200101T000000Z-0123ABCD-00001.ndjson.gz",
    "20209999T999999Z-0123abcd-00001.ndjson.gz",
    "copy-20200101T000000Z-0123abcd-00001.ndjson.gz",
    "20200101T000000Z-0123abcd-00001.ndjson.gz\n",
    "_manifest.json.old",
]


def test_files_of_others_are_never_touched(old: Path, sandbox: Sandbox, client: GofundoClient) -> None:
    for name in FOREIGN:
        (old / name).write_bytes(b"mine")
    (old / "20200101T000000Z-0123abcd").unlink()
    (old / "20200101T000000Z-0123abcd").mkdir()
    (old / "20200101T000000Z-0123abcd" / "20200101T000000Z-0123abcd-00001.ndjson.gz").write_bytes(b"mine")
    sandbox.faults.add("status", status=403)

    with pytest.raises(GofundoApiError):
        pull_status(client, lake(old), "open")
    pull_status(client, lake(old), "open")
    pull_status(client, lake(old), "refunded")

    found = trust(lake(old))
    assert status_of(found) == "refunded"
    assert found
    left = set(files(old)) - {"_manifest.json", *found.names}
    assert left == set(FOREIGN) - {"20200101T000000Z-0123abcd"}
    assert list((old / "20200101T000000Z-0123abcd").iterdir())


# --- several at a time -----------------------------------------------------------------------------------------


def test_two_pulls_into_one_directory_at_a_time_end_in_one_whole_dataset(
    client_of: ClientOf, sandbox: Sandbox, old: Path
) -> None:
    start = threading.Barrier(2)

    def race(client: GofundoClient, status: str, records_per_part: int) -> None:
        folder = Folder(LocalFileSystem(skip_instance_cache=True), str(old))
        start.wait()
        pull_status(client, folder, status, records_per_part=records_per_part)

    one, two = client_of(sandbox.url), client_of(sandbox.url)
    with ThreadPoolExecutor(2) as pool:
        for number in range(12):
            rivals = [
                pool.submit(race, one, "open", number % 4 + 2),
                pool.submit(race, two, "refunded", 5 - number % 4),
            ]
            for rival in rivals:
                rival.result()
            assert status_of(trust(lake(old))) in ("open", "refunded")

    pull_status(one, lake(old), "paid")
    assert status_of(trust(lake(old))) == "paid"


def other_pull_at(step: str, act: Callable[[], None]) -> Callable[[str], None]:
    """A step for `Storage` that does something else once, when the pull comes to the given one."""
    waiting = iter([act])

    def tell(now: str) -> None:
        if now == step:
            for action in waiting:
                action()

    return tell


@pytest.mark.parametrize(
    "moment",
    [
        "before makedirs", "before pipe_file", "before open", "after write", "before close", "before mv", "after mv",
        "before ls", "after ls", "before rm_file", "after rm_file",
    ],
)  # fmt: skip
def test_a_pull_that_runs_wholly_inside_another_costs_neither_its_data(
    moment: str, old: Path, client: GofundoClient
) -> None:
    inside = other_pull_at(moment, lambda: pull_status(client, lake(old), "refunded", records_per_part=3))

    pull_status(client, Folder(Storage(inside), str(old)), "open")

    published_last = {"after mv", "before ls", "after ls"}
    assert status_of(trust(lake(old))) == ("refunded" if moment in published_last else "open")
    pull_status(client, lake(old), "paid")
    assert status_of(trust(lake(old))) == "paid"


def test_a_pull_that_fails_takes_nothing_from_one_that_runs_beside_it(
    old: Path, sandbox: Sandbox, client: GofundoClient
) -> None:
    def failing_pull() -> None:
        sandbox.faults.add("status", status=403, after=1)
        with pytest.raises(GofundoApiError):
            pull_status(client, lake(old), "refunded", records_per_part=2)

    pull_status(client, Folder(Storage(other_pull_at("before mv", failing_pull)), str(old)), "open")

    assert status_of(trust(lake(old))) == "open"


def follow(path: Directory, over: threading.Event) -> Iterator[str]:
    """Read as the documentation tells readers to: by the manifest, and again when a part has gone meanwhile."""
    while not over.is_set():
        manifest = read_manifest(path)
        assert manifest, "there was a dataset, so there is one"
        try:
            parts = [content(path, part.name) for part in manifest.parts]
        except FileNotFoundError:
            continue
        assert [len(part) for part in parts] == [part.bytes for part in manifest.parts]
        status: str = manifest.query_params["status"]
        ids = [json.loads(line)["id"] for part in parts for line in gzip.decompress(part).splitlines()]
        assert ids == STATUS[status]
        yield status


def test_a_reader_that_follows_the_manifest_never_sees_a_mix(old: Path, client: GofundoClient) -> None:
    over = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(lambda: list(follow(lake(old), over))) for _ in range(2)]
        try:
            for number in range(30):
                status = ("open", "refunded", "paid")[number % 3]
                pull_status(client, lake(old), status, records_per_part=number % 5 + 1)
        finally:
            over.set()
        seen = [reader.result() for reader in readers]

    assert all(set(statuses) == {"paid", "open", "refunded"} for statuses in seen)


def test_the_dataset_of_another_list_is_not_replaced(old: Path, client: GofundoClient) -> None:
    before = files(old)

    with pytest.raises(
        GofundoConfigError, match="holds a dataset of api/donations; choose another path for api/donors"
    ):
        pull(client, "api/donors", lake(old))

    assert files(old) == before


def test_a_path_that_held_the_list_with_another_query_is_told(
    client: GofundoClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = []
    for query in (
        {"status": "paid", "per_page": 3}, {"status": "paid", "per_page": 5}, {"status": "open"}, {"ids[]": [1, 2]}
    ):  # fmt: skip
        caplog.clear()
        pull(client, "api/donations", lake(tmp_path), query_params=query)
        told += [line.getMessage() for line in caplog.records if "replaces a dataset" in line.getMessage()]

    assert [line.partition("with another ")[2].partition(";")[0] for line in told] == [
        "'status'",
        "'ids[]', 'status'",
    ]


def test_a_full_storage_is_told_as_such(old: Path, client: GofundoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
        def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
            if "w" in mode and path.endswith(".gz"):
                raise OSError(28, "No space left on device")
            return super().open(path, mode)

    before = files(old)

    with pytest.raises(GofundoStorageError, match=r"its storage failed: OSError: .*No space left"):
        pull_status(client, Folder(Full(), str(old)), "open")

    assert files(old) == before
