"""Looks at a CTC checkpoint before anything opens it: standard library only, nothing is run.

Two folders are known: Transformers' `Wav2Vec2ForCTC`, which hears a waveform, and a Whisper encoder
under one linear layer (`WhisperForCTC`, as PhoWhisper-CTC is), which hears log-mel features. What
passes here is a folder of plain files that are all known, whose weights are all there and whose
vocabulary is the one of its last layer. It never judges whether the model is any good.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipelines.conversion.ctc_speech.vocabulary import TOKENIZER, VOCABULARY, check_vocabulary
from pipelines.conversion.hugging_face import (
    CONFIG,
    PREPROCESSOR,
    WEIGHTS,
    check_files,
    check_no_code,
    check_shapes,
    integer,
    log_mel_window,
    parameters,
    read_header,
    read_object,
)
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Tensors = Mapping[str, Mapping[str, Any]]

REQUIRED = (CONFIG, WEIGHTS, PREPROCESSOR)
"""Files that every conversion reads, beside one with the vocabulary."""
ALLOWED = (
    *REQUIRED,
    TOKENIZER,
    VOCABULARY,
    "added_tokens.json",
    "generation_config.json",
    "LICENSE",
    "merges.txt",
    "normalizer.json",
    "README.md",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
"""Every file that may be there; a file that nothing reads is a file that nobody checked."""
DEFAULT_WINDOW_S = 3
"""Seconds that a wav2vec2 network is cut for when its extractor names no `chunk_length`."""

Architecture = Literal["wav2vec2", "whisper"]
_ARCHITECTURES: dict[Architecture, tuple[str, ...]] = {
    "wav2vec2": ("Wav2Vec2ForCTC",),
    "whisper": ("WhisperForCTC", "WhisperEncoderForCTC", "WhisperCTC", "PhoWhisperCTC"),
}


@dataclass(frozen=True)
class CtcFacts:
    """What the folder says about its model."""

    architecture: Architecture
    sample_rate: int
    window_samples: int
    mel_bands: int
    """0 when the model hears the waveform itself."""
    width: int
    layers: int
    vocabulary_size: int
    blank: int
    parameters: int

    @property
    def window_s(self) -> float:
        """Seconds of audio that the network hears at once."""
        return self.window_samples / self.sample_rate


@dataclass(frozen=True)
class Parts:
    """Where the weights of a Whisper encoder and of its last layer are, by their names' starts."""

    encoder: str
    head: str


def inspect(folder: Path) -> CtcFacts:
    """Return the facts of a CTC checkpoint folder.

    Raises UserError that names the file when one is missing, unknown, a link, a pickle or code,
    when the weights are cut short or of another shape, when the vocabulary is not that of the
    last layer, or when the configuration is of another kind of model.
    """
    check_files(folder, required=REQUIRED, allowed=ALLOWED, kind="a CTC checkpoint")
    config = read_object(folder / CONFIG)
    architecture = _architecture(folder / CONFIG, config)
    tensors = read_header(folder / WEIGHTS)
    preprocessor = read_object(folder / PREPROCESSOR)
    rate = integer(folder / PREPROCESSOR, preprocessor, "sampling_rate")
    size, blank = _last_layer(folder / CONFIG, config)
    check_vocabulary(folder, size)
    if architecture == "whisper":
        found = CtcFacts(
            architecture=architecture,
            sample_rate=rate,
            window_samples=log_mel_window(folder, config, preprocessor),
            mel_bands=integer(folder / CONFIG, config, "num_mel_bins"),
            width=integer(folder / CONFIG, config, "d_model"),
            layers=integer(folder / CONFIG, config, "encoder_layers"),
            vocabulary_size=size,
            blank=blank,
            parameters=parameters(tensors),
        )
        _check_whisper(folder / WEIGHTS, found, tensors)
        return found
    found = CtcFacts(
        architecture=architecture,
        sample_rate=rate,
        window_samples=rate * _seconds(folder / PREPROCESSOR, preprocessor),
        mel_bands=0,
        width=integer(folder / CONFIG, config, "hidden_size"),
        layers=integer(folder / CONFIG, config, "num_hidden_layers"),
        vocabulary_size=size,
        blank=blank,
        parameters=parameters(tensors),
    )
    _check_wav2vec2(folder, config, found, tensors)
    return found


def facts(folder: Path) -> dict[str, float]:
    """What `inspect` finds, as plain numbers by name, `window_s` among them."""
    found = inspect(folder)
    plain = {name: value for name, value in asdict(found).items() if name != "architecture"}
    return plain | {"window_s": found.window_s}


def whisper_parts(path: Path, tensors: Tensors) -> Parts:
    """Where encoder and last layer are among the weights in `path`; training scripts differ.

    The encoder is what starts as its `conv1.weight` does; all else must be one linear layer.
    Raises UserError that names the tensor that is neither.
    """
    ends = [name for name in tensors if name.endswith("conv1.weight")]
    if len(ends) != 1:
        raise UserError(
            f"holds {len(ends)} tensors called conv1.weight, a Whisper encoder has one",
            where=str(path),
            remedy="save the encoder and its CTC layer alone",
        )
    encoder = ends[0].removesuffix("conv1.weight")
    others = sorted(name for name in tensors if not name.startswith(encoder))
    if not encoder:
        others = sorted(name for name in tensors if name.split(".")[0] not in _ENCODER_PARTS)
    heads = [name.removesuffix("weight") for name in others if name.endswith("weight")]
    if len(heads) != 1:
        raise UserError(
            f"holds {len(heads)} matrices beside the encoder ({', '.join(others[:3])}), "
            "not one CTC layer",
            where=str(path),
            remedy="save the encoder and its CTC layer alone; a decoder is of another kind",
        )
    if strays := [name for name in others if name not in {f"{heads[0]}weight", f"{heads[0]}bias"}]:
        raise UserError(
            f"tensor {strays[0]!r} belongs to neither the encoder nor the CTC layer",
            where=str(path),
            remedy="save the encoder and its CTC layer alone",
        )
    return Parts(encoder, heads[0])


_ENCODER_PARTS = {"conv1", "conv2", "embed_positions", "layers", "layer_norm"}


def _architecture(path: Path, config: dict[str, Any]) -> Architecture:
    check_no_code(path, config)
    model_type, architectures = config.get("model_type"), config.get("architectures")
    for name, known in _ARCHITECTURES.items():
        if model_type == name and architectures in [[one] for one in known]:
            return name
    raise UserError(
        f"is not a CTC model: model_type {model_type!r}, architectures {architectures!r}",
        where=str(path),
        remedy="register it under its own kind, or save it as Wav2Vec2ForCTC or WhisperForCTC",
    )


def _last_layer(path: Path, config: dict[str, Any]) -> tuple[int, int]:
    """The vocabulary's size and the id of CTC's blank, which is the padding token."""
    size = integer(path, config, "vocab_size", least=2)
    blank = integer(path, config, "pad_token_id", least=0)
    if blank >= size:
        raise UserError(
            f"pad_token_id {blank}, CTC's blank, is outside the vocabulary of {size} tokens",
            where=str(path),
            remedy="set it to the id of the padding token that the model was trained with",
        )
    return size, blank


def _seconds(path: Path, preprocessor: dict[str, Any]) -> int:
    if "chunk_length" not in preprocessor:
        return DEFAULT_WINDOW_S
    return integer(path, preprocessor, "chunk_length")


def _check_whisper(path: Path, found: CtcFacts, tensors: Tensors) -> None:
    parts = whisper_parts(path, tensors)
    last = f"{parts.encoder}layers.{found.layers - 1}.fc1.weight"
    check_shapes(
        path,
        tensors,
        {
            f"{parts.encoder}conv1.weight": [found.width, found.mel_bands, 3],
            f"{parts.head}weight": [found.vocabulary_size, found.width],
            last: None,
        },
    )


def _check_wav2vec2(
    folder: Path, config: dict[str, Any], found: CtcFacts, tensors: Tensors
) -> None:
    if config.get("add_adapter"):
        raise UserError(
            "has an adapter over its encoder (add_adapter), which nothing here was tried with",
            where=str(folder / CONFIG),
            remedy="train the CTC layer on the encoder itself",
        )
    check_shapes(
        folder / WEIGHTS,
        tensors,
        {
            "wav2vec2.feature_extractor.conv_layers.0.conv.weight": None,
            f"wav2vec2.encoder.layers.{found.layers - 1}.feed_forward.output_dense.weight": None,
            "lm_head.weight": [found.vocabulary_size, found.width],
            "lm_head.bias": [found.vocabulary_size],
        },
    )
