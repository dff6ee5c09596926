"""One port to a model that writes token after token, and its two architectures.

An engine computes; what to choose and when to stop is `batch`'s. What it remembers of earlier
tokens (keys and values of each layer) stays in the runtime's own form and is never computed again.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

S = TypeVar("S")


class Engine(ABC, Generic[S]):
    """A variant's graphs; S is what it remembers of the B rows of a batch.

    One caller at a time. A state that was given to `step` or `gather` must not be used again.
    """

    execution_devices: tuple[str, ...]
    """Where the graphs run, as the runtime says."""

    @abstractmethod
    def start(self, prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], S]:
        """The token [B] with which `step` computes each prompt's first logits, and the state then.

        So that rows can be joined to others before any step of their own.
        """

    @abstractmethod
    def step(self, tokens: NDArray[np.int64], state: S) -> tuple[NDArray[np.float32], S]:
        """Logits [B, vocabulary] after one more token [B] of each row, and the state there."""

    @abstractmethod
    def gather(self, chosen: Sequence[tuple[S, NDArray[np.int64]]]) -> S:
        """One state of some rows [at least 1] of each of the given, in that order.

        Rows may have got to any lengths.
        """


def load_engine(folder: Path, threads: int, device: str = "CPU") -> Engine[Any]:
    """The engine for the variant in `folder`."""
    from .causal import CausalEngine
    from .seq2seq import Seq2SeqEngine

    architecture = json.loads((folder / "generation.json").read_bytes())["architecture"]
    if architecture == "causal":
        return CausalEngine.load(folder, threads, device)
    return Seq2SeqEngine.load(folder, threads, device)
