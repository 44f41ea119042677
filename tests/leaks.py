"""
Everything that is logged while the tests run, at DEBUG, is kept and searched for secrets at the end.

A word counts as a leak wherever it stands: every token that a sandbox of this process gave out, the secrets of its
clients, the password of its user, the tests' pseudonym key, and the names and addresses of its fictitious donors.
What Airflow's own loggers say goes through structlog and is kept as well.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache, wraps
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests
import structlog

from airflow_provider_gofundo.sandbox.clients import ALICE, BUILT_IN
from airflow_provider_gofundo.sandbox.fields import FIRST_NAMES, LAST_NAMES
from airflow_provider_gofundo.sandbox.tokens import TokenStore

PSEUDONYM_KEY = "key-of-the-tests-pseudonyms"

SECRETS = {
    *(client.secret for client in BUILT_IN if client.secret),
    ALICE.password,
    ALICE.email,
    "replayed-access", "ACCESS_TOKEN_", "REFRESH_TOKEN_",
    PSEUDONYM_KEY,
}  # fmt: skip

_NAMES = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]

# A sandbox's tokens are random, so a search for each in every line would take long. They are at least this long.
_RANDOM = re.compile(r"[\w-]{40,}")

_issued: set[str] = set()


def spellings(text: str) -> set[str]:
    """The ways a text may stand in a log line: as it is, in JSON of Python or PHP, in a form, in a URL."""
    in_json = json.dumps(text)[1:-1]
    return {text, in_json, in_json.replace("/", "\\/"), quote_plus(text), quote(text, safe="")}


@lru_cache
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    words = {spelling for secret in [*secrets, *_NAMES] for spelling in spellings(secret)}
    return re.compile("|".join([r"donor\d+(?:@|%40)example\.org", *map(re.escape, sorted(words))]))


def leaks(lines: Iterable[str], secrets: Iterable[str]) -> list[str]:
    """The lines that hold one of the secrets, a donor's name or address, or a token that a sandbox gave out."""
    pattern = _pattern(frozenset(secrets))
    return [line for line in lines if pattern.search(line) or _holds_a_token(line)]


def _holds_a_token(line: str) -> bool:
    return any(token in run for run in _RANDOM.findall(line) for token in _issued)


def reachable(error: BaseException) -> Iterator[Any]:
    """Everything that hangs on an error: causes, contexts, arguments, attributes, and what those hold."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or thing is None:
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, BaseException):
            waiting += [thing.__cause__, thing.__context__, *thing.args]
        if isinstance(thing, Mapping):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set)):
            waiting += thing
        waiting += getattr(thing, "__dict__", {}).values()


def locals_of(error: BaseException) -> Iterator[str]:
    """What a log with local variables would print: those of every frame of an error, but the tests' own."""
    for thing in reachable(error):
        trace = thing.__traceback__ if isinstance(thing, BaseException) else None
        while trace:
            if "/tests/" not in trace.tb_frame.f_code.co_filename:
                for name, value in trace.tb_frame.f_locals.items():
                    yield f"{trace.tb_frame.f_code.co_name} {name} = {value!r}"
            trace = trace.tb_next


def exposed(error: BaseException, secrets: Iterable[str] = ()) -> list[str]:
    """What hangs on an error and should not: requests, responses, and texts or locals with a secret in them."""
    found = [f"a local: {text}" for text in locals_of(error) if leaks([text], [*SECRETS, *secrets])]
    for thing in reachable(error):
        if isinstance(thing, (requests.Request, requests.PreparedRequest, requests.Response, requests.Session)):
            found.append(type(thing).__name__)
        text = thing.decode("latin-1") if isinstance(thing, bytes) else thing
        if isinstance(text, str) and leaks([text], [*SECRETS, *secrets]):
            found.append("a text with a secret")
    return found


class _Keeper(logging.Handler):
    """Keeps the lines of Python's loggers and, as a processor, those of structlog."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {self.format(record)}")

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        text = str(event.get("event"))
        arguments = event.get("positional_args")
        self.lines.append(f"structlog: {text % arguments if arguments else text} {dict(event)!r}")
        return event


_keeper = _Keeper()


@pytest.fixture(autouse=True, scope="session")
def _know_every_token() -> Iterator[None]:
    """Whatever a sandbox issues, it issues through these two."""
    with pytest.MonkeyPatch.context() as patch:
        issue, issue_code = TokenStore.issue, TokenStore.issue_code

        @wraps(issue)
        def issuing(self: TokenStore, token: str, access: Any, *, refresh: tuple[str, float] | None = None) -> None:
            _issued.update([token, *(refresh or ())[:1]])
            issue(self, token, access, refresh=refresh)

        @wraps(issue_code)
        def issuing_code(self: TokenStore, value: str, code: Any) -> None:
            _issued.add(value)
            issue_code(self, value, code)

        patch.setattr(TokenStore, "issue", issuing)
        patch.setattr(TokenStore, "issue_code", issuing_code)
        yield


@pytest.fixture(autouse=True, scope="session")
def _airflow_has_set_up_logging() -> None:
    """Airflow throws out every handler when it is first imported, and would in the midst of a test."""
    importlib.import_module("airflow.settings")
    importlib.import_module("airflow_provider_gofundo.operators.gofundo")


@pytest.fixture(autouse=True)
def kept_lines(_airflow_has_set_up_logging: None) -> Iterator[list[str]]:
    """The log lines of the run so far, to which everything is added that is logged from here on."""
    root = logging.getLogger()
    if _keeper not in root.handlers:
        root.addHandler(_keeper)
    root.setLevel(logging.DEBUG)
    for name in ("requests_oauthlib", "oauthlib", "urllib3", "requests", "airflow_provider_gofundo"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    processors = structlog.get_config()["processors"]
    if _keeper not in processors:
        processors.insert(0, _keeper)
    yield _keeper.lines
    assert _keeper in root.handlers, "from here on nothing would be searched for secrets"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    found = leaks(_keeper.lines, SECRETS)
    if found:
        print(f"\n{len(found)} log lines hold a secret, the first: {found[0][:300]}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
