"""Opens a Marian or T5 checkpoint and exports its graphs. Runs in the converter's environment."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats.graph import check
from pipelines.conversion.job import EXAMPLES, Conversion, Request
from pipelines.conversion.loading import load_model
from pipelines.conversion.text_codec import check_encoding, encoder_of
from pipelines.conversion.text_graphs import export_encoder, export_seq2seq_decoder
from pipelines.conversion.text_parity import MADE_UP, PROBES, examples, measure, reference
from pipelines.conversion.text_source import QUESTION, Prompt, prompt_of
from pipelines.conversion.translation import marian, t5
from pipelines.conversion.translation.rules import copy_tokenizer, rules_of
from pipelines.conversion.translation.source import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe
    from pipelines.conversion.text_generation import Rules
    from pipelines.conversion.translation.source import TranslationFacts


def prepare(request: Request) -> TranslationConversion:
    """Load the checkpoint, export both graphs, and let Transformers answer the probes."""
    return TranslationConversion(request, inspect(request.source))


class TranslationConversion(Conversion):
    """See Conversion."""

    longest_question = ()
    tools = ("torch", "transformers", "sentencepiece")

    def __init__(self, request: Request, facts: TranslationFacts) -> None:
        self._source = request.source
        model = _load(request.source, facts)
        self._rules = rules_of(request.source, facts, model)
        self.graphs = {name: request.scratch / f"{name}.onnx" for name in ("encoder", "decoder")}
        graphs = marian if facts.architecture == "marian" else t5
        export_encoder(graphs.Encoder(model), self._rules.layers, self.graphs["encoder"])
        export_seq2seq_decoder(graphs.Decoder(model), self._rules.shape, self.graphs["decoder"])
        for graph in self.graphs.values():
            check(graph)
        questions = [str(one) for one in request.probes][:PROBES] or list(MADE_UP)
        self._prompts = _prompts(request.source, self._rules, questions)
        self._expected = reference(model, self._rules, self._prompts)

    def write_files(self, folder: Path) -> None:
        """See Conversion."""
        copy_tokenizer(self._source, folder, self._rules)
        self._rules.write(folder)

    def make_feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """None: no recipe of this kind is calibrated."""
        del graph
        return []

    def examples(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """Prompts for an encoder, last steps of their answers for a decoder."""
        few = slice(EXAMPLES)
        return examples(self.graphs, graph, self._rules, self._prompts[few], self._expected[few])

    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """See Conversion."""
        return measure(recipe, folder, self._rules, self._prompts, self._expected)


def _load(source: Path, facts: TranslationFacts) -> Any:
    from transformers import MarianMTModel, T5ForConditionalGeneration

    classes = {"marian": MarianMTModel, "t5": T5ForConditionalGeneration}
    return load_model(classes[facts.architecture], source)


def _prompts(source: Path, rules: Rules, questions: Sequence[str]) -> list[list[int]]:
    """The questions as ids, which are those of Transformers' own tokenizer."""
    template = (prompt_of(source) or Prompt()).template
    asked = [template.replace(QUESTION, question) for question in questions]
    expected = _tokenizer(source, rules)(asked, truncation=False).input_ids
    check_encoding(questions, encoder_of(source, rules), expected, source)
    return [ids[: rules.max_positions] for ids in expected]


def _tokenizer(source: Path, rules: Rules) -> Any:
    from transformers import MarianTokenizer, T5Tokenizer, T5TokenizerFast

    if rules.tokenizer == "sentencepiece":
        # Without `legacy` it reads the model through a protobuf of a version that may not be here;
        # it is about spaces after T5's sentinels only.
        return T5Tokenizer.from_pretrained(source, local_files_only=True, legacy=True)
    if rules.tokenizer == "tokenizers":
        return T5TokenizerFast.from_pretrained(source, local_files_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It recommends a normaliser that it never calls.
        return MarianTokenizer.from_pretrained(source, local_files_only=True)
