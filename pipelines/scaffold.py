"""The files that `sluice init` writes: a workspace, and one model's policy to begin with."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.conversion.kinds import kind_of
from registry.errors import UserError
from registry.files import write_atomic
from registry.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipelines.conversion.kind import Kind
    from validation.dataset import Dataset

WORKSPACE_FILE = """\
# A Sluice workspace. Every key can be overridden: SLUICE_<TABLE>__<KEY>.
[serving]
host = "127.0.0.1"
# The front door (Envoy), REST and gRPC on one port. 0: a free one is chosen and kept.
port = 0

[journal]
# Empty: sqlite in .sluice/.
url = ""

[tracking]
# Empty: MLflow on sqlite in .sluice/.
uri = ""
"""

MODEL_FILE = """\
# What this team decided about {model}.
kind = "{kind}"

[convert]
variants = {variants}
{calibration}
[gate]
# The evaluation set, and the hash that pins it.
dataset = "{dataset}"
sha256 = "{sha256}"
normaliser = "basic"
# Intervals resample speakers, because utterances of one speaker are not independent.
cluster = "speaker"
slices = {slices}
min_utterances = {utterances}
min_clusters = 20

[gate.limits]
{limits}

[gate.margins]
# How much worse, in absolute {metric}, a variant may be than its parent and than production.
parent = {margin}
production = {margin}

# Slices hold less data, so they may need wider margins; a column or one slice may have its own.
# [gate.slice_margins]
# parent = {margin}

# What it may cost on the machine that gates it; see `sluice gate --help`.
# [gate.budgets]
# p95_ms = 1000

[serve]
max_batch_size = 16
queue_delay_us = 2000

[rollout]
# The chance of a false rollback over the whole rollout, all metrics and all looks.
alpha = 0.01
slow_ms = 1000
bake_s = 5.0
# Begin with copies of requests, whose answers are thrown away: {{ shadow = 20, min_pairs = 200 }}
# Wait for somebody's word at the end of a step: manual = true, who = ["ann"]
steps = [
  {{ weight = 10, hold_s = 3.0, min_requests = 10 }},
  {{ weight = 25, hold_s = 3.0, min_requests = 20 }},
  {{ weight = 50, hold_s = 3.0, min_requests = 40 }},
  {{ weight = 100 }},
]
"""


@dataclass(frozen=True)
class _Gate:
    """What a gate begins with, for one kind of set: to be edited by those who know the task."""

    slices: tuple[str, ...]
    limits: Mapping[str, float]
    metric: str
    margin: float
    utterances: int


_GATES = {
    "speech": _Gate(("noise",), {"wer": 0.05, "cer": 0.05}, "WER", 0.01, 200),
    "noisy-speech": _Gate(("snr",), {"noise_left": 0.6}, "share of noise left", 0.02, 50),
    "video": _Gate(("light",), {"wer": 0.3}, "WER", 0.02, 60),
    "text": _Gate((), {"wer": 0.05, "wrong": 0.1}, "word error rate", 0.01, 200),
}


def scaffold(
    folder: Path,
    model: str,
    dataset: Path | None,
    *,
    kind: str = "whisper",
    calibration: Path | None = None,
) -> tuple[Path, ...]:
    """Write sluice.toml where there is none, and `models/MODEL.toml` when a model is named.

    Returns the files written. Raises UserError, before anything is written, when there is nothing
    to write, the model's file is there already, or a set cannot be read or is not of its kind.
    """
    contents: dict[Path, str] = {}
    settings = folder / "sluice.toml"
    if not settings.exists():
        contents[settings] = WORKSPACE_FILE
    if model:
        path = folder / "models" / f"{check_name(model)}.toml"
        contents[path] = _policy(folder, model, kind_of(kind), dataset, calibration)
    elif dataset is not None:
        raise UserError("--dataset belongs to a model", remedy="name it with --model")
    for path in contents:
        if path.exists():
            raise UserError("is there already", where=str(path), remedy="edit it, or remove it")
    if not contents:
        raise UserError(
            "this is a workspace already", where=str(settings), remedy="add a model with --model"
        )
    for path, text in contents.items():
        write_atomic(path, text.encode())
    return tuple(contents)


def _policy(
    folder: Path, model: str, kind: Kind, dataset: Path | None, calibration: Path | None
) -> str:
    if dataset is None:
        raise UserError(
            f"no evaluation set for {model}",
            remedy="name its folder with --dataset: a gate without data never passes",
        )
    gate = _GATES[kind.dataset]
    wanted = [one.variant for one in kind.recipes if calibration or not one.is_calibrated]
    loaded = _load(kind, dataset)
    return MODEL_FILE.format(
        model=model,
        kind=kind.name,
        variants=json.dumps(wanted),
        calibration=_calibration(folder, kind, calibration),
        dataset=_relative(dataset, folder),
        sha256=loaded.sha256,
        slices=json.dumps([one for one in gate.slices if one in loaded.utterances[0].columns]),
        limits="\n".join(f"{name} = {limit}" for name, limit in gate.limits.items()),
        metric=gate.metric,
        margin=gate.margin,
        utterances=gate.utterances,
    )


def _calibration(folder: Path, kind: Kind, calibration: Path | None) -> str:
    if calibration is None:
        return ""
    pin = _load(kind, calibration).sha256
    return (
        "# What quantisers see; no utterance of it may be in the evaluation set.\n"
        f'calibration = "{_relative(calibration, folder)}"\n'
        f'calibration_sha256 = "{pin}"\n'
    )


def _load(kind: Kind, folder: Path) -> Dataset:
    from validation.dataset import Dataset

    loaded = Dataset.load(folder)
    if loaded.kind != kind.dataset:
        raise UserError(
            f"is a {loaded.kind} set; {kind.name} answers {kind.dataset} sets", where=str(folder)
        )
    return loaded


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
