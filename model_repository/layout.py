"""Where the parts of a release lie, for those who write, serve and check it.

    REPOSITORY/MODEL/<n>/model.py        what Triton's Python backend runs
    REPOSITORY/MODEL/<n>/serving/        its modules
    REPOSITORY/MODEL/<n>/variant/        the converted model
    REPOSITORY/MODEL/<n>/release.json    what the release is made of
    REPOSITORY/MODEL/<n>/golden.json     requests with the answers that the gate recorded
    REPOSITORY/MODEL/configs/r<n>.pbtxt  its configuration, for `--model-config-name=r<n>`
    RELEASES/MODEL/<n>.json              the signed manifest of all of the above

A version folder never changes after its rename. This module writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.names import check_name

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = "model.py"
SERVING = "serving"
VARIANT = "variant"
RELEASE = "release.json"
GOLDEN = "golden.json"
NO_BYTECODE = "__pycache__"
"""An empty file of this name stands beside Python files: where Python would keep bytecode, it
finds no folder. The backend's interpreter ignores PYTHONDONTWRITEBYTECODE, a folder of bytecode
would break the manifest, and bytecode put there by another hand would be run unseen."""
LARGEST_RELEASE = 2**31 - 1
"""Triton reads the folder's name into a 64-bit number and some clients into a 32-bit one."""


@dataclass(frozen=True, slots=True)
class ReleaseLayout:
    """Paths of release `release` of `model` below `repository`.

    Raises UserError for a name or number that no release can have.
    """

    repository: Path
    model: str
    release: int

    def __post_init__(self) -> None:
        check_name(self.model)
        if not 1 <= self.release <= LARGEST_RELEASE:
            raise UserError(f"{self.release} is not a release number", where=self.model)

    @property
    def folder(self) -> Path:
        """The version folder."""
        return self.repository / self.model / str(self.release)

    @property
    def config(self) -> Path:
        """The configuration that `--model-config-name` picks."""
        return self.repository / self.model / self.config_path

    @property
    def golden(self) -> Path:
        """The golden requests."""
        return self.folder / GOLDEN

    @property
    def config_path(self) -> str:
        """The configuration's path below the model's folder."""
        return f"configs/r{self.release}.pbtxt"

    def record(self, releases: Path) -> Path:
        """The signed record below `releases`."""
        return releases / self.model / f"{self.release}.json"
