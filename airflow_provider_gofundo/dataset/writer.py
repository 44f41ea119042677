"""DatasetWriter: records into parts, and the manifest last; complete or absent, never half."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from airflow_provider_gofundo.dataset.folder import Folder
from airflow_provider_gofundo.dataset.manifest import MANIFEST_NAME, Directory, Manifest, Part
from airflow_provider_gofundo.dataset.names import began_later, is_abandoned, run_name
from airflow_provider_gofundo.dataset.part import Format, PartFile
from airflow_provider_gofundo.exceptions import (
    GofundoConfigError,
    GofundoError,
    GofundoStopped,
    GofundoStorageError,
)

F = TypeVar("F", bound=Callable[..., Any])


def _storage_told(method: F) -> F:
    """Let what a storage raises come out as an error of ours."""

    @functools.wraps(method)
    def wrapper(self: DatasetWriter, *args: Any) -> Any:
        try:
            return method(self, *args)
        except GofundoError:
            raise
        except Exception as error:  # noqa: BLE001  # each storage raises its own
            reason = f"{type(error).__name__}: {error}"
        raise GofundoStorageError(f"path {self._folder}: its storage failed: {reason}")

    return wrapper  # type: ignore[return-value]  # a wrapper has its method's signature


class DatasetWriter:
    """
    Writes one dataset into a directory, a UPath or an ObjectStoragePath.

    Parts carry this run's own name, so neither an earlier dataset nor a pull at the same time is touched. What
    was there before stays until `publish` has put the new manifest in its place.
    """

    def __init__(
        self,
        path: Directory,
        *,
        file_format: Format,
        records_per_part: int,
        started: datetime,
    ) -> None:
        self.run = run_name(started)
        self.parts: list[Part] = []
        self.spent: set[str] = set()  # files that `publish` removes as well
        self._folder = Folder(path)
        self.before: Manifest | None = None
        self._records_per_part = records_per_part
        self._format = file_format
        self._part: PartFile | None = None

    def open(self) -> None:
        """Make the directory and prove that it can be read and written; GofundoConfigError when it cannot."""
        self.before = self._folder.open_up(f"{self.run}.started")

    def claim(self, endpoint: str) -> None:
        """Refuse to replace the dataset of another list; GofundoConfigError names both."""
        if self.before and self.before.endpoint != endpoint:
            raise GofundoConfigError(
                f"path {self._folder} holds a dataset of {self.before.endpoint}; choose another path for "
                f"{endpoint}, or remove {MANIFEST_NAME} there."
            )

    @_storage_told
    def write(self, records: Iterable[msgspec.Raw]) -> None:
        """Append records, each a JSON object on one line."""
        waiting = list(records)
        while waiting:
            if self._part is None:
                self._part = self._new_part()
            room = self._records_per_part - self._part.records
            left = self._part.write(waiting[:room])
            waiting = [*left, *waiting[room:]]
            if left or self._part.records == self._records_per_part:
                waiting = [*self._finish_part(), *waiting]

    @_storage_told
    def finish(self) -> list[Part]:
        """Close the last part and return them all. They are not a dataset yet; more may be written after it."""
        while self._part is not None:
            self.write(self._finish_part())
        return self.parts

    @property
    def finished(self) -> int:
        """How many records are in finished parts."""
        return sum(part.records for part in self.parts)

    @property
    def settled(self) -> int:
        """How many records are in parts for good, the open one included."""
        return self.finished + (self._part.settled if self._part else 0)

    @_storage_told
    def adopt(self, parts: Sequence[Part]) -> bool:
        """
        Go on after the finished parts of an earlier try; False when they are not there any more.

        Nor when they have been published: that try was complete, and whoever runs it again wants to see what is new.
        """
        if self.before and {part.name for part in parts} & {part.name for part in self.before.parts}:
            return False
        if any(self._folder.size(part.name) != part.bytes for part in parts):
            return False
        self.parts = list(parts)
        if parts:  # the last one knows what all before it held
            with self._folder.read(parts[-1].name) as file:
                self._format.adopt(file)
        return True

    @_storage_told
    def read_back(self, parts: Iterable[Part], field: str, take: Callable[[Iterable[Any]], object]) -> None:
        """Hand one top-level field of every record in these finished parts to `take`, part by part."""
        for part in parts:
            with self._folder.read(part.name) as file:
                take(self._format.keys(file, field))

    @_storage_told
    def publish(self, manifest: Manifest) -> None:
        """
        Put the manifest in place, in one step; then remove what it replaces.

        GofundoStopped where a pull that began later, or another try of this one, has been published since it was
        opened.
        """
        gone = [part.name for part in manifest.parts if self._folder.is_gone(part.name)]
        before = self._folder.manifest()  # after that, for whoever is published removes what others may need
        is_news = before and before != self.before
        if before and is_news and (before.run == manifest.run or began_later(before.run, manifest.run)):
            raise GofundoStopped(
                f"{self._folder}: a pull that began later has been published meanwhile. This one ends."
            )
        if gone:
            raise GofundoStorageError(
                f"{len(gone)} parts of this pull are gone from {self._folder}; something removed them."
            )
        try:
            self.place(MANIFEST_NAME, msgspec.json.encode(manifest))
        except Exception:  # it may have happened all the same, and only the answer be lost
            if self._folder.manifest() != manifest:
                raise
        self._sweep(before, manifest)

    @_storage_told
    def place(self, name: str, document: bytes) -> None:
        """Put a JSON document in the place of the one before, in one step."""
        self._folder.replace(name, msgspec.json.format(document, indent=2), draft=f"{self.run}.manifest")

    @_storage_told
    def document(self, name: str) -> bytes | None:
        """Return a document that was put into place, None where there is none."""
        return self._folder.content(name)

    def discard(self, *, keep: Collection[str] = ()) -> None:
        """Remove what this run has written, but for parts to keep and those that have been published."""
        if self._part is not None:
            with suppress(Exception):
                self._part.close()
            self._part = None
        with self._folder.leftovers_do_no_harm():
            published = self._folder.manifest()
            kept = {*keep, *(part.name for part in published.parts)} if published else keep
            self._folder.remove(
                name for name in self._folder.names() if name.startswith(self.run) and name not in kept
            )

    def tidy(self, names: Iterable[str]) -> None:
        """Remove files that nobody needs any more; one that cannot be removed does no harm."""
        with self._folder.leftovers_do_no_harm():
            self._folder.remove(names)

    def _sweep(self, before: Manifest | None, manifest: Manifest) -> None:
        """Remove the parts that were replaced, what this run needs no more, and what killed runs left."""
        replaced = {part.name for part in before.parts} if before else set()
        with self._folder.leftovers_do_no_harm():
            now = self._folder.manifest()  # another try that shares parts with this one may have published since
            keep = {part.name for one in (manifest, now) if one for part in one.parts}
            gone = replaced | self.spent
            others = (name for name in self._folder.names() if name not in keep)
            mine = f"{self.run}-"
            self._folder.remove(
                name for name in others if name in gone or name.startswith(mine) or is_abandoned(name)
            )

    def _new_part(self) -> PartFile:
        name = f"{self.run}-{len(self.parts) + 1:05d}{self._format.suffix}"
        return self._format.part(name, self._folder.write(name))

    def _finish_part(self) -> Sequence[msgspec.Raw]:
        """Close the open part; return what does not fit it and belongs to the next."""
        assert self._part is not None  # noqa: S101  # only called with one open
        left = self._part.flush()
        self.parts.append(self._part.close())
        self._part = None
        return left
