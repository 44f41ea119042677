"""TokenStore: where a token waits between two uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from airflow_provider_gofundo.exceptions import GofundoStorageError
from airflow_provider_gofundo.oauth import record
from airflow_provider_gofundo.oauth.lease import Cell
from airflow_provider_gofundo.oauth.token import Token


class TokenStore(Protocol):
    """
    Keeps one connection's token.

    A shared store is read and written by many workers at once and offers no more than these two: what it loads
    may be older than what another worker has just saved, and the last one to save wins.
    """

    def load(self) -> Token | None:
        """Return the newest token it knows, good or not; None when there is none of these credentials."""

    def save(self, token: Token) -> None:
        """Keep this token in place of the one before."""


class MemoryTokenStore:
    """Keeps the token for as long as this object lives."""

    def __init__(self) -> None:
        self._token: Token | None = None

    def load(self) -> Token | None:
        """Return the token saved last."""
        return self._token

    def save(self, token: Token) -> None:
        """Keep this token."""
        self._token = token


class SharedTokenStore:
    """
    Keeps the token as text in a cell that all workers reach. What is not of these credentials is not there.

    `who` names whoever saves a token here; it stands beside the token, for people.
    """

    def __init__(self, cell: Cell, fingerprint: str, *, who: Callable[[], str] = str) -> None:
        self._cell = cell
        self._fingerprint = fingerprint
        self._who = who
        self._renewed_by: dict[str, str] = {}

    def load(self) -> Token | None:
        """Read the cell; GofundoStorageError when that fails."""
        try:
            return self._read(self._cell.read())
        except Exception as error:  # noqa: BLE001  # what comes depends on the cell
            reason = type(error).__name__
        raise GofundoStorageError(f"The login could not be read from Airflow's Variables ({reason}).")

    def save(self, token: Token) -> None:
        """Write the cell; GofundoStorageError when that fails."""
        try:
            # Of a token that came from here, as when its refresh token is struck off, the name stays.
            renewed_by = self._renewed_by.get(token.access_token)
            who = self._who() if renewed_by is None else renewed_by
            return self._cell.write(record.dump(token, self._fingerprint, who))
        except Exception as error:  # noqa: BLE001  # as above
            reason = type(error).__name__
        raise GofundoStorageError(f"The login could not be written to Airflow's Variables ({reason}).")

    def _read(self, text: str) -> Token | None:
        token = record.load(text, self._fingerprint)
        self._renewed_by = {token.access_token: record.renewed_by(text, self._fingerprint)} if token else {}
        return token
