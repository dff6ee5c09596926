"""The log's commands from the command line: what they print, and how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from cli.main import app
from drift.record_parts import Hour, write_part
from drift.record_places import LocalPlace
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from registry.errors import UserError

from .test_canary_commands import POLICY

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

HOUR = Hour("speech", 1, 1_777_885_200)
AT = 1_000_000 * (HOUR.began + 60)
ROW = {"at": "2026-05-04T09:30:00Z", "latency_ms": 12.5, "request": "r1"}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sluice.toml").write_text(f"[records]\narchive = '{tmp_path}/archive'\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "speech.toml").write_text(POLICY)
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["log", *words])


def value(*words: str) -> Any:
    return json.loads(run(*words, "--output", "json").stdout)


def test_records_are_counted_moved_and_deleted(workspace: Path) -> None:
    rows = [dict.fromkeys(PREDICTION_SCHEMA.names) | {"at": AT, "request": one} for one in "ab"]
    part = write_part(pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA))
    LocalPlace(workspace / ".sluice" / "predictions").write(f"{HOUR.folder}/part-1-1.parquet", part)
    assert value("status", "speech")["held"][0]["records"] == 2
    shipped = run("ship", "speech")
    assert shipped.exit_code == 0
    assert "2026050409" in shipped.stdout
    assert run("ship").stdout == "nothing to move\n"
    assert run("compact", "--archive").stdout == "nothing to merge\n"
    told = run("status", "speech")
    assert f"in {workspace / 'archive'}" in told.stdout.replace("\n", "")
    assert "nothing was deleted" in run("prune", "--keep-days", "30", "--dry-run").stdout
    assert run("prune", "--keep-days", "30").exit_code == 0
    assert value("status", "speech")["held"] == []
    assert all(len(line) <= 80 for line in told.stdout.splitlines() if "/" not in line)


def test_a_refused_row_is_printed_and_the_exit_code_says_so(workspace: Path) -> None:
    file = workspace / "may.jsonl"
    file.write_text(json.dumps(ROW | {"at": "noon"}) + "\n")
    ran = run("import", "speech", str(file), "--release", "1")
    assert ran.exit_code == 1
    assert "in rows 0" in ran.stdout
    assert "nothing was imported" in ran.stdout
    assert not (workspace / ".sluice" / "predictions").exists()


def test_wrong_use_is_refused_before_anything_is_read(workspace: Path) -> None:
    for words in (("prune",), ("status", "nobody"), ("import", "nobody", str(workspace / "x"))):
        assert isinstance(run(*words).exception, UserError)
