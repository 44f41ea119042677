"""DatasetWriter: records into parts, and the manifest last; complete or absent, never half."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from airflow_provider_gofundo.dataset.manifest import MANIFEST_NAME, Directory, Manifest, Part, read_manifest
from airflow_provider_gofundo.dataset.names import began_later, is_abandoned, run_name
from airflow_provider_gofundo.dataset.part import Format, PartFile
from airflow_provider_gofundo.exceptions import (
    GofundoConfigError,
    GofundoError,
    GofundoStopped,
    GofundoStorageError,
)

log = logging.getLogger(__name__)

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
        raise GofundoStorageError(f"path {self.path}: writing failed: {reason}")

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
        self.path = path
        self._records_per_part = records_per_part
        self._format = file_format
        self._part: PartFile | None = None
        self.before: Manifest | None = None
        try:
            self._fs = path.fs
        except Exception as error:  # noqa: BLE001  # a storage whose provider is missing, or its connection
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        raise GofundoConfigError(f"path {path} cannot be reached, its provider may not be installed: {reason}")

    def open(self) -> None:
        """Make the directory and prove that it can be read and written; GofundoConfigError when it cannot."""
        if set("*?[") & set(self.path.path):
            # Where a move is a copy, the manifest would land elsewhere than it is looked for.
            raise GofundoConfigError(f"path {self.path} holds *, ? or [, which file systems take for a pattern.")
        probe = self._file(f"{self.run}.started")
        try:
            self.before = read_manifest(self.path)
            if self.path.path.startswith("/"):  # else it lies in a bucket, which this would make if it is mistyped
                self._fs.makedirs(self.path.path, exist_ok=True)
            self._fs.pipe_file(probe, b"{}")
            self._fs.rm_file(probe)
        except GofundoConfigError:
            raise
        except Exception as error:  # noqa: BLE001  # each storage raises its own
            reason = f"{type(error).__name__}: {error}"
            with suppress(Exception):
                self._fs.rm_file(probe)
        else:
            return
        raise GofundoConfigError(f"path {self.path} cannot be written: {reason}")

    def claim(self, endpoint: str) -> None:
        """Refuse to replace the dataset of another list; GofundoConfigError names both."""
        if self.before and self.before.endpoint != endpoint:
            raise GofundoConfigError(
                f"path {self.path} holds a dataset of {self.before.endpoint}; choose another path for {endpoint}, "
                f"or remove {MANIFEST_NAME} there."
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
        self._fs.invalidate_cache()
        try:
            whole = all(self._fs.info(self._file(part.name))["size"] == part.bytes for part in parts)
        except FileNotFoundError:
            return False
        if whole:
            self.parts = list(parts)
        if whole and parts:  # the last one knows what all before it held
            with self._fs.open(self._file(parts[-1].name), "rb") as file:
                self._format.adopt(file)
        return whole

    @_storage_told
    def read_back(self, parts: Iterable[Part], field: str, take: Callable[[Iterable[Any]], object]) -> None:
        """Hand one top-level field of every record in these finished parts to `take`, part by part."""
        for part in parts:
            with self._fs.open(self._file(part.name), "rb") as file:
                take(self._format.keys(file, field))

    @_storage_told
    def publish(self, manifest: Manifest) -> None:
        """
        Put the manifest in place, in one step; then remove what it replaces.

        GofundoStopped where a pull that began later, or another try of this one, has been published since it was
        opened.
        """
        gone = [part.name for part in manifest.parts if self._is_gone(part.name)]
        before = read_manifest(self.path)  # after that, for whoever is published removes what others may need
        is_news = before and before != self.before
        if before and is_news and (before.run == manifest.run or began_later(before.run, manifest.run)):
            raise GofundoStopped(f"{self.path}: a pull that began later has been published meanwhile. This one ends.")
        if gone:
            raise GofundoStorageError(
                f"{len(gone)} parts of this pull are gone from {self.path}; something removed them."
            )
        try:
            self.place(MANIFEST_NAME, msgspec.json.encode(manifest))
        except Exception:  # it may have happened all the same, and only the answer be lost
            if read_manifest(self.path) != manifest:
                raise
        self._sweep(before, manifest)

    @_storage_told
    def place(self, name: str, document: bytes) -> None:
        """Put a JSON document in the place of the one before, in one step."""
        draft = self._file(f"{self.run}.manifest")
        self._fs.pipe_file(draft, msgspec.json.format(document, indent=2))
        self._fs.mv(draft, self._file(name))

    def discard(self, *, keep: Collection[str] = ()) -> None:
        """Remove what this run has written, but for parts to keep and those that have been published."""
        if self._part is not None:
            with suppress(Exception):
                self._part.close()
            self._part = None
        with self._leftovers_do_no_harm():
            published = read_manifest(self.path)
            kept = {*keep, *(part.name for part in published.parts)} if published else keep
            self._remove(name for name in self._names() if name.startswith(self.run) and name not in kept)

    def tidy(self, names: Iterable[str]) -> None:
        """Remove files that nobody needs any more; one that cannot be removed does no harm."""
        with self._leftovers_do_no_harm():
            self._remove(names)

    def _sweep(self, before: Manifest | None, manifest: Manifest) -> None:
        """Remove the parts that were replaced, what this run needs no more, and what killed runs left."""
        replaced = {part.name for part in before.parts} if before else set()
        with self._leftovers_do_no_harm():
            now = read_manifest(self.path)  # another try that shares parts with this one may have published since
            keep = {part.name for one in (manifest, now) if one for part in one.parts}
            gone = replaced | self.spent
            others = (name for name in self._names() if name not in keep)
            mine = f"{self.run}-"
            self._remove(name for name in others if name in gone or name.startswith(mine) or is_abandoned(name))

    def _new_part(self) -> PartFile:
        name = f"{self.run}-{len(self.parts) + 1:05d}{self._format.suffix}"
        return self._format.part(name, self._fs.open(self._file(name), "wb"))

    def _finish_part(self) -> Sequence[msgspec.Raw]:
        """Close the open part; return what does not fit it and belongs to the next."""
        assert self._part is not None  # noqa: S101  # only called with one open
        left = self._part.flush()
        self.parts.append(self._part.close())
        self._part = None
        return left

    def _file(self, name: str) -> str:
        return str((self.path / name).path)

    def _names(self) -> list[str]:
        self._fs.invalidate_cache()
        return [path.rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self.path.path, detail=False)]

    def _is_gone(self, name: str) -> bool:
        """Whether a file is known to be missing; a storage that will not tell does not say so."""
        try:
            self._fs.invalidate_cache()
            self._fs.info(self._file(name))
        except FileNotFoundError:
            return True
        except Exception:  # noqa: BLE001  # each storage raises its own
            return False
        return False

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._file(name))

    @contextmanager
    def _leftovers_do_no_harm(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # each storage raises its own
            log.warning("%s: files no longer needed could not be removed: %s", self.path, type(error).__name__)
