"""DatasetWriter: records into parts, and the manifest last; complete or absent, never half."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import IO, Literal

import msgspec

from airflow_provider_gofundo.dataset.manifest import MANIFEST_NAME, Directory, Manifest, Part, read_manifest
from airflow_provider_gofundo.exceptions import GofundoConfigError, GofundoError

log = logging.getLogger(__name__)

Compression = Literal["gzip", "none"]

# Files of a run that no manifest names belong to a killed run, or to one that is still at work. After this long
# no pull is still at work.
ABANDONED = timedelta(days=7)

_STAMP = "%Y%m%dT%H%M%SZ"
_OURS = re.compile(r"(?P<stamp>\d{8}T\d{6}Z)-[0-9a-f]{8}(-\d{5,}\.ndjson(\.gz)?|\.started|\.manifest)")


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
        self._path = path
        self._records_per_part = records_per_part
        self._compression = compression
        self._part: _PartFile | None = None
        try:
            self._fs = path.fs
        except Exception as error:  # noqa: BLE001  # a storage whose provider is missing, or its connection
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        raise GofundoConfigError(f"path {path} cannot be reached, its provider may not be installed: {reason}")

    def open(self) -> None:
        """Make the directory and prove that it can be read and written; GofundoConfigError when it cannot."""
        if set("*?[") & set(self._path.path):
            # Where a move is a copy, the manifest would land elsewhere than it is looked for.
            raise GofundoConfigError(f"path {self._path} holds *, ? or [, which file systems take for a pattern.")
        probe = self._file(f"{self.run}.started")
        try:
            read_manifest(self._path)
            self._fs.makedirs(self._path.path, exist_ok=True)
            self._fs.pipe_file(probe, b"")
            self._fs.rm_file(probe)
        except GofundoConfigError:
            raise
        except Exception as error:  # noqa: BLE001  # each storage raises its own
            reason = f"{type(error).__name__}: {error}"
            with suppress(Exception):
                self._fs.rm_file(probe)
        else:
            return
        raise GofundoConfigError(f"path {self._path} cannot be written: {reason}")

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

    def finish(self) -> list[Part]:
        """Close the last part and return them all. They are not a dataset yet."""
        if self._part is not None:
            self._finish_part()
        return self.parts

    def publish(self, manifest: Manifest) -> None:
        """Put the manifest in place, in one step; then remove what it replaces."""
        before = read_manifest(self._path)
        gone = [part.name for part in manifest.parts if self._is_gone(part.name)]
        if gone:
            raise GofundoError(f"{len(gone)} parts of this pull are gone from {self._path}; something removed them.")
        draft = self._file(f"{self.run}.manifest")
        self._fs.pipe_file(draft, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        self._fs.mv(draft, self._file(MANIFEST_NAME))
        self._sweep(before, manifest)

    def discard(self) -> None:
        """Remove everything of this run, unless it has been published. What was published before stays."""
        if self._part is not None:
            with suppress(Exception):
                self._part.close()
            self._part = None
        with self._leftovers_do_no_harm():
            published = read_manifest(self._path)
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

    def _new_part(self) -> _PartFile:
        suffix = ".ndjson.gz" if self._compression == "gzip" else ".ndjson"
        name = f"{self.run}-{len(self.parts) + 1:05d}{suffix}"
        return _PartFile(name, self._fs.open(self._file(name), "wb"), self._compression)

    def _finish_part(self) -> None:
        assert self._part is not None  # noqa: S101  # only called with one open
        self.parts.append(self._part.close())
        self._part = None

    def _file(self, name: str) -> str:
        return str((self._path / name).path)

    def _names(self) -> list[str]:
        self._fs.invalidate_cache()
        return [path.rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._path.path, detail=False)]

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
            log.warning("%s: files no longer needed could not be removed: %s", self._path, type(error).__name__)


def _abandoned(name: str) -> bool:
    match = _OURS.fullmatch(name)
    if match is None:
        return False
    try:
        begun = datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=timezone.utc)
    except ValueError:
        return False
    return begun < datetime.now(timezone.utc) - ABANDONED


class _PartFile:
    """One file being written: lines in, compressed bytes out, counted and hashed on their way."""

    def __init__(self, name: str, file: IO[bytes], compression: Compression) -> None:
        self.name = name
        self.records = 0
        self._sink = _HashingSink(file)
        # No time stamp in it: the same records make the same bytes.
        self._gzip = gzip.GzipFile(fileobj=self._sink, mode="wb", mtime=0) if compression == "gzip" else None

    def write(self, records: list[msgspec.Raw]) -> None:
        (self._gzip or self._sink).write(b"\n".join(records) + b"\n")
        self.records += len(records)

    def close(self) -> Part:
        if self._gzip:
            self._gzip.close()
        self._sink.close()
        return Part(name=self.name, records=self.records, bytes=self._sink.size, sha256=self._sink.hash.hexdigest())


class _HashingSink(io.RawIOBase):
    """Passes bytes on to a file, and knows how many there were and their SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes is all that comes
        self._file.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
