"""A user's own records: mapped, checked as a whole, and taken once however often they come."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift.records import read_records
from pipelines.assembly import Platform
from pipelines.prediction_log_import import import_records
from pipelines.prediction_log_merge import merge_log
from registry.errors import UserError
from registry.workspace import Workspace

from .test_prediction_log import POLICY

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
NOW = (BEGAN + timedelta(days=2)).timestamp()
MAPPING = ("at=when", "latency_ms=took", "request=id", "text=said")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    (tmp_path / "sluice.toml").write_text("")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "speech.toml").write_text(POLICY)
    return Platform(Workspace(tmp_path), actor="ann")


def theirs(count: int = 4, **changes: Any) -> list[dict[str, Any]]:
    found = [
        {
            "when": (BEGAN + timedelta(minutes=20 * number)).isoformat(),
            "took": 12.5,
            "id": f"r{number}",
            "said": "call 0912 345 678" if number == 1 else "bin blue now",
            "rms": 0.1,
            "colour": "red",
        }
        for number in range(count)
    ]
    found[-1] |= changes
    return found


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def take(platform: Platform, *files: Path, **named: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"mapping": MAPPING, "release": 2, "now": NOW} | named
    return import_records(platform, "speech", files, **options)


def recorded(platform: Platform) -> list[dict[str, Any]]:
    found = read_records(platform.workspace.predictions, "speech", since=0, until=NOW + 1)
    assert (found.skipped, found.remarks) == ((), ())
    listed: list[dict[str, Any]] = found.table.to_pylist()
    return listed


def test_their_columns_become_ours_and_twice_is_once(platform: Platform, tmp_path: Path) -> None:
    file = lines(tmp_path / "may.jsonl", theirs())
    told = take(platform, file)
    assert (told["imported"], told["known"], told["refused"]) == (4, 0, [])
    assert told["unused"] == ["colour"]
    rows = recorded(platform)
    assert [row["request"] for row in rows] == ["r0", "r1", "r2", "r3"]
    assert {(row["model"], row["release"], row["rms"]) for row in rows} == {("speech", 2, 0.1)}
    assert rows[0]["at"] == BEGAN
    assert (rows[1]["text"], json.loads(rows[1]["redacted"])) == (
        "call <PHONE_NUMBER>",
        {"PHONE_NUMBER": 1},
    )
    again = take(platform, file)
    assert (again["imported"], again["known"], again["parts"]) == (0, 4, [])
    merge_log(platform, now=NOW)
    longer = lines(tmp_path / "june.jsonl", theirs(6))
    assert (take(platform, longer)["imported"], take(platform, longer)["imported"]) == (2, 0)
    assert len(recorded(platform)) == 6


def test_what_a_killed_import_left_out_comes_with_the_next(
    platform: Platform, tmp_path: Path
) -> None:
    file = lines(tmp_path / "may.jsonl", theirs())
    first, _ = take(platform, file)["parts"]
    (platform.workspace.predictions / first).unlink()
    assert len(recorded(platform)) < 4
    take(platform, file)
    assert [row["request"] for row in recorded(platform)] == ["r0", "r1", "r2", "r3"]


def test_parquet_with_times_of_every_kind(platform: Platform, tmp_path: Path) -> None:
    moments = [BEGAN + timedelta(seconds=number) for number in range(3)]
    kinds = {
        "naive": pa.array([one.replace(tzinfo=None) for one in moments], pa.timestamp("ms")),
        "zone": pa.array(moments, pa.timestamp("ns", tz="Asia/Ho_Chi_Minh")),
        "epoch": pa.array([one.timestamp() for one in moments]),
    }
    for name, at in kinds.items():
        table = pa.table({"at": at, "latency_ms": [1, 2, 3], "session": [name] * 3})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        assert take(platform, tmp_path / f"{name}.parquet", mapping=())["imported"] == 3
    rows = recorded(platform)
    assert {row["at"] for row in rows} == set(moments)
    assert len(rows) == 9
    assert take(platform, tmp_path / "zone.parquet", mapping=())["known"] == 3, "without requests"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"took": None}, "latency_ms"),
        ({"took": "slow"}, "latency_ms: 'took' is no double in rows 3"),
        ({"when": "yesterday"}, "at: 'when' is no timestamp[us, tz=UTC] in rows 3"),
        ({"when": "2031-01-01T00:00:00Z"}, "times are from 2000"),
        ({"when": None}, "every record has its at"),
        ({"took": -1.0}, "latency_ms is a number from 0"),
        ({"text_hash": "hello"}, "never a text"),
    ],
)
def test_a_refused_row_is_named_and_nothing_is_written(
    platform: Platform, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    rows = theirs()
    if changes.get("took") == "slow":
        rows = [row | {"took": str(row["took"])} for row in rows]
    rows[-1] |= changes
    told = take(platform, lines(tmp_path / "may.jsonl", rows))
    (sentence,) = told["refused"]
    assert sentence.startswith("may.jsonl: ")
    assert words in sentence
    assert "3" in sentence
    assert not platform.workspace.predictions.exists()


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"mapping": ("at=when", "latency_ms=hours")}, "no column 'hours'"),
        ({"mapping": ("colour=when",)}, "'colour' is none of at, session"),
        ({"mapping": ("redacted=said",)}, "'redacted' is none of"),
        ({"mapping": ("at",)}, "says nothing"),
        ({"release": None}, "nothing says the release"),
    ],
)
def test_wrong_use_is_one_line(
    platform: Platform, tmp_path: Path, named: dict[str, Any], words: str
) -> None:
    file = lines(tmp_path / "may.jsonl", theirs())
    with pytest.raises(UserError, match=words):
        take(platform, file, **named)


def test_files_that_are_no_records_are_wrong_use(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 half")
    (tmp_path / "cut.jsonl").write_text('{"at": ')
    (tmp_path / "table.csv").write_text("at\n")
    for name in ("cut.parquet", "cut.jsonl", "table.csv", "none.jsonl"):
        with pytest.raises(UserError, match=name):
            take(platform, tmp_path / name)
    with pytest.raises(UserError, match="no model"):
        import_records(platform, "nobody", [], now=NOW)
