"""Keeps tokens and query strings out of the log.

At DEBUG oauthlib's server side logs every token it issues, and uvicorn logs every query string to whoever listens.
The code under test may share the process and its loggers, so only what a sandbox's own requests log is dropped.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Iterator
from contextlib import contextmanager

_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("gofundo_sandbox_quiet", default=False)

_MODULES = (
    "endpoints.authorization",
    "endpoints.base",
    "endpoints.token",
    "grant_types.authorization_code",
    "grant_types.base",
    "grant_types.client_credentials",
    "grant_types.refresh_token",
    "grant_types.resource_owner_password_credentials",
)


class _Hush(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _inside.get()


_HUSH = _Hush()
for _name in (*(f"oauthlib.oauth2.rfc6749.{module}" for module in _MODULES), "uvicorn.access"):
    logging.getLogger(_name).addFilter(_HUSH)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what these loggers get from the task or thread that is in here."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
