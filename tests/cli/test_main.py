"""The command line as a person meets it: help, wrong words, one line for each failure."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .program import PROGRAM

COMMANDS = [
    "init",
    "doctor",
    "up",
    "down",
    "status",
    "register",
    "inspect",
    "bom",
    "metrics",
    "cost",
    "convert",
    "gate",
    "evaluate",
    "publish",
    "promote",
    "rollback",
    "abort",
    "skip",
    "pause",
    "resume",
    "history",
    "drift",
]


def run(*arguments: str, workspace: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "SLUICE_WORKSPACE"}
    if workspace is not None:
        environment["SLUICE_WORKSPACE"] = str(workspace)
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
        cwd="/",
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(command: str) -> None:
    ran = run(command, "--help")
    assert ran.returncode == 0
    assert f"sluice {command}" in ran.stdout
    assert "Example: " in ran.stdout
    assert "--output" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80


def test_a_wrong_word_is_wrong_use() -> None:
    ran = run("promoet", "whisper-grid")
    assert ran.returncode == 2
    assert "promoet" in ran.stderr


def test_no_workspace_is_one_line_with_what_to_do() -> None:
    ran = run("status")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "sluice init" in ran.stderr


def test_a_mistake_in_the_policy_names_file_and_line(tmp_path: Path) -> None:
    assert run("init", str(tmp_path)).returncode == 0
    policy = tmp_path / "models" / "speech.toml"
    policy.parent.mkdir()
    policy.write_text('kind = "whisper"\n\n[convert]\nvariant = ["onnx-fp32"]\n')
    ran = run("drift", "check", "speech", workspace=tmp_path)
    assert ran.returncode == 2
    assert f"{policy}:" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_init_twice_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    assert run("init", str(tmp_path)).returncode == 0
    before = (tmp_path / "sluice.toml").read_text()
    ran = run("init", str(tmp_path))
    assert ran.returncode == 2
    assert "workspace already" in ran.stderr
    assert (tmp_path / "sluice.toml").read_text() == before


def test_a_model_without_data_gets_no_policy(tmp_path: Path) -> None:
    ran = run("init", str(tmp_path), "--model", "speech")
    assert ran.returncode == 2
    assert "--dataset" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_status_of_a_new_workspace_is_json(tmp_path: Path) -> None:
    run("init", str(tmp_path))
    ran = run("status", "--output", "json", workspace=tmp_path)
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["models"] == []


def test_a_prefect_server_that_is_away_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = Path(__file__).resolve().parents[2] / "examples" / "grid" / "data" / "evaluation"
    made = run("init", str(tmp_path), "--model", "speech", "--dataset", str(evaluation))
    assert made.returncode == 0
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    ran = run("register", "speech", str(tmp_path), workspace=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: Prefect: Failed to reach API")
    assert ran.stderr.count("\n") == 1
