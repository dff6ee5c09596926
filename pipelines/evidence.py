"""What a gate leaves behind: its report as JSON and as a page, every answer, the set's contract.

All of it lies below `reports/DIGEST/`, DIGEST being the report's own, and beside the artifact's run
in MLflow. It decides nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import math
import wave
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import IntegrityError
from registry.files import canonical_json, write_atomic
from validation.answers import encode_samples
from validation.data_docs import write_data_docs
from validation.report_page import render
from validation.scoring import Mismatch, score_answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.assembly import Platform
    from registry.catalog import VariantRecord
    from validation.answers import Answer
    from validation.contracts import ContractReport
    from validation.dataset import Dataset
    from validation.evidence import GateReport

REPORT, PAGE, ANSWERS, GOLDEN = "report.json", "report.html", "answers.parquet", "answers.json"
REFERENCE = "reference"
"""Folder of what live traffic is compared with first; the content store has it too."""
_HEARD = {"speech", "noisy-speech"}


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a gate looked at, and what it found.

    `answers` are by role; `reference` holds the files that live traffic is compared with first.
    """

    model: str
    variant: VariantRecord
    dataset: Dataset
    normaliser: str
    answers: Mapping[str, Sequence[Answer]]
    contract: ContractReport
    report: GateReport
    reference: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the report's bytes."""
        return hashlib.sha256(self.report.to_json()).hexdigest()


def keep_evidence(platform: Platform, evidence: Evidence) -> Path:
    """Write the files below `reports/DIGEST/`, the report last; returns the folder.

    Raises PermanentEngineError when the disk refuses.
    """
    folder = platform.workspace.reports / evidence.digest
    page = render(
        evidence.report,
        model=evidence.model,
        variant=evidence.variant.variant,
        audio=_audio(evidence),
    )
    candidate = [dataclasses.asdict(_finite(one)) for one in evidence.answers["candidate"]]
    write_atomic(folder / GOLDEN, canonical_json(candidate))
    write_atomic(folder / ANSWERS, _parquet(evidence))
    for name, content in evidence.reference.items():
        write_atomic(folder / REFERENCE / name, content)
    write_data_docs(evidence.contract, folder)
    write_atomic(folder / PAGE, page.encode())
    write_atomic(folder / REPORT, evidence.report.to_json())
    return folder


def _parquet(evidence: Evidence) -> bytes:
    """One row for each role and utterance: what was asked and answered, and how it was scored."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for role in evidence.answers for row in _rows(evidence, role)]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content, compression="zstd")
    return content.getvalue()


def _rows(evidence: Evidence, role: str) -> Iterator[dict[str, Any]]:
    answers = evidence.answers[role]
    scored = _scored(evidence, answers)
    for number, (utterance, answer) in enumerate(
        zip(evidence.dataset.utterances, answers, strict=True)
    ):
        yield {
            "role": role,
            "id": utterance.id,
            "reference": utterance.text,
            "text": answer.text,
            "error": answer.error,
            "latency_ms": answer.latency_ms,
            "duration_s": utterance.duration_s,
            **{f"measure.{name}": values[number] for name, values in scored.items()},
            **{f"signal.{name}": value for name, value in answer.signals.items()},
            **{f"column.{name}": value for name, value in utterance.columns.items()},
        }


def _scored(evidence: Evidence, answers: Sequence[Answer]) -> dict[str, list[float | None]]:
    """Each measure of each utterance by itself, None where it has none."""
    scores = score_answers(evidence.dataset, answers, evidence.normaliser)
    if isinstance(scores, Mismatch):
        return {}
    return {
        name: [float(one) if math.isfinite(one) else None for one in measure.of(measure.statistics)]
        for name, measure in scores.measures.items()
    }


def _audio(evidence: Evidence) -> dict[str, bytes]:
    """WAV files of the worst utterances, where there is something to hear."""
    if evidence.dataset.kind not in _HEARD:
        return {}
    worst = {one.id for one in evidence.report.worst_utterances}
    found = {}
    for utterance in evidence.dataset.utterances:
        if utterance.id in worst:
            try:
                samples = evidence.dataset.question(utterance)
            except IntegrityError:
                # It changed since it was scored: what would be heard is not what was judged.
                continue
            found[utterance.id] = _wav(samples, evidence.dataset.sample_rate)
    return found


def _wav(samples: Any, sample_rate: int) -> bytes:
    """float32 [samples] in [-1, 1) as a 16-bit mono WAV file."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(base64.b64decode(encode_samples(np.asarray(samples, np.float32))))
    return content.getvalue()


def _finite(answer: Answer) -> Answer:
    """The answer without numbers that JSON does not have."""
    signals = {name: value for name, value in answer.signals.items() if math.isfinite(value)}
    return dataclasses.replace(answer, signals=signals)
