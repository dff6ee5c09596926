"""First calls of an engine, before a release is ready: they allocate, compile and find faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .engines import Engine
    from .rules import Rules
    from .vocabulary import Vocabulary

_TEXT = "a"
_STEPS = 2


def warm_up(engine: Engine[Any], rules: Rules, vocabulary: Vocabulary, rows: int) -> None:
    """Answer a short text, alone and `rows` times side by side. Raises what the engine raises."""
    prompt = vocabulary.encode(rules.prompt(_TEXT))
    for size in sorted({1, rows}):
        tokens, state = engine.start([prompt] * size)
        for _ in range(min(_STEPS, rules.room(len(prompt)))):
            logits, state = engine.step(tokens, state)
            tokens = np.asarray((logits + rules.allowed).argmax(-1), dtype=np.int64)
