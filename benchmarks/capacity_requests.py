"""What grows with requests: the prediction log, a drift check of it, and a canary's look.

The log's hours are written as the product's own writer does, the newest in its small parts, those
of earlier days merged. Every request is a session of its own.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.canary_tick import day
from drift.case import DriftState
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines.assembly import Platform
from pipelines.drift_check import check_drift
from pipelines.prediction_log_merge import merge_log
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "speech"
DAYS = 8
"""The hour that is judged, and the same one of seven days before."""
HOUR_S, DAY_S = 3600, 86_400
NOW = datetime(2026, 3, 9, 10, tzinfo=UTC).timestamp()
PART_ROWS = 5_000
"""As many as the writer puts into one part."""
POLICY = f"""kind = "whisper"

[convert]
variants = ["onnx-fp32"]

[gate]
dataset = "set"
sha256 = "{"0" * 64}"
normaliser = "basic"
cluster = "speaker"
limits.wer = 0.1

[rollout]
steps = [{{ weight = 100 }}]
"""


def log_figures(counts: Sequence[int]) -> list[dict[str, Any]]:
    """For each number of requests an hour."""
    return [_measure(count) for count in counts]


def look_figures(rates: Sequence[int]) -> list[dict[str, Any]]:
    """For each number of requests a second, in a step that is held for an hour and a half."""
    found = []
    for rate in rates:
        looked = day(hours=1.5, tick_s=5.0, requests_per_s=rate)
        found.append(
            {
                "requests_per_s": rate,
                "tick_ms_p50": looked["tick_ms_p50"],
                "decide_ms_p50": looked["decide_ms_p50"],
                "journal_entries_per_hour": round(looked["entries"] / 1.5),
                "state_bytes": looked["state_bytes"][-1],
            }
        )
    return found


def _measure(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sluice-requests-") as folder:
        workspace = Workspace(Path(folder))
        (workspace.root / "models").mkdir()
        (workspace.root / "sluice.toml").write_text("")
        workspace.model_file(MODEL).write_text(POLICY)
        platform = Platform(workspace, actor="benchmark")
        random = np.random.default_rng(1)
        for days in range(DAYS):
            _write_hour(workspace, NOW - HOUR_S - days * DAY_S, count, random)
        written = _size(workspace)
        began = time.perf_counter()
        merge_log(platform, MODEL, now=NOW - HOUR_S)
        merging = time.perf_counter() - began
        began, spent = time.perf_counter(), time.process_time()
        check = check_drift(platform, MODEL, window_s=HOUR_S, now=NOW, state=DriftState(MODEL))
        took, spent = time.perf_counter() - began, time.process_time() - spent
        held = check.report.assessment.judgement.window_rows
        if held != count:
            raise RuntimeError(f"{held} of {count} requests were judged")
        merged = _size(workspace)
        platform.journal.close()
    return {
        "requests_per_hour": count,
        "bytes_written": round(written / count / DAYS, 1),
        "bytes_merged": round(merged / count / DAYS, 1),
        "merge_rows_per_s": round(count * (DAYS - 1) / merging),
        "drift_check_s": round(took, 2),
        "drift_check_cpu_s": round(spent, 2),
    }


def _write_hour(
    workspace: Workspace, began: float, count: int, random: np.random.Generator
) -> None:
    hour = f"{datetime.fromtimestamp(began, UTC):%Y%m%d%H}"
    folder = workspace.predictions / f"model={MODEL}" / "release=1" / f"hour={hour}"
    folder.mkdir(parents=True)
    table = _draw(began, count, random)
    for number, at in enumerate(range(0, count, PART_ROWS)):
        pq.write_table(table.slice(at, PART_ROWS), folder / f"part-1-{number}.parquet")


def _draw(began: float, count: int, random: np.random.Generator) -> pa.Table:
    """What a speech model's program records of `count` requests."""
    at = np.sort(random.uniform(began + 1, began + HOUR_S - 1, count))
    seconds = random.gamma(4, 1, count)
    chars = random.integers(5, 60, count)
    sure = random.normal(-0.3, 0.1, count)
    flags = np.zeros(count, bool)
    drawn: dict[str, Any] = {
        "at": pa.array((at * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC")),
        "session": [f"{random.integers(1 << 62):016x}" for _ in range(count)],
        "request": [f"{random.integers(1 << 62):016x}" for _ in range(count)],
        "text_hash": [f"{random.integers(1 << 62):016x}" for _ in range(count)],
        "model": [MODEL] * count,
        "variant": ["onnx-int8"] * count,
        "release": np.ones(count, np.int64),
        "duration_s": seconds,
        "rms": random.normal(0.1, 0.03, count),
        "speech_ratio": random.beta(8, 2, count),
        "snr_db": random.normal(20, 4, count),
        "sample_rate": np.full(count, 16_000),
        "length_chars": chars,
        "token_count": chars // 4,
        "chars_per_s": chars / seconds,
        "compression_ratio": random.normal(1.2, 0.1, count),
        "average_log_probability": sure,
        "entropy": random.gamma(2, 0.2, count),
        "no_speech_probability": random.beta(1, 30, count),
        "latency_ms": random.gamma(8, 20, count),
        **dict.fromkeys(("empty", "looping", "fallback", "shadow", "pinned"), flags),
    }
    columns = [
        pa.array(drawn[field.name], field.type)
        if field.name in drawn
        else pa.nulls(count, field.type)
        for field in PREDICTION_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=PREDICTION_SCHEMA)


def _size(workspace: Workspace) -> int:
    return sum(path.stat().st_size for path in workspace.predictions.rglob("*.parquet"))
