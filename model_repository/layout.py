"""Where the parts of a release lie, for those who write, serve and check it.

    REPOSITORY/MODEL/<n>/model.py        what Triton's Python backend runs
    REPOSITORY/MODEL/<n>/serving/        its modules
    REPOSITORY/MODEL/<n>/variant/        the converted model
    REPOSITORY/MODEL/<n>/release.json    what the release is made of
    REPOSITORY/MODEL/<n>/golden.json     requests with the answers that the gate recorded
    REPOSITORY/MODEL/configs/r<n>.pbtxt  its configuration, for `--model-config-name=r<n>`
    REPOSITORY/MODEL.<part>/...          a further Triton model of the same releases: `network`,
                                         which a native backend runs (vLLM's has a `model.json`
                                         beside its `variant/`), or `stream`
    RELEASES/MODEL/<n>.json              the signed manifest of all of the above

A version folder never changes after its rename. This module writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
PARTS = ("network", "stream")
LARGEST_RELEASE = 2**31 - 1
"""Triton reads the folder's name into a 64-bit number and some clients into a 32-bit one."""


@dataclass(frozen=True, slots=True)
class ReleaseLayout:
    """Paths of release `release` of `model` below `repository`.

    `part` is the suffix of one of its further Triton models, empty for the one that clients
    ask. Raises UserError for a name or number that no release can have.
    """

    repository: Path
    model: str
    release: int
    part: str = ""

    def __post_init__(self) -> None:
        check_name(self.model)
        if not 1 <= self.release <= LARGEST_RELEASE:
            raise UserError(f"{self.release} is not a release number", where=self.model)

    @property
    def triton_model(self) -> str:
        """The name that Triton knows it by. No model's own name has a dot."""
        return f"{self.model}.{self.part}" if self.part else self.model

    @property
    def folder(self) -> Path:
        """The version folder."""
        return self.repository / self.triton_model / str(self.release)

    @property
    def config(self) -> Path:
        """The configuration that `--model-config-name` picks."""
        return self.repository / self.triton_model / f"configs/r{self.release}.pbtxt"

    @property
    def golden(self) -> Path:
        """The golden requests."""
        return self.folder / GOLDEN

    def record(self, releases: Path) -> Path:
        """The signed record below `releases`."""
        return releases / self.model / f"{self.release}.json"

    @property
    def whole(self) -> tuple[ReleaseLayout, ...]:
        """The Triton models of this release as they are on disk, the one that clients ask last."""
        found = (
            replace(self, part=part) for part in PARTS if replace(self, part=part).folder.is_dir()
        )
        return (*found, replace(self, part=""))


def parts(repository: Path, model: str, release: int) -> tuple[str, ...]:
    """Triton's names of the release's further models, as far as they are on disk."""
    whole = ReleaseLayout(repository, model, release).whole
    return tuple(layout.triton_model for layout in whole if layout.part)
