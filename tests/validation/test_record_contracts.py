"""Manifests and prediction logs that are not what they should be are named by row and column."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from registry.manifest import Manifest
from validation.record_contracts import check_manifest_contract, check_predictions_contract

if TYPE_CHECKING:
    from pathlib import Path

FILES = [
    {"path": "config.json", "size": 0, "sha256": "ab" * 32},
    {"path": "weights/model.bin", "size": 7, "sha256": "cd" * 32},
]


def test_a_manifest_of_a_folder_keeps_its_contract(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "weights/..model.bin").write_bytes(b"")
    report = check_manifest_contract(Manifest.of_folder(tmp_path).to_dict()["files"])
    assert report.passed, report.broken


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"path": "config.json"}, "path"),
        ({"path": "../outside"}, "id"),
        ({"path": "/etc/passwd"}, "id"),
        ({"path": "weights//model.bin"}, "id"),
        ({"path": "weights/./model.bin"}, "id"),
        ({"path": "weights/"}, "id"),
        ({"path": "a\\b"}, "id"),
        ({"path": "cle\u0301"}, "id"),
        ({"size": -1}, "size"),
        ({"size": "7"}, "size"),
        ({"size": True}, "size"),
        ({"sha256": "AB" * 32}, "sha256"),
        ({"sha256": "ab" * 31}, "sha256"),
        ({"sha256": None}, "sha256"),
    ],
)
def test_a_broken_row_of_a_manifest_is_named(changes: dict[str, Any], column: str) -> None:
    rows = [FILES[0], FILES[1] | changes]
    (found,) = check_manifest_contract(rows).broken
    assert found.column == column
    assert rows[1]["path"] in found.failing


def test_a_manifest_without_files_is_broken() -> None:
    assert not check_manifest_contract([]).passed


def records(count: int = 3, **changes: Any) -> pa.Table:
    row: dict[str, Any] = dict.fromkeys(PREDICTION_SCHEMA.names)
    row |= {"at": datetime(2026, 1, 1, tzinfo=UTC), "model": "m", "release": 1, "latency_ms": 2.5}
    row |= {"speech_ratio": 0.5, "average_log_probability": -0.1, "empty": False}
    row |= {"text_hash": "0123456789abcdef", "script": "latin", "entropy": 0.5}
    rows = [dict(row) for _ in range(count)]
    if count:
        rows[-1] |= changes
    return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA)


def test_a_log_keeps_its_contract() -> None:
    report = check_predictions_contract(records(), PREDICTION_SCHEMA)
    assert report.passed, report.broken


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("speech_ratio", 1.5),
        ("speech_ratio", float("nan")),
        ("average_log_probability", 0.2),
        ("average_log_probability", float("-inf")),
        ("latency_ms", float("inf")),
        ("latency_ms", None),
        ("at", None),
        ("release", 0),
        ("unknown_token_rate", 1.1),
        ("entropy", -0.1),
        ("text_hash", "bin blue at f two"),
        ("script", "Latin, mostly"),
    ],
)
def test_a_broken_record_is_named_by_its_number(column: str, value: object) -> None:
    report = check_predictions_contract(records(**{column: value}), PREDICTION_SCHEMA)
    (found,) = report.broken
    assert (found.column, found.failing) == (column, ("2",))


def test_columns_are_the_schemas() -> None:
    table = records().drop_columns(["rms"]).append_column("colour", pa.array(["red"] * 3))
    retyped = table.set_column(
        table.column_names.index("frames"), "frames", pa.array(["x"] * 3, pa.string())
    ).drop_columns(["frames"])
    (found,) = check_predictions_contract(retyped, PREDICTION_SCHEMA).broken
    assert set(found.failing) == {"rms", "frames", "colour"}


def test_a_log_without_records_is_broken() -> None:
    (found,) = check_predictions_contract(records(0), PREDICTION_SCHEMA).broken
    assert found.meaning == "the log holds a record"


def test_what_was_redacted_is_counts_and_times_end_with_the_import() -> None:
    latest = datetime(2026, 1, 1, tzinfo=UTC)
    for redacted in ("{}", '{"URL": 1}', '{"EMAIL_ADDRESS": 2, "URL": 10}'):
        table = records(redacted=redacted)
        assert check_predictions_contract(table, PREDICTION_SCHEMA, latest=latest).passed
    broken: tuple[tuple[dict[str, Any], str], ...] = (
        ({"redacted": '{"URL": "http://a.example"}'}, "redacted"),
        ({"at": datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)}, "at in seconds"),
        ({"at": datetime(1999, 1, 1, tzinfo=UTC)}, "at in seconds"),
    )
    for changes, column in broken:
        report = check_predictions_contract(records(**changes), PREDICTION_SCHEMA, latest=latest)
        (found,) = report.broken
        assert (found.column, found.failing) == (column, ("2",))
