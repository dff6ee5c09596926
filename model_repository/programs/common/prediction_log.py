"""Served requests as Parquet files: what was heard, what was answered, how sure the model was.

A thread of its own writes, so that no request waits for a disk; when it cannot keep up, records
are dropped and counted, never requests. Each part is staged under a hidden name and renamed, so a
reader sees whole files only. No audio and no transcript is ever written; `text_hash` names an
answer by a key that stays out of the log (see `fingerprint`).

Layout: ROOT/model=NAME/release=N/hour=YYYYMMDDHH/part-PID-NANOSECONDS.parquet, hours in UTC.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ENVIRONMENT_VARIABLE = "SLUICE_PREDICTION_LOG"
"""Names the root folder; without it nothing is recorded."""

PREDICTION_SCHEMA = pa.schema(
    [
        ("at", pa.timestamp("us", tz="UTC")),
        ("session", pa.string()),
        ("request", pa.string()),
        ("model", pa.string()),
        ("release", pa.int64()),
        ("variant", pa.string()),
        ("shadow", pa.bool_()),
        ("pinned", pa.bool_()),
        ("duration_s", pa.float64()),
        ("rms", pa.float64()),
        ("speech_ratio", pa.float64()),
        ("snr_db", pa.float64()),
        ("sample_rate", pa.int64()),
        ("input_chars", pa.int64()),
        ("script", pa.string()),
        ("unknown_token_rate", pa.float64()),
        ("language", pa.string()),
        ("frames", pa.int64()),
        ("brightness", pa.float64()),
        ("motion", pa.float64()),
        ("length_chars", pa.int64()),
        ("token_count", pa.int64()),
        ("chars_per_s", pa.float64()),
        ("compression_ratio", pa.float64()),
        ("average_log_probability", pa.float64()),
        ("entropy", pa.float64()),
        ("no_speech_probability", pa.float64()),
        ("input_rms", pa.float64()),
        ("output_rms", pa.float64()),
        ("empty", pa.bool_()),
        ("looping", pa.bool_()),
        ("fallback", pa.bool_()),
        ("text_hash", pa.string()),
        ("latency_ms", pa.float64()),
        ("error", pa.string()),
    ]
)
"""One row a request. `at` is when its answer was ready; `latency_ms` is the time in the model's
program, queueing not included. Sound, text and video have columns of their own, null for the
others: `brightness` is the mean of the frames, 0 to 1, `motion` the mean absolute change from
frame to frame; `input_chars` is the length of a text, `script` what most of its letters belong to,
`unknown_token_rate` the share of its tokens that stand for what the vocabulary lacks. A refused
request has `error`, and null for what was not heard or answered; `error` is null otherwise.

`shadow`: the request was a copy whose answer nobody got. `pinned`: its caller named the release.
`language`: what the request, or else the model, decodes (Whisper with language tokens). `entropy`:
the mean over the tokens, in nats, of the distributions that they were chosen from; null where one
token is not chosen from one of them (beam search) or where the engine keeps it (vLLM). `fallback`:
the program gave less than a whole answer, because the model came to its own longest one before it
ended (Whisper, language models; a limit that the caller set is none); null where a program has no
such thing (CTC, lip-reading, voice cleaning)."""

_logger = logging.getLogger(__name__)


class PredictionLog:
    """The log of one model's release. `append` may be called from any thread.

    `capacity` bounds the records in memory; a part is written every `flush_s` seconds, or as soon
    as `flush_rows` wait.
    """

    def __init__(
        self,
        root: Path,
        model: str,
        release: int,
        variant: str,
        *,
        capacity: int = 20_000,
        flush_rows: int = 5_000,
        flush_s: float = 1.0,
    ) -> None:
        self._folder = root / f"model={model}" / f"release={release}"
        self._same = {"model": model, "release": release, "variant": variant}
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._queue: queue.Queue[Mapping[str, Any] | None] = queue.Queue(capacity)
        self._lock = threading.Lock()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records lost so far, to a full queue or a disk that refused them."""
        return self._dropped

    def append(self, record: Mapping[str, Any]) -> None:
        """Take one record: fields of the schema, `at` in UTC epoch seconds; absent ones are null.

        Never blocks and never raises.
        """
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._count_dropped(1, "its queue is full")

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and stop."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        ended = False
        while not ended:
            rows, ended = self._collect()
            for hour, part in _by_hour(rows).items():
                try:
                    self._write(hour, part)
                except (OSError, pa.ArrowException, TypeError, ValueError) as error:
                    self._count_dropped(len(part), str(error))

    def _collect(self) -> tuple[list[Mapping[str, Any]], bool]:
        """Records of the next part, and whether they are the last."""
        rows: list[Mapping[str, Any]] = []
        deadline = time.monotonic() + self._flush_s
        while len(rows) < self._flush_rows:
            try:
                record = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if record is None:
                return rows, True
            rows.append(record)
        return rows, False

    def _write(self, hour: str, rows: Sequence[Mapping[str, Any]]) -> None:
        folder = self._folder / f"hour={hour}"
        folder.mkdir(parents=True, exist_ok=True)
        # Nanoseconds, because a container's process id is the same after every restart.
        name = f"part-{os.getpid()}-{time.time_ns()}.parquet"
        staged = folder / f".{name}.tmp"
        columns = {
            field.name: [self._same.get(field.name, row.get(field.name)) for row in rows]
            for field in PREDICTION_SCHEMA
        }
        columns["at"] = [datetime.fromtimestamp(row["at"], tz=UTC) for row in rows]
        table = pa.table(columns, schema=PREDICTION_SCHEMA)
        try:
            with staged.open("wb") as file:
                pq.write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
            staged.rename(folder / name)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise

    def _count_dropped(self, count: int, reason: str) -> None:
        with self._lock:
            self._dropped += count
            dropped = self._dropped
        _logger.warning("prediction log: %d records dropped so far: %s", dropped, reason)


def _by_hour(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    parts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        parts[time.strftime("%Y%m%d%H", time.gmtime(row["at"]))].append(row)
    return parts
