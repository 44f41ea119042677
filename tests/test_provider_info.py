"""What Airflow reads at start-up is what Airflow's own schemas allow, and costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files

import jsonschema
import pytest

from airflow_provider_gofundo.get_provider_info import get_provider_info


def schema(name: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((files("airflow") / name).read_text())
    return loaded


def test_it_fits_the_schema_of_installed_providers() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


@pytest.mark.parametrize("key", ["connection-types", "hooks", "operators", "transfers", "integrations"])
def test_it_fits_the_stricter_schema_of_provider_yaml(key: str) -> None:
    properties = schema("provider.yaml.schema.json")["properties"]
    assert isinstance(properties, dict)

    jsonschema.validate(get_provider_info()[key], properties[key])


def test_the_entry_point_gives_it() -> None:
    (entry,) = [
        e
        for e in entry_points(group="apache_airflow_provider")
        if e.dist and e.dist.name == "airflow-provider-gofundo"
    ]

    assert entry.load()() == get_provider_info()


def test_every_class_and_module_it_names_exists() -> None:
    info = get_provider_info()

    module, _, name = info["connection-types"][0]["hook-class-name"].rpartition(".")
    assert getattr(import_module(module), name).conn_type == "gofundo"
    for kind in ("hooks", "operators"):
        for listed in info[kind][0]["python-modules"]:
            import_module(listed)
    import_module(info["transfers"][0]["python-module"])


def imported_by(statement: str, *, without: str = "") -> set[str]:
    """The modules that a fresh Python has after a statement, where importing `without` fails."""
    code = f"import sys; sys.modules.update({{{without!r}: None}} if {without!r} else {{}}); {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_reading_it_imports_nothing_heavy() -> None:
    modules = imported_by("from airflow_provider_gofundo.get_provider_info import get_provider_info as g; g()")

    assert not modules & {"airflow", "requests", "requests_oauthlib", "tenacity", "msgspec"}


@pytest.mark.parametrize(
    "module",
    [
        "exceptions", "settings", "answer", "transport", "oauth.grants", "oauth.manager", "client.client",
        "pages.walk", "dataset.privacy", "dataset.pull", "sandbox",
    ],
)  # fmt: skip
def test_the_lower_floors_work_without_airflow(module: str) -> None:
    modules = imported_by(f"import airflow_provider_gofundo.{module}", without="airflow")

    assert not [name for name in modules if name.startswith("airflow.")]


def test_importing_the_operator_leaves_the_engine_for_later() -> None:
    by_airflow = imported_by("from airflow.providers.common.compat.sdk import BaseHook, BaseOperator")
    modules = imported_by("import airflow_provider_gofundo.transfers.gofundo_to_object_storage")

    assert (
        not modules
        & {"airflow_provider_gofundo.dataset.pull", "requests_oauthlib", "tenacity", "msgspec._core"} - by_airflow
    )
