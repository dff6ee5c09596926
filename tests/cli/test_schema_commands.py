"""`sluice journal migrate` on the workspace's own file; a server's is in tests/registry."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from cli import audit_commands, schema_commands
from registry.errors import RetryableEngineError
from registry.tables import REVISION

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sluice.toml").write_text("")
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    return tmp_path


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    audit_commands.add_to(app)
    schema_commands.add_to(app)
    return app


def test_it_tells_the_revisions(workspace: Path, app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["journal", "migrate", "--output", "json"])
    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == {"before": REVISION, "after": REVISION, "changed": False}
    with closing(sqlite3.connect(workspace / ".sluice" / "journal.db")) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(REVISION,)]


def test_a_server_that_is_away_is_an_error(
    workspace: Path, app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workspace.is_dir()
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:9/sluice"
    monkeypatch.setenv("SLUICE_JOURNAL__URL", url)
    ran = CliRunner().invoke(app, ["journal", "migrate"])
    assert isinstance(ran.exception, RetryableEngineError)
    assert "hunter2" not in str(ran.exception)


def test_its_help_has_an_example(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, ["journal", "migrate", "--help"])
    assert "Example: sluice journal migrate" in ran.stdout
