from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from model_repository.programs.common import prediction_log
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA, PredictionLog

NOON = 1_800_000_000.0


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


def read(root: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(root).to_table().sort_by("at").to_pylist()
    return rows


def test_records_become_rows(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 3, "onnx-int8")
    log.append({"at": NOON, "session": "s", "token_count": 6, "empty": False})
    log.append({"at": NOON + 1.5, "error": "waveform is empty"})
    log.close()
    first, second = read(tmp_path)
    assert (first["model"], first["release"], first["variant"]) == ("grid", 3, "onnx-int8")
    assert first["at"].timestamp() == NOON
    assert first["at"].utcoffset().total_seconds() == 0
    assert (first["session"], first["token_count"], first["empty"]) == ("s", 6, False)
    assert first["error"] is None
    assert second["error"] == "waveform is empty"
    assert second["rms"] is None


def test_layout_is_one_folder_an_hour(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 3, "onnx-int8")
    for hour in range(3):
        log.append({"at": NOON + 3600 * hour})
    log.close()
    folders = sorted(
        path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")
    )
    times = [time.strftime("%Y%m%d%H", time.gmtime(NOON + 3600 * hour)) for hour in range(3)]
    assert folders == [f"model=grid/release=3/hour={hour}" for hour in times]
    for path in tmp_path.rglob("*.parquet"):
        assert pq.read_schema(path).equals(PREDICTION_SCHEMA)


def test_parts_can_be_read_while_others_are_written(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 1, "onnx-fp32", flush_s=0.02)
    for number in range(5):
        log.append({"at": NOON + number})
        wait_for(
            lambda wanted=number + 1: tmp_path.exists() and len(read_whole(tmp_path)) == wanted
        )
    assert not list(tmp_path.rglob("*.tmp"))
    log.close()


def read_whole(root: Path) -> list[Path]:
    return [path for path in root.rglob("part-*.parquet") if pq.read_table(path).num_rows]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 1, "onnx-fp32", flush_s=0.01)

    def append() -> None:
        for _ in range(500):
            log.append({"at": NOON})

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert log.dropped == 0
    assert len(read(tmp_path)) == 2000


def test_full_queue_drops_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, passed = threading.Event(), threading.Event()
    write = PredictionLog._write

    def slow(self: PredictionLog, hour: str, rows: Any) -> None:
        gate.wait(60)
        passed.set()
        write(self, hour, rows)

    monkeypatch.setattr(PredictionLog, "_write", slow)
    log = PredictionLog(tmp_path, "grid", 1, "v", capacity=10, flush_rows=1, flush_s=0.01)
    log.append({"at": NOON})
    wait_for(lambda: not log._waiting)
    for _ in range(1000):
        log.append({"at": NOON})
    assert not passed.is_set(), "a request waited for the disk"
    assert log.dropped == 990
    gate.set()
    log.close()
    assert len(read(tmp_path)) == 11


def test_disk_that_refuses_costs_records_only(tmp_path: Path) -> None:
    (tmp_path / "model=grid").write_text("in the way")
    log = PredictionLog(tmp_path, "grid", 1, "v", flush_s=0.01)
    log.append({"at": NOON})
    wait_for(lambda: log.dropped == 1)
    (tmp_path / "model=grid").unlink()
    log.append({"at": NOON})
    log.close()
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize("record", [{"at": NOON, "rms": "loud"}, {"at": NOON, "token_count": "x"}])
def test_record_of_another_type_does_not_end_the_log(tmp_path: Path, record: Any) -> None:
    log = PredictionLog(tmp_path, "grid", 1, "v", flush_s=0.01)
    log.append(record)
    wait_for(lambda: log.dropped == 1)
    log.append({"at": NOON})
    log.close()
    assert len(read(tmp_path)) == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_fields_of_the_schema() -> None:
    assert prediction_log.PREDICTION_SCHEMA.field("at").type == pa.timestamp("us", tz="UTC")
    assert PREDICTION_SCHEMA.names[:6] == [
        "at",
        "session",
        "request",
        "model",
        "release",
        "variant",
    ]


ASKED = {"text": "write to anna@example.com", "input_text": "my number is 0912 345 678"}


def test_texts_are_written_redacted_where_the_policy_keeps_them(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 1, "v", keeps_text=True)
    log.append({"at": NOON, **ASKED})
    log.append({"at": NOON + 1, "text": "bin blue at f two now"})
    log.append({"at": NOON + 2, "error": "waveform is empty"})
    log.close()
    first, second, third = read(tmp_path)
    assert first["text"] == "write to <EMAIL_ADDRESS>"
    assert first["input_text"] == "my number is <PHONE_NUMBER>"
    assert json.loads(first["redacted"]) == {"EMAIL_ADDRESS": 1, "PHONE_NUMBER": 1}
    assert (second["text"], second["input_text"]) == ("bin blue at f two now", None)
    assert json.loads(second["redacted"]) == {}
    assert (third["text"], third["redacted"]) == (None, None)


def test_no_text_is_written_where_nobody_asked_for_it(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 1, "v")
    log.append({"at": NOON, **ASKED})
    log.close()
    (row,) = read(tmp_path)
    assert (row["text"], row["input_text"], row["redacted"]) == (None, None, None)
    assert not any(b"anna" in path.read_bytes() for path in tmp_path.rglob("*.parquet"))


def test_a_text_that_cannot_be_redacted_is_not_written_and_counted(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 1, "v", keeps_text=True)
    log.append({"at": NOON, "text": "anna@example.com " * 2000, "input_text": "hello"})
    log.close()
    (row,) = read(tmp_path)
    assert (row["text"], row["input_text"]) == (None, "hello")
    assert json.loads(row["redacted"]) == {"FAILED": 1}
    assert log.redactions_failed == 1


def test_the_next_part_says_how_many_were_lost_before_it(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "grid", 1, "v", flush_s=0.01)
    for rms in ("loud", "louder", 0.5, 0.6):
        log.append({"at": NOON, "rms": rms})
        wait_for(lambda: log.dropped == 2 or not log._waiting)
        time.sleep(0.05)
    log.close()
    lost = [
        int(pq.read_schema(path).metadata[prediction_log.DROPPED])
        for path in sorted(tmp_path.rglob("*.parquet"))
    ]
    assert sum(lost) == log.dropped == 2
    assert len(read(tmp_path)) == 2


def test_a_folder_that_goes_just_then_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge takes an hour's empty folder away between its making and the part's."""
    make = Path.mkdir
    gone: list[Path] = []

    def make_and_lose(self: Path, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        if self.name.startswith("hour=") and not gone:
            gone.append(self)
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", make_and_lose)
    log = PredictionLog(tmp_path, "grid", 1, "v")
    log.append({"at": NOON})
    log.close()
    assert gone
    assert (len(read(tmp_path)), log.dropped) == (1, 0)
