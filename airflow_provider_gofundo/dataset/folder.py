"""Folder: the files of a dataset's directory, in whatever storage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from airflow_provider_gofundo.dataset.manifest import Directory, Manifest, read_manifest
from airflow_provider_gofundo.exceptions import GofundoConfigError

log = logging.getLogger(__name__)


class Folder:
    """
    A directory without directories in it, a UPath or an ObjectStoragePath. Files go by their names.

    Storages raise errors of their own, but FileNotFoundError where a file is missing.
    """

    def __init__(self, path: Directory) -> None:
        self.path = path
        try:
            self._fs = path.fs
        except Exception as error:  # noqa: BLE001  # a storage whose provider is missing, or its connection
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        raise GofundoConfigError(f"path {path} cannot be reached, its provider may not be installed: {reason}")

    def __str__(self) -> str:
        return str(self.path)

    def open_up(self, probe: str) -> Manifest | None:
        """
        Make it, prove that it can be read and written, and return its manifest; GofundoConfigError when it cannot.

        `probe` is the name of the file that is written for that, and removed.
        """
        if set("*?[") & set(self.path.path):
            # Where a move is a copy, the manifest would land elsewhere than it is looked for.
            raise GofundoConfigError(f"path {self} holds *, ? or [, which file systems take for a pattern.")
        file = self._file(probe)
        try:
            manifest = self.manifest()
            if self.path.path.startswith("/"):  # else it lies in a bucket, which this would make if it is mistyped
                self._fs.makedirs(self.path.path, exist_ok=True)
            self._fs.pipe_file(file, b"{}")
            self._fs.rm_file(file)
        except GofundoConfigError:
            raise
        except Exception as error:  # noqa: BLE001  # each storage raises its own
            reason = f"{type(error).__name__}: {error}"
            with suppress(Exception):
                self._fs.rm_file(file)
        else:
            return manifest
        raise GofundoConfigError(f"path {self} cannot be written: {reason}")

    def manifest(self) -> Manifest | None:
        """Read the manifest, None where there is none."""
        return read_manifest(self.path)

    def read(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        file: IO[bytes] = self._fs.open(self._file(name), "rb")
        return file

    def write(self, name: str) -> IO[bytes]:
        """Open a new file for writing."""
        file: IO[bytes] = self._fs.open(self._file(name), "wb")
        return file

    def content(self, name: str) -> bytes | None:
        """Read a file in one go, None where it is missing."""
        self._fs.invalidate_cache()
        try:
            content: bytes = self._fs.cat_file(self._file(name))
        except FileNotFoundError:
            return None
        return content

    def replace(self, name: str, data: bytes, *, draft: str) -> None:
        """Put data in the place of what a file held before, in one step; `draft` is a name for it until then."""
        self._fs.pipe_file(self._file(draft), data)
        self._fs.mv(self._file(draft), self._file(name))

    def names(self) -> list[str]:
        self._fs.invalidate_cache()
        return [path.rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self.path.path, detail=False)]

    def size(self, name: str) -> int | None:
        """How long a file is in bytes, None where it is missing."""
        self._fs.invalidate_cache()
        try:
            size: int = self._fs.info(self._file(name))["size"]
        except FileNotFoundError:
            return None
        return size

    def is_gone(self, name: str) -> bool:
        """Whether a file is known to be missing; a storage that will not tell does not say so."""
        with suppress(Exception):
            return self.size(name) is None
        return False

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._file(name))

    @contextmanager
    def leftovers_do_no_harm(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # each storage raises its own
            log.warning("%s: files no longer needed could not be removed: %s", self, type(error).__name__)

    def _file(self, name: str) -> str:
        return str((self.path / name).path)
