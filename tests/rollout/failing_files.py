"""A disk that refuses: the n-th write, fsync, rename or new name below a folder fails.

Everything in the product that writes a file goes through a few functions of `os`, `io` and
`shutil`; while the block lasts, these count what is done below the folder, and the n-th raises. A
write that fails has written half of its bytes. (sqlite writes by itself: see its own tests.)
"""

from __future__ import annotations

import builtins
import io
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BY_PATH = ("replace", "rename", "link", "symlink", "mkdir", "unlink", "truncate")
_BY_DESCRIPTOR = ("fsync", "write", "fchmod", "sendfile", "copy_file_range")


def _opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


@dataclass
class FailingFiles:
    """Counts operations below `root`; at number `at`, `act` is called (and may raise)."""

    root: Path
    act: Callable[[], None] = lambda: None
    at: int = 0
    lasting: bool = False
    """Whether every later operation fails too, as on a disk that stays full."""
    counts_removals: bool = False
    """Whether removing a file counts: it needs no space, but it changes what is there."""
    names: list[str] = field(default_factory=list)

    @classmethod
    def raising(cls, root: Path, code: int, at: int, *, lasting: bool = False) -> FailingFiles:
        def refuse() -> None:
            raise OSError(code, os.strerror(code))

        return cls(root.resolve(), refuse, at, lasting=lasting)

    def passing(self, name: str, path: str | Path) -> None:
        self.names.append(f"{name} {Path(path).name}")
        count = len(self.names)
        if count == self.at or (self.lasting and 0 < self.at < count):
            self.act()

    def below(self, path: object) -> bool:
        if isinstance(path, int):
            path = _opened(path)
        if not isinstance(path, str | Path):
            return False
        return Path(path).absolute().is_relative_to(self.root)

    @contextmanager
    def mounted(self) -> Iterator[FailingFiles]:
        """While the block lasts, this is the disk below `root`."""
        patches = [patch.object(os, name, self._by_path(name)) for name in _BY_PATH]
        patches += [patch.object(os, name, self._by_descriptor(name)) for name in _BY_DESCRIPTOR]
        patches.append(patch.object(os, "open", self._os_open(os.open)))
        patches.append(patch.object(os, "fdopen", self._file(os.fdopen)))
        patches.append(patch.object(io, "open", self._file(io.open)))
        patches.append(patch.object(builtins, "open", self._file(builtins.open)))
        for one in patches:
            one.start()
        try:
            yield self
        finally:
            for one in reversed(patches):
                one.stop()

    def _by_path(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def wrapped(path: Any, *rest: Any, **named: Any) -> Any:
            if (name != "unlink" or self.counts_removals) and self.below(path):
                self.passing(name, path)
            return real(path, *rest, **named)

        return wrapped

    def _by_descriptor(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def wrapped(descriptor: int, *rest: Any, **named: Any) -> Any:
            if self.below(descriptor):
                self.passing(name, _opened(descriptor))
            return real(descriptor, *rest, **named)

        return wrapped

    def _os_open(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & os.O_CREAT and self.below(path):
                self.passing("create", path)
            return real(path, flags, *rest, **named)

        return wrapped

    def _file(self, real: Callable[..., IO[Any]]) -> Callable[..., Any]:
        def wrapped(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            writes = bool(set(mode) & set("wax+"))
            if not writes or not self.below(file):
                return real(file, mode, *rest, **named)
            if isinstance(file, str | Path):
                self.passing("create", file)
            opened = real(file, mode, *rest, **named)
            return _Watched(opened, self, opened.name)

        return wrapped


class _Watched:
    """A file whose writes may fail half-way; all else is the file's own."""

    def __init__(self, file: IO[Any], disk: FailingFiles, name: object) -> None:
        self._file = file
        self._disk = disk
        self._name = _opened(name) if isinstance(name, int) else Path(str(name))

    def write(self, content: Any) -> int:
        try:
            self._disk.passing("write", self._name)
        except OSError:
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            raise
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.__exit__(*failure)  # type: ignore[arg-type] # as they came

    def __iter__(self) -> Any:
        return iter(self._file)
