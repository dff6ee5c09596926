"""Looks at a Hugging Face checkpoint folder before anything opens it: standard library only.

What is common to every kind that comes as such a folder: which files may lie in it, its JSON, the
header of its safetensors file, and the shapes that tie the weights to the configuration. Nothing
is run and nothing is judged; each kind's `source` module asks its own questions on top.
"""

from __future__ import annotations

import json
import math
import stat
from typing import TYPE_CHECKING, Any

from registry.errors import UserError
from registry.intake.safetensors import read_tensors
from registry.intake.source import opened

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"

_PICKLES = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".joblib",
    ".npy",
    ".npz",
    ".msgpack",
)
_CODE = (".py", ".so", ".h5", ".keras")
_MAX_JSON = 64 * 1024 * 1024


def check_files(
    folder: Path, *, required: Sequence[str], allowed: Collection[str], kind: str
) -> None:
    """Refuse a folder that lacks a `required` file or holds one not `allowed`.

    `kind` names the checkpoint in the remedy ("a Whisper checkpoint"). Raises UserError that
    names the file: missing, unknown, a link, a folder, a pickle, or code.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), remedy="give a checkpoint's folder")
    for path in sorted(folder.iterdir()):
        _check_file(path, allowed)
    for name in required:
        if not (folder / name).is_file():
            raise UserError(
                f"{name} is missing",
                where=str(folder),
                remedy=f"{kind} holds {', '.join(required)}",
            )


def check_no_code(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that names code of its own. Raises UserError."""
    if "auto_map" in config:
        raise UserError(
            "asks for code of its own (auto_map)", where=str(path), remedy="remove that key"
        )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises UserError when it is anything else."""
    if path.stat().st_size > _MAX_JSON:
        raise UserError("is too large for a configuration", where=str(path), remedy="check it")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"is not JSON: {error}", where=str(path), remedy="copy the file again"
        ) from error
    if not isinstance(value, dict):
        raise UserError("is not a JSON object", where=str(path), remedy="copy the file again")
    return value


def integer(path: Path, values: Mapping[str, Any], key: str, *, least: int = 1) -> int:
    """The integer under `key` of what was read from `path`, at least `least`; else UserError."""
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise UserError(
            f"{key} is {value!r}, not {wanted}",
            where=str(path),
            remedy="save the checkpoint again with Transformers",
        )
    return value


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The tensors of a safetensors file by name, once its header and its size agree.

    Each is a dict of `dtype`, `shape` and `data_offsets`. Raises UserError when the file is
    damaged or cut short.
    """
    with opened(path) as source:
        tensors = read_tensors(source)
        if not tensors:
            raise source.damaged("it holds no tensor")
    return tensors


def parameters(tensors: Mapping[str, Mapping[str, Any]]) -> int:
    """How many numbers the tensors of a header hold."""
    return sum(math.prod(tensor["shape"]) for tensor in tensors.values())


def check_shapes(
    path: Path, tensors: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, list[int] | None]
) -> None:
    """Refuse weights that lack a `wanted` tensor, or have it in another shape.

    None stands for any shape. `path` is the weights' file. Raises UserError.
    """
    for name, shape in wanted.items():
        found = tensors.get(name)
        if found is None or (shape is not None and found["shape"] != shape):
            raise UserError(
                f"tensor {name!r} is {found and found['shape']}, config.json asks for {shape}"
                if found
                else f"tensor {name!r} is missing, which config.json asks for",
                where=str(path),
                remedy="keep the weights and the config.json of one checkpoint together",
            )


def log_mel_window(folder: Path, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> int:
    """Samples that a Whisper encoder hears, once its extractor and its configuration agree.

    The encoder halves the extractor's frames once. Raises UserError when they do not agree.
    """
    path = folder / PREPROCESSOR
    samples = _extracted_samples(path, preprocessor)
    hop = integer(path, preprocessor, "hop_length")
    positions = integer(folder / CONFIG, config, "max_source_positions")
    remedy = "save the feature extractor that the model was trained with"
    if samples != 2 * positions * hop:
        raise UserError(
            f"its window of {samples} samples is not the encoder's: "
            f"{positions} positions are {2 * positions * hop} samples",
            where=str(path),
            remedy=remedy,
        )
    bands = integer(path, preprocessor, "feature_size")
    if bands != config.get("num_mel_bins"):
        raise UserError(
            f"feature_size {bands} is not the model's num_mel_bins {config.get('num_mel_bins')}",
            where=str(path),
            remedy=remedy,
        )
    return samples


def _extracted_samples(path: Path, preprocessor: Mapping[str, Any]) -> int:
    # Older extractors leave out what follows from two other keys.
    if "n_samples" not in preprocessor:
        rate = integer(path, preprocessor, "sampling_rate")
        return rate * integer(path, preprocessor, "chunk_length")
    return integer(path, preprocessor, "n_samples")


def _check_file(path: Path, allowed: Collection[str]) -> None:
    status = path.lstat()
    mode = status.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and status.st_nlink > 1):
        # A hard link's bytes can be changed through its other name while they are read here.
        raise UserError("is a link", where=str(path), remedy="put a copy of the file there")
    if stat.S_ISDIR(mode):
        raise UserError("is a folder", where=str(path), remedy="a checkpoint is one flat folder")
    if not stat.S_ISREG(mode):
        raise UserError("is not a plain file", where=str(path), remedy="remove it")
    if path.name in allowed:
        return
    if path.suffix in _PICKLES:
        raise UserError(
            "may hold a pickle, which can run code when it is opened",
            where=str(path),
            remedy=f"save the weights as {WEIGHTS} and remove it",
        )
    if path.suffix in _CODE:
        raise UserError("may hold code", where=str(path), remedy="remove it")
    raise UserError(
        "is a file that no part of the conversion reads", where=str(path), remedy="remove it"
    )
