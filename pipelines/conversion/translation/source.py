"""Looks at a Marian or T5 checkpoint before anything opens it: standard library only.

What passes here is a folder of plain files that are all known, whose weights are all there and
whose vocabulary is the model's. It never judges whether the model is any good.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from pipelines.conversion.hugging_face import (
    CONFIG,
    WEIGHTS,
    check_files,
    check_no_code,
    check_shapes,
    integer,
    parameters,
    read_header,
    read_object,
)
from pipelines.conversion.text_source import (
    BESIDE,
    TOKENIZER,
    check_model,
    check_vocabulary,
    pieces_in,
    prompt_of,
    tokenizer_size,
)
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Tensors = Mapping[str, Mapping[str, Any]]

Architecture = Literal["marian", "t5"]

MARIAN = (CONFIG, WEIGHTS, "source.spm", "target.spm", "vocab.json")
"""Files of a Marian that a conversion reads."""
T5 = (CONFIG, WEIGHTS)
"""Files of a T5 that a conversion reads, beside one of PIECES and TOKENIZER."""
PIECES = "spiece.model"
END, UNKNOWN, PADDING = "</s>", "<unk>", "<pad>"

_KNOWN = {"marian": "MarianMTModel", "t5": "T5ForConditionalGeneration"}
_POSITIONS = 512  # Of a T5 that names none; its biases reach any distance.


@dataclass(frozen=True)
class TranslationFacts:
    """What the folder says about its model."""

    architecture: Architecture
    width: int
    encoder_layers: int
    decoder_layers: int
    vocabulary_size: int
    max_positions: int
    parameters: int


def inspect(folder: Path) -> TranslationFacts:
    """Return the facts of a translation checkpoint folder.

    Raises UserError that names the file when one is missing, unknown, a link, a pickle or code,
    when the weights are cut short or of another shape, when a vocabulary is not the model's, when
    a model of several languages does not say which to write, or when the configuration is of
    another kind of model.
    """
    check_files(folder, required=(CONFIG,), allowed=_allowed(), kind="a translation checkpoint")
    config = read_object(folder / CONFIG)
    check_no_code(folder / CONFIG, config)
    remedy = "register it under its own kind, or save it as MarianMTModel"
    name = check_model(folder / CONFIG, config, _KNOWN, "translation model", remedy)
    architecture = cast("Architecture", name)
    required = MARIAN if architecture == "marian" else T5
    check_files(folder, required=required, allowed=_allowed(), kind=f"a {architecture} checkpoint")
    tensors = read_header(folder / WEIGHTS)
    prompt_of(folder)
    found = (_marian if architecture == "marian" else _t5)(folder / CONFIG, config, tensors)
    if architecture == "marian":
        _check_marian_vocabulary(folder, found.vocabulary_size)
    else:
        _check_t5_vocabulary(folder, found.vocabulary_size)
    return found


def facts(folder: Path) -> dict[str, float]:
    """What `inspect` finds, as plain numbers by name."""
    found = asdict(inspect(folder))
    return {name: float(value) for name, value in found.items() if name != "architecture"}


def language_codes(vocabulary: Mapping[str, Any]) -> list[str]:
    """The tokens by which a Marian of several languages is told which one to write."""
    return sorted(one for one in vocabulary if one.startswith(">>") and one.endswith("<<"))


def _allowed() -> tuple[str, ...]:
    return (*MARIAN, PIECES, TOKENIZER, *BESIDE)


def _marian(path: Path, config: Mapping[str, Any], tensors: Tensors) -> TranslationFacts:
    if not config.get("share_encoder_decoder_embeddings", True):
        raise UserError(
            "has a vocabulary for each side (share_encoder_decoder_embeddings is false)",
            where=str(path),
            remedy="only models with one vocabulary are converted",
        )
    found = TranslationFacts(
        architecture="marian",
        width=integer(path, config, "d_model"),
        encoder_layers=integer(path, config, "encoder_layers"),
        decoder_layers=integer(path, config, "decoder_layers"),
        vocabulary_size=integer(path, config, "vocab_size", least=3),
        max_positions=integer(path, config, "max_position_embeddings"),
        parameters=parameters(tensors),
    )
    check_shapes(
        path.with_name(WEIGHTS),
        tensors,
        {
            "model.shared.weight": [found.vocabulary_size, found.width],
            "final_logits_bias": [1, found.vocabulary_size],
            f"model.encoder.layers.{found.encoder_layers - 1}.fc2.weight": None,
            f"model.decoder.layers.{found.decoder_layers - 1}.fc2.weight": None,
        },
    )
    return found


def _t5(path: Path, config: Mapping[str, Any], tensors: Tensors) -> TranslationFacts:
    layers = integer(path, config, "num_layers")
    found = TranslationFacts(
        architecture="t5",
        width=integer(path, config, "d_model"),
        encoder_layers=layers,
        decoder_layers=integer(
            path, {"num_decoder_layers": layers, **config}, "num_decoder_layers"
        ),
        vocabulary_size=integer(path, config, "vocab_size", least=3),
        max_positions=integer(path, {"n_positions": _POSITIONS, **config}, "n_positions"),
        parameters=parameters(tensors),
    )
    last = found.decoder_layers - 1
    check_shapes(
        path.with_name(WEIGHTS),
        tensors,
        {
            "shared.weight": [found.vocabulary_size, found.width],
            f"encoder.block.{layers - 1}.layer.1.DenseReluDense.wo.weight": None,
            f"decoder.block.{last}.layer.2.DenseReluDense.wo.weight": None,
        },
    )
    return found


def _check_marian_vocabulary(folder: Path, embedded: int) -> None:
    path = folder / "vocab.json"
    vocabulary = read_object(path)
    for name in ("source.spm", "target.spm"):
        pieces_in(folder / name)
    if sorted(map(repr, vocabulary.values())) != sorted(map(repr, range(len(vocabulary)))):
        raise UserError(
            f"its ids are not 0 to {len(vocabulary) - 1}, each once",
            where=str(path),
            remedy="save the tokenizer again with Transformers",
        )
    if missing := [word for word in (END, UNKNOWN, PADDING) if word not in vocabulary]:
        raise UserError(
            f"holds no {missing[0]!r}", where=str(path), remedy="save the tokenizer again"
        )
    if len(vocabulary) != embedded:
        raise UserError(
            f"has {len(vocabulary)} tokens, the model's vocab_size is {embedded}",
            where=str(path),
            remedy="keep the tokenizer and the weights of one checkpoint together",
        )
    _check_language(folder, vocabulary)


def _check_language(folder: Path, vocabulary: Mapping[str, Any]) -> None:
    codes = language_codes(vocabulary)
    prompt = prompt_of(folder)
    template = prompt.template if prompt else ""
    if len(codes) > 1 and not any(template.startswith(code) for code in codes):
        raise UserError(
            "the checkpoint writes several languages and does not say which one",
            where=str(folder / "prompt.json"),
            remedy=f'write one such as {{"template": "{codes[0]} {{text}}"}}',
        )


def _check_t5_vocabulary(folder: Path, embedded: int) -> None:
    if (folder / PIECES).is_file():
        check_vocabulary(folder / PIECES, pieces_in(folder / PIECES), embedded)
    elif (folder / TOKENIZER).is_file():
        check_vocabulary(folder / TOKENIZER, tokenizer_size(folder / TOKENIZER), embedded)
    else:
        raise UserError(
            f"neither {PIECES} nor {TOKENIZER} is there",
            where=str(folder),
            remedy="save the tokenizer beside the model",
        )
