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

    `recipe` is a digest of what is pulled, from where, as whom and into what, `run` the try it is of, and `overtaken`
    those that it goes on after, or in place of. The last record in the parts is
    number `count` on the page that `step` asks for, and `mark` is a digest of it: as long as it stands there, nothing
    has moved from behind it to before it, nor the other way round. `total` is what the server said at first,
    `first` a digest of the very first record, and `started` when the first try began. Of the
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
    def decode(cls, text: str) -> Checkpoint | None:
        """Return what `encode` wrote, None for anything else."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None

    def is_of(self, recipe: str) -> bool:
        """Whether it is of this recipe, and not too old."""
        return self.recipe == recipe and timedelta() <= datetime.now(timezone.utc) - self.saved < LIFE


def digest_of(*what: Any) -> str:
    """Return a digest of values that tells whether they are the same."""
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()
