"""A byte-level Whisper tokenizer in which each GRID word is one token.

Any text can be encoded, because the 256 bytes are tokens too. Ids follow OpenAI's order:
text, end of text, start of transcript, language, tasks, and the two flags last, as
Transformers looks for "no speech" one below "no timestamps".
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers.pre_tokenizers import ByteLevel
from transformers import WhisperTokenizerFast

from speech.grammar import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

END_OF_TEXT = "<|endoftext|>"
START_OF_TRANSCRIPT = "<|startoftranscript|>"
ENGLISH = "<|en|>"
TRANSLATE = "<|translate|>"
TRANSCRIBE = "<|transcribe|>"
NO_SPEECH = "<|nospeech|>"
NO_TIMESTAMPS = "<|notimestamps|>"
START_OF_PREVIOUS = "<|startofprev|>"

PROMPT = (START_OF_TRANSCRIPT, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS)
"""What every transcript starts with."""

_ADDED = (
    *(START_OF_TRANSCRIPT, ENGLISH, TRANSLATE, TRANSCRIBE),
    *("<|startoflm|>", START_OF_PREVIOUS, NO_SPEECH, NO_TIMESTAMPS),
)


def build_tokenizer(max_length: int) -> WhisperTokenizerFast:
    """Return the tokenizer, for at most `max_length` tokens; texts gain a leading space."""
    merges = list(_merges())
    tokens = [*sorted(ByteLevel.alphabet()), *("".join(pair) for pair in merges), END_OF_TEXT]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, rules = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps({token: id_ for id_, token in enumerate(tokens)}))
        rules.write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
        tokenizer = WhisperTokenizerFast(
            str(vocabulary),
            str(rules),
            add_prefix_space=True,
            model_max_length=max_length,
            pad_token=END_OF_TEXT,
        )
    tokenizer.add_special_tokens({"additional_special_tokens": list(_ADDED)})
    tokenizer.set_prefix_tokens(language="en", task="transcribe", predict_timestamps=False)
    return tokenizer


def _merges() -> Iterator[tuple[str, str]]:
    """Grow each word from its leading space, letter by letter; prefixes are shared."""
    seen = set()
    for word in WORDS:
        prefix = "Ġ"  # the byte-level alphabet's sign for a space
        for letter in word:
            if prefix + letter not in seen:
                seen.add(prefix + letter)
                yield prefix, letter
            prefix += letter
