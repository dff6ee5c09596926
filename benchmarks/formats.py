"""Every kind in every format: size, agreement with the source, the task's metric, latency, memory.

Each example is converted to all variants of its kind with its calibration set, each variant answers
the evaluation set through a private Triton, and its graphs are timed in a process of their own.
`python -m benchmarks.formats [KIND ...]` prints a line for each variant and one JSON object on its
last line; `--write` puts the tables into `docs/explanation/formats.md`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from infra.environments.locks import CONVERTERS
from pipelines.conversion.child import Calibration, convert
from pipelines.conversion.footprint import graphs_in
from pipelines.conversion.footprint import measure as measure_footprint
from pipelines.conversion.kinds import KINDS, kind_of
from pipelines.convert import write_questions
from pipelines.model_config import ModelConfig
from pipelines.scoring import score_folder
from registry.files import write_atomic
from registry.quiet import silence
from validation.answers import Answer
from validation.dataset import Dataset
from validation.metrics import metrics_of
from validation.scoring import Mismatch, score_answers
from validation.slices import whole

GRID = Path(__file__).resolve().parents[1] / "examples" / "grid"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "formats.md"
EXAMPLES = {
    "whisper": ("whisper-grid", "evaluation", "calibration"),
    "ctc-speech": ("ctc-grid", "evaluation", "calibration"),
    "lip-reading": ("lips-grid", "lips-evaluation", "lips-calibration"),
    "voice-cleaning": ("cleaner-grid", "cleaning-evaluation", "cleaning-calibration"),
    "translation": ("translation-grid", "text-evaluation", "text-calibration"),
    "llm": ("llm-grid", "text-evaluation", "text-calibration"),
}
"""Checkpoint, evaluation and calibration set by kind."""
BATCH = 8
TIMED = 20
MARK = (
    "<!-- made by `python -m benchmarks.formats --write`; what is below is not written by hand -->"
)


def main() -> None:
    """Measure the named kinds, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help="default: all")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    arguments = parser.parse_args()
    silence()
    found = {kind: measure(kind) for kind in arguments.kinds or KINDS}
    if arguments.write:
        head = PAGE.read_text().partition(MARK)[0]
        tables = "\n".join(_table(kind, rows) for kind, rows in found.items())
        write_atomic(PAGE, f"{head}{MARK}\n\n{tables}".encode())
    print(json.dumps(found))


def measure(kind: str) -> list[dict[str, Any]]:
    """A row for each variant of one kind; prints them too."""
    model, evaluation, calibration = EXAMPLES[kind]
    chosen = kind_of(kind)
    environment = CONVERTERS[chosen.environment]
    dataset = Dataset.load(GRID / "data" / evaluation)
    config = _config(kind, dataset)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sluice-formats-") as folder:
        work = Path(folder)
        made = convert(
            kind,
            GRID / "models" / model,
            chosen.recipes,
            work / "variants",
            parent_digest="0" * 64,
            python=environment.python,
            environment_hash=environment.lock_hash,
            calibration=_calibration(GRID / "data" / calibration, work / "questions.npz"),
            feeds=work / "feeds.npz",
        )
        for variant in made:
            timed = measure_footprint(
                environment.python,
                variant.folder,
                graphs_in(work / "feeds.npz"),
                work / "feeds.npz",
                batch=BATCH,
                threads=2,
                seconds=0.5,
            ).flat()
            place = work / f"served-{variant.recipe.variant}"
            place.mkdir()
            variant.folder.rename(place / "variant")
            served = score_folder(place, model, config, dataset, TIMED)
            answers = [Answer(**answer) for answer in served["answers"]]
            scores = score_answers(dataset, answers, "basic")
            if isinstance(scores, Mismatch):
                raise SystemExit(scores.reason)
            metrics = metrics_of(scores, (whole(dataset),), ())
            rows.append(
                {
                    "variant": variant.recipe.variant,
                    "mb": round(timed["size_bytes"] / 1e6, 3),
                    "agreement": round(variant.parity["agreement"], 4),
                    "logits_max": round(variant.parity["logits_max"], 6),
                    "metric": scores.metric,
                    "value": metrics[scores.metric],
                    "failed": metrics["failed"],
                    "p50_ms": round(timed["p50_ms_batch_1"], 2),
                    "per_second": round(timed[f"per_second_batch_{BATCH}"], 1),
                    "peak_mb": round(timed["peak_memory_bytes_batch_1"] / 1e6, 1),
                    "load_s": round(timed["load_s"], 2),
                }
            )
            print(json.dumps({"kind": kind, **rows[-1]}), flush=True)
    return rows


def _config(kind: str, dataset: Dataset) -> ModelConfig:
    """A policy that only names what scoring needs."""
    limits = {"noise_left": 1.0} if dataset.kind == "noisy-speech" else {"wer": 1.0}
    return ModelConfig.model_validate(
        {
            "kind": kind,
            "convert": {"variants": [kind_of(kind).reference]},
            "gate": {"dataset": "set", "sha256": dataset.sha256, "limits": limits},
            "rollout": {},
        }
    )


def _calibration(folder: Path, file: Path) -> Calibration:
    dataset = Dataset.load(folder)
    write_questions(dataset, file)
    items = tuple(utterance.sha256 for utterance in dataset.utterances)
    return Calibration(file, dataset.sha256, items)


def _table(kind: str, rows: list[dict[str, Any]]) -> str:
    metric = {"wer": "WER", "noise_left": "noise left"}[rows[0]["metric"]]
    largest = rows[0]["mb"]
    lines = [
        f"## {kind}",
        "",
        f"| variant | MB | of FP32 | same answers | {metric} | ms | a second | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['variant']} | {row['mb']:.2f} | {row['mb'] / largest:.2f} "
        f"| {row['agreement']:.1%} | {row['value']:.2%} | {row['p50_ms']:.1f} "
        f"| {row['per_second']:.0f} | {row['peak_mb']:.0f} |"
        for row in rows
    ]
    refused = kind_of(kind).refused
    lines += ["", *(f"- **{name}** is refused: {reason}." for name, reason in refused.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
