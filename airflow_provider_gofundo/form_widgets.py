"""The connection form for Airflow before 3.2, which wants it as wtforms fields. Made of the same data, in `form`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_gofundo.form import EXTRA_FIELDS, HIDDEN, PLACEHOLDERS, RELABELING

# What Airflow 2 takes for a secret that was left as it is.
_UNCHANGED = "RATHER_LONG_SENSITIVE_FIELD_PLACEHOLDER"


def connection_form_widgets() -> dict[str, Any]:
    """
    Return the extra fields as wtforms fields, in the form's order.

    Airflow 2 takes four kinds of field. What none of them fits is a text, which Settings reads just as well: a float,
    and share_login, whose box Airflow 2 would tick again with every edit.
    """
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import IntegerField, PasswordField, StringField
    from wtforms.validators import Optional, any_of

    class KeptSecret(BS3PasswordFieldWidget):  # type: ignore[misc]  # a class without types
        """A password field that an edit of another field does not empty, and that does not tell the password."""

        def __call__(self, field: Any, **options: Any) -> Any:
            self.hide_value = False
            return super().__call__(field, **{**options, "value": _UNCHANGED if field.data else ""})

    def widget(label: str, description: str, schema: dict[str, Any]) -> Any:
        kind, default = schema["type"][0], schema.get("default")
        # With every form Airflow 2 sends and checks the fields of all types, so each may be empty.
        validators: list[Any] = [Optional()]
        about: dict[str, Any] = {"description": description}
        if schema.get("format") == "password":
            return PasswordField(lazy_gettext(label), validators=validators, widget=KeptSecret(), **about)
        if kind == "integer":
            about["default"] = default
            return IntegerField(lazy_gettext(label), validators=validators, widget=BS3TextFieldWidget(), **about)
        choices = ["true", "false"] if kind == "boolean" else schema.get("enum")
        if choices:
            validators.append(_where_ours(any_of(choices)))
        if default is not None:
            about["default"] = str(default).lower()
        return StringField(lazy_gettext(label), validators=validators, widget=BS3TextFieldWidget(), **about)

    return {name: widget(**field) for name, field in EXTRA_FIELDS.items()}


def _where_ours(check: Any) -> Any:
    """
    Have a validator look at connections of our type only.

    Airflow 2 fills our field with what a connection of another type has under the same name, and would refuse that
    at a field which nobody sees then. Airflow 3 has no validators here, only what tells it the choices.
    """
    if not callable(check):
        return check
    checked: Callable[[Any, Any], None] = check

    def validator(form: Any, field: Any) -> None:
        if form.conn_type.data == "gofundo":
            checked(form, field)

    return validator


def ui_field_behaviour() -> dict[str, Any]:
    """Return which standard fields are shown, and how they are called."""
    return {"hidden_fields": HIDDEN, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}
