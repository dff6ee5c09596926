"""Served requests as Parquet files: what was heard, what was answered, how sure the model was.

A thread of its own writes, so that no request waits for a disk; when it cannot keep up, records
are dropped and counted, never requests. Each part is staged under a hidden name and renamed, so a
reader sees whole files only. No audio is ever written, and texts only where the model's policy asks
for them and only as `redaction` leaves them; `text_hash` names an answer by a key that stays out of
the log (see `fingerprint`).

Layout: ROOT/model=NAME/release=N/hour=YYYYMMDDHH/part-PID-NANOSECONDS.parquet, hours in UTC.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter, defaultdict, deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .redaction import redact

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
        ("text", pa.string()),
        ("input_text", pa.string()),
        ("redacted", pa.string()),
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
such thing (CTC, lip-reading, voice cleaning).

`text` and `input_text`: what was answered and asked, redacted; null unless the policy keeps texts.
`redacted`: what was taken out of both, a JSON object of counts by entity such as
`{"EMAIL_ADDRESS": 1}`; with `FAILED`, how many of the two could not be redacted and are null."""

DROPPED = b"sluice.dropped"
"""Key of a part's metadata: records that its writer lost since the part before."""
TEXTS = ("text", "input_text")
FAILED = "FAILED"

_logger = logging.getLogger(__name__)


class PredictionLog:
    """The log of one model's release. `append` may be called from any thread.

    `capacity` bounds the records in memory; a part is written every `flush_s` seconds, or as soon
    as `flush_rows` wait. `keeps_text` writes the records' texts, redacted first; without it they
    are written by nobody, whatever a record holds.
    """

    def __init__(  # noqa: PLR0913 - how long to wait is the tests' to say
        self,
        root: Path,
        model: str,
        release: int,
        variant: str,
        *,
        capacity: int = 20_000,
        flush_rows: int = 5_000,
        flush_s: float = 1.0,
        keeps_text: bool = False,
    ) -> None:
        self._folder = root / f"model={model}" / f"release={release}"
        self._same = {"model": model, "release": release, "variant": variant}
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._capacity = capacity
        # Not a queue: its consumer would wake, and want Python's lock, for every request.
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._due = threading.Event()
        self._closing = False
        self._lock = threading.Lock()
        self._dropped = self._told = 0
        self._keeps_text = keeps_text
        self._failed = 0
        self._thread = threading.Thread(target=self._write_all, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records lost so far, to a full queue or a disk that refused them."""
        return self._dropped

    @property
    def keeps_text(self) -> bool:
        """Whether a record's `text` and `input_text` are wanted."""
        return self._keeps_text

    @property
    def redactions_failed(self) -> int:
        """Texts that were not written because they could not be redacted."""
        return self._failed

    def append(self, record: Mapping[str, Any]) -> None:
        """Take one record: fields of the schema, `at` in UTC epoch seconds; absent ones are null.

        Never blocks and never raises.
        """
        if len(self._waiting) >= self._capacity:
            self._count_dropped(1, "its queue is full")
            return
        self._waiting.append(record)
        if len(self._waiting) >= self._flush_rows:
            self._due.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and stop."""
        self._closing = True
        self._due.set()
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        closing = False
        while not closing:
            self._due.wait(self._flush_s)
            self._due.clear()
            # Read before the records are, so that those before `close` are still written.
            closing = self._closing
            while self._waiting:
                count = min(len(self._waiting), self._flush_rows)
                rows = [self._waiting.popleft() for _ in range(count)]
                for hour, part in _by_hour(rows).items():
                    try:
                        self._write(hour, part)
                    except (OSError, pa.ArrowException, TypeError, ValueError) as error:
                        self._count_dropped(len(part), str(error))

    def _write(self, hour: str, rows: Sequence[Mapping[str, Any]]) -> None:
        folder = self._folder / f"hour={hour}"
        folder.mkdir(parents=True, exist_ok=True)
        # Nanoseconds, because a container's process id is the same after every restart.
        name = f"part-{os.getpid()}-{time.time_ns()}.parquet"
        staged = folder / f".{name}.tmp"
        own = [{**row, **self._same, **self._texts(row)} for row in rows]
        columns = {field.name: [row.get(field.name) for row in own] for field in PREDICTION_SCHEMA}
        columns["at"] = [datetime.fromtimestamp(row["at"], tz=UTC) for row in rows]
        dropped = self._dropped
        lost = {DROPPED: str(dropped - self._told)}
        table = pa.table(columns, schema=PREDICTION_SCHEMA).replace_schema_metadata(lost)
        try:
            with _created(staged) as file:
                # Of no use to a part of a second, and a quarter of what its writing costs.
                pq.write_table(table, file, use_dictionary=False, write_statistics=False)
                file.flush()
                os.fsync(file.fileno())
            staged.rename(folder / name)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        self._told = dropped

    def _texts(self, row: Mapping[str, Any]) -> dict[str, str | None]:
        """The record's texts as they may be written, and what was taken out of them."""
        kept: dict[str, str | None] = dict.fromkeys((*TEXTS, "redacted"))
        if not self._keeps_text or all(row.get(name) is None for name in TEXTS):
            return kept
        counts: Counter[str] = Counter()
        for name in TEXTS:
            text = row.get(name)
            if text is None:
                continue
            try:
                found = redact(text)
            except Exception as error:  # noqa: BLE001 - what is not redacted is never written
                self._failed += 1
                counts[FAILED] += 1
                _logger.warning("prediction log: no text: %s", type(error).__name__)
            else:
                kept[name] = found.text
                counts.update(found.counts)
        kept["redacted"] = json.dumps(counts, sort_keys=True)
        return kept

    def _count_dropped(self, count: int, reason: str) -> None:
        with self._lock:
            self._dropped += count
            dropped = self._dropped
        _logger.warning("prediction log: %d records dropped so far: %s", dropped, reason)


def _created(path: Path) -> BinaryIO:
    """The new file; its folder is made again when a merge took it away, empty, just now."""
    try:
        return path.open("wb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")


def _by_hour(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    parts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        parts[time.strftime("%Y%m%d%H", time.gmtime(row["at"]))].append(row)
    return parts
