"""Texts in the log of a real Triton: what was asked and answered, redacted, where a policy says so.

Both ways in which a program answers: a batch at a time, and piece by piece.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drift.records import read_records
from infra.inference import score
from infra.local.private_revision import PrivateRevision
from model_repository.config import Batching
from model_repository.programs.common.records import LOG_TEXT, REDACTED
from model_repository.publishing import build_private
from pipelines.conversion.kinds import kind_of
from validation.dataset import Dataset

from ..conversion import ctc_checkpoints as ctc
from . import generation_world as world

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = [pytest.mark.engine, pytest.mark.timeout(280)]


def recorded(
    folder: Path, variant: Path, kind: str, questions: list[tuple[str, NDArray[Any]]]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Answers, and records in their order, of a release whose policy keeps texts."""
    options = {**kind_of(kind).defaults, LOG_TEXT: REDACTED}
    batching = Batching(max_batch_size=4, threads=1, options=options)
    repository = build_private(
        folder / "repository", variant, "speech", kind=kind, batching=batching
    )
    predictions = folder / "predictions"
    interface = kind_of(kind).interface
    revision = PrivateRevision(
        repository, "speech", log=folder / "log.txt", predictions=predictions
    )
    with revision:
        answers = score(revision.grpc_address, "speech", interface, questions, recorded=True)
        rows: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + 20
        while len(rows) < len(questions) and time.monotonic() < deadline:
            time.sleep(0.1)
            table = read_records(predictions, "speech", since=0, until=1e10).table
            rows = {row["request"]: row for row in table.to_pylist()}
    return [one.text for one in answers], [rows[name] for name, _ in questions]


def test_a_programs_answers_are_kept(checkpoints: Any, shared: Path, tmp_path: Path) -> None:
    variant = checkpoints.all_variants("ctc-speech", ctc.MODEL, shared)["onnx-fp32"].folder
    dataset = checkpoints.GRID / "data" / "evaluation"

    loaded = Dataset.load(dataset)
    asked = [(one.id, loaded.question(one)) for one in loaded.utterances[:3]]
    answers, rows = recorded(tmp_path, variant, "ctc-speech", asked)
    assert all(answers)
    assert [row["text"] for row in rows] == answers
    assert {(row["input_text"], row["redacted"]) for row in rows} == {(None, "{}")}


def test_a_streams_question_and_answer_are_kept(shared: Path, tmp_path: Path) -> None:
    variant = Path(world.toys(shared)) / "translation"
    texts = ["bin blue", "call 0912 345 678", "write to anna@example.com"]
    asked = [(f"t{row}", np.array([text.encode()], object)) for row, text in enumerate(texts)]
    answers, rows = recorded(tmp_path, variant, "translation", asked)
    assert [row["input_text"] for row in rows] == [
        "bin blue",
        "call <PHONE_NUMBER>",
        "write to <EMAIL_ADDRESS>",
    ]
    assert [row["text"] for row in rows] == answers
    assert [json.loads(row["redacted"]) for row in rows] == [
        {},
        {"PHONE_NUMBER": 1},
        {"EMAIL_ADDRESS": 1},
    ]
