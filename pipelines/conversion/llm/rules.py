"""The rules of a language model's generation. Runs in the converter's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.conversion.llm.graphs import shape_of
from pipelines.conversion.llm.prompt import prompt_for
from pipelines.conversion.text_codec import special_tokens
from pipelines.conversion.text_generation import (
    Rules,
    answer_length,
    bad_tokens,
    ids_of,
    required_id,
)
from pipelines.conversion.text_source import TOKENIZER, tokenizer_size

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.conversion.llm.source import LlmFacts


def rules_of(source: Path, facts: LlmFacts, model: Any, tokenizer: Any) -> Rules:
    """What a server must know of the checkpoint."""
    prompt, adds = prompt_for(source, tokenizer)
    ids, words = special_tokens(source)
    # The embedding may have more rows than the tokenizer has tokens, to suit an engine's sizes.
    others = range(tokenizer_size(source / TOKENIZER), facts.vocabulary_size)
    first_end = required_id(source, model, "eos_token_id")
    layers, heads, width = shape_of(model.config)
    return Rules(
        architecture="causal",
        layers=layers,
        heads=heads,
        head_width=width,
        vocabulary_size=facts.vocabulary_size,
        start=(),
        end=ids_of(model, "eos_token_id"),
        pad=(ids_of(model, "pad_token_id") or (first_end,))[0],
        bad_tokens=bad_tokens(source, model),
        max_positions=facts.max_positions,
        max_new_tokens=answer_length(
            model, prompt.max_new_tokens, start=0, room=facts.max_positions - 1
        ),
        prompt_template=prompt.template,
        stop=prompt.stop,
        tokenizer="tokenizers",
        source_prefix=(),
        source_suffix=(),
        add_special_tokens=adds,
        special=tuple(sorted({*ids, *others})),
        special_words=words,
    )
