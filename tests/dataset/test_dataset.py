"""What lands: parts cut where they should be, the server's own bytes in them, and a manifest that is right."""

from __future__ import annotations

import json
import stat
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.dataset.manifest import Directory, read_manifest
from airflow_provider_gofundo.dataset.part import Compression
from airflow_provider_gofundo.exceptions import GofundoConfigError
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.reader import files, lake, trust
from tests.dataset.storage import Folder
from tests.fixtures import ClientOf, pull
from tests.replay import Answer, Replay

EVERY = [*range(1, 41)]


def test_the_manifest_says_what_came_from_where(sandbox: Sandbox, client: GofundoClient, tmp_path: Path) -> None:
    before = datetime.now(timezone.utc)

    summary = pull(
        client, "api/donations", lake(tmp_path), query_params={"per_page": 10, "status": "paid"}, records_per_part=5
    )

    found = trust(lake(tmp_path))
    assert found
    manifest = found.manifest
    started, finished = (datetime.fromisoformat(manifest.pop(name)) for name in ("started", "finished"))
    assert before <= started <= finished <= datetime.now(timezone.utc)
    assert started.utcoffset() == finished.utcoffset() == before.utcoffset()
    assert [sorted(part) for part in manifest.pop("parts")] == [["bytes", "name", "records", "sha256"]] * 3
    assert manifest == {
        "manifest_version": 1,
        "run": summary.run,
        "source": sandbox.url,
        "endpoint": "api/donations",
        "query_params": {"per_page": "10", "status": "paid"},
        "records": 13,
        "pages": 2,
        "total": [13, 13],
        "file_format": "ndjson",
        "compression": "gzip",
        "record_key": "id",
        "drift": {"seen": False, "twice": 0, "repulls": 0, "added": 0, "complete": True},
        "incremental": None,
        "shards": 1,
        "tries": [],
        "excluded": [],
        "pseudonymized": [],
    }


def test_the_summary_agrees_with_the_manifest_and_the_server(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    sandbox.faults.add("status", status=500, after=1)
    ticks = iter(range(100, 1000))

    summary = pull(
        client, "api/donations", lake(tmp_path), query_params={"per_page": 20}, records_per_part=15,
        clock=lambda: float(next(ticks)),
    )  # fmt: skip

    found = trust(lake(tmp_path))
    assert found
    assert (summary.path, summary.manifest) == (str(tmp_path), str(tmp_path / "_manifest.json"))
    assert (summary.endpoint, summary.records, summary.total, summary.pages) == ("api/donations", 40, 40, 2)
    assert (summary.requests, summary.retries) == (3, 1)
    assert (summary.parts, summary.bytes) == (3, sum(map(len, found.stored)))
    assert summary.seconds == next(ticks) - 101


def test_read_manifest_gives_what_the_file_says(client: GofundoClient, tmp_path: Path) -> None:
    assert read_manifest(lake(tmp_path)) is None

    summary = pull(client, "api/donors", lake(tmp_path), query_params={"per_page": 100})

    manifest = read_manifest(lake(tmp_path))
    assert manifest
    assert (manifest.run, manifest.records, manifest.total) == (summary.run, 250, (250, 250))
    assert [part.name for part in manifest.parts] == [f"{summary.run}-00001.ndjson.gz"]


def test_a_list_without_a_total_says_so(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/cursor-paginate/donations", lake(tmp_path))

    found = trust(lake(tmp_path))
    assert found
    assert found.manifest["total"] == [None, None]
    assert found.ids == EVERY


def test_the_totals_of_the_first_and_the_last_page_show_a_list_that_changed(
    client_of: ClientOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Sandbox(records=40) as sandbox:
        ticks = iter(range(1000))

        def clock() -> float:
            tick = next(ticks)
            if tick == 3:
                sandbox.records_insert("donations", 2)
            return float(tick)

        pull(client_of(sandbox.url), "api/donations", lake(tmp_path), query_params={"per_page": 10}, clock=clock)

    found = trust(lake(tmp_path))
    assert found
    assert (found.manifest["total"], found.manifest["records"]) == ([40, 42], 42)


def test_a_total_that_differs_from_what_came_is_a_warning_where_nothing_may_be_pulled_again(
    replay: Replay, client_of: ClientOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replay.answer(
        Answer(body=b'{"data":[{"id":1}],"current_page":1,"last_page":2,"total":3,"next_page_url":"?page=2"}'),
        Answer(body=b'{"data":[{"id":2}],"current_page":2,"last_page":2,"total":3,"next_page_url":null}'),
    )

    pull(client_of(replay.url), "api/list", lake(tmp_path), on_drift="warn")

    assert "2 records came, 0 of them again; the server counted 3 at first and 3 at last" in caplog.text


@pytest.mark.parametrize(
    ("records_per_part", "per_page", "sizes"),
    [
        (1, 7, [1] * 40),
        (7, 7, [7, 7, 7, 7, 7, 5]),
        (10, 7, [10, 10, 10, 10]),
        (10, 10, [10, 10, 10, 10]),
        (10, 40, [10, 10, 10, 10]),
        (3, 40, [3] * 13 + [1]),
        (39, 10, [39, 1]),
        (40, 10, [40]),
        (41, 10, [40]),
        (100_000, 1, [40]),
    ],
)
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_parts_are_cut_at_exactly_the_records_asked_for(
    records_per_part: int, per_page: int, sizes: list[int], compression: Compression, client: GofundoClient,
    tmp_path: Path,
) -> None:  # fmt: skip
    pull(
        client, "api/donations", lake(tmp_path), query_params={"per_page": per_page},
        records_per_part=records_per_part, compression=compression,
    )  # fmt: skip

    found = trust(lake(tmp_path))
    assert found
    assert found.sizes == sizes
    assert found.ids == EVERY
    assert set(files(tmp_path)) == {"_manifest.json", *found.names}


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_an_empty_list_is_a_dataset_without_parts(
    compression: Compression, client: GofundoClient, tmp_path: Path
) -> None:
    query = {"status": "nothing has this"}

    summary = pull(client, "api/donations", lake(tmp_path), query_params=query, compression=compression)

    found = trust(lake(tmp_path))
    assert found
    assert (found.manifest["records"], found.manifest["total"], found.names) == (0, [0, 0], [])
    assert (summary.records, summary.parts, summary.bytes) == (0, 0, 0)
    assert set(files(tmp_path)) == {"_manifest.json"}


def test_an_empty_list_replaces_one_that_was_not(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/donations", lake(tmp_path))

    pull(client, "api/donations", lake(tmp_path), query_params={"status": "nothing has this"})

    assert set(files(tmp_path)) == {"_manifest.json"}


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_line_is_the_servers_own_bytes(
    compression: Compression, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull(client, "api/actions", lake(tmp_path), records_per_part=9, compression=compression)

    found = trust(lake(tmp_path))
    assert found
    assert found.lines == sandbox.records["actions"].texts(EVERY)


def test_odd_values_arrive_untouched(replay: Replay, client_of: ClientOf, tmp_path: Path) -> None:
    odd = r'{"id":123456789012345678901234567890,"n":1.10,"e":1E400,"s":"\u00df\/ß \u2028\n\"","x":null,"x":0}'
    separators = '{"s":"\u2028\u2029\u0085"}'
    replay.answer(Answer(body=f"[{odd},{separators}]".encode()))

    pull(client_of(replay.url), "api/list", lake(tmp_path), compression="none")

    found = trust(lake(tmp_path))
    assert found
    assert found.plain == [f"{odd}\n{separators}\n".encode()]


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_two_identical_pulls_make_identical_bytes(
    compression: Compression, client: GofundoClient, tmp_path: Path
) -> None:
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        pull(client, "api/donations", lake(folder), records_per_part=15, compression=compression)
        found.append(trust(lake(folder)))

    one, two = found
    assert one
    assert two
    assert one.stored == two.stored
    # Bytes 4 to 8 of a gzip file are the time it was made.
    assert compression == "none" or all(part[4:8] == bytes(4) for part in one.stored)
    assert not {*one.names} & {*two.names}


def test_the_names_of_the_parts_sort_in_the_order_of_the_records(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/donors", lake(tmp_path), query_params={"per_page": 250}, records_per_part=2)

    found = trust(lake(tmp_path))
    assert found
    assert len(found.names) == 125
    assert sorted(found.names) == found.names
    assert found.ids == [*range(1, 251)]


@pytest.fixture
def memory() -> Iterator[Directory]:
    path: Directory = UPath(f"memory://lake-{uuid.uuid4().hex}/gofundo/donations")
    yield path
    MemoryFileSystem().rm(path.path, recursive=True)


def pull_twice(client: GofundoClient, path: Directory) -> None:
    pull(client, "api/donations", path, query_params={"status": "paid"}, records_per_part=4)
    pull(client, "api/donations", path, query_params={"per_page": 15}, records_per_part=12)

    found = trust(path)
    assert found
    assert (found.ids, found.sizes) == (EVERY, [12, 12, 12, 4])
    assert {name.rsplit("/", 1)[-1] for name in path.fs.ls(path.path, detail=False)} == {
        "_manifest.json", *found.names,
    }  # fmt: skip


def test_a_dataset_lies_as_well_in_memory(memory: Directory, client: GofundoClient) -> None:
    pull_twice(client, memory)


def test_a_dataset_lies_as_well_on_airflows_object_storage(client: GofundoClient, tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath  # takes seconds, so only here

    pull_twice(client, ObjectStoragePath(f"file://{tmp_path}/lake/donations"))

    assert trust(lake(tmp_path / "lake" / "donations"))


@pytest.mark.parametrize("name", ["with space", "date=2024-01-01", "Zoë", "100%", "a#b", "a+b"])
def test_a_dataset_lies_as_well_in_a_folder_of_an_unusual_name(
    name: str, client: GofundoClient, tmp_path: Path
) -> None:
    pull_twice(client, lake(tmp_path / name))


@pytest.mark.parametrize("name", ["run[1]", "every*", "what?"])
@pytest.mark.parametrize("fs", [LocalFileSystem(), MemoryFileSystem()], ids=["local", "memory"])
def test_a_folder_whose_name_is_a_pattern_is_refused_before_anything_is_sent(
    fs: Any, name: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    with pytest.raises(GofundoConfigError, match="pattern"):
        pull(client, "api/donations", Folder(fs, f"{tmp_path}/{name}"))

    assert sandbox.requests == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"records_per_part": 0}, "records_per_part must be a whole number, at least 1"),
        ({"records_per_part": -1}, "records_per_part must be a whole number, at least 1"),
        ({"records_per_part": 2.5}, "records_per_part must be a whole number, at least 1"),
        ({"records_per_part": True}, "records_per_part must be a whole number, at least 1"),
        ({"exclude_fields": "idea"}, "exclude_fields must be a list of paths"),
        ({"exclude_fields": None}, "exclude_fields must be a list of paths"),
        ({"query_params": "a=1"}, "query_params must be a dictionary"),
        ({"schema": "id"}, "schema must be a dictionary"),
        ({"compression": "zip"}, "compression must be gzip or none"),
        ({"compression": None}, "compression must be gzip or none"),
        ({"query_params": {"page": 2}}, "query_params may not hold page"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(
    arguments: dict[str, Any], says: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    with pytest.raises(GofundoConfigError, match=says):
        pull(client, "api/donations", lake(tmp_path), **arguments)

    assert sandbox.requests == ()
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b'"\xff"',
        b'{"manifest_version":1,"entries":[]}',
        json.dumps({"name": "A web app", "start_url": "/"}).encode(),
    ],
)
def test_a_foreign_manifest_is_refused_before_anything_is_sent(
    foreign: bytes, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    (tmp_path / "_manifest.json").write_bytes(foreign)

    with pytest.raises(GofundoConfigError, match="is not a manifest of ours; choose another path"):
        pull(client, "api/donations", lake(tmp_path))

    assert sandbox.requests == ()
    assert files(tmp_path) == {"_manifest.json": foreign}


def test_a_manifest_of_a_later_version_is_refused_as_well(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    pull(client, "api/donations", lake(tmp_path))
    file = tmp_path / "_manifest.json"
    file.write_text(file.read_text().replace('"manifest_version": 1', '"manifest_version": 2'))
    before, sent = files(tmp_path), len(sandbox.requests)

    with pytest.raises(GofundoConfigError, match="is not a manifest of ours"):
        pull(client, "api/donations", lake(tmp_path))

    assert len(sandbox.requests) == sent
    assert files(tmp_path) == before


@pytest.mark.parametrize("below", ["", "/deeper", "/deeper/still"])
def test_a_path_below_a_file_is_refused_before_anything_is_sent(
    below: str, sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"mine")

    with pytest.raises(GofundoConfigError, match="cannot be written"):
        pull(client, "api/donations", lake(Path(f"{tmp_path}/file{below}")))

    assert sandbox.requests == ()
    assert files(tmp_path) == {"file": b"mine"}


def test_a_folder_in_the_place_of_the_manifest_is_refused_before_anything_is_sent(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    (tmp_path / "_manifest.json").mkdir()

    with pytest.raises(GofundoConfigError, match="cannot be written"):
        pull(client, "api/donations", lake(tmp_path))

    assert sandbox.requests == ()


class ReadOnly(LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """A file system whose owner lets us look and no more."""

    cachable = False

    def pipe_file(self, path: str, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")


def test_a_path_that_may_only_be_read_is_refused_before_anything_is_sent(
    sandbox: Sandbox, client: GofundoClient, tmp_path: Path
) -> None:
    with pytest.raises(GofundoConfigError, match=r"cannot be written: PermissionError: .*Permission denied"):
        pull(client, "api/donations", Folder(ReadOnly(), str(tmp_path)))

    assert sandbox.requests == ()
    assert files(tmp_path) == {}


def test_a_directory_that_is_not_there_yet_is_made(client: GofundoClient, tmp_path: Path) -> None:
    pull(client, "api/donations", lake(tmp_path / "not" / "there" / "yet"))

    assert trust(lake(tmp_path / "not" / "there" / "yet"))


def test_the_files_get_the_usual_rights(client: GofundoClient, tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.write_bytes(b"")

    pull(client, "api/donations", lake(tmp_path / "lake"))

    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "lake").iterdir()}
    assert modes == {stat.S_IMODE(usual.stat().st_mode)}
