"""What Airflow reads at start-up is what Airflow's own schemas allow, and costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from airflow_provider_gofundo.form import EXTRA_FIELDS, STANDARD_LABELS
from airflow_provider_gofundo.form_widgets import connection_form_widgets, ui_field_behaviour
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


# By these parts of a key Airflow tells a secret, whatever the field's format.
MASKED = ("access_key", "apikey", "api_key", "auth_header", "authorization", "bearer", "connection_string", "dsn", "passphrase", "passwd",
    "password", "private_key", "proxy", "secret", "service_account", "service_key", "token", "keyfile_dict", "webhook_url")  # fmt: skip


def test_airflow_masks_the_secrets_and_no_other_field() -> None:
    by_airflow = {name for name in EXTRA_FIELDS if any(part in name for part in MASKED)}
    by_us = {name for name, field in EXTRA_FIELDS.items() if field["schema"].get("format") == "password"}

    assert by_airflow == by_us == {"user_password", "refresh_token", "pseudonym_key_secret"}


def test_every_field_may_stay_empty_and_says_what_it_is_for() -> None:
    for field in EXTRA_FIELDS.values():
        assert "null" in field["schema"]["type"]
        assert field["label"]
        assert field["description"].endswith(".")


def test_the_form_names_gofundos_own_screen() -> None:
    (form,) = get_provider_info()["connection-types"]

    assert "Instellingen > API-koppeling" in form["ui-field-behaviour"]["placeholders"]["login"]
    assert "Bekijk secret" in form["ui-field-behaviour"]["placeholders"]["password"]
    assert "Instellingen > API-koppeling" in form["conn-fields"]["redirect_uri"]["description"]


class Field:
    """What wtforms makes of a field before a form is there; Airflow 3 has none of it installed."""

    def __init__(self, label: str, **options: Any) -> None:
        self.label, self.options = label, options


class Text(Field):
    """A text field."""


class Number(Field):
    """A field of a whole number."""


class Password(Field):
    """A field that hides what is typed."""


class Widget:
    """How Airflow 2 draws a field."""

    def __call__(self, field: Any, **options: Any) -> Any:
        return options


@pytest.fixture
def wtforms(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins = {
        "wtforms": SimpleNamespace(StringField=Text, IntegerField=Number, PasswordField=Password),
        "wtforms.validators": SimpleNamespace(Optional=lambda: "may be empty", any_of=tuple),
        "flask_babel": SimpleNamespace(lazy_gettext=str),
        "flask_appbuilder": SimpleNamespace(),
        "flask_appbuilder.fieldwidgets": SimpleNamespace(BS3PasswordFieldWidget=Widget, BS3TextFieldWidget=Widget),
    }
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_older_airflows_get_the_same_fields_as_widgets(wtforms: None) -> None:
    widgets = connection_form_widgets()

    assert {name: widget.label for name, widget in widgets.items()} == {
        name: field["label"] for name, field in EXTRA_FIELDS.items()
    }
    assert list(widgets) == list(EXTRA_FIELDS)
    assert [name for name, widget in widgets.items() if isinstance(widget, Password)] == [
        name for name, field in EXTRA_FIELDS.items() if field["schema"].get("format") == "password"
    ]
    assert [name for name, widget in widgets.items() if isinstance(widget, Number)] == [
        "refresh_lifetime",
        "max_attempts",
    ]
    grant = widgets["grant_type"].options
    assert (grant["validators"][1][0], grant["default"]) == ("client_credentials", "client_credentials")
    assert widgets["share_login"].options["default"] == "true"
    assert all("may be empty" in widget.options["validators"] for widget in widgets.values())


def test_the_choices_of_a_field_are_no_matter_of_other_connections(
    wtforms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def any_of(choices: list[str]) -> Any:
        def check(form: Any, field: Any) -> None:
            if field.data not in choices:
                raise ValueError("refused")

        return check

    monkeypatch.setattr(sys.modules["wtforms.validators"], "any_of", any_of)
    check = connection_form_widgets()["grant_type"].options["validators"][1]

    def form(conn_type: str) -> SimpleNamespace:
        return SimpleNamespace(conn_type=SimpleNamespace(data=conn_type))

    check(form("http"), SimpleNamespace(data="jwt"))
    check(form("gofundo"), SimpleNamespace(data="password"))
    with pytest.raises(ValueError, match="refused"):
        check(form("gofundo"), SimpleNamespace(data="jwt"))


@pytest.mark.parametrize(("stored", "shown"), [("a secret", "RATHER_LONG_SENSITIVE_FIELD_PLACEHOLDER"), (None, "")])
def test_an_edit_in_airflow_2_gets_a_place_holder_in_the_place_of_a_secret(
    wtforms: None, stored: str | None, shown: str
) -> None:
    widget = connection_form_widgets()["user_password"].options["widget"]

    assert widget(SimpleNamespace(data=stored))["value"] == shown


def test_older_airflows_call_the_standard_fields_the_same() -> None:
    behaviour = ui_field_behaviour()
    (form,) = get_provider_info()["connection-types"]

    assert behaviour["relabeling"] == {
        "login": STANDARD_LABELS["client_id"],
        "password": STANDARD_LABELS["client_secret"],
    }
    assert {name.replace("_", "-"): value for name, value in behaviour.items()} == form["ui-field-behaviour"]
