"""Checkpoint: how far a pull has come, for the next try of the same task."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

import msgspec

from airflow_provider_gofundo.dataset.manifest import Part
from airflow_provider_gofundo.pages.shapes import Step

# An older checkpoint is not used: too much of the list may have changed since.
LIFE = timedelta(days=1)


class Checkpoints(Protocol):
    """A place for one text that survives a try of a task, and nothing longer."""

    def read(self) -> str:
        """Return the text, empty when there is none."""

    def write(self, text: str) -> None:
        """Put the text in the place of the one before."""

    def clear(self) -> None:
        """Take it away."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    Finished parts, and the place in the list that they reach to.

    `recipe` is a digest of what is pulled, from where, as whom and into what. The last record in the parts is
    number `count` on the page that `step` asks for, and `mark` is a digest of it: as long as it stands there, nothing
    has moved from behind it to before it, nor the other way round. `total` is what the server said at first. Of the
    records' values it holds none but the watermark, a time or a number.
    """

    recipe: str
    saved: datetime
    parts: list[Part]
    step: Step | None
    count: int
    mark: str
    pages: int
    total: int | None
    watermark: str | None = None

    def encode(self) -> str:
        """Return it as text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str, recipe: str) -> Checkpoint | None:
        """Return what `encode` wrote, if it is of this recipe and not too old; else None."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None
        fresh = timedelta() <= datetime.now(timezone.utc) - found.saved < LIFE
        return found if fresh and found.recipe == recipe else None


def digest_of(*what: Any) -> str:
    """Return a digest of values that tells whether they are the same."""
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()
