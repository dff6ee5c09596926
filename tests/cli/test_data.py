"""`sluice data` as a person and a CI job meet it: lines, JSON and exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipelines.scaffold import WORKSPACE_FILE

from ..validation.conftest import SetOnDisk
from .program import run

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.engine


class Desk:
    """A workspace with a set, and the command line in it."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        (root / "sluice.toml").write_text(WORKSPACE_FILE)
        self.root = root
        self.disk = SetOnDisk(root / "data" / "evaluation")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ran = run("data", *arguments, workspace=self.root, folder=self.root)
        assert "Traceback" not in ran.stderr
        return ran


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "home")


@pytest.mark.parametrize("command", ["add", "list", "verify"])
def test_every_command_has_help_with_an_example_and_json(desk: Desk, command: str) -> None:
    ran = desk.run(command, "--help")
    assert ran.returncode == 0
    assert f"Example: sluice data {command}" in ran.stdout
    assert "--output" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80


def test_a_set_is_added_listed_verified_and_found_changed(desk: Desk) -> None:
    added = desk.run("add", "data/evaluation")
    assert added.returncode == 0, added.stderr
    assert f'sha256 = "{desk.disk.seal()}"' in added.stdout
    assert 'dataset = "data/evaluation"' in added.stdout
    listed = desk.run("list")
    assert listed.returncode == 0
    assert "tiny" in listed.stdout
    assert "not pinned" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80
    assert desk.run("verify").returncode == 0
    clip = desk.disk.folder / "audio/clip-2.wav"
    clip.write_bytes(clip.read_bytes()[:-2] + b"\x07\x00")
    verified = desk.run("verify", "--output", "json")
    assert verified.returncode == 1
    (row,) = json.loads(verified.stdout)["sets"]
    assert "audio/clip-2.wav is not the file that was pinned" in " ".join(row["findings"])


def test_a_broken_contract_is_refused_with_one(desk: Desk) -> None:
    for row in desk.disk.rows:
        row["text"] = "..."
    desk.disk.write_manifest()
    desk.disk.seal()
    ran = desk.run("add", "data/evaluation")
    assert ran.returncode == 1
    assert "clip-0, clip-1, clip-2, clip-3" in ran.stdout
    assert "refused: 1 expectations do not hold" in ran.stdout
    assert not (desk.root / ".dvc").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "data/absent"), "dataset.json"),
        (("add", "data/evaluation", "--write", "absent"), "no model 'absent'"),
        (("verify", "absent"), "no set 'absent'"),
    ],
)
def test_wrong_use_is_one_line_and_two(desk: Desk, arguments: tuple[str, ...], words: str) -> None:
    ran = desk.run(*arguments)
    assert ran.returncode == 2
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert words in line
