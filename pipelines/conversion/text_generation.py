"""`generation.json`: all that a server must know to write text with a model, beside its graphs.

It holds the rules that Transformers would follow for the checkpoint's greedy answers, so that the
serving program needs neither Transformers nor the checkpoint. Sampling, beams and penalties of a
checkpoint's `generation_config.json` are not among them: a gate's verdict is about one answer.
Runs in the converter's environment. It knows no architecture.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RULES = "generation.json"
_UNSET_LENGTH = 20  # What Transformers puts where a checkpoint names no max_length.
_DEFAULT_ANSWER = 256


@dataclass(frozen=True)
class Rules:
    """What `generation.json` holds; ids are of the model's vocabulary."""

    architecture: Literal["seq2seq", "causal"]
    layers: int
    heads: int
    """Of the cache."""
    head_width: int
    vocabulary_size: int
    """Of the logits."""
    start: tuple[int, ...]
    """What a seq2seq decoder starts with."""
    end: tuple[int, ...]
    """Each of these ends an answer."""
    pad: int
    bad_tokens: tuple[int, ...]
    """Never chosen."""
    max_positions: int
    """Most tokens of a source (seq2seq), or of prompt and answer together (causal)."""
    max_new_tokens: int
    """Most tokens of an answer, its end included."""
    prompt_template: str
    """Holds "{text}" once."""
    stop: tuple[str, ...]
    """Texts before which an answer ends."""
    tokenizer: Literal["sentencepiece-pair", "sentencepiece", "tokenizers"]
    source_prefix: tuple[int, ...]
    source_suffix: tuple[int, ...]
    """Ids around what SentencePiece makes of a prompt."""
    add_special_tokens: bool
    """Whether `tokenizer.json` puts its own ids around a prompt."""
    special: tuple[int, ...]
    """Left out when ids become text."""
    special_words: tuple[str, ...]
    """What `tokenizer.json` would read as control tokens: no question may hold one."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, heads and width of a head: what names and shapes the cache."""
        return self.layers, self.heads, self.head_width

    def write(self, folder: Path) -> None:
        """Write `generation.json` into `folder`."""
        (folder / RULES).write_bytes(canonical_json(asdict(self)) + b"\n")


def ids_of(model: Any, key: str) -> tuple[int, ...]:
    """The ids under `key` of the generation's configuration, else the model's; may be none."""
    for values in (model.generation_config, model.config):
        found = getattr(values, key, None)
        if found is not None:
            many = found if isinstance(found, list) else [found]
            return tuple(dict.fromkeys(int(one) for one in many))
    return ()


def required_id(source: Path, model: Any, key: str) -> int:
    """The first id under `key`; raises UserError when the checkpoint names none."""
    if not (found := ids_of(model, key)):
        raise UserError(
            f"names no {key}", where=str(source / "config.json"), remedy="add it, as trained"
        )
    return found[0]


def bad_tokens(source: Path, model: Any) -> tuple[int, ...]:
    """Ids that are never chosen; raises UserError for a bad word of several tokens."""
    words: Sequence[Sequence[int]] = ()
    for values in (model.config, model.generation_config):
        words = getattr(values, "bad_words_ids", None) or words
    if longer := [word for word in words if len(word) != 1]:
        raise UserError(
            f"bad_words_ids holds {list(longer[0])}, a word of several tokens",
            where=str(source / "generation_config.json"),
            remedy="keep words of one token only; longer ones are not served",
        )
    suppressed = ids_of(model, "suppress_tokens")
    return tuple(sorted({*(int(word[0]) for word in words), *suppressed}))


def answer_length(model: Any, asked: int | None, *, start: int, room: int) -> int:
    """Most tokens of an answer: as asked, else as the checkpoint says, at most `room`.

    `start` is how many tokens of the decoder's own are counted in the checkpoint's `max_length`.
    """
    generation = model.generation_config
    longest = asked or generation.max_new_tokens
    if longest is None and generation.max_length not in {None, _UNSET_LENGTH}:
        longest = generation.max_length - start
    return max(1, min(int(longest or _DEFAULT_ANSWER), room))
