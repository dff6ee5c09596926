"""Looks at a Whisper checkpoint before anything opens it: standard library only, nothing is run.

What passes here is a folder of plain files that are all known, whose weights are all there. It
never judges whether the model is any good.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

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
    check_files(folder, required=REQUIRED, allowed=ALLOWED, kind="a Whisper checkpoint")
    config_path, preprocessor_path = folder / CONFIG, folder / PREPROCESSOR
    config = read_object(config_path)
    _check_architecture(config_path, config)
    tensors = read_header(folder / WEIGHTS)
    preprocessor = read_object(preprocessor_path)
    read_object(folder / "generation_config.json")
    read_object(folder / "tokenizer.json")
    found = WhisperFacts(
        sample_rate=integer(preprocessor_path, preprocessor, "sampling_rate"),
        window_samples=log_mel_window(folder, config, preprocessor),
        mel_bands=integer(config_path, config, "num_mel_bins"),
        width=integer(config_path, config, "d_model"),
        encoder_layers=integer(config_path, config, "encoder_layers"),
        decoder_layers=integer(config_path, config, "decoder_layers"),
        vocabulary_size=integer(config_path, config, "vocab_size"),
        max_tokens=integer(config_path, config, "max_target_positions"),
        parameters=parameters(tensors),
    )
    check_shapes(folder / WEIGHTS, tensors, _shapes(found))
    return found


def facts(folder: Path) -> dict[str, float]:
    """What `inspect` finds, as plain values by name, `window_s` among them."""
    found = inspect(folder)
    return asdict(found) | {"window_s": found.window_s}


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
    check_no_code(path, config)


def _shapes(facts: WhisperFacts) -> dict[str, list[int] | None]:
    """The tensors whose shapes tie the weights to the configuration."""
    return {
        "model.decoder.embed_tokens.weight": [facts.vocabulary_size, facts.width],
        "model.decoder.embed_positions.weight": [facts.max_tokens, facts.width],
        "model.encoder.conv1.weight": [facts.width, facts.mel_bands, 3],
        f"model.encoder.layers.{facts.encoder_layers - 1}.fc1.weight": None,
        f"model.decoder.layers.{facts.decoder_layers - 1}.fc1.weight": None,
    }
