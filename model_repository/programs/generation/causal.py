"""A model that goes on writing what it is given: one `decoder` graph.

Rows of a batch end at the same column and begin wherever their prompts are long enough to, so rows
of any length can join and leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.sessions import Session, open_session
from .cache import Part, Shapes, gather, gather_tensors
from .engines import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_PROMPT_COLUMNS = 128  # bounds the logits, which the graph gives for every one: [B, T, vocabulary]


@dataclass(frozen=True)
class State:
    """What the decoder remembers of B rows, and which columns [B, P] are theirs (1) or padding."""

    past: tuple[Any, ...]
    mask: NDArray[np.int64]


class CausalEngine(Engine[State]):
    """Rows are padded on the left; padded columns are masked, and cut off once no row has them."""

    def __init__(self, decoder: Session[Any], shapes: Shapes) -> None:
        self._decoder, self._shapes = decoder, shapes
        self.execution_devices = decoder.devices
        self._past = shapes.names("past")
        self._wanted = ["logits", *shapes.names("present")]

    @classmethod
    def load(cls, folder: Path, threads: int, device: str) -> CausalEngine:
        """The engine for the variant in `folder`."""
        decoder = open_session(folder, "decoder", threads=threads, device=device)
        return cls(decoder, Shapes.load(folder))

    def start(self, prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], State]:
        """See Engine."""
        tokens, mask = self._shapes.fill_up(prompts, left=True)
        empty = self._decoder.tensor(self._shapes.no_past(len(prompts)))
        state = State((empty,) * len(self._past), mask[:, :0])
        last = tokens.shape[1] - 1
        for first in range(0, last, _PROMPT_COLUMNS):
            columns = slice(first, min(first + _PROMPT_COLUMNS, last))
            _, state = self._decode(tokens[:, columns], mask[:, columns], state)
        return tokens[:, last], state

    def step(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """See Engine."""
        return self._decode(tokens[:, None], np.ones((len(tokens), 1), dtype=np.int64), state)

    def gather(self, chosen: Sequence[tuple[State, NDArray[np.int64]]]) -> State:
        """See Engine."""
        states = [state for state, _ in chosen]
        parts = [Part.of(state.mask, rows) for state, rows in chosen]
        past = gather_tensors(self._decoder, [state.past for state in states], parts, left=True)
        return State(past, gather([state.mask for state in states], parts, 1, left=True))

    def _decode(
        self, tokens: NDArray[np.int64], mask: NDArray[np.int64], state: State
    ) -> tuple[NDArray[np.float32], State]:
        seen = np.concatenate([state.mask, mask], axis=1)
        positions = np.maximum(seen.cumsum(axis=1)[:, -tokens.shape[1] :] - 1, 0)
        new = {"tokens": tokens, "mask": seen, "positions": positions}
        feeds = {name: self._decoder.tensor(array) for name, array in new.items()}
        feeds.update(zip(self._past, state.past, strict=True))
        logits, *present = self._decoder.run(feeds, self._wanted)
        return self._decoder.array(logits)[:, -1], State(tuple(present), seen)
