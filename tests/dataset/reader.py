"""A reader of datasets that shares no code with their writer, and believes nothing it has not checked."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from airflow_provider_gofundo.dataset.manifest import Directory


@dataclass(frozen=True)
class Found:
    """
    A complete dataset: its manifest, and per part its bytes as stored and as they were before compression.

    The rows of a Parquet file are lines of JSON here.
    """

    manifest: dict[str, Any]
    stored: list[bytes]
    plain: list[bytes]

    @property
    def lines(self) -> list[str]:
        return [line for part in self.plain for line in part.decode().split("\n")[:-1]]

    @property
    def ids(self) -> list[int]:
        return [json.loads(line)["id"] for line in self.lines]

    @property
    def names(self) -> list[str]:
        return [part["name"] for part in self.manifest["parts"]]

    @property
    def sizes(self) -> list[int]:
        """How many records are in each part."""
        return [part["records"] for part in self.manifest["parts"]]


def lake(folder: Path) -> Directory:
    """A local folder as the pull takes it."""
    path: Directory = UPath(folder)
    return path


def trust(path: Directory) -> Found | None:
    """
    Take what the manifest names, None where there is no manifest.

    AssertionError when it names something that is not so, FileNotFoundError when a part is missing.
    """
    try:
        manifest = json.loads(content(path, "_manifest.json"))
    except FileNotFoundError:
        return None
    stored, plain = [], []
    for part in manifest["parts"]:
        data = content(path, part["name"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part["bytes"], part["sha256"]), part["name"]
        stored.append(data)
        plain.append(_plain(data, manifest["file_format"], manifest["compression"]))
        assert plain[-1].endswith(b"\n")
        assert plain[-1].count(b"\n") == part["records"]
    assert sum(part["records"] for part in manifest["parts"]) == manifest["records"]
    return Found(manifest, stored, plain)


def _plain(data: bytes, file_format: str, compression: str) -> bytes:
    if file_format == "parquet":
        rows = pq.read_table(pa.BufferReader(data)).to_pylist()
        return "".join(f"{json.dumps(row, default=str)}\n" for row in rows).encode()
    return gzip.decompress(data) if compression == "gzip" else data


def content(path: Directory, name: str) -> bytes:
    file = path / name
    data: bytes = file.fs.cat_file(file.path)
    return data


def files(folder: Path) -> dict[str, bytes]:
    """Every file in a folder with its bytes."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


class Reader:
    """Reads a dataset again and again, from another thread, and believes only lines it was told of, if it was."""

    def __init__(self, folder: Path, *known: list[str]) -> None:
        self.looks = 0
        self._folder = folder
        self._known = known
        self._over = threading.Event()

    def __call__(self) -> None:
        while not self._over.wait(0.002):
            self.look()

    def look(self) -> Found:
        while True:
            try:
                found = trust(lake(self._folder))
            except FileNotFoundError:  # replaced while we read: read the new manifest
                continue
            assert found, "there was a dataset, so there is one"
            assert not self._known or found.lines in self._known
            self.looks += 1
            return found

    def stop(self) -> None:
        self._over.set()
