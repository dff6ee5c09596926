"""`sluice drift report` and `sample` as typed, in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from registry.errors import UserError
from tests.pipelines.drift_world import MODEL, Month, empty_month

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Month:
    """One hour of records, looked at once."""
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    month = empty_month(tmp_path)
    month.record(rows=60)
    month.look()
    return month


def typed(*words: str) -> str:
    result = CliRunner().invoke(app, ["drift", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def json_of(*words: str) -> Any:
    return json.loads(typed(*words, "--output", "json"))


def test_the_report_names_its_page_for_people_and_machines(month: Month) -> None:
    value = json_of("report", MODEL, "--no-evidently")
    assert value["verdict"] == "not enough data"
    assert (value["requests"], value["evidently"]) == (60, None)
    page = month.workspace.reports / "drift" / MODEL / "drift.html"
    assert value["page"] == str(page)
    assert page.is_file()
    words = typed("report", MODEL, "--no-evidently")
    assert f"page       {page}" in words
    assert "`" not in words
    status = CliRunner().invoke(app, ["status", MODEL])
    assert f"{MODEL}: drift page {page}" in status.stdout


def test_a_sample_is_written_once(month: Month, tmp_path: Path) -> None:
    folder = tmp_path / "label"
    value = json_of("sample", MODEL, "--to", str(folder), "--size", "12")
    assert (value["requests"], value["worst"] + value["drawn"]) == (60, 12)
    assert (folder / "sample.csv").is_file()
    with pytest.raises(UserError, match="holds something already"):
        typed("sample", MODEL, "--to", str(folder))
    with pytest.raises(UserError, match="is no duration"):
        typed("sample", MODEL, "--to", str(tmp_path / "other"), "--since", "soon")
    assert month.workspace.root == tmp_path
