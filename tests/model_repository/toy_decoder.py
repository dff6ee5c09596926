"""An engine without a network: logits from a table, so that any decoding can be done by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model_repository.programs.whisper.engines import Engine, Shapes, State
from model_repository.programs.whisper.rules import Rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model_repository.programs.whisper.rules import Timestamps

VOCABULARY, END, NO_SPEECH = 12, 0, 11
PROMPT = (9, 10)


class TableEngine(Engine):
    """Logits are drawn from a table by the row's sound, the position and the last token.

    With `memory`, every earlier token counts too, so a row that remembers another's is noticed.
    """

    def __init__(
        self, seed: int, end_bias: float = 0.0, *, memory: float = 0.0, size: int = VOCABULARY
    ) -> None:
        random = np.random.default_rng(seed)
        self.table = random.standard_normal((50, 40, size, size)).astype(np.float32)
        self.table[..., END] += end_bias
        self.memory = memory * random.standard_normal((40, size, size)).astype(np.float32)
        self.shapes, self.execution_devices = Shapes(1, 1, 1), ("CPU",)
        self.calls: list[tuple[int, int]] = []
        self.encoded = 0

    def encode(self, features: NDArray[np.float32]) -> State:
        sounds = features[:, 0, 0].astype(np.int64)
        self.encoded += len(sounds)
        return State((np.zeros((len(sounds), 0), np.int64),), (sounds,))

    def decode(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        (past,), (sounds,) = state.past, state.cross
        assert tokens.dtype == np.int64
        assert len(tokens) == len(past) == len(sounds)
        self.calls.append(tokens.shape)
        said = np.concatenate([past, tokens], axis=1)
        positions = past.shape[1] + np.arange(tokens.shape[1])
        logits = self.table[sounds[:, None], positions, tokens]
        remembered = np.cumsum(self.memory[np.arange(said.shape[1]), said], axis=1)
        return logits + remembered[:, positions], State((said,), state.cross)


def rules(
    max_new_tokens: int = 8,
    no_speech: int | None = NO_SPEECH,
    *,
    size: int = VOCABULARY,
    prompt: tuple[int, ...] = PROMPT,
    no_timestamps: int | None = None,
    timestamps: Timestamps | None = None,
) -> Rules:
    allowed = np.zeros(size, np.float32)
    allowed[list(prompt)] = -np.inf
    at_start = allowed.copy()
    at_start[END] = -np.inf
    return Rules(
        prompt=prompt,
        end_of_text=END,
        no_speech=no_speech,
        max_length=len(prompt) + max_new_tokens,
        allowed=allowed,
        allowed_at_start=at_start,
        languages={},
        language=None,
        tasks={},
        task=None,
        no_timestamps=no_timestamps,
        timestamps=timestamps,
    )


def features(sounds: list[int]) -> NDArray[np.float32]:
    return np.array(sounds, np.float32)[:, None, None]
