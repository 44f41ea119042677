"""The connection form and the page, as the web server of the Airflow that runs this gives them to a browser."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from older_here import AIRFLOW, HOME, SECRETS, connection, either

from airflow_provider_gofundo.form import EXTRA_FIELDS
from airflow_provider_gofundo.sandbox import Sandbox

PASSWORDS = [name for name, field in EXTRA_FIELDS.items() if field["schema"].get("format") == "password"]


class Form(HTMLParser):
    """A form of a page: the fields that a browser would send, and of what type its inputs are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an input's value; of the others it follows."""
        about = {name: value or "" for name, value in attrs}
        name = about.get("name", "")
        if tag == "input" and name:
            self.types[name] = about.get("type", "text")
            if self.types[name] not in ("checkbox", "submit") or "checked" in about:
                self.fields[name] = about.get("value", "")
        elif tag in ("select", "textarea"):
            self._inside = name
            self.fields.setdefault(name, "")
        elif tag == "option" and "selected" in about:
            self.fields[self._inside] = about["value"]

    def handle_endtag(self, tag: str) -> None:
        """What comes now belongs to no field."""
        if tag in ("select", "textarea"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        """Take a text area's text."""
        if self._inside and self.lasttag == "textarea":
            self.fields[self._inside] += data.strip()


def web_form(sandbox: Sandbox) -> str:
    """Airflow 2's form, drawn by Flask-AppBuilder: filled in, changed, tested, and of another type."""
    if AIRFLOW >= (3, 0):
        return ""
    (HOME / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = False\n")
    browser = either("airflow.www.app:create_app")(testing=True).test_client()

    def post(page: str, form: Form, **changes: Any) -> None:
        answer = browser.post(page, data={**form.fields, **changes})
        assert answer.status_code == 302, answer.text.partition("alert-danger")[2][:300]

    def ours(**values: Any) -> dict[str, Any]:
        return {f"extra__gofundo__{name}": value for name, value in values.items()}

    form = Form(browser.get("/connection/add").text)
    shown = [name for name in form.types if name in ours(**EXTRA_FIELDS)]
    assert shown == list(ours(**EXTRA_FIELDS)), shown
    assert all((form.types[f"extra__gofundo__{name}"] == "password") == (name in PASSWORDS) for name in EXTRA_FIELDS)

    filled = {**connection(sandbox), "conn_id": "form", "extra": ""}
    kept = {"user_password": SECRETS["user_password"], "refresh_token": SECRETS["refresh_token"], "timeout": "8"}
    post("/connection/add", form, **filled, **ours(**kept, check_endpoint="api/donations"))
    made = stored("form")
    assert {name: made.extra_dejson[name] for name in kept} == kept

    edit = f"/connection/edit/{made.id}"
    page = browser.get(edit).text
    leaked = [name for name, secret in SECRETS.items() if secret in page]
    assert not leaked, leaked
    # Airflow's own password field is empty then, and it keeps what is stored.
    post(edit, Form(page), **ours(max_attempts="7"))
    edited = stored("form")
    assert edited.extra_dejson == {**made.extra_dejson, "max_attempts": 7}, "an edit has changed another field"
    assert edited.password == SECRETS["password"]
    ok, text = edited.test_connection()
    assert ok, text

    post(edit, Form(browser.get(edit).text), **ours(refresh_token=""))
    assert not stored("form").extra_dejson.get("refresh_token")
    # Airflow fills our fields with what another type has by that name, and sends and checks them with it.
    others = {"grant_type": "jwt", "timeout": "5"}
    post("/connection/add", form, conn_id="other", conn_type="http", host="example.org", extra=json.dumps(others))
    page = f"/connection/edit/{stored('other').id}"
    post(page, Form(browser.get(page).text), host="other.example.org")
    assert (stored("other").host, stored("other").extra_dejson) == ("other.example.org", others)
    wrong = {**form.fields, **filled, "conn_id": "wrong", **ours(grant_type="jwt")}
    refused = browser.post("/connection/add", data=wrong)
    assert "must be one of: client_credentials" in refused.text

    tried = browser.post("/api/v1/connections/test", json={"connection_id": "form", **connection(sandbox)})
    assert tried.json["status"], tried.text
    return f"{len(shown)} fields in order, {len(PASSWORDS)} of them secret; an edit keeps them; {text}"


def stored(conn_id: str) -> Any:
    """A connection as it is in Airflow's database."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(Connection).filter(Connection.conn_id == conn_id).one()
        session.expunge(found)
        return found


def api_form(sandbox: Sandbox) -> str:
    """Airflow 3's form, which is drawn from what its API tells; what it saves, and its Test button."""
    if AIRFLOW < (3, 0):
        return ""
    with api() as browser, warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        (meta,) = [m for m in browser.get("/ui/connections/hook_meta").json() if m["connection_type"] == "gofundo"]
        warned = [f"{warning.filename}: {warning.message}" for warning in seen]
        assert not any("gofundo" in text.lower() for text in warned), warned
        fields = meta["extra_fields"]
        assert list(fields) == list(EXTRA_FIELDS), list(fields)
        assert [name for name, field in fields.items() if field["schema"].get("format") == "password"] == PASSWORDS
        assert all(field["schema"]["title"] == EXTRA_FIELDS[name]["label"] for name, field in fields.items())
        assert meta["standard_fields"]["login"]["title"] == "Client ID"

        filled = connection(sandbox, **{name: secret for name, secret in SECRETS.items() if name in EXTRA_FIELDS})
        made = browser.post("/api/v2/connections", json={"connection_id": "form", **filled})
        assert made.status_code == 201, made.text
        shown = browser.get("/api/v2/connections/form")
        leaked = [name for name, secret in SECRETS.items() if secret in shown.text]
        assert not leaked, leaked
        # As the form does with one field changed: all of them, the secrets as stars.
        changed = {**json.loads(shown.json()["extra"]), "max_attempts": 7}
        body = {"connection_id": "form", "conn_type": "gofundo", "extra": json.dumps(changed)}
        edited = browser.patch("/api/v2/connections/form?update_mask=extra", json=body)
        assert edited.status_code == 200, edited.text
        extra = stored("form").extra_dejson
        assert extra == {**json.loads(filled["extra"]), "max_attempts": 7}, "an edit has changed another field"
        tried = browser.post("/api/v2/connections/test", json={"connection_id": "form", **filled}).json()
        assert tried["status"], tried
    return f"{len(fields)} fields in order, {len(PASSWORDS)} of them secret; an edit keeps them; {tried['message']}"


def pages(_: Sandbox) -> str:
    """The page in the Admin menu, from 3.1 on; none before."""
    if AIRFLOW < (3, 0):
        return ""
    with api() as browser:
        answer = browser.get("/gofundo/connections")
    assert ("gofundo_default" in answer.text) == (AIRFLOW >= (3, 1)), answer.text
    return "the page of connections" if AIRFLOW >= (3, 1) else "no page, as documented"


@contextlib.contextmanager
def api() -> Iterator[Any]:
    """A browser of somebody who may do everything."""
    app = either("airflow.api_fastapi.app:create_app")()
    with either("fastapi.testclient:TestClient")(app, base_url="http://127.0.0.1") as browser:
        token = browser.get("/auth/token").json()["access_token"]
        browser.headers["Authorization"] = f"Bearer {token}"
        browser.cookies["_token"] = token
        yield browser
