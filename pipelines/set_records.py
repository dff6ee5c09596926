"""What each file of a known set hashed to, kept by the set's hash: so a changed one has a name.

A record's own SHA-256 is the set's hash, so a changed record is not believed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from registry.files import canonical_json, write_atomic
from validation.dataset import Dataset, WrongHashError, first_difference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from registry.workspace import Workspace


def load_recorded(workspace: Workspace, folder: Path, sha256: str | None = None) -> Dataset:
    """Read a set and keep its record. Raises as `Dataset.load` does, naming the changed file."""
    try:
        dataset = Dataset.load(folder, sha256)
    except WrongHashError as error:
        recorded = read_record(workspace, error.expected)
        if difference := first_difference(recorded, error.digests) if recorded else "":
            error.what = f"{error.what}: {difference}"
            error.args = (error.what,)
        raise
    keep_record(workspace, dataset)
    return dataset


def keep_record(workspace: Workspace, dataset: Dataset) -> None:
    """Write the record of a whole set, once."""
    path = _path(workspace, dataset.sha256)
    if not path.is_file():
        write_atomic(path, canonical_json(sorted(dataset.digests.items())))


def read_record(workspace: Workspace, sha256: str) -> Mapping[str, str]:
    """SHA-256 of each file of the set of this hash; empty when it is not known."""
    try:
        content = _path(workspace, sha256).read_bytes()
    except OSError:
        return {}
    if hashlib.sha256(content).hexdigest() != sha256:
        return {}
    pairs: Any = json.loads(content)
    return dict(pairs)


def _path(workspace: Workspace, sha256: str) -> Path:
    return workspace.state / "sets" / f"{sha256}.json"
