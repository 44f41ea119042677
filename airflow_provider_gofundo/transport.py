"""
Transport: sessions that can reach the connection's own server and nothing else.

Everything that is sent, token requests included, leaves through `ApiAdapter`, so a timeout, the private CA, the
refusal of redirects and of other hosts, and errors without a request inside hold everywhere.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import urlencode

import requests
from requests_oauthlib import OAuth2Session

from airflow_provider_gofundo import __version__
from airflow_provider_gofundo.adapter import ApiAdapter, prepared
from airflow_provider_gofundo.address import https_form, resolve, shown_path
from airflow_provider_gofundo.exceptions import (
    GofundoConfigError,
    GofundoError,
    without_frames,
)
from airflow_provider_gofundo.settings import Settings

USER_AGENT = f"airflow-provider-gofundo/{__version__}"

F = TypeVar("F", bound=Callable[..., Any])

_discreet: ContextVar[bool] = ContextVar("gofundo_discreet", default=False)


def _may_be_logged(_: logging.LogRecord) -> bool:
    return not _discreet.get()


# These loggers print tokens, the client secret and query strings, whatever the user meant to see. What matters of
# what they say comes out as an error of ours.
for _name in ("requests_oauthlib.oauth2_session", "urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(_name).addFilter(_may_be_logged)


def _discreetly(method: F) -> F:
    """Silence those loggers while `method` runs, in this thread only."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        before = _discreet.set(True)
        try:
            return method(*args, **kwargs)
        finally:
            _discreet.reset(before)

    return wrapper  # type: ignore[return-value]  # a wrapper has its method's signature; ParamSpec loses overloads


class ApiSession(OAuth2Session):
    """An OAuth2Session for one Gofundo server. URLs may be relative to the connection's Host."""

    def __init__(self, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._base_url = settings.base_url
        self.headers.update({"Accept": "application/json", "User-Agent": USER_AGENT})
        self._own_headers = dict(self.headers)
        self.trust_env = False  # the adapter looks at the environment; a .netrc has no say in who we are
        self.adapters.clear()
        self._adapter = ApiAdapter(settings)
        self.mount("https://", self._adapter)

    def abort(self) -> None:
        """Cut every connection to the server, whatever is under way on it."""
        self._adapter.abort()

    @without_frames
    @_discreetly
    def exchange(
        self, method: str, url: str, *, params: Mapping[str, Any], json: Any, headers: Mapping[str, str]
    ) -> requests.Response:
        """Send a request by itself, without what a session keeps from one to the next: cookies, and a token."""
        request = requests.PreparedRequest()
        try:
            # What `prepare` does, without a look at cookies, .netrc and hooks, which cost as much as all of this.
            request.prepare_method(method)
            request.url = prepared(url) + ("?" + urlencode(params, doseq=True) if params else "")
            request.prepare_headers({**self._own_headers, **headers})
            if json is None:
                request.prepare_content_length(None)
            else:
                request.prepare_body(None, None, json)
            return self._adapter.send(request)
        except GofundoError:
            raise
        except (requests.RequestException, TypeError, ValueError):
            text = _malformed(method, url)
        raise GofundoConfigError(text)

    @without_frames
    @_discreetly
    def request(  # type: ignore[override]  # passes everything on
        self, method: str, url: str, data: Any = None, headers: Mapping[str, str] | None = None, **kwargs: Any
    ) -> requests.Response:
        """Send a request, as `requests.Session.request` does."""
        target = https_form(resolve(self._base_url, url))
        own = dict(headers or {})  # oauthlib writes the token into it
        try:
            response = super().request(method, target, data, own, **kwargs)
        except GofundoError:
            raise
        except (requests.RequestException, TypeError, ValueError):
            text = _malformed(method, target)
        else:
            # The answer may be kept, pickled, or shown by whoever gets it.
            response.request.headers.pop("Authorization", None)
            return response
        raise GofundoConfigError(text)

    fetch_token = _discreetly(OAuth2Session.fetch_token)
    refresh_token = _discreetly(OAuth2Session.refresh_token)


def _malformed(method: str, url: str) -> str:
    """What failed on its way is the adapter's to explain; this never got so far. requests' words may hold values."""
    return f"{method} {shown_path(url)} cannot be sent: its method, a header, its body or timeout is malformed."
