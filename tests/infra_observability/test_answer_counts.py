"""Counters of recorded answers: what is new is read once, and copies are nobody's traffic."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines import metric_answers
from pipelines.metric_answers import AnswerCounts

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOON = datetime(2026, 3, 2, 12, 30, tzinfo=UTC).timestamp()


def record(root: Path, part: int, *rows: dict[str, Any], release: int = 2) -> Path:
    drawn = [{"at": datetime.fromtimestamp(NOON, UTC), "shadow": False, **row} for row in rows]
    whole = [{name: row.get(name) for name in PREDICTION_SCHEMA.names} for row in drawn]
    folder = root / "model=speech" / f"release={release}" / "hour=2026030212"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-1-{part}.parquet"
    pq.write_table(pa.Table.from_pylist(whole, schema=PREDICTION_SCHEMA), path)
    return path


def counted(counts: AnswerCounts, now: float = NOON) -> dict[str, float]:
    return {
        one.name: one.value
        for family in counts.families(["speech"], now)
        for one in family.samples
        if one.labels["release"] == "2"
    }


def test_what_is_new_is_added(tmp_path: Path) -> None:
    counts = AnswerCounts(tmp_path, since=0)
    record(tmp_path, 1, {"duration_s": 2.5}, {"duration_s": 3.0, "empty": True})
    record(tmp_path, 2, {"duration_s": 9.0, "shadow": True}, {"error": "no sound", "looping": True})
    expected = {
        "sluice_answers_total": 3,
        "sluice_answers_failed_total": 1,
        "sluice_answers_empty_total": 1,
        "sluice_answers_looping_total": 1,
        "sluice_answers_fallback_total": 0,
        "sluice_audio_seconds_total": 5.5,
    }
    assert counted(counts) == expected
    assert counted(counts) == expected
    record(tmp_path, 3, {"duration_s": 1.0, "fallback": True})
    assert counted(counts)["sluice_audio_seconds_total"] == 6.5


def test_what_was_there_before_does_not_count_and_what_is_damaged_hides_nothing(
    tmp_path: Path,
) -> None:
    path = record(tmp_path, 1, {"duration_s": 2.5})
    assert counted(AnswerCounts(tmp_path, since=path.stat().st_mtime + 1)) == dict.fromkeys(
        counted(AnswerCounts(tmp_path, since=0)), 0
    )
    path.write_bytes(b"not a table")
    record(tmp_path, 2, {"duration_s": 4.0})
    assert counted(AnswerCounts(tmp_path, since=0))["sluice_answers_total"] == 1


def test_one_scrape_reads_a_bounded_number_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_answers, "MOST_FILES", 2)
    counts = AnswerCounts(tmp_path, since=0)
    for part in range(5):
        record(tmp_path, part, {"duration_s": 1.0})
    assert [counted(counts)["sluice_answers_total"] for _ in range(4)] == [2, 4, 5, 5]
    # An hour that is over is not looked at again, however it is merged.
    assert counted(counts, NOON + 7200)["sluice_answers_total"] == 5
