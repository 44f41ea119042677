"""`airflow gofundo peek`: what a list looks like, and a task that pulls it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from airflow_provider_gofundo.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.fixtures import Connect
from tests.leaks import SECRETS, leaks
from tests.replay import Answer, Replay


@pytest.fixture(autouse=True)
def _connected(sandbox: Sandbox, connect: Connect) -> None:
    connect(sandbox.url)


def records(replay: Replay, connect: Connect, *found: dict[str, Any]) -> None:
    """A server whose one list is these records."""
    connect(replay.url)
    replay.answer(Answer(200, {"Content-Type": "application/json"}, json.dumps({"data": found}).encode()))


def block(out: str) -> str:
    lines = out.partition("In a DAG:\n")[2].split("\n")
    return "\n".join(line[2:] for line in lines)


def test_a_list_is_told_with_its_size_shape_fields_and_first_records(run: Run) -> None:
    done = run("peek", "gofundo_default", "api/donations")

    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "api/donations: 40 records on 3 pages of 15."
    assert done.lines[1] == "Shape: numbered pages with a total (paginate)."
    assert "  amount       string" in done.lines
    assert done.out.count('"id": ') == 3


@pytest.mark.parametrize(
    ("endpoint", "shape", "size"),
    [
        ("api/paginate/donations", "(paginate)", "on 3 pages of 15"),
        ("api/simple-paginate/donations", "(simplePaginate)", "15 records a page"),
        ("api/cursor-paginate/donations", "(cursorPaginate)", "15 records a page"),
        ("api/plain/donations", "the whole list in one answer", "40 records, on one page"),
    ],
)
def test_every_shape_has_its_name(run: Run, endpoint: str, shape: str, size: str) -> None:
    done = run("peek", "gofundo_default", endpoint)

    assert shape in done.lines[1]
    assert size in done.lines[0]


def test_only_what_is_shown_is_asked_for(sandbox: Sandbox, run: Run) -> None:
    few, many = (run("peek", "gofundo_default", "api/donations", "--records", n) for n in ("15", "16"))

    lists = [seen for seen in sandbox.requests if seen.path == "/api/donations"]
    assert (few.out.count('"id": '), many.out.count('"id": ')) == (15, 16)
    assert len(lists) == 1 + 2


def test_query_params_are_sent_and_stand_in_the_task(sandbox: Sandbox, run: Run) -> None:
    done = run("peek", "gofundo_default", "api/donations", "-q", "per_page=3", "-q", "search=a=b")

    assert sandbox.requests[-1].query == {"per_page": "3", "search": "a=b"}
    assert 'query_params={"per_page": "3", "search": "a=b"},' in done.out


@pytest.mark.parametrize("query", [[], ["-q", "status=paid"]])
def test_what_the_task_suggests_can_be_taken_out_of_its_comment(run: Run, query: list[str]) -> None:
    done = run("peek", "gofundo_default", "api/donations", *query)

    code = done.out.partition("In a DAG")[2].partition("\n")[2]
    uncommented = re.sub(r"^( +)# (\w+=.+,)$", r"\1\2", code, flags=re.MULTILINE)
    suggested = ast.unparse(ast.parse(dedent(uncommented)))
    assert "exclude_fields=[" in suggested
    assert "incremental=Incremental(" in suggested
    assert ("query_params={'per_page': 100}" in suggested) == (not query)


def test_without_values_no_record_is_printed(run: Run) -> None:
    done = run("peek", "gofundo_default", "api/donations", "--no-values")

    assert "donor_email" in done.out
    assert leaks(done.lines, SECRETS) == []


def test_without_values_the_keys_of_a_map_are_names_as_the_page_says(
    replay: Replay, connect: Connect, run: Run
) -> None:
    records(replay, connect, {"id": 1, "per_donor": {"ann@example.org": "5.00"}})

    done = run("peek", "gofundo_default", "api/list", "--no-values")

    assert "  per_donor.ann@example.org  string" in done.lines
    assert "5.00" not in done.out


def test_records_are_printed_and_never_logged(run: Run, kept_lines: list[str]) -> None:
    before = len(kept_lines)

    done = run("peek", "gofundo_default", "api/donations", "-v")

    assert leaks(done.lines, SECRETS)
    assert leaks([*kept_lines[before:], *done.err.splitlines()], SECRETS) == []


def test_the_task_it_prints_pulls_the_list(run: Run, tmp_path: Path) -> None:
    code = block(run("peek", "gofundo_default", "api/donations").out).replace("s3://lake", f"file://{tmp_path}")
    scope: dict[str, Any] = {}
    exec(code.replace("\nGofundoTo", "\ntask = GofundoTo"), scope)

    assert scope["task"].execute({})["records"] == 40


def test_what_its_comments_propose_is_python_and_known_to_the_operator(run: Run) -> None:
    code = block(run("peek", "gofundo_default", "api/donations").out)
    proposed = code.replace("# from", "from").replace("# exclude", "exclude").replace("# incr", "incr")
    scope: dict[str, Any] = {}
    exec(proposed.replace("\nGofundoTo", "\ntask = GofundoTo"), scope)

    assert scope["task"].exclude_fields == ["donor_name", "donor_email"]
    assert scope["task"].incremental.field == "updated_at"


def test_the_record_key_is_one_that_exists(replay: Replay, connect: Connect, run: Run) -> None:
    records(replay, connect, {"uuid": "a", "kind_id": 1}, {"uuid": "b", "kind_id": 1})

    assert 'record_key="uuid",' in run("peek", "gofundo_default", "api/things").out


def test_a_list_without_a_key_is_pulled_without(replay: Replay, connect: Connect, run: Run) -> None:
    records(replay, connect, {"amount": 1}, {"amount": 2})

    assert "record_key=None," in run("peek", "gofundo_default", "api/things").out


def test_fields_inside_lists_and_objects_are_paths_as_the_operator_takes_them(
    replay: Replay, connect: Connect, run: Run
) -> None:
    records(
        replay,
        connect,
        {"id": 1, "lines": [{"donor": {"email": "x"}}], "project": {"name": "y"}},
        {"id": 2, "more": None},
    )

    lines = [" ".join(line.split()) for line in run("peek", "gofundo_default", "api/things").lines]

    assert "lines.donor.email string" in lines
    assert "more null, missing in some" in lines
    assert '# exclude_fields=["lines.donor.email"],' in lines


def test_what_a_terminal_would_obey_is_shown_as_text(replay: Replay, connect: Connect, run: Run) -> None:
    connect(replay.url)
    body = '{"data": [{"id": 1, "na\x9bme": "\x9b2J \u202egnp.exe é"}]}'.encode()
    replay.answer(Answer(200, {"Content-Type": "application/json"}, body))

    done = run("peek", "gofundo_default", "api/things")

    assert "\x9b" not in done.out
    assert "\u202e" not in done.out
    assert "\\u009b2J \\u202egnp.exe é" in done.out


def test_an_empty_list_is_told(replay: Replay, connect: Connect, run: Run) -> None:
    records(replay, connect)

    done = run("peek", "gofundo_default", "api/things")

    assert done.code == 0
    assert "There is no record to look at" in done.out


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["api/nothing"], 1, "gofundo peek: GET api/nothing answered 404."),
        (["api/donations/1"], 1, "it is one item"),
        (["https://elsewhere.example/api"], 1, "endpoint points to elsewhere.example"),
        (["api/donations", "-q", "page=2"], 1, "query_params may not hold page"),
        (["api/donations", "-q", "status"], 2, "write it as name=value"),
        (["api/donations", "-n", "few"], 2, "no whole number from 0 up"),
        ([], 2, "endpoint"),
    ],
)
def test_what_cannot_be_is_one_sentence_on_stderr(run: Run, argv: list[str], code: int, says: str) -> None:
    done = run("peek", "gofundo_default", *argv)

    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert "Traceback" not in done.err
