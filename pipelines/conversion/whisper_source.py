"""Looks at a Whisper checkpoint before anything opens it: standard library only, nothing is run.

What passes here is a folder of plain files that are all known, whose weights are all there. It
never judges whether the model is any good.
"""

from __future__ import annotations

import json
import math
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
)
"""Files that a conversion reads."""
ALLOWED = (
    *REQUIRED,
    "added_tokens.json",
    "LICENSE",
    "merges.txt",
    "normalizer.json",
    "README.md",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
)
"""Every file that may be there; a file that nothing reads is a file that nobody checked."""

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
_MAX_HEADER = 100 * 1024 * 1024  # safetensors' own limit
_MAX_JSON = 64 * 1024 * 1024
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
_WIDTHS |= {"U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class WhisperFacts:
    """What the folder says about its model."""

    sample_rate: int
    window_samples: int
    mel_bands: int
    width: int
    encoder_layers: int
    decoder_layers: int
    vocabulary_size: int
    max_tokens: int
    parameters: int

    @property
    def window_s(self) -> float:
        """Seconds of audio that the encoder hears at once."""
        return self.window_samples / self.sample_rate


def inspect(folder: Path) -> WhisperFacts:
    """Return the facts of a Whisper checkpoint folder.

    Raises UserError that names the file when one is missing, unknown, a link, a pickle or code,
    when the weights are cut short, or when the configuration is not a Whisper's.
    """
    _check_files(folder)
    config = _read_object(folder / "config.json")
    _check_architecture(folder / "config.json", config)
    tensors = _read_header(folder / "model.safetensors")
    preprocessor = _read_object(folder / "preprocessor_config.json")
    _read_object(folder / "generation_config.json")
    _read_object(folder / "tokenizer.json")
    found = WhisperFacts(
        sample_rate=_integer(folder / "preprocessor_config.json", preprocessor, "sampling_rate"),
        window_samples=_window_samples(folder, config, preprocessor),
        mel_bands=_integer(folder / "config.json", config, "num_mel_bins"),
        width=_integer(folder / "config.json", config, "d_model"),
        encoder_layers=_integer(folder / "config.json", config, "encoder_layers"),
        decoder_layers=_integer(folder / "config.json", config, "decoder_layers"),
        vocabulary_size=_integer(folder / "config.json", config, "vocab_size"),
        max_tokens=_integer(folder / "config.json", config, "max_target_positions"),
        parameters=sum(math.prod(tensor["shape"]) for tensor in tensors.values()),
    )
    _check_shapes(folder, found, tensors)
    return found


def facts(folder: Path) -> dict[str, float]:
    """What `inspect` finds, as plain values by name, `window_s` among them."""
    found = inspect(folder)
    return asdict(found) | {"window_s": found.window_s}


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), remedy="give a checkpoint's folder")
    for path in sorted(folder.iterdir()):
        _check_file(path)
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise UserError(
                f"{name} is missing",
                where=str(folder),
                remedy=f"a Whisper checkpoint holds {', '.join(REQUIRED)}",
            )


def _check_file(path: Path) -> None:
    status = path.lstat()
    mode = status.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and status.st_nlink > 1):
        # A hard link's bytes can be changed through its other name while they are read here.
        raise UserError("is a link", where=str(path), remedy="put a copy of the file there")
    if stat.S_ISDIR(mode):
        raise UserError("is a folder", where=str(path), remedy="a checkpoint is one flat folder")
    if not stat.S_ISREG(mode):
        raise UserError("is not a plain file", where=str(path), remedy="remove it")
    if path.name in ALLOWED:
        return
    if path.suffix in _PICKLES:
        raise UserError(
            "may hold a pickle, which can run code when it is opened",
            where=str(path),
            remedy="save the weights as model.safetensors and remove it",
        )
    if path.suffix in _CODE:
        raise UserError("may hold code", where=str(path), remedy="remove it")
    raise UserError(
        "is a file that no part of the conversion reads", where=str(path), remedy="remove it"
    )


def _check_architecture(path: Path, config: dict[str, Any]) -> None:
    architectures = config.get("architectures")
    if config.get("model_type") != "whisper" or architectures != [
        "WhisperForConditionalGeneration"
    ]:
        raise UserError(
            f"is not a Whisper: model_type {config.get('model_type')!r}, "
            f"architectures {architectures!r}",
            where=str(path),
            remedy="register it under its own kind, or save it as WhisperForConditionalGeneration",
        )
    if "auto_map" in config:
        raise UserError(
            "asks for code of its own (auto_map)", where=str(path), remedy="remove that key"
        )


def _window_samples(folder: Path, config: dict[str, Any], preprocessor: dict[str, Any]) -> int:
    """The window of the extractor; the encoder halves its frames once, and both must agree."""
    path = folder / "preprocessor_config.json"
    # Older extractors leave out what follows from two other keys.
    if "n_samples" not in preprocessor:
        rate = _integer(path, preprocessor, "sampling_rate")
        preprocessor |= {"n_samples": rate * _integer(path, preprocessor, "chunk_length")}
    samples = _integer(path, preprocessor, "n_samples")
    hop = _integer(path, preprocessor, "hop_length")
    positions = _integer(folder / "config.json", config, "max_source_positions")
    if samples != 2 * positions * hop:
        raise UserError(
            f"its window of {samples} samples is not the encoder's: "
            f"{positions} positions are {2 * positions * hop} samples",
            where=str(path),
            remedy="save the feature extractor that the model was trained with",
        )
    bands = _integer(path, preprocessor, "feature_size")
    if bands != config.get("num_mel_bins"):
        raise UserError(
            f"feature_size {bands} is not the model's num_mel_bins {config.get('num_mel_bins')}",
            where=str(path),
            remedy="save the feature extractor that the model was trained with",
        )
    return samples


def _read_object(path: Path) -> dict[str, Any]:
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


def _integer(path: Path, values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(
            f"{key} is {value!r}, not a positive integer",
            where=str(path),
            remedy="save the checkpoint again with Transformers",
        )
    return value


def _read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The tensors of a safetensors file, once its header and its size agree.

    Format: 8 bytes little-endian header length, the header's JSON, then the data that the
    header's offsets cover without gap or overlap (github.com/huggingface/safetensors).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            raise _damaged(path, f"its header claims {length} bytes, the file has {size}")
        header = file.read(length)
    try:
        tensors = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(tensors, dict):
        raise _damaged(path, "its header is not a JSON object")
    tensors.pop("__metadata__", None)
    end = 0
    for name, tensor in sorted(tensors.items(), key=_begin):
        end = _tensor_end(path, name, tensor, end)
    if not tensors or end != size - 8 - length:
        raise _damaged(path, f"its tensors take {end} bytes, the file holds {size - 8 - length}")
    return tensors


def _begin(item: tuple[str, Any]) -> int:
    try:
        return int(item[1]["data_offsets"][0])
    except (KeyError, TypeError, IndexError, ValueError):
        return -1


def _tensor_end(path: Path, name: str, tensor: Any, expected_begin: int) -> int:
    try:
        begin, end = tensor["data_offsets"]
        width, shape = _WIDTHS[tensor["dtype"]], tensor["shape"]
        nbytes = width * math.prod(shape)
        sound = begin == expected_begin and end - begin == nbytes and min(shape, default=0) >= 0
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"tensor {name!r} is not described as safetensors asks") from error
    if not sound:
        raise _damaged(path, f"tensor {name!r} does not lie where it should")
    return int(end)


def _damaged(path: Path, what: str) -> UserError:
    return UserError(
        f"is damaged or cut short: {what}", where=str(path), remedy="copy the checkpoint again"
    )


def _check_shapes(folder: Path, facts: WhisperFacts, tensors: dict[str, dict[str, Any]]) -> None:
    """The tensors whose shapes tie the weights to the configuration."""
    wanted = {
        "model.decoder.embed_tokens.weight": [facts.vocabulary_size, facts.width],
        "model.decoder.embed_positions.weight": [facts.max_tokens, facts.width],
        "model.encoder.conv1.weight": [facts.width, facts.mel_bands, 3],
        f"model.encoder.layers.{facts.encoder_layers - 1}.fc1.weight": None,
        f"model.decoder.layers.{facts.decoder_layers - 1}.fc1.weight": None,
    }
    for name, shape in wanted.items():
        found = tensors.get(name)
        if found is None or (shape is not None and found["shape"] != shape):
            raise UserError(
                f"tensor {name!r} is {found and found['shape']}, config.json asks for {shape}"
                if found
                else f"tensor {name!r} is missing, which config.json asks for",
                where=str(folder / "model.safetensors"),
                remedy="keep the weights and the config.json of one checkpoint together",
            )
