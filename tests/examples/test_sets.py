"""Every set is made with the same bytes each time: what `make data` made is what git pins."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
STAGES = YAML(typ="safe").load(GRID / "dvc.yaml")["stages"]


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    """DVC's hash of each set as git has it: `dvc repro` would write another into the lock."""
    command = ["git", "show", ":examples/grid/dvc.lock"]
    done = subprocess.run(command, cwd=GRID, check=True, capture_output=True, timeout=30)
    stages = YAML(typ="safe").load(done.stdout)["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def directory_hash(folder: Path) -> str:
    """DVC's hash of a folder: the MD5 of its listing as JSON, sorted by path."""
    listing = [
        {
            "md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            "relpath": path.relative_to(folder).as_posix(),
        }
        for path in folder.rglob("*")
        if path.is_file()
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(listing, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


@pytest.mark.parametrize("path", [out for stage in STAGES.values() for out in stage["outs"]])
def test_a_set_is_what_git_pins(path: str, pinned: dict[str, str]) -> None:
    assert directory_hash(GRID / path) == pinned[path]
