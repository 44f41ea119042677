"""From the form to a DAG run: somebody logs in to Gofundo in the browser, and Airflow works with that login."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from airflow_provider_gofundo.sandbox import Sandbox
from tests.browser.airflow_ui import (
    choose_grant,
    edit_connection,
    extra_field,
    fill_in,
    new_connection,
    open_extra_fields,
    press_test,
    run_dag,
    save,
)
from tests.browser.conftest import Open, photograph
from tests.browser.standalone import Standalone

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_dag_works_with_the_login_that_somebody_made_in_the_browser(
    page: Page, gofundo: Sandbox, airflow: Standalone
) -> None:
    add_through_the_form(page, gofundo, airflow)
    edit_without_touching_the_secret(page, airflow)
    before = Counter(gofundo.counters.grants)
    shown = authorize(page, gofundo)
    run = run_to_its_end(page, airflow)
    shown += see_what_it_did(page, airflow, run)

    assert Counter(gofundo.counters.grants) - before == {"authorization_code": 1}
    logs = airflow.logs()
    assert "api/donations: complete. 200 records" in logs
    for token in airflow.tokens_of("gofundo_web"):
        assert token not in shown
        assert token not in logs


def add_through_the_form(page: Page, gofundo: Sandbox, airflow: Standalone) -> None:
    form = new_connection(page, "gofundo_web")
    fill_in(form, gofundo.url, "3", "secret-web-3")
    open_extra_fields(form)
    choose_grant(page, form, "authorization_code")
    extra_field(form, "redirect_uri").fill(f"{airflow.url}/gofundo/callback")
    extra_field(form, "check_endpoint").fill("api/donations")
    save(form)
    press_test(page, "gofundo_web")
    expect(page.get_by_text("The server knows this client.").first).to_be_visible()
    photograph(page, "connection-test")


def edit_without_touching_the_secret(page: Page, airflow: Standalone) -> None:
    form = edit_connection(page, "gofundo_web")
    form.get_by_label("Description").fill("Donations, as Alice sees them")
    save(form)
    assert airflow.secrets_of("gofundo_web")["password"] == "secret-web-3"


def authorize(page: Page, gofundo: Sandbox) -> str:
    """Log in to Gofundo; returns what the pages were made of."""
    page.get_by_role("button", name="Admin").click()
    with page.expect_popup() as popup:
        page.get_by_role("menuitem", name="Gofundo connections").click()
    ours = popup.value
    expect(ours.get_by_role("row").filter(has_text="gofundo_web")).to_contain_text("No token yet")
    ours.get_by_role("link", name="gofundo_web").click()
    photograph(ours, "connection-page")
    ours.get_by_role("button", name="Authorize").click()
    consent(ours, gofundo, "Approve")

    expect(ours.get_by_role("status")).to_contain_text("Logged in.")
    photograph(ours, "authorized", dark=True)
    shown = ours.content()
    assert "code=" not in ours.url
    ours.get_by_role("button", name="Check").click()
    expect(ours.get_by_role("status")).to_contain_text("Check: all is well")
    photograph(ours, "checked")
    shown += ours.content()
    ours.get_by_role("link", name="Gofundo connections").click()
    expect(ours.get_by_role("row").filter(has_text="gofundo_web")).to_contain_text("user admin on the Authorize page")
    photograph(ours, "connections-page", dark=True)
    shown += ours.content()
    ours.close()
    return shown


def consent(page: Page, gofundo: Sandbox, button: str) -> None:
    """Gofundo's own pages: the login, and the question."""
    page.get_by_label("Password").fill(gofundo.user.password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Airflow of the charity asks for access")).to_be_visible()
    if button == "Approve":
        photograph(page, "consent")
    page.get_by_role("button", name=button).click()


def run_to_its_end(page: Page, airflow: Standalone) -> str:
    airflow.until("the DAG", lambda: airflow.api("GET", "dags/donations").ok)
    run = run_dag(page, "donations")
    ended = airflow.until(
        "the run",
        lambda: [r for r in airflow.api("GET", "dags/donations/dagRuns").json()["dag_runs"] if r["end_date"]],
    )
    assert ended[0]["state"] == "success"
    return run


def see_what_it_did(page: Page, airflow: Standalone, run: str) -> str:
    """Look at the task's XCom and follow its links; returns what the pages were made of."""
    page.goto(f"{airflow.url}{run}/tasks/pull/xcom")
    page.get_by_role("button", name="Expand all").click()
    summary = page.get_by_role("row").filter(has_text="return_value")
    expect(summary).to_contain_text('"records": 200')
    expect(summary).to_contain_text("_manifest.json")
    photograph(page, "task-xcom")
    shown = page.content()

    page.goto(f"{airflow.url}{run}/tasks/pull/details")
    links = page.get_by_role("link")
    expect(links.filter(has_text="Manifest")).to_have_attribute("href", re.compile("/tasks/pull/xcom$"))
    page.set_viewport_size({"width": 1280, "height": 480})
    photograph(page, "task-links")
    links.filter(has_text="Gofundo connection").click()
    expect(page.get_by_role("heading", name="gofundo_web")).to_be_visible()
    expect(page.get_by_text("user admin on the Authorize page")).to_be_visible()
    return shown + page.content()


def test_a_consent_denied_is_a_clear_page_and_stores_nothing(
    page: Page, gofundo: Sandbox, airflow: Standalone
) -> None:
    extra = {"grant_type": "authorization_code", "redirect_uri": f"{airflow.url}/gofundo/callback"}
    airflow.add_connection("unwilling", gofundo.url, "3", "secret-web-3", **extra)

    page.goto(f"{airflow.url}/gofundo/connections/unwilling")
    page.get_by_role("button", name="Authorize").click()
    consent(page, gofundo, "Deny")

    expect(page.get_by_role("heading", name="Declined", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed.")
    photograph(page, "denied")
    page.get_by_role("link", name="To the connection").click()
    expect(page.get_by_text("No token yet")).to_be_visible()


def test_who_may_not_edit_connections_gets_403(open_as: Open, gofundo: Sandbox, airflow: Standalone) -> None:
    airflow.add_connection("guarded", gofundo.url, "1", "secret-machine-1")
    page = open_as("viewer")

    for path in ("connections", "connections/guarded"):
        answer = page.goto(f"{airflow.url}/gofundo/{path}")
        assert answer is not None
        assert answer.status == 403
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    expect(page.get_by_text("secret-machine-1")).to_have_count(0)


def test_the_page_is_as_light_or_dark_as_airflow(page: Page, airflow: Standalone) -> None:
    choices: list[tuple[str, Literal["light", "dark"], str]] = [
        ("Dark Mode", "light", "rgb(17, 17, 17)"),
        ("Light Mode", "dark", "rgb(255, 255, 255)"),
    ]
    for choice, system, background in choices:
        page.emulate_media(color_scheme=system)
        page.goto(airflow.url)
        page.get_by_role("button", name="User").click()
        page.get_by_role("menuitem", name="Appearance").click()
        page.get_by_text(choice).click()

        page.goto(f"{airflow.url}/gofundo/connections")

        expect(page.locator("body")).to_have_css("background-color", background)
