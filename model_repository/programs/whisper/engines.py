"""The port to the graphs of a variant: what an engine does, whichever runtime it is.

An engine computes; what to decode and when to stop is `decoding`'s. The tensors are those that the
conversion wrote (see `pipelines/conversion/whisper/graphs.py`); both runtimes take and give them
as arrays without a copy.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..common.answers import Settings

_PARTS = ("key", "value")


@dataclass(frozen=True)
class Shapes:
    """Sizes that name and shape the decoder's cache."""

    layers: int
    heads: int
    head_width: int

    def names(self, prefix: str) -> list[str]:
        """Names of the keys and values of each layer in turn, in the graphs' order."""
        return [f"{prefix}_{part}_{layer}" for layer in range(self.layers) for part in _PARTS]

    def no_past(self, batch: int) -> NDArray[np.float32]:
        """Keys or values of no tokens, [batch, heads, 0, width]."""
        return np.zeros((batch, self.heads, 0, self.head_width), dtype=np.float32)

    def cross_bytes(self, positions: int) -> int:
        """Bytes of the keys and values of one sequence's sound of so many encoder positions."""
        return 4 * 2 * self.layers * self.heads * self.head_width * positions


@dataclass(frozen=True, slots=True)
class State:
    """What the decoder remembers of B sequences: earlier tokens, and what it hears of the audio.

    `past` and `cross` hold keys and values of each layer in turn, [B, heads, positions, width].
    """

    past: tuple[NDArray[Any], ...]
    cross: tuple[NDArray[Any], ...]

    def select(self, rows: NDArray[np.int64]) -> State:
        """Those sequences alone, in that order; a row may be taken several times."""
        return State(_rows(self.past, rows), _rows(self.cross, rows))

    def reorder(self, rows: NDArray[np.int64]) -> State:
        """Row i remembers the tokens of row `rows[i]`, and hears what it heard before."""
        return State(_rows(self.past, rows), self.cross)


class Engine(ABC):
    """A variant's encoder and decoder. One caller at a time."""

    shapes: Shapes
    execution_devices: tuple[str, ...]
    """The devices that really compute, by the runtime's own account."""

    @abstractmethod
    def encode(self, features: NDArray[np.float32]) -> State:
        """The state before any token, of log-mel features [B, bands, frames].

        It holds until the next call.
        """

    @abstractmethod
    def decode(self, tokens: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """Logits [B, T, vocabulary] after each of the new tokens [B, T], and the state with them.

        The given state must not be used again.
        """


def load_engine(folder: Path, settings: Settings) -> Engine:
    """The engine for the variant in `folder`, with the threads and device of `settings`.

    Raises ValueError when the runtime of the variant cannot use that device.
    """
    values = json.loads((folder / "decoding.json").read_bytes())
    shapes = Shapes(values["decoder_layers"], values["attention_heads"], values["head_width"])
    runtime = json.loads((folder / "variant.json").read_bytes())["recipe"]["format"]
    from .runtimes import OnnxRuntimeEngine, OpenVinoEngine

    engine = {"onnx": OnnxRuntimeEngine, "openvino": OpenVinoEngine}[runtime]
    return engine(folder, shapes, settings)


def _rows(tensors: tuple[NDArray[Any], ...], rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    return tuple(tensor[rows] for tensor in tensors)
