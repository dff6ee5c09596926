"""A DVC repository as the place that evaluation sets come from: what it tracks, at which revision.

DVC reads a changed cache in silence, so nothing here vouches for bytes: whoever fetches, hashes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import EngineError, PermanentEngineError, UserError
from registry.files import write_atomic
from registry.quiet import QUIET_ENVIRONMENT, silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND_TIMEOUT_S = 1800.0
"""Bounds one `dvc add`, which copies the whole set into the cache."""


@dataclass(frozen=True, slots=True)
class DvcRepository:
    """The repository whose `.dvc` folder is in `root`."""

    root: Path

    @classmethod
    def find(cls, folder: Path) -> DvcRepository | None:
        """The nearest repository at or above `folder`, which need not exist."""
        for place in (folder, *folder.parents):
            if (place / ".dvc" / "config").is_file():
                return cls(place)
        return None

    @classmethod
    def create(cls, root: Path) -> DvcRepository:
        """Make one at `root`: inside git where `root` is in a git working tree, else without."""
        git = _git_root(root)
        how = ["--no-scm"] if git is None else [] if git == root else ["--subdir"]
        _dvc(root, "init", "--quiet", *how)
        ignored = root / ".dvcignore"
        # DVC walks the whole tree for its files; the workspace's state holds none of them.
        write_atomic(ignored, ignored.read_bytes() + b"/.sluice/\n")
        return cls(root)

    def add(self, folder: Path) -> None:
        """Track the folder as it is now. Raises PermanentEngineError with DVC's own reason."""
        _dvc(self.root, "add", "--quiet", str(folder))

    def listing(self, folder: Path, revision: str = "") -> dict[str, str]:
        """MD5 of every file of `folder` by path, as DVC recorded them; empty when it did not.

        `revision` is of git; empty: what the working tree's lock says. Raises UserError for a
        revision that does not exist, EngineError when DVC cannot say.
        """
        with self._opened(folder, revision) as (files, name):
            try:
                found = files.find(name, detail=True, dvc_only=True)
            except FileNotFoundError:
                return {}
        return {
            path.removeprefix(f"{name}/"): info["dvc_info"]["md5"]
            for path, info in found.items()
            if info.get("dvc_info", {}).get("md5")
        }

    def fetch(self, folder: Path, revision: str, target: Path) -> None:
        """Copy what `folder` held at `revision` into the folder `target`.

        Raises UserError for a revision that does not exist or holds no such folder, EngineError
        when DVC has no copy of it.
        """
        with self._opened(folder, revision) as (files, name):
            if not files.isdir(name):
                raise UserError(
                    f"revision {revision} of {self.root} holds no set here",
                    where=str(folder),
                    remedy="`dvc add` the folder, commit its .dvc file, and pin that revision",
                )
            files.get(name, str(target), recursive=True)

    def head(self) -> str:
        """The commit that git has checked out, in hex; empty without git or commits."""
        try:
            ran = subprocess.run(
                ["git", "rev-parse", "--verify", "--quiet", "HEAD"],  # noqa: S607 - the user's git
                cwd=self.root,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return ran.stdout.strip() if ran.returncode == 0 else ""

    @contextmanager
    def _opened(self, folder: Path, revision: str) -> Iterator[tuple[Any, str]]:
        """DVC's view of the tree, and what `folder` is called in it.

        A revision is of the whole git tree, in which this repository may be a folder.
        """
        root = (_git_root(self.root) or self.root) if revision else self.root
        silence()
        from dvc.api import DVCFileSystem  # type: ignore[import-untyped]
        from dvc.exceptions import DvcException  # type: ignore[import-untyped]
        from dvc.scm import RevError  # type: ignore[import-untyped]

        try:
            tree = DVCFileSystem(str(root), rev=revision or None, subrepos=root != self.root)
            yield tree, folder.relative_to(root).as_posix()
        except RevError as error:
            raise UserError(
                f"there is no revision {revision!r}",
                where=str(self.root),
                remedy="fetch it with git, or pin another one",
            ) from error
        except (DvcException, OSError) as error:
            raise EngineError(
                f"DVC cannot read the set: {error}",
                where=str(self.root),
                remedy="bring it with `dvc pull`",
            ) from error


def _git_root(folder: Path) -> Path | None:
    return next((up for up in (folder, *folder.parents) if (up / ".git").exists()), None)


def _dvc(root: Path, *arguments: str) -> None:
    """Run DVC's own command line, which is its stable interface, in a child process."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=root,
            env=os.environ | QUIET_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PermanentEngineError(
            f"`dvc {arguments[0]}` did not end in {COMMAND_TIMEOUT_S:.0f} s", where=str(root)
        ) from error
    if ran.returncode != 0:
        raise PermanentEngineError(
            f"`dvc {arguments[0]}` failed: {ran.stderr.strip()}", where=str(root)
        )
