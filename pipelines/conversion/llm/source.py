"""Looks at a Llama or Qwen2 checkpoint before anything opens it: standard library only.

What passes here is a folder of plain files that are all known, whose weights are all there, and
which says how to ask it. One whose weights were quantised by AWQ or GPTQ is recognised, because
other engines serve it as it is; see `prequantised`. It never judges whether the model is any good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from pipelines.conversion.hugging_face import (
    CONFIG,
    check_files,
    check_no_code,
    check_shapes,
    integer,
    parameters,
    read_object,
)
from pipelines.conversion.llm.prequantised import Prequantised, prequantised
from pipelines.conversion.text_source import (
    BESIDE,
    PROMPT,
    TOKENIZER,
    check_model,
    check_vocabulary,
    prompt_of,
    read_weights,
    tokenizer_size,
    weight_files,
)
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Architecture = Literal["llama", "qwen2"]

CHAT_TEMPLATE = "chat_template.jinja"

_KNOWN = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
_OTHERS = (
    "added_tokens.json",
    CHAT_TEMPLATE,
    "merges.txt",
    "quantize_config.json",
    "quant_config.json",
    "tokenizer.model",
    "vocab.json",
)
_ROTARY = ("default", "linear", "llama3", "yarn")
"""Scalings of rotary positions whose frequencies do not depend on a text's length."""


@dataclass(frozen=True)
class LlmFacts:
    """What the folder says about its model."""

    architecture: Architecture
    width: int
    layers: int
    heads: int
    key_heads: int
    vocabulary_size: int
    max_positions: int
    parameters: int
    """Of a quantised model, packed ones count as stored."""
    is_tied: bool
    prequantised: Prequantised | None


def inspect(folder: Path) -> LlmFacts:
    """Return the facts of a causal language model's folder.

    Raises UserError that names the file when one is missing, unknown, a link, a pickle or code,
    when the weights are cut short or of another shape, when the tokenizer is not the model's, when
    nothing says how to ask it, or when the configuration is of another kind of model.
    """
    allowed = (CONFIG, TOKENIZER, *weight_files(folder), *_OTHERS, *BESIDE)
    kind = "a language model's checkpoint"
    check_files(folder, required=(CONFIG,), allowed=allowed, kind=kind)
    path = folder / CONFIG
    config = read_object(path)
    check_no_code(path, config)
    remedy = "register it under its own kind, or save it as one of these: Llama, Qwen2"
    architecture = cast("Architecture", check_model(path, config, _KNOWN, "language model", remedy))
    required = (CONFIG, TOKENIZER, *weight_files(folder))
    check_files(folder, required=required, allowed=allowed, kind=kind)
    tensors = read_weights(folder)
    found = LlmFacts(
        architecture=architecture,
        width=integer(path, config, "hidden_size"),
        layers=integer(path, config, "num_hidden_layers"),
        heads=integer(path, config, "num_attention_heads"),
        key_heads=_key_heads(path, config),
        vocabulary_size=integer(path, config, "vocab_size", least=2),
        max_positions=integer(path, config, "max_position_embeddings"),
        parameters=parameters(tensors),
        is_tied=bool(config.get("tie_word_embeddings", False)),
        prequantised=prequantised(path, config),
    )
    _check_attention(path, config, found)
    _check_tensors(folder, found, tensors)
    size = tokenizer_size(folder / TOKENIZER)
    check_vocabulary(folder / TOKENIZER, size, found.vocabulary_size)
    if prompt_of(folder) is None:
        _check_chat_template(folder)
    return found


def facts(folder: Path) -> dict[str, float]:
    """What `inspect` finds, as plain numbers by name.

    `prequantised_bits` and `prequantised_group_size` are 0 for a model that is not quantised.
    """
    found = inspect(folder)
    packed = found.prequantised
    return {
        "width": float(found.width),
        "layers": float(found.layers),
        "heads": float(found.heads),
        "key_heads": float(found.key_heads),
        "vocabulary_size": float(found.vocabulary_size),
        "max_positions": float(found.max_positions),
        "parameters": float(found.parameters),
        "prequantised_bits": float(packed.bits if packed else 0),
        "prequantised_group_size": float(packed.group_size if packed else 0),
    }


def _key_heads(path: Path, config: Mapping[str, Any]) -> int:
    # Older Llamas leave it out: each query head has a key head of its own.
    if config.get("num_key_value_heads") is None:
        return integer(path, config, "num_attention_heads")
    return integer(path, config, "num_key_value_heads")


def _check_attention(path: Path, config: Mapping[str, Any], found: LlmFacts) -> None:
    if found.heads % found.key_heads:
        raise UserError(
            f"{found.heads} attention heads cannot share {found.key_heads} key heads",
            where=str(path),
            remedy="save the checkpoint again with Transformers",
        )
    if config.get("use_sliding_window"):
        raise UserError(
            "attends to a sliding window (use_sliding_window), which nothing here was tried with",
            where=str(path),
            remedy="set it to false if the model was trained without",
        )
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in _ROTARY:
        raise UserError(
            f"scales rotary positions by {kind!r}, which depends on a text's length",
            where=str(path),
            remedy=f"these are converted: {', '.join(_ROTARY)}",
        )


def _check_tensors(folder: Path, found: LlmFacts, tensors: Mapping[str, Mapping[str, Any]]) -> None:
    table = [found.vocabulary_size, found.width]
    wanted: dict[str, list[int] | None] = {"model.embed_tokens.weight": table}
    last = f"model.layers.{found.layers - 1}.mlp.down_proj"
    wanted[f"{last}.qweight" if found.prequantised else f"{last}.weight"] = None
    if not found.is_tied:
        wanted["lm_head.weight"] = table
    check_shapes(folder / weight_files(folder)[0], tensors, wanted)


def _check_chat_template(folder: Path) -> None:
    settings = folder / "tokenizer_config.json"
    if (folder / CHAT_TEMPLATE).is_file():
        return
    if settings.is_file() and read_object(settings).get("chat_template"):
        return
    raise UserError(
        f"nothing says how to ask it: there is no {PROMPT} and no chat template",
        where=str(folder),
        remedy='write prompt.json, such as {"template": "translate: {text}\\n", "stop": ["\\n"]}',
    )
