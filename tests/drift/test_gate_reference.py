"""The reference of a gate: what is in it, what never is, and how it is read back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from drift.gate_reference import DESCRIPTION, RECORDS, GateReference, reference_of
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from registry.errors import UserError

SPEAKERS, EACH = 8, 20
NAMES = [f"u{number}" for number in range(SPEAKERS * EACH)]
CLUSTERS = [f"speaker-{number // EACH}" for number in range(SPEAKERS * EACH)]
SPOKEN = "set blue by a four now"


def logged(names: list[str], rng: np.random.Generator, **changes: Any) -> pa.Table:
    """What a program records of those utterances, its texts included."""
    rows = [
        {
            "at": datetime.fromtimestamp(1_800_000_000 + number, UTC),
            "session": "",
            "request": name,
            "model": "speech",
            "release": 1,
            "rms": rng.random(),
            "snr_db": rng.normal(20, 5),
            "average_log_probability": rng.normal(-0.3, 0.1),
            "latency_ms": 900.0,
            "text_hash": "0123456789abcdef",
            "text": SPOKEN,
            "input_text": SPOKEN,
            "empty": False,
            **changes,
        }
        for number, name in enumerate(names)
    ]
    known = [{key: row[key] for key in row if key in PREDICTION_SCHEMA.names} for row in rows]
    return pa.Table.from_pylist(known, schema=PREDICTION_SCHEMA)


def made(rng: np.random.Generator, **changes: Any) -> GateReference:
    wer = rng.random(len(NAMES)) / 10
    found = reference_of(logged(NAMES, rng, **changes), NAMES, CLUSTERS, "d" * 64, wer)
    assert found is not None
    return found


def test_rows_are_utterances_in_the_sets_order_and_each_is_a_session(
    rng: np.random.Generator,
) -> None:
    shuffled = [NAMES[place] for place in rng.permutation(len(NAMES))]
    found = reference_of(logged(shuffled, rng), NAMES, CLUSTERS, "d" * 64)
    assert found is not None
    assert found.records.column("request").to_pylist() == NAMES
    assert found.records.column("session").to_pylist() == NAMES
    assert (found.quality, found.no_quality) == (None, "it is no speech")


def test_no_text_no_time_and_no_latency_of_full_batches_is_in_it(rng: np.random.Generator) -> None:
    found = made(rng)
    kept = set(found.records.column_names)
    assert kept >= {"rms", "snr_db", "empty", "session", "request", "error"}
    assert not kept & {"text", "input_text", "text_hash", "at", "latency_ms", "model", "release"}
    assert SPOKEN.encode() not in b"".join(found.to_files().values())


def test_what_was_asked_twice_counts_as_it_was_answered_last_and_what_is_lost_is_counted(
    rng: np.random.Generator,
) -> None:
    again = pa.concat_tables([logged(NAMES[:5], rng, rms=9.0), logged(NAMES[:3], rng, rms=1.0)])
    found = reference_of(again, NAMES, CLUSTERS, "d" * 64)
    assert found is not None
    assert found.records.column("rms").to_pylist() == [1.0, 1.0, 1.0, 9.0, 9.0]
    assert (found.records.num_rows, found.asked) == (5, len(NAMES))
    assert reference_of(logged(["of another set"], rng), NAMES, CLUSTERS, "d" * 64) is None


def test_the_same_reference_is_the_same_bytes_and_is_read_back(rng: np.random.Generator) -> None:
    found = made(rng)
    files = found.to_files()
    assert files == found.to_files()
    again = GateReference.from_files(files)
    assert again.records.equals(found.records)
    assert (again.quality, again.asked, again.dataset) == (found.quality, 160, "d" * 64)
    assert again.quality is not None
    assert (again.quality.error.utterances, again.quality.error.speakers) == (160, SPEAKERS)


def test_answers_that_failed_are_rows_and_no_evidence_of_quality(rng: np.random.Generator) -> None:
    table = logged(NAMES, rng)
    errors = pa.array(["too long"] * EACH + [None] * (len(NAMES) - EACH), pa.string())
    table = table.set_column(table.column_names.index("error"), "error", errors)
    found = reference_of(table, NAMES, CLUSTERS, "d" * 64, np.zeros(len(NAMES)))
    assert found is not None
    assert found.records.num_rows == len(NAMES)
    assert found.quality is not None
    assert found.quality.error.utterances == len(NAMES) - EACH


def test_too_few_speakers_leave_a_reference_without_an_estimate(rng: np.random.Generator) -> None:
    names, clusters = NAMES[: 2 * EACH], CLUSTERS[: 2 * EACH]
    found = reference_of(logged(names, rng), names, clusters, "d" * 64, np.zeros(2 * EACH))
    assert found is not None
    assert found.quality is None
    assert "2 speakers" in found.no_quality
    assert GateReference.from_files(found.to_files()).no_quality == found.no_quality


def test_as_rows_they_are_the_releases_and_later_columns_are_not_written(
    rng: np.random.Generator,
) -> None:
    older = made(rng)
    older = GateReference(older.records.drop_columns(["entropy"]), 160, "d" * 64, None)
    rows = older.as_rows(7)
    assert rows.releases == (7,)
    assert rows.unwritten == {7: frozenset({"entropy"})}
    assert rows.table.column("entropy").null_count == 160
    assert "latency_ms" not in rows.table.column_names


def test_files_that_are_none_are_refused(rng: np.random.Generator) -> None:
    files = made(rng).to_files()
    other = made(rng).to_files()
    body = json.loads(files[DESCRIPTION])
    broken: list[dict[str, bytes]] = [
        {},
        files | {RECORDS: b"PAR1"},
        files | {RECORDS: other[RECORDS]},
        files | {DESCRIPTION: b"{"},
        files | {DESCRIPTION: json.dumps(body | {"format": 2}).encode()},
        files | {DESCRIPTION: json.dumps(body | {"quality": {"format": 9}}).encode()},
    ]
    for one in broken:
        with pytest.raises(UserError, match="gate the"):
            GateReference.from_files(one)
