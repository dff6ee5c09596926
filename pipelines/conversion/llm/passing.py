"""A variant that is the checkpoint itself, for an engine that takes it as it is: vLLM.

Not a byte of the folder changes, quantised or not; beside it stands `vllm.json`, which says how
the model is asked. Runs in the converter's environment, and opens the tokenizer, no weights.
"""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pipelines.conversion.hugging_face import CONFIG
from pipelines.conversion.job import Conversion, Request
from pipelines.conversion.llm.prompt import prompt_for
from pipelines.conversion.llm.source import inspect
from pipelines.conversion.text_codec import special_tokens
from pipelines.conversion.text_generation import answer_length, bad_tokens, ids_of, required_id
from pipelines.conversion.text_source import QUESTION, read_weights
from registry.errors import PermanentEngineError, UserError
from registry.files import canonical_json
from registry.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe
    from pipelines.conversion.llm.source import LlmFacts

RULES = "vllm.json"
_FLOATS = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}
"""Precisions by safetensors' names of types."""
_SAID = ("a", "Where is it?", " two  words ")
"""Questions by which a prompt is tried."""


class PassedOn(Conversion):
    """See Conversion. It has no graph: the engine reads the checkpoint."""

    graphs: Mapping[str, Path] = {}
    longest_question = ()
    tools = ("tokenizers", "transformers")

    def __init__(self, request: Request) -> None:
        self._source = request.source
        self._rules = _rules(request.source, inspect(request.source))

    def write_files(self, folder: Path) -> None:
        """See Conversion."""
        for path in sorted(self._source.iterdir()):
            shutil.copyfile(path, folder / path.name)
        (folder / RULES).write_bytes(canonical_json(self._rules) + b"\n")

    def make_feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """None: there is no graph."""
        del graph
        return []

    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """How many of the checkpoint's files are in the variant, and how many of them differ.

        Raises PermanentEngineError when one does: then something else would be served.
        """
        kept = {file.path: file for file in Manifest.of_folder(folder).files}
        source = Manifest.of_folder(self._source).files
        if changed := [file.path for file in source if kept.get(file.path) != file]:
            raise PermanentEngineError(
                f"{changed[0]} is not the checkpoint's own", where=recipe.variant
            )
        return {"files": float(len(source)), "files_changed": 0.0}


def _rules(source: Path, facts: LlmFacts) -> dict[str, Any]:
    """What `vllm.json` holds. Raises UserError for a checkpoint that could not be asked."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source, local_files_only=True, trust_remote_code=False, use_fast=True
    )
    model = _configurations(source)
    prompt, adds = prompt_for(source, tokenizer)
    if bad_tokens(source, model):
        raise UserError(
            "forbids tokens (bad_words_ids or suppress_tokens), which vLLM is not told of",
            where=str(source / "generation_config.json"),
            remedy="take them out if the model was trained without",
        )
    required_id(source, model, "eos_token_id")
    packed = facts.prequantised
    return {
        "precision": f"int{packed.bits}" if packed else _precision(source),
        "method": packed.method if packed else "",
        "group_size": packed.group_size if packed else 0,
        # AWQ's and GPTQ's kernels multiply FP16 activations.
        "dtype": "float16" if packed else "auto",
        "prompt_template": _as_vllm_reads(source, prompt.template, tokenizer, adds=adds),
        "end": ids_of(model, "eos_token_id"),
        "stop": prompt.stop,
        "special_words": special_tokens(source)[1],
        "max_positions": facts.max_positions,
        "max_new_tokens": answer_length(
            model, prompt.max_new_tokens, start=0, room=facts.max_positions - 1
        ),
    }


def _configurations(source: Path) -> Any:
    """What the rules read of a model, without its weights."""
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    if (source / "generation_config.json").is_file():
        generation = GenerationConfig.from_pretrained(source, local_files_only=True)
    else:
        generation = GenerationConfig.from_model_config(config)
    return SimpleNamespace(config=config, generation_config=generation)


def _as_vllm_reads(source: Path, template: str, tokenizer: Any, *, adds: bool) -> str:
    """The template that gives the wanted ids when the tokenizer puts its own around it.

    vLLM's backend always lets it. A chat template that writes the first token itself would so give
    it twice, and loses it here. Raises UserError where no template gives the wanted ids.
    """
    texts = [template.replace(QUESTION, one) for one in _SAID]
    wanted = tokenizer(texts, truncation=False, add_special_tokens=adds).input_ids
    for one in dict.fromkeys((template, template.removeprefix(tokenizer.bos_token or ""))):
        asked = [one.replace(QUESTION, said) for said in _SAID]
        if tokenizer(asked, truncation=False, add_special_tokens=True).input_ids == wanted:
            return one
    raise UserError(
        "its tokenizer puts tokens around a prompt that its chat template does not have",
        where=str(source),
        remedy="write prompt.json without the tokens that the tokenizer adds",
    )


def _precision(source: Path) -> str:
    kept = str(read_weights(source)["model.embed_tokens.weight"].get("dtype"))
    if kept not in _FLOATS:
        raise UserError(
            f"its weights are {kept}, which nothing here was tried with",
            where=str(source / CONFIG),
            remedy=f"save it as one of {', '.join(_FLOATS)}",
        )
    return _FLOATS[kept]
