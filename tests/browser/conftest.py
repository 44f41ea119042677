"""A whole Airflow, a sandbox in Gofundo's place, and a browser that reaches nothing else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect, sync_playwright

from airflow_provider_gofundo.sandbox import Sandbox
from airflow_provider_gofundo.sandbox.clients import GRANTS, Client
from tests.browser.standalone import PASSWORDS, Standalone

# Kept by CI; `make screenshots` copies the pictures into the docs.
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
PATIENCE = 60_000  # milliseconds


@pytest.fixture(scope="session")
def airflow() -> Iterator[Standalone]:
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    home = Path(tempfile.mkdtemp(prefix="airflow-"))
    (home / "dags").mkdir()
    shutil.copy(Path(__file__).with_name("donations.py"), home / "dags")
    running = Standalone(home, home / "dags")
    try:
        running.until("the API", lambda: running.bearer("admin"))
        yield running
    finally:
        running.stop()
        shutil.copy(running.log, PICTURES / "airflow.log")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def gofundo(airflow: Standalone) -> Iterator[Sandbox]:
    """It asks for consent, and sends the browser back to Airflow's page only."""
    web = Client("3", "secret-web-3", "Airflow of the charity", GRANTS, (f"{airflow.url}/gofundo/callback",))
    with Sandbox(records=200, consent="ask", clients=[web]) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = [path for path in map(shutil.which, CHROMIUM) if path]
    if not found:
        pytest.fail("No Chromium here; scripts/ensure_chromium.sh installs it or says how.")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=FLAGS)
        yield browser
        browser.close()


Open = Callable[..., Page]


@pytest.fixture(scope="session")
def logged_in() -> dict[str, StorageState]:
    """The cookies of who has logged in to Airflow already."""
    return {}


@pytest.fixture
def open_as(airflow: Standalone, chromium: Browser, logged_in: dict[str, StorageState]) -> Iterator[Open]:
    """Open Airflow as one of its users, in a window of their own."""
    with ExitStack() as windows:

        def open_window(user: str) -> Page:
            size: Any = {"width": 1280, "height": 800}
            window = chromium.new_context(viewport=size, storage_state=logged_in.get(user))
            windows.callback(window.close)
            window.set_default_timeout(PATIENCE)
            page = window.new_page()
            page.goto(airflow.url)
            if user not in logged_in:
                page.get_by_label("Username").fill(user)
                page.locator("input[name=password]").fill(PASSWORDS[user])
                page.get_by_role("button", name="Sign in").click()
                page.wait_for_url(f"{airflow.url}/")
                logged_in[user] = window.storage_state()
            return page

        yield open_window


@pytest.fixture
def page(open_as: Open) -> Page:
    """Airflow, as its administrator sees it."""
    return open_as("admin")


def photograph(page: Page, name: str, *, dark: bool = False) -> None:
    """Keep a picture of what is in the window, without the emptiness below it; if asked, of its dark look too."""
    height = page.evaluate(
        "(document.querySelector('main')?.getBoundingClientRect().bottom ?? innerHeight - 24) + 24"
    )
    clip: Any = {"x": 0, "y": 0, "width": 1280, "height": height}
    page.screenshot(path=PICTURES / f"{name}.png", clip=clip, full_page=True, animations="disabled")
    if dark:
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=PICTURES / f"{name}-dark.png", clip=clip, full_page=True, animations="disabled")
        page.emulate_media(color_scheme="light")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep a picture of every window of a test that fails."""
    report = yield
    page = item.funcargs.get("page")
    if report.when == "call" and report.failed and isinstance(page, Page):
        for number, window in enumerate(page.context.pages):
            window.screenshot(path=PICTURES / f"failed-{item.name}-{number}.png", timeout=10_000)
    return report
