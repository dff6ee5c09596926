"""The files that `sluice init` writes: a workspace, and one model's policy to begin with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.files import write_atomic
from registry.names import check_name

if TYPE_CHECKING:
    from pathlib import Path

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
kind = "whisper"

[convert]
variants = ["onnx-fp32", "onnx-int8", "openvino-fp16", "openvino-int8"]

[gate]
# The evaluation set, and the hash that pins it.
dataset = "{dataset}"
sha256 = "{sha256}"
normaliser = "basic"
# Intervals resample speakers, because utterances of one speaker are not independent.
cluster = "speaker"
slices = ["noise"]
min_utterances = 200
min_clusters = 20

[gate.limits]
wer = 0.05
cer = 0.05

[gate.margins]
# How much worse, in absolute WER, a variant may be than its parent and than production.
parent = 0.01
production = 0.01

[serve]
max_batch_size = 16
queue_delay_us = 2000

[rollout]
# The chance of a false rollback over the whole rollout, all metrics and all looks.
alpha = 0.01
slow_ms = 1000
bake_s = 5.0
steps = [
  {{ weight = 10, hold_s = 3.0, min_requests = 10 }},
  {{ weight = 25, hold_s = 3.0, min_requests = 20 }},
  {{ weight = 50, hold_s = 3.0, min_requests = 40 }},
  {{ weight = 100 }},
]
"""


def scaffold(folder: Path, model: str, dataset: Path | None) -> tuple[Path, ...]:
    """Write sluice.toml where there is none, and `models/MODEL.toml` when a model is named.

    Returns the files written. Raises UserError, before anything is written, when there is nothing
    to write, the model's file is there already, or the dataset cannot be read.
    """
    contents: dict[Path, str] = {}
    settings = folder / "sluice.toml"
    if not settings.exists():
        contents[settings] = WORKSPACE_FILE
    if model:
        contents[folder / "models" / f"{check_name(model)}.toml"] = _policy(folder, model, dataset)
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


def _policy(folder: Path, model: str, dataset: Path | None) -> str:
    if dataset is None:
        raise UserError(
            f"no evaluation set for {model}",
            remedy="name its folder with --dataset: a gate without data never passes",
        )
    from validation.dataset import SpeechDataset

    loaded = SpeechDataset.load(dataset)
    relative = os.path.relpath(dataset.resolve(), folder.resolve())
    return MODEL_FILE.format(model=model, dataset=relative, sha256=loaded.sha256)
