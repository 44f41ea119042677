"""The documentation tells the truth: links lead somewhere, code is code, and what it says can be run runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import duckdb
import pytest

from airflow_provider_gofundo.form import EXTRA_FIELDS, STANDARD_LABELS
from airflow_provider_gofundo.sandbox import Sandbox
from tests.dataset.test_parquet import write

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])

_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_INCLUDED = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)


def blocks(page: Path, language: str = "python") -> Iterator[str]:
    """The code blocks of a page, with the files that they include."""
    for _, found, code in _BLOCK.findall(page.read_text()):
        if found == language:
            yield _INCLUDED.sub(lambda name: (ROOT / name[1]).read_text(), dedent(code))


def block(page: str, beginning_of_a_line: str, language: str = "python") -> str:
    """The one code block that has such a line."""
    lines = re.compile(rf"^{re.escape(beginning_of_a_line)}", re.MULTILINE)
    (found,) = [code for code in blocks(ROOT / "docs" / page, language) if lines.search(code)]
    return found


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in a link, on the site and on GitHub."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_something(page: Path) -> None:
    for link in _LINK.findall(_FENCED.sub("", page.read_text())):
        name, _, anchor = link.partition("#")
        if "://" in name:
            continue
        target = page.parent / name if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_of_a_page_is_python(page: Path) -> None:
    for code in blocks(page):
        compile(code, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_belongs_to_a_list_item_is_indented_by_four(page: Path) -> None:
    """With less GitHub shows a list in a list, and the site one list of all."""
    assert re.findall(r"^ {1,3}(?:[-*] |\d+\. |```).*$", page.read_text(), re.MULTILINE) == []


def test_every_example_is_on_the_page_of_examples() -> None:
    shown = _INCLUDED.findall((ROOT / "docs" / "examples.md").read_text())

    assert sorted(shown) == sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("example_dags/*.py"))


def test_events_are_handled_alike_on_the_page_in_the_example_and_in_the_real_triggerer() -> None:
    files = ["docs/sensors-and-events.md", "example_dags/gofundo_watch.py", "tests/system/test_triggerer.py"]
    task = re.compile(
        r"^    @task\(inlets=.*\n    def new_keys\(\*\*context.*\n(?: +\"{3}.*\n)?(.*\n)\n    new_keys\(\)$",
        re.MULTILINE,
    )

    (code,) = {task.search((ROOT / file).read_text())[1] for file in files}  # type: ignore[index]  # or it fails
    assert "new_events(donations, context)" in code


def test_the_page_on_the_connection_has_the_fields_of_the_form_in_its_order() -> None:
    page = (ROOT / "docs" / "connection.md").read_text()

    assert set(STANDARD_LABELS.values()) <= set(re.findall(r"^\| (\w[\w ]*) \|", page, re.MULTILINE))
    assert re.findall(r"^\| (\w[\w ]*) \| `(\w+)` \|", page, re.MULTILINE) == [
        (field["label"], key) for key, field in EXTRA_FIELDS.items()
    ]


@pytest.fixture(scope="module")
def _database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def run(
    _database: None, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Any]:
    """Run the DAG of a block, as it stands there; gives what its tasks returned, by task id."""
    dags = tmp_path / "dags"
    dags.mkdir()
    connection = {"conn_type": "gofundo", "host": sandbox.url, "login": "1", "password": "secret-machine-1"}
    monkeypatch.setenv("AIRFLOW_CONN_GOFUNDO_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("HOME", str(tmp_path))
    bundle = {
        "name": "docs",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dags)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))

    def run(name: str, code: str) -> Any:
        from airflow.dag_processing.dagbag import DagBag

        file = dags / f"{name}.py"
        file.write_text(code)
        bag = DagBag(str(file))
        assert not bag.import_errors
        run = bag.dags[name].test()
        assert run.state == "success"
        return {task.task_id: task.xcom_pull(task_ids=task.task_id) for task in run.get_task_instances()}

    return run


def test_the_tutorial_ends_with_the_list_on_the_disk(
    run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    returned = run("donations", block("tutorial.md", 'with DAG("donations"'))
    capsys.readouterr()
    exec(block("tutorial.md", "print("))

    assert returned["pull"]["records"] == 40
    assert capsys.readouterr().out == "40 donations, 13 of them paid\n"
    assert (tmp_path / "gofundo-tutorial" / "lake" / "donations" / "_manifest.json").exists()


def test_the_sensor_of_the_page_waits_in_the_sandbox_until_a_donation_changes(run: Any, sandbox: Sandbox) -> None:
    of_the_page = block("sensors-and-events.md", "GofundoSensor(").replace("{{ ds }}", "{{ dag_run.run_after | ds }}")
    head, call = of_the_page.split("\n\n")
    for old, new in {"deferrable=True": "deferrable=False", "poke_interval=300": "poke_interval=0.01"}.items():
        assert call.count(old) == 1
        call = call.replace(old, new)
    looks = iter(range(100))

    def at_the_third(*_: Any) -> None:
        if next(looks) == 2:
            sandbox.records_touch("donations", [3])

    sandbox.before_each(at_the_third)

    returned = run("wait", f"from airflow.sdk import DAG\n{head}\n\nwith DAG('wait'):\n{indent(call, '    ')}")

    assert (returned["changed"], next(looks)) == (1, 3)


def test_the_whole_list_goes_into_duckdb_with_its_types(run: Any, tmp_path: Path) -> None:
    code = block("warehouse.md", "LAKE =").replace('"/lake"', repr(str(tmp_path)))

    returned = run("donations_to_duckdb", code)
    again = run("donations_to_duckdb", code)

    assert returned["load"] == again["load"] == 40
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as db:
        assert db.sql("select typeof(amount), count(*) from donations group by all").fetchall() == [
            ("DECIMAL(12,2)", 40)
        ]


def test_shards_with_columns_of_their_own_are_read_whole(tmp_path: Path) -> None:
    one = write(tmp_path, '{"id":1,"refund":{"by":"x"},"fee":1}', '{"id":2}')
    two = write(tmp_path, '{"id":3,"refund":{"at":7},"fee":1.5}', '{"id":4,"late":true}')
    found: dict[str, Any] = {"files": one.files + two.files}

    exec("import pyarrow.dataset, pyarrow.parquet\n" + block("parquet.md", "schemas ="), found)

    assert found["donations"].to_table().to_pylist() == [
        {"id": 1, "refund": {"by": "x", "at": None}, "fee": 1.0, "late": None},
        {"id": 2, "refund": None, "fee": None, "late": None},
        {"id": 3, "refund": {"by": None, "at": 7}, "fee": 1.5, "late": None},
        {"id": 4, "refund": None, "fee": None, "late": True},
    ]


def test_changes_are_merged_into_duckdb_as_the_page_says(run: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    whole = '"create or replace table donations as from read_parquet($files, union_by_name = true)"'
    code = block("warehouse.md", "LAKE =").replace('"/lake"', repr(str(tmp_path)))
    for old, new in {
        f"STATEMENTS = [{whole}]": block(
            "warehouse.md", "from airflow_provider_gofundo.dataset.incremental import Incremental"
        ),
        'path=f"file://{LAKE}/donations"': 'path=f"file://{LAKE}/donations/{{{{ ts_nodash }}}}", '
        'incremental=Incremental(param="updated_since", field="updated_at")',
    }.items():
        assert code.count(old) == 1
        code = code.replace(old, new)

    first = run("donations_to_duckdb", code)
    sandbox.records_insert("donations", 2)
    sandbox.records_touch("donations", [7], at=sandbox.records["donations"].updated(42) + 60)
    second = run("donations_to_duckdb", code)

    assert (first["load"], second["load"]) == (40, 4)  # those, and the last one of the run before
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as db:
        newest = "select id from donations where updated_at = (select max(updated_at) from donations)"
        assert db.sql("select count(*), count(distinct id) from donations").fetchall() == [(42, 42)]
        assert db.sql(newest).fetchall() == [(7,)]


# Each of these runs found record 7 as it was then; Laravel's times have whole seconds, so both have the same.
ONE, TWO = "20261128T100000Z-0f000000-00001", "20261128T101500Z-0a000000-00001"
FOUND = {ONE: 10, TWO: 25}


@pytest.mark.parametrize("loads", [[[ONE], [TWO]], [[TWO], [ONE]], [[ONE], [TWO], [ONE]], [[ONE, TWO]], [[TWO, ONE]]])
@pytest.mark.parametrize("page", ["incremental.md", "warehouse.md"])
def test_of_two_changes_in_one_second_that_of_the_later_run_stays(
    tmp_path: Path, page: str, loads: list[list[str]]
) -> None:
    for run, amount in FOUND.items():
        lines = tmp_path / f"{run}.ndjson"
        lines.write_text(json.dumps({"id": 7, "amount": amount, "updated_at": "2026-11-28T10:00:00.000000Z"}))
        duckdb.sql(f"copy (from read_json('{lines}')) to '{tmp_path / run}.parquet'")
    with duckdb.connect() as db:
        if page == "warehouse.md":
            code: dict[str, Any] = {}
            exec(block(page, "from airflow_provider_gofundo.dataset.incremental import Incremental"), code)
            statements, suffix = code["STATEMENTS"], "parquet"
        else:
            db.execute("create table donations (id bigint, amount decimal(12, 2), updated_at timestamptz, part text)")
            statements, suffix = [block(page, "merge into donations", "sql")], "ndjson"

        for runs in loads:
            for statement in statements:
                db.execute(statement, {"files": [str(tmp_path / f"{run}.{suffix}") for run in runs]})

        assert db.sql("select id, amount from donations").fetchall() == [(7, FOUND[TWO])]


def test_a_run_of_the_reacting_dag_that_a_person_starts_has_no_events(run: Any) -> None:
    assert run("react", block("sensors-and-events.md", 'with DAG("react"')) == {"new_keys": []}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "with DAG(" in page.read_text()], ids=lambda page: page.name
)
def test_every_dag_of_a_page_has_tasks(page: Path) -> None:
    for code in blocks(page):
        if "with DAG(" in code:
            assert re.search(r"(Operator|Sensor)\b.*\(|^    (\w+ = )?\w+\(", code, re.MULTILINE), code
