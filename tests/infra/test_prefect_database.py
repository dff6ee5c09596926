"""A workspace's Prefect begins with an empty database of the newest schema, where one is kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from infra.local.prefect_database import make_template, seed, template

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def rows(database: Path) -> dict[str, int]:
    """How many each table holds, where it holds any."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        counts = {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
            for (name,) in names
        }
    assert len(counts) > 20
    return {name: count for name, count in counts.items() if count}


def test_a_copy_is_a_schema_and_nothing_of_anybodys(tmp_path: Path) -> None:
    make_template()
    seed(tmp_path / "prefect.db")
    assert [path.name for path in tmp_path.iterdir()] == ["prefect.db"]
    assert rows(tmp_path / "prefect.db") == {"alembic_version": 1}


def test_a_database_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_bytes(b"one's own")
    seed(tmp_path / "prefect.db")
    assert (tmp_path / "prefect.db").read_bytes() == b"one's own"


def test_without_a_template_the_server_makes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    assert not template().exists()
    seed(tmp_path / "prefect.db")
    assert not (tmp_path / "prefect.db").exists()
