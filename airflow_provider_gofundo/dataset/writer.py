"""DatasetWriter: records into parts, and the manifest last; complete or absent, never half."""

from __future__ import annotations

import functools
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import msgspec

from airflow_provider_gofundo.dataset.manifest import MANIFEST_NAME, Directory, Manifest, Part, read_manifest
from airflow_provider_gofundo.dataset.part import Compression, PartFile
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError, GofundoStorageError

log = logging.getLogger(__name__)

# Files of a run that no manifest names belong to a killed run, or to one that is still at work. After this long
# no pull is still at work.
ABANDONED = timedelta(days=7)

_STAMP = "%Y%m%dT%H%M%SZ"
_OURS = re.compile(r"(?P<stamp>\d{8}T\d{6}Z)-[0-9a-f]{8}(-\d{5,}\.ndjson(\.gz)?|\.started|\.manifest)")


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
        self, path: Directory, *, records_per_part: int, compression: Compression, started: datetime
    ) -> None:
        if records_per_part < 1:
            raise GofundoConfigError("records_per_part must be at least 1.")
        if compression not in ("gzip", "none"):
            raise GofundoConfigError("compression must be gzip or none.")
        self.run = f"{started.astimezone(timezone.utc):{_STAMP}}-{secrets.token_hex(4)}"
        self.parts: list[Part] = []
        self.path = path
        self._records_per_part = records_per_part
        self._compression = compression
        self._part: PartFile | None = None
        self._before: Manifest | None = None
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
            self._before = read_manifest(self.path)
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
        if self._before and self._before.endpoint != endpoint:
            raise GofundoConfigError(
                f"path {self.path} holds a dataset of {self._before.endpoint}; choose another path for {endpoint}, "
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
            self._part.write(waiting[:room])
            waiting = waiting[room:]
            if self._part.records == self._records_per_part:
                self._finish_part()

    @_storage_told
    def finish(self) -> list[Part]:
        """Close the last part and return them all. They are not a dataset yet."""
        if self._part is not None:
            self._finish_part()
        return self.parts

    @_storage_told
    def publish(self, manifest: Manifest) -> None:
        """Put the manifest in place, in one step; then remove what it replaces."""
        before = read_manifest(self.path)
        gone = [part.name for part in manifest.parts if self._is_gone(part.name)]
        if gone:
            raise GofundoStorageError(
                f"{len(gone)} parts of this pull are gone from {self.path}; something removed them."
            )
        draft = self._file(f"{self.run}.manifest")
        self._fs.pipe_file(draft, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        try:
            self._fs.mv(draft, self._file(MANIFEST_NAME))
        except Exception:  # it may have happened all the same, and only the answer be lost
            published = read_manifest(self.path)
            if published is None or published.run != self.run:
                raise
        self._sweep(before, manifest)

    def discard(self) -> None:
        """Remove everything of this run, unless it has been published. What was published before stays."""
        if self._part is not None:
            with suppress(Exception):
                self._part.close()
            self._part = None
        with self._leftovers_do_no_harm():
            published = read_manifest(self.path)
            if published is None or published.run != self.run:
                self._remove(name for name in self._names() if name.startswith(self.run))

    def _sweep(self, before: Manifest | None, manifest: Manifest) -> None:
        """Remove the parts that were replaced, and what killed runs left."""
        replaced = {part.name for part in before.parts} if before else set()
        keep = {part.name for part in manifest.parts}
        with self._leftovers_do_no_harm():
            self._remove(
                name for name in self._names() if name not in keep and (name in replaced or _abandoned(name))
            )

    def _new_part(self) -> PartFile:
        suffix = ".ndjson.gz" if self._compression == "gzip" else ".ndjson"
        name = f"{self.run}-{len(self.parts) + 1:05d}{suffix}"
        return PartFile(name, self._fs.open(self._file(name), "wb"), self._compression)

    def _finish_part(self) -> None:
        assert self._part is not None  # noqa: S101  # only called with one open
        self.parts.append(self._part.close())
        self._part = None

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


def _abandoned(name: str) -> bool:
    match = _OURS.fullmatch(name)
    if match is None:
        return False
    try:
        begun = datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=timezone.utc)
    except ValueError:
        return False
    return begun < datetime.now(timezone.utc) - ABANDONED
