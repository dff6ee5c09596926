"""The two answers to each mirrored request, joined from the files that servers write."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.local import mirrored
from infra.local.mirrored import MirroredAnswers

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000.0


def part(root: Path, release: int, at: float, *rows: dict[str, Any], name: str = "") -> Path:
    """A file that appeared at NOW + `at`."""
    folder = root / "model=speech" / f"release={release}" / "hour=2023111422"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{release}-{name or int(at * 1000)}.parquet"
    columns = {key: [row.get(key) for row in rows] for key in {k for row in rows for k in row}}
    pq.write_table(pa.table(columns), path)
    os.utime(path, (NOW + at, NOW + at))
    return path


def row(request: str, **more: Any) -> dict[str, Any]:
    return {"request": request, "session": "s", "empty": False, "latency_ms": 3.0} | more


def names(answers: MirroredAnswers, after: float) -> list[tuple[str, float]]:
    found = answers.pairs("speech", 1, 2, NOW + after)
    return [(pair.request, pair.at - NOW) for pair in found]


def test_both_answers_meet_by_the_requests_name(tmp_path: Path) -> None:
    part(tmp_path, 1, 1.0, row("a", token_count=7), row("b"), row("only-here"))
    part(
        tmp_path,
        2,
        2.0,
        row("b", empty=True, shadow=True, average_log_probability=-1.5, text_hash="x"),
        row("a", error="refused", shadow=True, average_log_probability=None, text_hash=None),
    )
    first, second = MirroredAnswers(tmp_path).pairs("speech", 1, 2, NOW)
    assert (first.request, first.session, first.at) == ("a", "s", NOW + 2)
    assert first.candidate.error
    assert not first.baseline.error
    assert (first.baseline.length, first.candidate.length) == (7, 0)
    assert math.isnan(first.candidate.log_probability)
    assert (second.candidate.empty, second.candidate.text_hash) == (True, "x")
    assert second.candidate.log_probability == -1.5


def test_a_pair_appears_once_and_never_before_its_second_record(tmp_path: Path) -> None:
    answers = MirroredAnswers(tmp_path)
    part(tmp_path, 1, 1.0, row("a"))
    assert names(answers, 0) == []
    part(tmp_path, 2, 9.0, row("a", shadow=True))
    assert names(answers, 5) == names(MirroredAnswers(tmp_path), 5) == [("a", 9.0)]
    assert names(answers, 9) == []


def test_what_callers_got_from_the_candidate_is_no_pair(tmp_path: Path) -> None:
    part(tmp_path, 1, 1.0, row("again"), row("copied"))
    part(tmp_path, 2, 1.0, row("again", shadow=False), row("copied", shadow=True))
    assert names(MirroredAnswers(tmp_path), 0) == [("copied", 1.0)]


def test_a_request_without_a_name_has_no_partner(tmp_path: Path) -> None:
    part(tmp_path, 1, 1.0, row(""))
    part(tmp_path, 2, 1.0, row("", shadow=True))
    assert names(MirroredAnswers(tmp_path), 0) == []


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off"])
def test_a_damaged_file_is_left_out(tmp_path: Path, content: bytes) -> None:
    part(tmp_path, 1, 1.0, row("a"))
    damaged = part(tmp_path, 2, 1.0, row("a", shadow=True), name="damaged")
    damaged.write_bytes(content)
    os.utime(damaged, (NOW + 1, NOW + 1))
    part(tmp_path, 2, 2.0, row("a", shadow=True))
    assert names(MirroredAnswers(tmp_path), 0) == [("a", 2.0)]


def test_a_log_that_does_not_exist_has_no_pairs(tmp_path: Path) -> None:
    assert names(MirroredAnswers(tmp_path / "absent"), 0) == []


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrored, "MOST_ROWS", 50)
    answers = MirroredAnswers(tmp_path)
    for number in range(20):
        part(tmp_path, 1, number, *(row(f"{number}-{place}") for place in range(10)))
        names(answers, number - 1)
    assert sum(map(len, answers._rows.values())) <= 50
