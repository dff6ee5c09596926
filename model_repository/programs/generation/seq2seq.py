"""A model that reads a source once, then writes: `encoder` and `decoder` graphs.

Rows of a batch end at the same target column and begin wherever they were started, and their
sources are as long as the longest, so rows of any age can join and leave.
"""

from __future__ import annotations

import json
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


@dataclass(frozen=True)
class State:
    """What the decoder remembers of B rows: their tokens, and their sources.

    `mask` [B, P] and `source_mask` [B, S] are 1 where a column is a row's own, 0 for padding.
    """

    past: tuple[Any, ...]
    mask: NDArray[np.int64]
    cross: tuple[Any, ...]
    source_mask: NDArray[np.int64]


class Seq2SeqEngine(Engine[State]):
    """Targets are padded on the left, sources on the right; what all rows have too much is cut."""

    def __init__(
        self, encoder: Session[Any], decoder: Session[Any], shapes: Shapes, start: Sequence[int]
    ) -> None:
        self._encoder, self._decoder, self._shapes = encoder, decoder, shapes
        self.execution_devices = tuple(dict.fromkeys((*encoder.devices, *decoder.devices)))
        self._start = np.array([start], dtype=np.int64)
        self._past, self._cross = shapes.names("past"), shapes.names("cross")
        self._wanted = ["logits", *shapes.names("present")]

    @classmethod
    def load(cls, folder: Path, threads: int, device: str) -> Seq2SeqEngine:
        """The engine for the variant in `folder`."""
        encoder, decoder = (
            open_session(folder, graph, threads=threads, device=device)
            for graph in ("encoder", "decoder")
        )
        start = json.loads((folder / "generation.json").read_bytes())["start"]
        return cls(encoder, decoder, Shapes.load(folder), start)

    def start(self, prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], State]:
        """See Engine."""
        tokens, mask = self._shapes.fill_up(prompts, left=False)
        feeds = {"tokens": self._encoder.tensor(tokens), "mask": self._encoder.tensor(mask)}
        cross = self._encoder.run(feeds, self._cross)
        empty = self._decoder.tensor(self._shapes.no_past(len(prompts)))
        state = State((empty,) * len(self._past), mask[:, :0], tuple(cross), mask)
        start = np.repeat(self._start, len(prompts), axis=0)
        if start.shape[1] > 1:
            _, state = self._decode(start[:, :-1], state)
        return start[:, -1], state

    def step(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """See Engine."""
        return self._decode(tokens[:, None], state)

    def gather(self, chosen: Sequence[tuple[State, NDArray[np.int64]]]) -> State:
        """See Engine."""
        states = [state for state, _ in chosen]
        targets = [Part.of(state.mask, rows) for state, rows in chosen]
        sources = [Part.of(state.source_mask, rows) for state, rows in chosen]
        return State(
            gather_tensors(self._decoder, [state.past for state in states], targets, left=True),
            gather([state.mask for state in states], targets, 1, left=True),
            gather_tensors(self._decoder, [state.cross for state in states], sources, left=False),
            gather([state.source_mask for state in states], sources, 1, left=False),
        )

    def _decode(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        mask = np.concatenate([state.mask, np.ones_like(tokens)], axis=1)
        new = {"tokens": tokens, "mask": mask, "source_mask": state.source_mask}
        feeds = {name: self._decoder.tensor(array) for name, array in new.items()}
        feeds.update(zip(self._past, state.past, strict=True))
        feeds.update(zip(self._cross, state.cross, strict=True))
        logits, *present = self._decoder.run(feeds, self._wanted)
        last = self._decoder.array(logits)[:, -1]
        return last, State(tuple(present), mask, state.cross, state.source_mask)
