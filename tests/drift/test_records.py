"""The log as it is found: half-written, damaged, from several releases, at the edges of hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift.categories import categorical_columns
from drift.columns import monitored_columns
from drift.records import Records, read_records
from model_repository.programs.common.prediction_log import (
    DROPPED,
    PREDICTION_SCHEMA,
    PredictionLog,
)
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 1_795_226_400.0  # 2026-11-21 02:00 UTC
FOLDER = "hour=2026112102"


def part(at: list[float], **columns: Any) -> pa.Table:
    moments = pa.array([round(moment * 1e6) for moment in at], pa.int64())
    given = {"at": moments.cast(pa.timestamp("us", tz="UTC")), **columns}
    return pa.table(
        {
            field.name: given.get(field.name, pa.nulls(len(at), field.type))
            for field in PREDICTION_SCHEMA
        }
    )


def write(
    root: Path, table: pa.Table, *, release: int = 1, name: str = "part-1-1", hour: str = FOLDER
) -> Path:
    path = root / "model=grid" / f"release={release}" / hour / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_reads_what_the_log_wrote(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 3, "onnx-int8", flush_s=0.05)
    for number in range(20):
        log.append({"at": HOUR - 10 + number, "session": f"s{number}", "rms": 0.1 * number})
    log.close()
    found = read_records(tmp_path, "grid", since=HOUR - 3600, until=HOUR + 3600)
    assert found.table.schema == PREDICTION_SCHEMA
    assert found.table.column("session").to_pylist() == [f"s{number}" for number in range(20)]
    assert set(found.table.column("release").to_pylist()) == {3}
    assert set(found.table.column("variant").to_pylist()) == {"onnx-int8"}
    assert found.parts >= 2
    assert (found.skipped, found.absent) == ((), ())


def test_the_range_is_half_open_and_prunes_by_hour(tmp_path: Path) -> None:
    write(tmp_path, part([HOUR, HOUR + 1.5, HOUR + 3]))
    write(tmp_path, part([HOUR + 9000]), hour="hour=2026112104")
    found = read_records(tmp_path, "grid", since=HOUR + 0.5, until=HOUR + 3)
    assert found.table.num_rows == 1
    assert found.parts == 1


def test_rows_come_in_order_of_time(tmp_path: Path) -> None:
    write(tmp_path, part([HOUR + 5, HOUR + 1]), release=1)
    write(tmp_path, part([HOUR + 3, HOUR + 7]), release=2)
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.column("release").to_pylist() == [1, 2, 1, 2]
    assert (
        read_records(tmp_path, "grid", release=2, since=HOUR, until=HOUR + 60).table.num_rows == 2
    )


@pytest.mark.parametrize("kept", [0, 3, 0.5, 0.99])
def test_a_part_that_is_cut_off_is_skipped_and_named(tmp_path: Path, kept: float) -> None:
    write(tmp_path, part([HOUR + 1]), name="part-1-1")
    broken = write(tmp_path, part([HOUR + 2] * 500), name="part-1-2")
    content = broken.read_bytes()
    broken.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.num_rows == 1
    assert [item.path for item in found.skipped] == [
        f"model=grid/release=1/{FOLDER}/part-1-2.parquet"
    ]
    assert found.skipped[0].reason


def test_damaged_data_with_a_good_footer_is_skipped_and_named(tmp_path: Path) -> None:
    write(tmp_path, part([HOUR + 1]), name="part-1-1")
    broken = write(tmp_path, part([HOUR + i / 1000 for i in range(2000)]), name="part-1-2")
    content = bytearray(broken.read_bytes())
    content[4:400] = b"\xff" * 396
    broken.write_bytes(content)
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.num_rows == 1
    assert len(found.skipped) == 1


def test_staged_and_foreign_files_are_not_parts(tmp_path: Path) -> None:
    path = write(tmp_path, part([HOUR + 1]))
    (path.parent / ".part-1-2.parquet.tmp").write_bytes(b"half")
    (path.parent / ".part-1-3.parquet").write_bytes(b"half")
    (path.parent / "notes.txt").write_text("no part")
    write(tmp_path, part([HOUR + 1]), hour="hour=unknown")
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert (found.table.num_rows, found.parts, found.skipped) == (1, 1, ())


def test_a_column_that_a_release_lacks_is_null_and_named(tmp_path: Path) -> None:
    older = part([HOUR + 1], rms=pa.array([0.5])).drop_columns(["snr_db", "looping"])
    write(tmp_path, older, release=1)
    write(tmp_path, part([HOUR + 2], snr_db=pa.array([12.0])), release=2)
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.column("snr_db").to_pylist() == [None, 12.0]
    assert [(item.release, item.columns) for item in found.absent] == [(1, ("looping", "snr_db"))]


def test_another_type_is_cast_where_values_fit_and_named_where_not(tmp_path: Path) -> None:
    odd = part([HOUR + 1], token_count=pa.array([7], pa.int16()), rms=pa.array(["loud"]))
    write(tmp_path, odd.append_column("new", pa.array([1])))
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.schema == PREDICTION_SCHEMA
    assert found.table.column("token_count").to_pylist() == [7]
    assert [item.columns for item in found.absent] == [("rms",)]


def test_copies_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    shadow = pa.array([False, True, None])
    write(tmp_path, part([HOUR + 1, HOUR + 2, HOUR + 3], shadow=shadow))
    write(tmp_path, part([HOUR + 4]).drop_columns(["shadow"]), release=2)
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.column("shadow").to_pylist() == [False, None, None]
    whole = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60, copies=True)
    assert whole.table.column("shadow").to_pylist() == [False, True, None, None]
    assert [item.columns for item in whole.absent] == [("shadow",)]
    assert not {"shadow", "pinned"} & set(monitored_columns(PREDICTION_SCHEMA))
    assert {"entropy", "fallback"} <= set(monitored_columns(PREDICTION_SCHEMA))


def test_a_part_without_times_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, pa.table({"rms": [0.5]}))
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert "`at`" in found.skipped[0].reason


def test_a_log_that_does_not_exist_has_no_records(tmp_path: Path) -> None:
    found = read_records(tmp_path / "none", "grid", since=HOUR, until=HOUR + 60)
    assert found.table.num_rows == 0
    assert found.table.schema == PREDICTION_SCHEMA


def test_bad_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model name"):
        read_records(tmp_path, "../other", since=HOUR, until=HOUR + 1)
    with pytest.raises(UserError, match="ends before"):
        read_records(tmp_path, "grid", since=HOUR, until=HOUR)


def told(found: Records) -> dict[str, int]:
    return {remark.kind: remark.records for remark in found.remarks}


def test_a_record_that_stands_in_two_parts_is_read_once_and_named(tmp_path: Path) -> None:
    rows = part([HOUR + 1, HOUR + 1, HOUR + 2], request=pa.array(["a", "a", "b"]))
    for number in range(3):
        write(tmp_path, rows, name=f"part-1-{number}")
    write(tmp_path, part([HOUR + 2], request=pa.array(["b"]), rms=pa.array([0.5])), name="part-2")
    write(tmp_path, part([HOUR + 3]), name="part-3")
    write(tmp_path, part([HOUR + 3]), name="part-4")
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    # Two like rows of one request, one question asked twice, and rows that have no name all stay.
    assert found.table.column("request").to_pylist() == ["a", "a", "b", "b", None, None]
    assert told(found) == {"duplicate": 6}
    assert "6 records stood there twice" in found.remarks[0].reason


def test_records_of_another_hour_and_of_the_future_are_named(tmp_path: Path) -> None:
    write(tmp_path, part([HOUR + 1, HOUR - 5, HOUR + 4000]))
    write(tmp_path, part([HOUR + 100_000, HOUR + 100_001]), hour="hour=2026112205")
    found = read_records(tmp_path, "grid", since=HOUR - 60, until=HOUR + 60, now=HOUR + 60)
    assert found.table.num_rows == 2
    assert told(found) == {"future": 3, "misplaced": 2}
    quiet = read_records(tmp_path, "grid", since=HOUR - 60, until=HOUR + 60)
    assert told(quiet) == {"misplaced": 2}


def test_columns_that_nobody_knows_and_records_that_were_lost_are_named(tmp_path: Path) -> None:
    table = part([HOUR + 1]).append_column("mood", pa.array(["good"]))
    write(tmp_path, table.replace_schema_metadata({DROPPED: "7"}))
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.schema == PREDICTION_SCHEMA
    assert told(found) == {"dropped": 7, "unknown columns": 0}
    assert "mood" in found.remarks[1].reason


def test_columns_of_any_type_end_no_reading(tmp_path: Path) -> None:
    odd = part([HOUR + 1], shadow=pa.array(["perhaps"]), request=pa.array([[1, 2]]))
    write(tmp_path, odd)
    write(tmp_path, odd, name="part-1-2")
    write(tmp_path, pa.table({"at": ["noon"]}), name="part-1-3")
    found = read_records(tmp_path, "grid", since=HOUR, until=HOUR + 60)
    assert found.table.num_rows == 2
    assert [item.columns for item in found.absent] == [("request", "shadow")]
    assert [item.reason for item in found.skipped] == ["its column `at` holds no times"]


def test_texts_are_no_categories() -> None:
    assert not {"text", "input_text", "redacted"} & set(categorical_columns(PREDICTION_SCHEMA))
