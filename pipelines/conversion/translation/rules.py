"""The rules of a Marian's and of a T5's generation, and the tokenizer's files beside them.

Runs in the converter's environment.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from pipelines.conversion.text_codec import special_tokens
from pipelines.conversion.text_generation import (
    Rules,
    answer_length,
    bad_tokens,
    ids_of,
    required_id,
)
from pipelines.conversion.text_source import TOKENIZER, Prompt, prompt_of, tokenizer_size
from pipelines.conversion.translation import marian, t5
from pipelines.conversion.translation.source import (
    END,
    PADDING,
    PIECES,
    UNKNOWN,
    TranslationFacts,
    language_codes,
)

if TYPE_CHECKING:
    from pathlib import Path


def rules_of(source: Path, facts: TranslationFacts, model: Any) -> Rules:
    """What a server must know of the checkpoint."""
    prompt = prompt_of(source) or Prompt()
    return (_marian if facts.architecture == "marian" else _t5)(source, facts, model, prompt)


def tokenizer_files(source: Path, rules: Rules) -> tuple[str, ...]:
    """Names of the files in `source` by which texts become ids."""
    if rules.tokenizer == "sentencepiece-pair":
        return ("source.spm", "target.spm", "vocab.json")
    return (PIECES,) if (source / PIECES).is_file() else (TOKENIZER,)


def copy_tokenizer(source: Path, folder: Path, rules: Rules) -> None:
    """Copy those files into `folder`."""
    for name in tokenizer_files(source, rules):
        shutil.copyfile(source / name, folder / name)


def _marian(source: Path, facts: TranslationFacts, model: Any, prompt: Prompt) -> Rules:
    vocabulary = json.loads((source / "vocab.json").read_bytes())
    codes = [one for one in language_codes(vocabulary) if prompt.template.startswith(one)]
    special = (END, UNKNOWN, PADDING, *language_codes(vocabulary))
    return Rules(
        **_common(source, facts, model, prompt),
        **_shape(marian.shape_of(model.config)),
        prompt_template=prompt.template.removeprefix(codes[0] if codes else "").lstrip(),
        tokenizer="sentencepiece-pair",
        source_prefix=tuple(int(vocabulary[code]) for code in codes),
        source_suffix=(int(vocabulary[END]),),
        add_special_tokens=False,
        special=tuple(sorted(int(vocabulary[word]) for word in special)),
        special_words=(),
    )


def _t5(source: Path, facts: TranslationFacts, model: Any, prompt: Prompt) -> Rules:
    common = _common(source, facts, model, prompt) | _shape(t5.shape_of(model.config))
    if (source / PIECES).is_file():
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(model_file=str(source / PIECES))
        # Ids above the pieces are sentinels of T5's training, or nothing at all.
        others = range(pieces.get_piece_size(), facts.vocabulary_size)
        own = {pieces.eos_id(), pieces.unk_id(), max(pieces.pad_id(), 0)}
        return Rules(
            **common,
            prompt_template=prompt.template,
            tokenizer="sentencepiece",
            source_prefix=(),
            source_suffix=(int(pieces.eos_id()),),
            add_special_tokens=False,
            special=tuple(sorted({*own, *others})),
            special_words=(),
        )
    ids, words = special_tokens(source)
    others = range(tokenizer_size(source / TOKENIZER), facts.vocabulary_size)
    return Rules(
        **common,
        prompt_template=prompt.template,
        tokenizer="tokenizers",
        source_prefix=(),
        source_suffix=(),
        add_special_tokens=True,
        special=tuple(sorted({*ids, *others})),
        special_words=words,
    )


def _common(source: Path, facts: TranslationFacts, model: Any, prompt: Prompt) -> dict[str, Any]:
    start = required_id(source, model, "decoder_start_token_id")
    starts = (start, *ids_of(model, "forced_bos_token_id"))
    end = required_id(source, model, "eos_token_id")
    return {
        "architecture": "seq2seq",
        "vocabulary_size": facts.vocabulary_size,
        "start": starts,
        "end": ids_of(model, "eos_token_id") or (end,),
        "pad": required_id(source, model, "pad_token_id"),
        "bad_tokens": bad_tokens(source, model),
        "max_positions": facts.max_positions,
        "max_new_tokens": answer_length(
            model,
            prompt.max_new_tokens,
            start=len(starts),
            room=facts.max_positions - len(starts),
        ),
        "stop": prompt.stop,
    }


def _shape(shape: tuple[int, int, int]) -> dict[str, Any]:
    return dict(zip(("layers", "heads", "head_width"), shape, strict=True))
