"""
Bad input and bad servers, through the operator that people use.

Each ends in an error of its own with a text that helps, or in a complete dataset. What was there before an error is
there after it, byte for byte, and nothing else.
"""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_gofundo.exceptions import (
    GofundoApiError,
    GofundoAuthError,
    GofundoConfigError,
    GofundoConnectionError,
    GofundoError,
    GofundoRateLimitError,
    GofundoResponseError,
)
from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.transfers.gofundo_to_object_storage import GofundoToObjectStorageOperator
from tests.fixtures import Connect, Waits
from tests.leaks import SECRETS, exposed
from tests.replay import Answer, Replay, recorded

JSON = {"Content-Type": "application/json"}


def pull(path: Path, endpoint: str = "api/donations", **arguments: Any) -> dict[str, Any]:
    # One request at a time, so that it is known which one meets a fault.
    arguments = {"query_params": {"per_page": 15}, "records_per_part": 25, "parallel": 1, **arguments}
    operator = GofundoToObjectStorageOperator(task_id="pull", endpoint=endpoint, path=path.as_uri(), **arguments)
    summary: dict[str, Any] = operator.execute({})
    return summary


def files(path: Path) -> dict[str, bytes]:
    """All that lies below a directory, directories too."""
    return {str(file.relative_to(path)): b"" if file.is_dir() else file.read_bytes() for file in path.rglob("*")}


def ids(path: Path) -> list[int]:
    """The ids of the dataset's records, read as a reader should."""
    manifest = json.loads((path / "_manifest.json").read_bytes())
    lines = [gzip.decompress((path / part["name"]).read_bytes()).splitlines() for part in manifest["parts"]]
    found = [json.loads(line)["id"] for part in lines for line in part]
    assert len(found) == manifest["records"]
    assert set(files(path)) == {"_manifest.json", *(part["name"] for part in manifest["parts"])}
    return found


def run(path: Path) -> str:
    """Which pull the dataset is of."""
    manifest = json.loads((path / "_manifest.json").read_bytes())
    return str(manifest["run"])


@pytest.fixture(scope="module")
def one_sandbox() -> Iterator[Sandbox]:
    with Sandbox(records=40) as running:
        yield running


@pytest.fixture
def sandbox(one_sandbox: Sandbox) -> Sandbox:
    """One for all tests here, which leave its records alone."""
    one_sandbox.faults.clear()
    one_sandbox.counters.clear()
    return one_sandbox


@pytest.fixture
def dataset(sandbox: Sandbox, connect: Connect, tmp_path: Path) -> Path:
    """A directory with a complete dataset of forty records; the connection is good."""
    connect(sandbox.url)
    path = tmp_path / "lake" / "donations"
    pull(path)
    sandbox.counters.clear()
    return path


Fails = Callable[..., GofundoError]


@pytest.fixture
def fails(dataset: Path) -> Fails:
    """Pull, expect exactly this error, and look at what it left behind."""

    def attempt(kind: type[GofundoError], **arguments: Any) -> GofundoError:
        before = files(dataset.parent)
        with pytest.raises(kind) as caught:
            pull(arguments.pop("path", dataset), **arguments)
        assert type(caught.value) is kind
        assert files(dataset.parent) == before
        assert ids(dataset) == list(range(1, 41))
        assert exposed(caught.value, SECRETS) == []
        return caught.value

    return attempt


# --- the connection is wrong --------------------------------------------------------------------------------------


def test_a_wrong_secret_points_to_the_client_in_gofundo(sandbox: Sandbox, connect: Connect, fails: Fails) -> None:
    connect(sandbox.url, password="not-the-secret")

    error = fails(GofundoAuthError)

    assert isinstance(error, GofundoAuthError)
    assert (error.error, error.status) == ("invalid_client", 401)
    assert "Compare Client ID and Client Secret" in str(error)
    assert "not-the-secret" not in str(error)
    assert sandbox.counters.total == 1, "asked once"


def test_a_revoked_client_points_to_the_client_in_gofundo(sandbox: Sandbox, connect: Connect, fails: Fails) -> None:
    connect(sandbox.url, login="7", password="secret-revoked-7")

    assert "the client may also have been revoked" in str(fails(GofundoAuthError))


def test_a_host_where_nobody_listens_points_to_host_and_port(connect: Connect, fails: Fails, waits: Waits) -> None:
    with socket.create_server(("127.0.0.1", 0)) as briefly:
        port = briefly.getsockname()[1]
    connect(f"http://127.0.0.1:{port}", extra={"max_attempts": 3})

    assert "Check Host and Port" in str(fails(GofundoConnectionError))
    assert len(waits) == 2


def test_a_host_that_does_not_exist_points_to_host(connect: Connect, fails: Fails) -> None:
    connect("https://nowhere.invalid")

    assert "No such host: https://nowhere.invalid" in str(fails(GofundoConnectionError))


def test_a_host_over_plain_http_is_refused_before_anything_is_sent(connect: Connect, fails: Fails) -> None:
    connect("http://gofundo.nl")

    assert "Connection 'gofundo_default': Host begins with http://" in str(fails(GofundoConfigError))


def test_a_server_that_falls_silent_midway_ends_within_the_timeout(
    sandbox: Sandbox, connect: Connect, fails: Fails
) -> None:
    connect(sandbox.url, extra={"timeout": 0.2, "max_attempts": 2})
    sandbox.faults.add("slow", after=1, times=None, seconds=30)

    assert "No answer within 0.2 s" in str(fails(GofundoConnectionError))


# --- the endpoint or the parameters are wrong ---------------------------------------------------------------------


def test_an_unknown_endpoint_points_to_endpoint_and_host(fails: Fails) -> None:
    error = fails(GofundoApiError, endpoint="api/donation")

    assert isinstance(error, GofundoApiError)
    assert (error.status, error.path) == (404, "api/donation")
    assert "check endpoint, and Host" in str(error)


@pytest.mark.parametrize("endpoint", ["api/donations?status=paid", "https://elsewhere.example/api", "api/../x", ""])
def test_an_endpoint_that_is_no_path_is_refused_before_anything_is_sent(
    sandbox: Sandbox, fails: Fails, endpoint: str
) -> None:
    assert "endpoint" in str(fails(GofundoConfigError, endpoint=endpoint))
    assert sandbox.counters.total == 0


def test_a_page_among_the_parameters_is_refused_before_anything_is_sent(sandbox: Sandbox, fails: Fails) -> None:
    assert "query_params may not hold page" in str(fails(GofundoConfigError, query_params={"page": 3}))
    assert sandbox.counters.total == 0


def test_parameters_that_the_server_rejects_are_named(replay: Replay, connect: Connect, fails: Fails) -> None:
    connect(replay.url)
    replay.answer(recorded("d14_validation_error_json"))

    error = fails(GofundoApiError)

    assert isinstance(error, GofundoApiError)
    assert error.status == 422
    assert "It rejects amount, donor_name, project_id" in str(error)


def test_a_list_that_needs_a_user_points_to_the_grant_type(fails: Fails) -> None:
    assert "Grant type" in str(fails(GofundoAuthError, endpoint="api/user/me"))


def test_a_list_that_needs_a_scope_points_to_scope(fails: Fails) -> None:
    error = fails(GofundoApiError, endpoint="api/scoped/donations")

    assert isinstance(error, GofundoApiError)
    assert error.status == 403
    assert "Scope" in str(error)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"records_per_part": 0}, "records_per_part must be a whole number, at least 1"),
        ({"compression": "zip"}, "compression must be gzip or none"),
    ],
)
def test_a_wrong_argument_is_named(fails: Fails, arguments: dict[str, Any], says: str) -> None:
    assert says in str(fails(GofundoConfigError, **arguments))


# --- the answer is no list ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1])
def test_html_instead_of_json_is_named_and_not_quoted(sandbox: Sandbox, fails: Fails, after: int) -> None:
    sandbox.faults.add("html", after=after)

    text = str(fails(GofundoResponseError))

    assert "answered 200 with no JSON: text/html" in text
    assert "One moment" not in text


@pytest.mark.parametrize("after", [0, 1])
def test_a_redirect_to_the_login_page_is_named(sandbox: Sandbox, fails: Fails, after: int) -> None:
    sandbox.faults.add("login_redirect", after=after)

    assert "redirected to" in str(fails(GofundoResponseError))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"data": {"id": 1, "donor_name": "Bo"}}, "it is one item"),
        ({"id": 1, "donor_name": "Bo"}, "it is one item"),
        ({}, "it is one item"),
        ("Bo", "it is a single value"),
        (None, "it is a single value"),
        (7, "it is a single value"),
        ({"data": "Bo"}, "its data is a single value"),
        ({"data": None}, "its data is a single value"),
        ([1, 2], "some of its records are no objects"),
        ([{"id": 1}, None], "some of its records are no objects"),
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("after", [0, 1])
def test_json_that_is_no_list_is_named_and_not_quoted(
    sandbox: Sandbox, fails: Fails, value: Any, says: str, after: int
) -> None:
    sandbox.faults.add("wrong_type", after=after, value=value)

    text = str(fails(GofundoResponseError))

    assert says in text
    assert "Bo" not in text


def test_broken_json_that_stays_broken_is_an_error(sandbox: Sandbox, fails: Fails) -> None:
    sandbox.faults.add("broken_json", times=None, after=1)

    assert "broken JSON" in str(fails(GofundoResponseError))


def test_a_list_whose_pages_lead_in_a_circle_is_an_error(replay: Replay, connect: Connect, fails: Fails) -> None:
    connect(replay.url)
    replay.answer(recorded("e_cursor_first"))

    assert "was asked for another cursor" in str(fails(GofundoResponseError))


# --- the storage is wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [".", "deeper", "deeper/still"])
def test_a_file_where_the_directory_should_be_is_named(dataset: Path, fails: Fails, below: str) -> None:
    (dataset.parent / "taken").write_bytes(b"a file")

    assert "taken" in str(fails(GofundoConfigError, path=dataset.parent / "taken" / below))


def test_a_manifest_that_is_not_ours_is_left_alone(dataset: Path, fails: Fails, sandbox: Sandbox) -> None:
    other = dataset.parent / "other"
    other.mkdir()
    (other / "_manifest.json").write_bytes(b'{"entries": []}')

    assert "is not a manifest of ours" in str(fails(GofundoConfigError, path=other))
    assert sandbox.counters.total == 0


# --- the server is in trouble -------------------------------------------------------------------------------------


def test_a_throttled_server_is_waited_for(sandbox: Sandbox, dataset: Path, waits: Waits) -> None:
    sandbox.faults.add("status", times=2, after=1, status=429, retry_after=7)

    summary = pull(dataset)

    assert ids(dataset) == list(range(1, 41))
    assert run(dataset) == summary["run"]
    assert waits == [7, 7]
    assert (summary["retries"], summary["requests"], summary["pages"]) == (2, 5, 3)


def test_a_server_that_stays_throttled_ends_in_what_it_asked_for(sandbox: Sandbox, fails: Fails) -> None:
    sandbox.faults.add("status", times=None, after=1, status=429, retry_after=7)

    error = fails(GofundoRateLimitError)

    assert isinstance(error, GofundoRateLimitError)
    assert (error.status, error.retry_in) == (429, 7)
    assert "It asks to wait 7 s" in str(error)


def test_a_server_that_stays_down_is_told_as_such(sandbox: Sandbox, fails: Fails) -> None:
    sandbox.faults.add("status", times=None, after=2, status=503)

    assert "maintenance or overloaded" in str(fails(GofundoApiError))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("status", {"status": 500}),
        ("status", {"status": 503, "retry_after": 30}),
        ("broken_json", {}),
        ("truncate", {}),
        ("drop", {}),
        ("lost_answer", {}),
        ("revoke", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_passing_failure_on_any_page_ends_in_a_complete_dataset(
    sandbox: Sandbox, dataset: Path, kind: str, options: dict[str, Any], after: int
) -> None:
    sandbox.faults.add(kind, after=after, **options)

    summary = pull(dataset)

    assert ids(dataset) == list(range(1, 41))
    assert run(dataset) == summary["run"]
    assert sandbox.counters.faults[kind] == 1


# --- nothing is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"[]", b'{"data":[]}', b' {"data": [ ] } '])
def test_an_empty_list_is_a_complete_dataset_of_nothing(
    replay: Replay, connect: Connect, dataset: Path, body: bytes
) -> None:
    connect(replay.url)
    replay.answer(Answer(200, JSON, body))

    summary = pull(dataset)

    assert (summary["records"], summary["parts"], summary["pages"]) == (0, 0, 1)
    assert ids(dataset) == []
    assert list(files(dataset)) == ["_manifest.json"]


def test_records_arrive_as_the_server_wrote_them(replay: Replay, connect: Connect, tmp_path: Path) -> None:
    connect(replay.url)
    records = [
        b'{"id":1,"name":"Zo\\u00eb \\/ x","amount":"12.50","big":12345678901234567890}',
        b'{"id":2, "n": 1.0}',
    ]
    replay.answer(Answer(200, JSON, b'{"data":[' + b",".join(records) + b"]}"))

    pull(tmp_path, compression="none")

    (part,) = [body for name, body in files(tmp_path).items() if name.endswith(".ndjson")]
    assert part == b"\n".join(records) + b"\n"


@pytest.mark.parametrize("path", ["nosuch://lake/donations", "gs://lake/donations"])
def test_a_storage_without_its_provider_is_named(path: str, connect: Connect, sandbox: Sandbox) -> None:
    connect(sandbox.url)
    operator = GofundoToObjectStorageOperator(task_id="pull", endpoint="api/donations", path=path)

    with pytest.raises(GofundoConfigError, match=f"path {path} cannot be reached, its provider may not be installed"):
        operator.execute({})

    assert sandbox.requests == ()


def test_a_redirect_is_told_with_its_port(sandbox: Sandbox, connect: Connect, fails: Fails) -> None:
    connect(sandbox.url)
    sandbox.faults.add("login_redirect")

    assert f"was redirected to {sandbox.url}/login (302)" in str(fails(GofundoResponseError))


def test_a_port_that_speaks_no_tls_is_told_from_an_untrusted_certificate(
    sandbox: Sandbox, connect: Connect, fails: Fails
) -> None:
    connect(sandbox.url.replace("http://", "https://"))

    assert "TLS broke off, or is not spoken there" in str(fails(GofundoConnectionError))
