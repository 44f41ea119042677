"""Manifest: the file that makes a set of parts a dataset, and says where they came from."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec
from fsspec import AbstractFileSystem

from airflow_provider_gofundo.dataset.drift import Drift
from airflow_provider_gofundo.exceptions import GofundoConfigError

MANIFEST_NAME = "_manifest.json"


class Directory(Protocol):
    """The part of ObjectStoragePath (and of UPath) that a dataset needs."""

    @property
    def fs(self) -> AbstractFileSystem:
        """The file system it lies on."""

    @property
    def path(self) -> str:
        """Its name there, without protocol."""

    def __truediv__(self, name: str) -> Directory:
        """Return the file or directory of that name in it."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its name beside the manifest, records and bytes in it, and the SHA-256 of those bytes."""

    name: str
    records: int
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """
    A complete pull of one list. Times are ISO 8601 in UTC.

    `total` is how many records the server said there were, on the first page and on the last; None where lists of
    this shape do not say. `drift` tells how the list changed meanwhile. `incremental` is None for a pull of the whole
    list, `shards` how many tasks pulled it. Of shards, `run` is that of their plan, and `tries` are those that pulled
    them. Of personal fields it names those that were left out or replaced.
    """

    manifest_version: Literal[1] = 1
    run: str
    source: str
    endpoint: str
    query_params: dict[str, Any]
    started: str
    finished: str
    records: int
    pages: int
    total: tuple[int | None, int | None]
    file_format: str
    compression: str
    record_key: str | None = None
    drift: Drift = Drift()
    incremental: Window | None = None
    shards: int = 1
    tries: list[str] = []
    excluded: list[str] = []
    pseudonymized: list[str] = []
    parts: list[Part]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an incremental pull covers: records whose `field` is not before `since`, as sent in `param`.

    `since` is None where it began with the whole list, `watermark` the greatest value seen, both as text.
    """

    param: str
    field: str
    since: str | None
    watermark: str | None


def read_manifest(path: Directory) -> Manifest | None:
    """
    Return the manifest of the dataset in a directory (an ObjectStoragePath or a UPath), None where there is none.

    A reader takes the files that `parts` names, and no others.
    """
    file = path / MANIFEST_NAME
    file.fs.invalidate_cache()
    try:
        return msgspec.json.decode(file.fs.cat_file(file.path), type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise GofundoConfigError(f"{file} is not a manifest of ours; choose another path. ({error})") from None
