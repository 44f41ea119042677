"""
Everything that is logged while the tests run, at DEBUG, is kept and searched for secrets at the end.

A word counts as a leak wherever it stands: tokens that a sandbox gave out, client secrets, passwords, and the
fictitious donors' names and addresses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

SECRETS = {
    "secret-machine-1", "secret-password-2", "secret-web-3", "alice-password", "replayed-access", "ACCESS_TOKEN_",
    "REFRESH_TOKEN_",
}  # fmt: skip


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {self.format(record)}")


_keeper = _Keeper()


def leaks(lines: list[str], secrets: set[str]) -> list[str]:
    """The lines that hold a secret."""
    return [line for line in lines if any(secret in line for secret in secrets)]


@pytest.fixture(autouse=True, scope="session")
def _keep_every_log_line() -> Iterator[None]:
    root = logging.getLogger()
    root.addHandler(_keeper)
    root.setLevel(logging.DEBUG)
    for name in ("requests_oauthlib", "oauthlib", "urllib3", "airflow_provider_gofundo"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    root.removeHandler(_keeper)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    found = leaks(_keeper.lines, SECRETS)
    if found:
        print(f"\n{len(found)} log lines hold a secret, the first: {found[0][:300]}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
