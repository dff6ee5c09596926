"""Checkpoint folders for tests: a bare one made of bytes, and a tiny real one with its variants.

What the converter makes is kept under the hash of all that decides it, beside pytest's own
folders, so that rooms, workers and runs share one conversion.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock

from infra.environments.locks import CONVERTER
from pipelines.conversion.child import ConvertedVariant, convert
from pipelines.conversion.recipes import RECIPES, conversion_hash
from registry.quiet import QUIET_ENVIRONMENT

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
MAKER = Path(__file__).with_name("make_tiny_whisper.py")
VARIANTS = tuple(recipe.variant for recipe in RECIPES["whisper"])
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


def all_variants(source: Path, shared: Path) -> dict[str, ConvertedVariant]:
    """All four variants of a checkpoint, made once in one child."""
    key = hashlib.sha256((source / "model.safetensors").read_bytes())
    key.update(f"{conversion_hash()}{CONVERTER.lock_hash}".encode())
    target = shared / f"sluice-variants-{key.hexdigest()[:16]}"
    facts = target.with_suffix(".json")
    with filelock.FileLock(f"{target}.lock", timeout=240):
        if not facts.exists():
            shutil.rmtree(target, ignore_errors=True)
            made = convert_here(source, VARIANTS, target)
            facts.write_text(json.dumps([asdict(one) for one in made], default=str))
    rows = json.loads(facts.read_text())
    return {
        row["variant"]: ConvertedVariant(**row | {"folder": Path(row["folder"])}) for row in rows
    }


def convert_here(
    source: Path, variants: tuple[str, ...], output: Path
) -> tuple[ConvertedVariant, ...]:
    return convert(
        "whisper",
        source,
        variants,
        output,
        parent_digest="0" * 64,
        python=CONVERTER.python,
        environment_hash=CONVERTER.lock_hash,
    )


def run_converter(script: Path, *arguments: str, timeout_s: float = 200) -> str:
    """What `script` prints in the converter's environment."""
    done = subprocess.run(
        [str(CONVERTER.python), str(script), *arguments],
        env=QUIET_ENVIRONMENT | {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
