"""Opens a Llama or Qwen2 checkpoint and exports its graph. Runs in the converter's environment."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from pipelines.conversion.job import EXAMPLES, Conversion, Request
from pipelines.conversion.llm.kind import KIND
from pipelines.conversion.llm.prequantised import REMEDY, refuse_conversion
from pipelines.conversion.llm.source import inspect
from pipelines.conversion.text_source import QUESTION, TOKENIZER
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe
    from pipelines.conversion.llm.source import LlmFacts
    from pipelines.conversion.text_generation import Rules

GRAPH = "decoder"
_LARGEST = 500_000_000
"""Weights that one ONNX file holds in FP32: protobuf's 2 GiB, less the graph itself."""


def prepare(request: Request) -> LlmConversion:
    """Load the checkpoint, export the graph, and let Transformers answer the probes.

    Raises UserError for a model that is quantised already, or too large for one ONNX file.
    """
    facts = inspect(request.source)
    if facts.prequantised:
        made = tuple(recipe.variant for recipe in KIND.recipes)
        refuse_conversion(request.source, facts.prequantised, made)
    if facts.parameters > _LARGEST:
        raise UserError(
            f"its {facts.parameters / 1e9:.1f} billion weights do not fit one ONNX file of 2 GiB",
            where=str(request.source),
            remedy=REMEDY,
        )
    return LlmConversion(request, facts)


def pass_on(request: Request) -> Conversion:
    """The checkpoint as it is, for vLLM. Raises UserError for one that could not be asked."""
    from pipelines.conversion.llm.passing import PassedOn

    return PassedOn(request)


class LlmConversion(Conversion):
    """See Conversion."""

    longest_question = ()
    tools = ("torch", "transformers", "tokenizers")

    def __init__(self, request: Request, facts: LlmFacts) -> None:
        from pipelines.conversion.formats.graph import check
        from pipelines.conversion.llm.graphs import Decoder
        from pipelines.conversion.llm.rules import rules_of
        from pipelines.conversion.text_graphs import export_causal_decoder
        from pipelines.conversion.text_parity import MADE_UP, PROBES, reference

        self._source = request.source
        model, tokenizer = _load(request.source, facts)
        self._rules = rules_of(request.source, facts, model, tokenizer)
        self.graphs = {GRAPH: request.scratch / f"{GRAPH}.onnx"}
        export_causal_decoder(Decoder(model), self._rules.shape, self.graphs[GRAPH])
        check(self.graphs[GRAPH])
        questions = [str(one) for one in request.probes][:PROBES] or list(MADE_UP)
        self._prompts = _prompts(request.source, self._rules, tokenizer, questions)
        self._expected = reference(model, self._rules, self._prompts)

    def write_files(self, folder: Path) -> None:
        """See Conversion."""
        shutil.copyfile(self._source / TOKENIZER, folder / TOKENIZER)
        self._rules.write(folder)

    def make_feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """None: no recipe of this kind is calibrated."""
        del graph
        return []

    def examples(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """Prompts for an encoder, last steps of their answers for a decoder."""
        from pipelines.conversion.text_parity import examples

        few = slice(EXAMPLES)
        return examples(self.graphs, graph, self._rules, self._prompts[few], self._expected[few])

    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """See Conversion."""
        from pipelines.conversion.text_parity import measure

        return measure(recipe, folder, self._rules, self._prompts, self._expected)


def _load(source: Path, facts: LlmFacts) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, LlamaForCausalLM, Qwen2ForCausalLM

    from pipelines.conversion.loading import load_model

    classes = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM}
    tokenizer = AutoTokenizer.from_pretrained(
        source, local_files_only=True, trust_remote_code=False, use_fast=True
    )
    return load_model(classes[facts.architecture], source), tokenizer


def _prompts(
    source: Path, rules: Rules, tokenizer: Any, questions: Sequence[str]
) -> list[list[int]]:
    """The questions as ids, which are those of Transformers' own tokenizer."""
    from pipelines.conversion.text_codec import check_encoding, encoder_of

    asked = [rules.prompt_template.replace(QUESTION, question) for question in questions]
    expected = tokenizer(
        asked, truncation=False, add_special_tokens=rules.add_special_tokens
    ).input_ids
    check_encoding(questions, encoder_of(source, rules), expected, source)
    short = [ids for ids in expected if len(ids) < rules.max_positions]
    if not short:
        raise UserError(
            f"the prompt leaves no room for an answer in {rules.max_positions} positions",
            where=str(source),
            remedy="shorten the prompt's template",
        )
    return short
