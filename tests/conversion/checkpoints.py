"""Checkpoint folders for tests: a bare one made of bytes, and a tiny real one with its variants.

What the converter makes is kept under the hash of all that decides it, beside pytest's own
folders, so that rooms, workers and runs share one conversion.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from infra.environments.locks import CONVERTER, CONVERTERS
from pipelines.conversion.child import Calibration, ConvertedVariant, convert
from pipelines.conversion.kind import Recipe
from pipelines.conversion.kinds import kind_of
from pipelines.conversion.recipes import conversion_hash, recipe_of
from validation.dataset import Dataset

from .. import warm_python

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
MODELS = GRID / "models"
CALIBRATION = {
    "speech": "calibration",
    "noisy-speech": "cleaning-calibration",
    "video": "lips-calibration",
    "text": "text-calibration",
}
"""The calibration set of each kind of dataset, below the example's data."""
EVERY = 2
COLD = "whisper-grid"
"""The one model that is converted by the environment's own Python, as users' are."""
MAKER = Path(__file__).with_name("make_tiny_whisper.py")
CONFIG: dict[str, Any] = {
    "architectures": ["WhisperForConditionalGeneration"],
    "model_type": "whisper",
    "d_model": 4,
    "num_mel_bins": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "max_source_positions": 10,
    "max_target_positions": 6,
    "vocab_size": 5,
}
PREPROCESSOR = {"feature_size": 8, "sampling_rate": 16000, "hop_length": 160, "n_samples": 3200}
TENSORS = {
    "model.decoder.embed_tokens.weight": [5, 4],
    "model.decoder.embed_positions.weight": [6, 4],
    "model.encoder.conv1.weight": [4, 8, 3],
    "model.encoder.layers.0.fc1.weight": [8, 4],
    "model.decoder.layers.0.fc1.weight": [8, 4],
}


def safetensors(tensors: dict[str, list[int]] = TENSORS) -> bytes:
    """The bytes of a safetensors file of float16 zeros."""
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, size = end, 2
        for length in shape:
            size *= length
        end = begin + size
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def write_bare(folder: Path) -> Path:
    """A folder that the inspector accepts; no framework could run it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (folder / "generation_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


def tiny_checkpoint(shared: Path) -> Path:
    """A real Whisper of 50,000 random weights, made once."""
    key = hashlib.sha256(MAKER.read_bytes() + CONVERTER.lock_hash.encode()).hexdigest()[:16]
    target = shared / f"sluice-tiny-{key}"
    with filelock.FileLock(f"{target}.lock", timeout=240):
        if not target.exists():
            staged = target.with_suffix(".staged")
            run_converter(MAKER, str(staged))
            staged.rename(target)
    return target


def all_variants(kind: str, source: Path, shared: Path) -> dict[str, ConvertedVariant]:
    """All variants of a checkpoint, made once in one child with the example's calibration set."""
    environment = CONVERTERS[kind_of(kind).environment]
    data = GRID / "data" / CALIBRATION[kind_of(kind).dataset] / "dataset.json"
    decides = f"{conversion_hash(kind)}{environment.lock_hash}{EVERY}{data.read_text()}"
    key = hashlib.sha256(decides.encode())
    for path in sorted(source.iterdir()):
        key.update(path.name.encode() + path.read_bytes())
    target = shared / f"sluice-variants-{key.hexdigest()[:16]}"
    facts = target.with_suffix(".json")
    with filelock.FileLock(f"{target}.lock", timeout=600):
        if not facts.exists():
            shutil.rmtree(target, ignore_errors=True)
            made = convert_here(kind, source, kind_of(kind).variants, target)
            facts.write_text(json.dumps([asdict(one) for one in made], default=str))
    return {
        row["recipe"]["variant"]: ConvertedVariant(
            **row | {"folder": Path(row["folder"]), "recipe": Recipe(**row["recipe"])}
        )
        for row in json.loads(facts.read_text())
    }


def convert_here(
    kind: str, source: Path, variants: tuple[str, ...], output: Path
) -> tuple[ConvertedVariant, ...]:
    """Variants calibrated with the example's set; in a child that starts cold for one model."""
    environment = CONVERTERS[kind_of(kind).environment]
    questions = output.with_suffix(".npz")
    return convert(
        kind,
        source,
        [recipe_of(kind, name) for name in variants],
        output,
        parent_digest="0" * 64,
        python=environment.python if source.name == COLD else warm_python.warm(environment),
        environment_hash=environment.lock_hash,
        calibration=calibration(kind, questions),
    )


def calibration(kind: str, file: Path) -> Calibration:
    """Half of the example's calibration set for models of this kind."""
    dataset = Dataset.load(GRID / "data" / CALIBRATION[kind_of(kind).dataset])
    chosen = dataset.utterances[::EVERY]
    questions = {one.id: dataset.question(one) for one in chosen}
    if dataset.kind == "text":
        questions = {name: np.array(text[0].decode()) for name, text in questions.items()}
    np.savez(file, allow_pickle=False, **questions)
    return Calibration(file, dataset.sha256, tuple(one.sha256 for one in chosen))


def run_converter(script: Path, *arguments: str) -> str:
    """What `script` prints in the converter's environment."""
    return warm_python.run(CONVERTER, str(script), *arguments)
