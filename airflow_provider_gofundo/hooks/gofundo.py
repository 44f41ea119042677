"""GofundoHook: an Airflow Connection in, a client out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from threading import Thread
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_gofundo.exceptions import GofundoError

# The engine is imported where it is used: a DAG file is parsed every few seconds, and imports this hook each time.
if TYPE_CHECKING:
    import requests
    from requests_oauthlib import OAuth2Session

    from airflow_provider_gofundo.checkup import Finding
    from airflow_provider_gofundo.client.client import GofundoClient
    from airflow_provider_gofundo.oauth.authorization import AuthorizationRequest
    from airflow_provider_gofundo.oauth.token import Token
    from airflow_provider_gofundo.pages.shapes import Page
    from airflow_provider_gofundo.settings import Settings


class GofundoHook(BaseHook):
    """
    Talks to a Gofundo server with the credentials of a `gofundo` connection.

    `endpoint` everywhere is a path below the connection's Host, such as `api/donations`; `query_params` are the
    parameters of its query string. All methods raise the errors of `airflow_provider_gofundo.exceptions`.
    """

    conn_name_attr = "gofundo_conn_id"
    default_conn_name = "gofundo_default"
    conn_type = "gofundo"
    hook_name = "Gofundo"

    def __init__(self, gofundo_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gofundo_conn_id = gofundo_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the form, for Airflow before 3.2; later ones read the provider's declaration."""
        from airflow_provider_gofundo.form_widgets import connection_form_widgets

        return connection_form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form calls the standard fields, for the same versions."""
        from airflow_provider_gofundo.form_widgets import ui_field_behaviour

        return ui_field_behaviour()

    @cached_property
    def client(self) -> GofundoClient:
        """The client of this connection. It logs in with its first request."""
        from airflow_provider_gofundo.client.client import GofundoClient
        from airflow_provider_gofundo.oauth.grants import grant_for
        from airflow_provider_gofundo.oauth.manager import TokenManager
        from airflow_provider_gofundo.oauth.store import MemoryTokenStore
        from airflow_provider_gofundo.state.login import shared_login

        settings = self._settings()
        store, turn = shared_login(settings) if settings.share_login else (MemoryTokenStore(), None)
        return GofundoClient(settings, TokenManager(grant_for(settings), store, turn=turn, on_token=_mask))

    def stop(self) -> None:
        """
        End everything that the client does, in whatever thread, with GofundoStopped. There is no way back.

        Airflow calls this from a signal handler, in the middle of whatever the main thread does. So another thread
        does it: the main thread may hold what it needs.
        """
        if "client" in self.__dict__:
            Thread(target=self.client.stop, name="gofundo-stop", daemon=True).start()

    def _settings(self) -> Settings:
        from airflow_provider_gofundo.settings import Settings
        from airflow_provider_gofundo.state.connections import find_connection, mask

        settings = Settings.from_connection(find_connection(self.gofundo_conn_id, self.get_connection))
        mask(settings.client_secret, settings.user_password, settings.refresh_token, settings.pseudonym_key_secret)
        return settings

    def authorization(self) -> AuthorizationRequest:
        """
        Prepare a login in a browser, for a connection with the authorization_code grant.

        Open the `url` of what it returns, log in, and hand the address that the browser ends at to `authorize`.
        """
        from airflow_provider_gofundo.oauth.authorization import begin

        return begin(self._settings())

    def authorize(self, request: AuthorizationRequest, callback_url: str) -> None:
        """Finish that login: exchange the code in the callback URL for a token that all workers use."""
        from airflow_provider_gofundo.oauth.authorization import code_of
        from airflow_provider_gofundo.oauth.grants import AuthorizationCodeGrant

        grant = AuthorizationCodeGrant(self._settings())
        self.client.tokens.adopt(grant.exchange(code_of(callback_url, request), request.code_verifier))

    def get_conn(self) -> OAuth2Session:
        """
        Return a session that is authorised now, for what the methods below do not cover.

        It reaches the connection's Host only; its URLs may be paths. It neither retries nor renews its token.
        """
        return self.client.session()

    def request(
        self,
        method: str,
        endpoint: str,
        *,
        query_params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request, retried where that is safe; the answer is 2xx, or this raises."""
        return self.client.request(method, endpoint, query_params=query_params, json=json, headers=headers)

    def pages(
        self, endpoint: str, *, query_params: Mapping[str, Any] | None = None, parallel: int | None = None
    ) -> Iterator[Page]:
        """
        Yield the pages of a list, first to last, with their records as raw JSON.

        `parallel` requests are under way at the same time, 4 unless told otherwise, as soon as the server makes us
        wait; with 1 no page is asked for before it is needed.
        """
        from airflow_provider_gofundo.pages.walk import PARALLEL, walk

        many = PARALLEL if parallel is None else parallel
        return walk(self.client, endpoint, query_params=query_params, parallel=many)

    def records(
        self, endpoint: str, *, query_params: Mapping[str, Any] | None = None, parallel: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the records of a list, first to last, decoded. `parallel` as for `pages`."""
        import msgspec

        for page in self.pages(endpoint, query_params=query_params, parallel=parallel):
            for record in page.records:
                yield msgspec.json.decode(record, type=dict[str, Any])

    def checkup(self) -> Iterator[Finding]:
        """Yield what each step of a checkup finds, up to the first that fails: address, connection, login, list."""
        from airflow_provider_gofundo.checkup import checkup

        return checkup(self.client, on_token=_mask)

    def test_connection(self) -> tuple[bool, str]:
        """
        Log in, and read the first page of Check endpoint where the connection names one.

        Airflow calls this under a random connection id, so the login is kept in memory; and it never uses up a
        refresh token, so of a chain only the client is checked.
        """
        from airflow_provider_gofundo.checkup import credentials

        try:
            findings = list(credentials(self._settings(), on_token=_mask))
        except GofundoError as error:
            return False, str(error)
        if not findings[-1].ok:
            return False, findings[-1].text
        told = [finding.text.removesuffix(".") for finding in findings if not finding.skipped]
        return True, f"{'; '.join(told)}."

    def __getstate__(self) -> dict[str, Any]:
        """Leave the client and its secrets behind when pickled; the copy makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "client"}


def _mask(token: Token) -> None:
    from airflow_provider_gofundo.state.connections import mask

    mask(token.access_token, token.refresh_token)
