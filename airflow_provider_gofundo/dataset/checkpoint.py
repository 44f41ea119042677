"""Checkpoint: how far a pull has come, for the next try of the same task."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

import msgspec

from airflow_provider_gofundo.dataset.manifest import Part
from airflow_provider_gofundo.pages.shapes import Step
from airflow_provider_gofundo.settings import Settings

# An older checkpoint is not used: too much of the list may have changed since.
LIFE = timedelta(days=1)


class Checkpoints(Protocol):
    """A place for one text that survives a try of a task, and nothing longer."""

    def read(self) -> str | None:
        """Return the text, empty when there is none, None when that cannot be told."""

    def write(self, text: str) -> None:
        """Put the text in the place of the one before."""

    def clear(self) -> None:
        """Take it away."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    Finished parts, and the place in the list that they reach to.

    `recipe` is a digest of what is pulled, from where, as whom and into what, `run` the try it is of, and `overtaken`
    those that it goes on after, or in place of.

    The last record in the parts is number `count` on the page that `step` asks for, and `mark` is its `mark_of`: as
    long as it stands there, nothing has moved from behind it to before it, nor the other way round. `first` is that
    of the very first record, `total` what the server said at first, and `started` when the first try began. Of the
    records' values it holds none but the watermark, a time or a number.
    """

    recipe: str
    started: datetime
    saved: datetime
    parts: list[Part]
    step: Step | None
    count: int
    mark: str
    pages: int
    total: int | None
    first: str | None = None
    watermark: str | None = None
    run: str = ""
    overtaken: list[str] = []

    def encode(self) -> str:
        """Return it as text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str | None) -> Checkpoint | None:
        """Return what `encode` wrote, None for anything else."""
        try:
            return msgspec.json.decode(text or "", type=cls)
        except msgspec.DecodeError:
            return None

    def is_of(self, recipe: str) -> bool:
        """Whether it is of this recipe, and not too old."""
        return self.recipe == recipe and timedelta() <= datetime.now(timezone.utc) - self.saved < LIFE


def mark_of(settings: Settings, what: bytes) -> str:
    """
    Return a digest by which something of a record is known again, and that nobody can compare with guesses.

    What is kept of it may be seen by people who may not see the record. Its key is what the connection keeps secret,
    so it is the same for all tries and workers; where that is nothing, as for a public client, it can be guessed.
    """
    secrets = settings.client_secret, settings.user_password, settings.refresh_token, settings.pseudonym_key_secret
    key = "\0".join(["mark", *(secret or "" for secret in secrets)])
    return hmac.new(key.encode(errors="surrogatepass"), what, hashlib.sha256).hexdigest()


def digest_of(*what: Any) -> str:
    """Return a digest of values that tells whether they are the same."""
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()
