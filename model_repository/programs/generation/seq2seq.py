"""A model that reads a source once, then writes: `encoder` and `decoder` graphs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.sessions import Session, open_session
from .cache import Shapes
from .engines import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class State:
    """What the decoder remembers of B rows: its tokens, the source, and which of it is padding."""

    past: tuple[Any, ...]
    cross: tuple[Any, ...]
    mask: Any


class Seq2SeqEngine(Engine[State]):
    """All rows of a batch are at the same target position: the graph knows no other."""

    joins = False

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

    def start(self, prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], State]:
        """See Engine."""
        tokens, mask = self._shapes.fill_up(prompts, left=False)
        feeds = {"tokens": self._encoder.tensor(tokens), "mask": self._encoder.tensor(mask)}
        cross = self._encoder.run(feeds, self._cross)
        empty = self._decoder.tensor(self._shapes.no_past(len(prompts)))
        past = (empty,) * len(self._past)
        state = State(past, tuple(cross), self._decoder.tensor(mask))
        return self._decode(np.repeat(self._start, len(prompts), axis=0), state)

    def step(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """See Engine."""
        return self._decode(tokens[:, None], state)

    def select(self, state: State, rows: NDArray[np.int64]) -> State:
        """See Engine."""
        past, cross, (mask,) = (
            tuple(self._decoder.tensor(self._decoder.array(tensor)[rows]) for tensor in tensors)
            for tensors in (state.past, state.cross, (state.mask,))
        )
        return State(past, cross, mask)

    def join(self, states: Sequence[State]) -> State:
        """See Engine."""
        raise ValueError(f"{len(states)} batches of a seq2seq model cannot become one")

    def _decode(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        feeds = {"tokens": self._decoder.tensor(tokens), "mask": state.mask}
        feeds.update(zip(self._past, state.past, strict=True))
        feeds.update(zip(self._cross, state.cross, strict=True))
        logits, *present = self._decoder.run(feeds, self._wanted)
        last = self._decoder.array(logits)[:, -1]
        return last, State(tuple(present), state.cross, state.mask)
