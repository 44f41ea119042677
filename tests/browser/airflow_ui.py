"""What a person does in Airflow's own pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect


def new_connection(page: Page, conn_id: str) -> Locator:
    """Open the form for a new Gofundo connection."""
    _connections(page)
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Connection ID").fill(conn_id)
    form.get_by_role("combobox").first.fill("Gofundo")
    page.get_by_role("option", name="Gofundo", exact=True).click()
    expect(form.get_by_label("Client ID")).to_be_visible()
    return form


def edit_connection(page: Page, conn_id: str) -> Locator:
    _connections(page)
    _row(page, conn_id).get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Client ID")).to_be_visible()
    return form


def fill_in(form: Locator, host: str, login: str, password: str) -> None:
    at = urlsplit(host)
    form.get_by_label("Host").fill(f"{at.scheme}://{at.hostname}")
    form.get_by_label("Port").fill(str(at.port or 443))
    form.get_by_label("Client ID").fill(login)
    form.get_by_label("Client Secret").fill(password)


def open_extra_fields(form: Locator) -> None:
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    expect(form.get_by_text("Pseudonym key", exact=True)).to_be_visible()


def choose_grant(page: Page, form: Locator, grant_type: str) -> None:
    form.get_by_role("combobox").nth(1).fill(grant_type)
    page.get_by_role("option", name=grant_type, exact=True).click()


def extra_field(form: Locator, name: str) -> Locator:
    return form.locator(f"#element_{name}")


def save(form: Locator) -> None:
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)


def press_test(page: Page, conn_id: str) -> None:
    """Press the Test button; what it found is in a message that stays for some seconds."""
    _connections(page)
    _row(page, conn_id).get_by_role("button", name="Test Connection").click()


def run_dag(page: Page, dag_id: str) -> str:
    """Trigger a DAG from its page; returns the path of the run's page."""
    page.goto(_airflow(page) + f"/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url("**/runs/**")
    return urlsplit(page.url).path


def _connections(page: Page) -> None:
    address = _airflow(page) + "/connections"
    if page.url != address:
        page.goto(address)


def _row(page: Page, conn_id: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=conn_id, exact=True))


def _airflow(page: Page) -> str:
    at = urlsplit(page.url)
    return f"{at.scheme}://{at.netloc}"
