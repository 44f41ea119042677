"""The connection form, as a person meets it in Airflow's own pages."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from airflow_provider_gofundo.form import EXTRA_FIELDS, GRANT_TYPES
from airflow_provider_gofundo.sandbox import Sandbox
from tests.browser.airflow_ui import (
    edit_connection,
    extra_field,
    fill_in,
    new_connection,
    open_extra_fields,
    press_test,
    save,
)
from tests.browser.conftest import PICTURES, photograph
from tests.browser.standalone import Standalone

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SECRETS = ("user_password", "refresh_token", "pseudonym_key_secret")


def test_its_fields_come_in_the_order_a_person_fills_them_in(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 980})
    form = new_connection(page, "gofundo_default")
    fill_in(form, "https://gofundo.nl", "12", "a secret of Gofundo")
    photograph(page, "connection-form")

    page.set_viewport_size({"width": 1280, "height": 2300})
    open_extra_fields(form)
    labels = [label for label in form.locator("label").all_inner_texts() if label]

    assert labels[2:] == [
        "Description", "Host", "Client ID", "Client Secret", "Port",
        "Grant type", "Username", "User password", "Redirect URI", "Refresh token", "Refresh token lifetime", "Scope",
        "Check endpoint", "Share login", "Timeout", "Attempts", "Requests per minute", "CA bundle", "Pseudonym key",
    ]  # fmt: skip
    expect(form.get_by_label("Client Secret")).to_have_attribute("type", "password")
    for name in SECRETS:
        expect(extra_field(form, name)).to_have_attribute("type", "password")
    form.screenshot(path=PICTURES / "connection-form-extra.png", animations="disabled")
    form.get_by_role("combobox").nth(1).click()
    assert page.get_by_role("option").all_inner_texts() == list(GRANT_TYPES)


def test_a_connection_made_with_it_passes_its_test(page: Page, gofundo: Sandbox) -> None:
    form = new_connection(page, "machine")
    fill_in(form, gofundo.url, "1", "secret-machine-1")
    open_extra_fields(form)
    extra_field(form, "check_endpoint").fill("api/donations")
    save(form)
    press_test(page, "machine")

    expect(page.get_by_text("client_credentials works, with a token until").first).to_be_visible()
    expect(page.get_by_text("api/donations answers, with 200 records.").first).to_be_visible()


def test_a_wrong_secret_fails_its_test_by_name(page: Page, gofundo: Sandbox, airflow: Standalone) -> None:
    airflow.add_connection("wrong", gofundo.url, "1", "not the secret")

    press_test(page, "wrong")

    expect(page.get_by_text("Compare Client ID and Client Secret").first).to_be_visible()


def test_an_edit_of_another_field_leaves_every_secret_as_it_is(
    page: Page, gofundo: Sandbox, airflow: Standalone
) -> None:
    alice = gofundo.user
    secrets = dict(zip(SECRETS, (alice.password, "a refresh token", "a key of sixteen letters"), strict=True))
    airflow.add_connection(
        "alice", gofundo.url, "2", "secret-password-2",
        grant_type="password", username=alice.email, share_login=False, **secrets,
    )  # fmt: skip

    form = edit_connection(page, "alice")
    form.get_by_label("Description").fill("Alice's own donations")
    open_extra_fields(form)
    for name in SECRETS:
        expect(extra_field(form, name)).to_have_value("***")
    expect(extra_field(form, "username")).to_have_value(alice.email)
    extra_field(form, "check_endpoint").fill("api/donations")
    save(form)
    press_test(page, "alice")

    expect(page.get_by_text("password works, with a token until").first).to_be_visible()
    stored = airflow.secrets_of("alice")
    assert stored["check_endpoint"] == "api/donations"
    assert stored["share_login"] is False
    assert {name: stored[name] for name in ("password", *SECRETS)} == {"password": "secret-password-2", **secrets}


def test_nothing_is_masked_that_is_no_secret(page: Page, gofundo: Sandbox, airflow: Standalone) -> None:
    plain = {
        "username": "alice@example.org", "redirect_uri": "https://airflow.example.org/gofundo/callback",
        "scope": "read-donations", "check_endpoint": "api/donations", "ca_bundle": "/etc/ssl/own.pem",
    }  # fmt: skip
    numbers = {"refresh_lifetime": 7200, "timeout": 12.5, "max_attempts": 3, "requests_per_minute": 90}
    airflow.add_connection("plain", gofundo.url, "1", "secret-machine-1", **plain, **numbers)

    form = edit_connection(page, "plain")
    open_extra_fields(form)

    for name, value in plain.items():
        expect(extra_field(form, name)).to_have_value(value)
    for name, number in numbers.items():
        field = form.get_by_role("spinbutton", name=EXTRA_FIELDS[name]["label"])
        expect(field).to_have_value(str(number))
