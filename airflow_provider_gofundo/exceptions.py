"""
What can go wrong, as one family.

    GofundoError
    ├── GofundoConfigError              the connection or an argument is wrong
    ├── GofundoConnectionError          the server could not be reached, or fell silent
    ├── GofundoAuthError                the server does not accept who we say we are
    │   └── GofundoReauthorizationRequired    only a person can log in again
    ├── GofundoApiError                 the server answered with an error status
    │   └── GofundoRateLimitError       … that asks us to slow down (429)
    ├── GofundoResponseError            the server answered something that is no answer
    ├── GofundoDriftError               the list changed while it was pulled
    ├── GofundoStorageError             the storage of a dataset, or of the login, failed
    └── GofundoStopped                  we were asked to stop

Every text is our own sentence that says what to do next. What the server said may quote personal data, so it
never becomes part of a text; `GofundoApiError.message` and `.errors` hold it for the code that asks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class GofundoError(Exception):
    """
    Anything this provider raises on purpose.

    `retry_in` is None where repeating the same call cannot help or might do something twice; otherwise it is
    the least number of seconds to wait before it may be repeated.
    """

    def __init__(self, text: str = "", *, retry_in: float | None = None) -> None:
        super().__init__(text)
        self.retry_in = retry_in


class GofundoConfigError(GofundoError, ValueError):
    """The connection, or an argument, is wrong: correct the field or argument that the text names."""


class GofundoConnectionError(GofundoError):
    """
    No answer: name not found, connection refused, TLS not trusted, timed out, or cut off.

    `answer_lost` says that the request may have reached the server all the same, and may have had its effect.
    """

    def __init__(self, text: str = "", *, answer_lost: bool = False, retry_in: float | None = None) -> None:
        super().__init__(text, retry_in=retry_in)
        self.answer_lost = answer_lost


class GofundoAuthError(GofundoError):
    """The server refuses our credentials or token. `error` is the code of RFC 6749, where it sent one."""

    def __init__(
        self, text: str = "", *, error: str | None = None, hint: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(text)
        self.error = error
        self.hint = hint
        self.status = status


class GofundoReauthorizationRequired(GofundoAuthError):
    """Nobody but a person can get the next token: the connection's authorisation has to be given again."""


class GofundoApiError(GofundoError):
    """
    The server answered with an error status.

    `status` is the HTTP status, `method` and `path` the request. `message` (str) and `errors` (field name to
    the server's messages, on 422) are the server's own words and may quote the data that was sent.
    """

    def __init__(
        self,
        text: str = "",
        *,
        status: int | None = None,
        method: str = "",
        path: str = "",
        message: str = "",
        errors: Mapping[str, Sequence[str]] | None = None,
        retry_in: float | None = None,
    ) -> None:
        super().__init__(text, retry_in=retry_in)
        self.status = status
        self.method = method
        self.path = path
        self.message = message
        self.errors = dict(errors or {})


class GofundoRateLimitError(GofundoApiError):
    """429: the server asks us to wait; `retry_in` is what it asked for, in seconds."""


class GofundoResponseError(GofundoError):
    """The server's answer is not what an API answers: HTML, broken JSON, a redirect, or no list."""

    def __init__(
        self, text: str = "", *, status: int | None = None, method: str = "", path: str = "",
        retry_in: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(text, retry_in=retry_in)
        self.status = status
        self.method = method
        self.path = path


class GofundoStorageError(GofundoError):
    """The storage of a dataset, or of the login, failed. What it held before is still there."""


class GofundoDriftError(GofundoError):
    """The list changed while it was pulled, and the pull was told to fail then."""


class GofundoStopped(GofundoError):
    """The task was killed, a later try of it has taken over, or what a request was for is over."""


def without_frames(method: F) -> F:
    """Let our errors out of `method` without the frames they came through, whose variables hold secrets."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except GofundoError as error:
            failure = error
        del args, kwargs
        raise failure.with_traceback(None)

    return wrapper  # type: ignore[return-value]  # a wrapper has its method's signature
