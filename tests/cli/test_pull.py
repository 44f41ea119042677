"""`airflow gofundo pull`: the operator's work without a DAG, complete or absent."""

from __future__ import annotations

import io
import signal
import sys
from argparse import Namespace
from pathlib import Path
from types import FrameType

import pytest
from rich.console import Console

from airflow_provider_gofundo.cli.bar import bar
from airflow_provider_gofundo.cli.command import command, say
from airflow_provider_gofundo.client.client import GofundoClient
from airflow_provider_gofundo.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.dataset.reader import lake, trust
from tests.fixtures import ClientOf, Connect, until
from tests.leaks import SECRETS, leaks
from tests.replay import Answer, Replay


@pytest.fixture(autouse=True)
def _connected(sandbox: Sandbox, connect: Connect) -> None:
    connect(sandbox.url, extra={"pseudonym_key_secret": "key-of-the-tests-pseudonyms"})


def test_a_list_is_pulled_and_the_manifest_named_last(run: Run, tmp_path: Path) -> None:
    done = run("pull", "gofundo_default", "api/donations", str(tmp_path / "lake"))

    found = trust(lake(tmp_path / "lake"))
    assert done.code == 0
    assert found is not None
    assert sorted(found.ids) == list(range(1, 41))
    assert done.lines[0].startswith("40 records on 3 pages, 1 file with ")
    assert done.lines[1] == str(tmp_path / "lake" / "_manifest.json")


def test_every_option_reaches_the_pull(sandbox: Sandbox, run: Run, tmp_path: Path) -> None:
    done = run(
        "pull", "gofundo_default", "api/donations", f"file://{tmp_path}",
        "-q", "per_page=5", "--query-param", "sort=id", "--file-format", "parquet", "--compression", "zstd",
        "--parallel", "1", "--record-key", "", "--exclude-field", "donor_name", "--exclude-field", "meta",
        "--pseudonymize-field", "donor_email", "--records-per-part", "10", "--on-drift", "warn",
    )  # fmt: skip

    found = trust(lake(tmp_path))
    assert done.code == 0, done.err
    assert found is not None
    assert found.manifest["query_params"] == {"per_page": "5", "sort": "id"}
    assert (found.manifest["file_format"], found.manifest["compression"]) == ("parquet", "zstd")
    assert (found.manifest["excluded"], found.manifest["pseudonymized"]) == (["donor_name", "meta"], ["donor_email"])
    assert found.manifest["record_key"] is None
    assert found.sizes == [10, 10, 10, 10]
    assert sandbox.counters.in_flight_max == 1


def test_a_local_path_may_be_relative(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("pull", "gofundo_default", "api/donations", "lake").code == 0
    assert trust(lake(tmp_path / "lake")) is not None


def test_without_a_terminal_progress_is_lines_on_stderr(run: Run, tmp_path: Path) -> None:
    done = run("pull", "gofundo_default", "api/donations", str(tmp_path))

    assert "INFO api/donations: page 1 of 3, 15 of 40 records" in done.err
    assert "INFO" not in done.out


@pytest.mark.parametrize("flags", [[], ["-v"]])
def test_neither_secret_nor_donor_is_printed(run: Run, tmp_path: Path, flags: list[str]) -> None:
    done = run("pull", "gofundo_default", "api/donations", str(tmp_path), *flags)

    assert done.code == 0
    assert leaks([*done.lines, *done.err.splitlines()], SECRETS) == []


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["api/nothing", "{path}"], 1, "gofundo pull: GET api/nothing answered 404."),
        (["api/donations", "{path}", "--compression", "zstd"], 1, "compression must be gzip or none"),
        (["api/donations", "{path}", "--exclude-field", "id"], 1, "exclude_fields may not hold the record_key"),
        (["api/donations", "{path}", "--exclude-field", "nobody"], 1, "or allow it with --unknown-fields ignore."),
        (["api/donations", "{path}", "--parallel", "99"], 1, "parallel must be a whole number from 1 to 32"),
        (["api/donations", ""], 1, "path is empty"),
        (["api/donations", "ftp3://x"], 1, "path ftp3://x"),
        (["api/donations", "{path}", "--on-drift", "shrug"], 2, "invalid choice"),
    ],
)
def test_what_fails_is_one_sentence_and_leaves_no_dataset(
    run: Run, tmp_path: Path, argv: list[str], code: int, says: str
) -> None:
    done = run("pull", "gofundo_default", *[word.format(path=tmp_path / "lake") for word in argv])

    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert "Traceback" not in done.err
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_failed_pull_leaves_the_dataset_before_as_it_was(sandbox: Sandbox, run: Run, tmp_path: Path) -> None:
    run("pull", "gofundo_default", "api/donations", str(tmp_path))
    before = trust(lake(tmp_path))
    sandbox.faults.add("status", "/api/donations", query="page=3", times=None, status=500)

    done = run("pull", "gofundo_default", "api/donations", str(tmp_path))

    assert done.code == 1
    assert trust(lake(tmp_path)) == before


def test_ctrl_c_in_the_last_instant_takes_nothing_back(capsys: pytest.CaptureFixture[str]) -> None:
    def at_an_exit(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "__exit__":
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    @command
    def work(_: Namespace) -> None:
        say("Done.")
        sys.setprofile(at_an_exit)

    work(Namespace(verbose=False))

    assert sys.getprofile() is None
    assert capsys.readouterr() == ("Done.\n", "")


# --- the bar -----------------------------------------------------------------------------------------------------


def test_the_bar_tells_the_pages_that_came_of_those_there_are(client: GofundoClient) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)

    with bar(client, "api/donations", {"per_page": 10}, console=terminal):
        for page in ("1", "2"):
            client.request("GET", "api/donations", query_params={"per_page": 10, "page": page})
        until(lambda: "2/4" in screen.getvalue())

    assert "api/donations" in screen.getvalue()


def test_the_bar_of_a_list_without_a_last_page_counts(client: GofundoClient) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)

    with bar(client, "api/cursor-paginate/donations", {}, console=terminal):
        client.request("GET", "api/cursor-paginate/donations")
        until(lambda: "1/?" in screen.getvalue())


def test_the_bar_takes_no_endpoint_for_markup(replay: Replay, client_of: ClientOf) -> None:
    replay.answer(Answer(body=b'{"data": []}'))
    screen = io.StringIO()

    with bar(client_of(replay.url), "api/x[/red]", {}, console=Console(file=screen, force_terminal=True, width=120)):
        until(lambda: "api/x[/red]" in screen.getvalue())


def test_the_bar_says_what_is_wrong_before_a_pull_begins(sandbox: Sandbox, client: GofundoClient) -> None:
    from airflow_provider_gofundo.exceptions import GofundoApiError

    with pytest.raises(GofundoApiError), bar(client, "api/nothing", {}):
        raise AssertionError("never gets here")
