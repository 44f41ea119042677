"""
What this provider does in the Airflow that runs this: its form, its pages, pulls, sensors, trigger and commands.

`check_older.py` runs it, in an environment and an AIRFLOW_HOME that go away; nothing is stood in for but the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import pkgutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from older_forms import api_form, pages, web_form
from older_here import AIRFLOW, HOME, connection, either

import airflow_provider_gofundo
from airflow_provider_gofundo.sandbox import Sandbox

DAGS = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
EXAMPLES = Path(__file__).resolve().parents[1] / "example_dags"
BIN = Path(sys.executable).parent

RECORDS = 1_234

# What a module of ours needs that an older Airflow has not; nothing imports it there.
NEEDS = {
    "retry_policy": (3, 3),
    "triggers.confirmed": (3, 3),
    "ui.access": (3, 0),
    "ui.app": (3, 0),
    "ui.flow": (3, 0),
    "ui.pages": (3, 0),
}
PARQUET = ("dataset.arrow", "dataset.columns", "dataset.parquet")

# What the examples import, and where Airflow 2 has it.
IN_AIRFLOW_2 = {
    "from airflow.sdk import DAG, task": "from airflow import DAG\nfrom airflow.decorators import task",
    "from airflow.sdk import DAG": "from airflow import DAG",
}

OUTLETS = 'outlets=[create_asset(host="gofundo.nl", endpoint="api/donations")],'

WAIT_AND_PULL = """
from airflow_provider_gofundo.assets import create_asset
from airflow_provider_gofundo.dataset.incremental import Incremental
from airflow_provider_gofundo.sensors.gofundo import GofundoSensor

LIST = {"endpoint": "api/donations", "query_params": {"per_page": 100}}

with DAG("gofundo_older", schedule=None, start_date=datetime(2026, 1, 1)):
    # Airflow's guard against operators in operators may not take the sensor for one.
    here = GofundoSensor(task_id="here", min_records=10, poke_interval=1, allow_nested_operators=False, **LIST)
    away = GofundoSensor(task_id="away", min_records=10, poke_interval=1, deferrable=True, **LIST)
    pull = GofundoToObjectStorageOperator(
        task_id="pull", path=f"{LAKE}/changes/{{{{ ts_nodash }}}}", **LIST, OUTLETS
        incremental=Incremental(param="updated_since", field="updated_at"),
    )
    here >> away >> pull
"""


def main() -> None:
    """Run what this Airflow can do; exits with an error when some of it fails."""
    from airflow.utils.db import initdb

    with Sandbox(records=RECORDS) as sandbox:
        os.environ["AIRFLOW_CONN_GOFUNDO_DEFAULT"] = json.dumps(connection(sandbox))
        initdb()
        failed = [check.__name__ for check in CHECKS if not passes(check, sandbox)]
    if failed:
        sys.exit(f"Airflow {version('apache-airflow')}: failed: {', '.join(failed)}")


def passes(check: Callable[[Sandbox], str], sandbox: Sandbox) -> bool:
    """Run a check, where a warning in code of ours is an error, and say what it found."""
    with warnings.catch_warnings():
        # Airflow's own filters, which come with it, mean us as well: our name begins with its name.
        warnings.filterwarnings("error", module=r"airflow_provider_gofundo\b")
        try:
            found = check(sandbox)
        except Exception:  # noqa: BLE001  # what comes is what failed
            traceback.print_exc()
            return False
    if found:
        print(f"ok {check.__name__}: {found}", flush=True)
    return True


def run(*command: str) -> str:
    """What a command prints, without a warning or an error that names us."""
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=HOME, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}"
    said = [line for line in (done.stdout + done.stderr).splitlines() if "gofundo" in line.lower()]
    for line in said:
        assert not any(word in line.lower() for word in ("warn", "error", "deprecat", "not fully")), line
    return done.stdout


def imports(_: Sandbox) -> str:
    """Every module of ours that can be of use here is imported."""
    name = airflow_provider_gofundo.__name__
    count = 0
    for module in pkgutil.walk_packages(airflow_provider_gofundo.__path__, f"{name}."):
        own = module.name.removeprefix(f"{name}.")
        if own not in PARQUET and not own.endswith("__main__") and NEEDS.get(own, (0, 0)) <= AIRFLOW:
            import_module(module.name)
            count += 1
    return f"{count} modules, without a warning"


def listed(_: Sandbox) -> str:
    """Airflow lists provider, hook and plugin."""
    assert "airflow-provider-gofundo" in run("airflow", "providers", "list", "-o", "plain")
    assert "GofundoHook" in run("airflow", "providers", "hooks", "-o", "plain")
    plugins = run("airflow", "plugins", "-o", "plain")
    assert "gofundo" in plugins
    assert ("Gofundo connections" in plugins) == (AIRFLOW >= (3, 1))
    return "provider, hook and plugin"


def daily_pull(_: Sandbox) -> str:
    """The example of the README, with the import that it names for Airflow 2."""
    assert dag_of("gofundo_daily_pull", example("gofundo_daily_pull")).test().state == "success"
    manifest = json.loads((HOME / "lake" / "donations" / "_manifest.json").read_text())
    assert (manifest["records"], manifest["drift"]["complete"]) == (RECORDS, True), manifest
    return f"{manifest['records']} records, complete"


def wait_and_pull(sandbox: Sandbox) -> str:
    """Both ways to wait, and a pull with a watermark and an asset, twice; one login for all of it."""
    sandbox.counters.clear()
    text = example("gofundo_daily_pull").partition("with DAG")[0] + WAIT_AND_PULL
    # `dag.test` of Airflow 3.0 knows no assets but those that a scheduler has seen.
    assets = AIRFLOW != (3, 0)
    dag = dag_of("gofundo_older", text.replace("OUTLETS", OUTLETS if assets else ""))
    assert dag.test().state == "success"
    sandbox.records_touch("donations", [7], at=sandbox.records["donations"].updated(RECORDS) + 60)
    again = dag.test()
    assert again.state == "success"
    (pull,) = [instance for instance in again.get_task_instances() if instance.task_id == "pull"]
    summary = pull.xcom_pull(task_ids="pull")
    assert summary["records"] == 2, summary  # the changed one, and the last one again
    if assets:
        told = asset_event()
        assert (told["records"], told["manifest"]) == (2, summary["manifest"]), told
    assert sum(sandbox.counters.grants.values()) <= 1, sandbox.counters.grants
    if AIRFLOW < (3, 0):
        from airflow_provider_gofundo.operators.links import GofundoManifestLink

        key: Any = pull.key
        assert GofundoManifestLink().get_link(dag.get_task("pull"), ti_key=key) == summary["manifest"]
    return f"{RECORDS} records and then {summary['records']}{', told to the asset' if assets else ''}"


def asset_event() -> dict[str, Any]:
    """What the newest event of an asset holds."""
    from airflow.utils.session import create_session

    event = either("airflow.models.asset:AssetEvent", "airflow.models.dataset:DatasetEvent")
    with create_session() as session:
        extra: dict[str, Any] = session.query(event).order_by(event.id.desc()).first().extra
    return extra


def example(name: str) -> str:
    """The text of an example DAG."""
    return (EXAMPLES / f"{name}.py").read_text()


def dag_of(name: str, text: str) -> Any:
    """The DAG of that name in a file."""
    file = DAGS / f"{name}.py"
    if AIRFLOW < (3, 0):
        for newer, older in IN_AIRFLOW_2.items():
            text = text.replace(newer, older)
    file.write_text(text)
    bag = either("airflow.dag_processing.dagbag:DagBag", "airflow.models.dagbag:DagBag")(str(file))
    assert not bag.import_errors, bag.import_errors
    dag = bag.dags[name]
    if AIRFLOW < (3, 0):
        dag.sync_to_db()  # which later ones do in `test`
    return dag


def new_records(_: Sandbox) -> str:
    """The event trigger tells of what is there."""
    from airflow_provider_gofundo.triggers.gofundo import GofundoNewRecordsTrigger

    if AIRFLOW < (3, 0):
        return "imports, for nothing here can wait for events"
    assert issubclass(GofundoNewRecordsTrigger, either("airflow.triggers.base:BaseEventTrigger"))
    trigger = GofundoNewRecordsTrigger(
        endpoint="api/donations", param="updated_since", field="updated_at", initial="2020-01-01T00:00:00Z"
    )
    either("airflow.sdk:Asset")("new", watchers=[either("airflow.sdk:AssetWatcher")(name="new", trigger=trigger)])
    told = asyncio.run(asyncio.wait_for(anext(trigger.run()), 60)).payload
    assert told["records"] > 0, told
    return f"{told['records']} records in the first event"


def commands(_: Sandbox) -> str:
    """`check`, `peek`, `tokens` and `pull`, by the name they have here."""
    ours = ("airflow", "gofundo") if AIRFLOW >= (3, 2) else ("python", "-m", "airflow_provider_gofundo")
    checked = run(*ours, "check", "gofundo_default")
    assert "FAILED" not in checked
    assert checked.count(" ok ") == 5, checked
    assert f"{RECORDS:,}" in run(*ours, "peek", "gofundo_default", "api/donations", "--no-values").replace(".", ",")
    assert "gofundo_default" in run(*ours, "tokens", "gofundo_default", "-o", "plain")
    manifest = run(*ours, "pull", "gofundo_default", "api/donations", str(HOME / "by-hand")).splitlines()[-1]
    assert json.loads(Path(manifest.removeprefix("file://")).read_text())["records"] == RECORDS
    return f"{' '.join(ours)} check, peek, tokens and pull"


def documented(_: Sandbox) -> str:
    """The import that docs/incremental.md names for Airflow before 3.2."""
    either(f"{'airflow.sdk' if AIRFLOW >= (3, 2) else 'airflow.timetables.interval'}:CronDataIntervalTimetable")
    return "imports of the docs"


def hopeless(sandbox: Sandbox) -> str:
    """What no retry can mend fails a task that has retries left."""
    wrong = {**connection(sandbox), "password": "another"}
    os.environ["AIRFLOW_CONN_GOFUNDO_WRONG"] = json.dumps(wrong)
    sandbox.counters.clear()
    arguments = 'task_id="donations", retries=2, gofundo_conn_id="gofundo_wrong",'
    text = example("gofundo_daily_pull").replace('task_id="donations",', arguments)
    ran = dag_of("gofundo_hopeless", text.replace("gofundo_daily_pull", "gofundo_hopeless")).test()
    assert ran.state == "failed", ran.state
    assert sum(sandbox.counters.grants.values()) == 1, sandbox.counters.grants
    return "a wrong secret is tried once"


def other_examples(_: Sandbox) -> str:
    """Those that come to an end by themselves, and need nobody to log in."""
    names = ("gofundo_calls", "gofundo_shards", "gofundo_taskflow", "gofundo_wait")
    for name in names:
        assert dag_of(name, example(name)).test().state == "success", name
    return ", ".join(names)


# In this order: one of the other examples adds a record to the list.
CHECKS = (
    imports, listed, web_form, api_form, pages, daily_pull, wait_and_pull, new_records, commands, documented,
    hopeless, other_examples,
)  # fmt: skip

if __name__ == "__main__":
    main()
