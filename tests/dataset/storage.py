"""A local file system that tells a test about every step on it, so that the test can look, or break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from fsspec.implementations.local import LocalFileSystem

Step = Callable[[str], None]


class Storage(LocalFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """Calls `step("before mv")`, `step("after mv")` and so on around everything that a dataset does with it."""

    cachable = False

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step
        self._opened: list[IO[bytes]] = []

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._told("makedirs", path, exist_ok=exist_ok)

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
        return self._told("ls", path, detail=detail, **kwargs)

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return self._told("cat_file", path, *args, **kwargs)

    def pipe_file(self, path: str, value: bytes, *args: Any, **kwargs: Any) -> Any:
        return self._told("pipe_file", path, value, *args, **kwargs)

    def rm_file(self, path: str) -> None:
        self._told("rm_file", path)

    def mv(self, path1: str, path2: str, *args: Any, **kwargs: Any) -> None:
        self._told("mv", path1, path2, *args, **kwargs)

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        opened = self._told("open", path, mode, **kwargs)
        self._opened.append(opened)
        return _File(opened, self._step) if mode == "wb" else opened

    def close_files(self) -> None:
        """Close what a pull that was cut off has left open."""
        for file in self._opened:
            file.close()

    def _told(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._step(f"before {name}")
        result = getattr(super(), name)(*args, **kwargs)
        self._step(f"after {name}")
        return result


class _File:
    def __init__(self, file: IO[bytes], step: Step) -> None:
        self._file = file
        self._step = step

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> int:
        self._step("before write")
        written = self._file.write(data)
        self._step("after write")
        return written

    def close(self) -> None:
        self._step("before close")
        self._file.close()
        self._step("after close")


@dataclass(frozen=True)
class Folder:
    """A directory on any file system, as far as a dataset looks at one."""

    fs: Any
    path: str

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.fs, f"{self.path}/{name}")

    def __str__(self) -> str:
        return self.path


class PowerCut(BaseException):
    """Nothing happens on this machine any more."""


class Breakdown:
    """A step for `Storage` that breaks at the nth step: once, as storage does, or for ever, as in a power cut."""

    def __init__(self, at: int | None, *, for_ever: bool = False) -> None:
        self.at = at
        self.for_ever = for_ever
        self.steps: list[str] = []

    def __call__(self, step: str) -> None:
        number = len(self.steps)
        self.steps.append(step)
        if self.at is None or number < self.at or (number > self.at and not self.for_ever):
            return
        if self.for_ever:
            raise PowerCut
        raise OSError(28, f"No space left on device ({step})")
