"""Names and shapes of what a decoder remembers: keys and values of each layer, [B, H, P, W]."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_PARTS = ("key", "value")


@dataclass(frozen=True)
class Shapes:
    """Sizes of the cache; `heads` are those of keys and values."""

    layers: int
    heads: int
    head_width: int
    pad: int
    """The token that fills up shorter rows."""

    @classmethod
    def load(cls, folder: Path) -> Shapes:
        """The sizes of the variant in `folder`."""
        values = json.loads((folder / "generation.json").read_bytes())
        return cls(values["layers"], values["heads"], values["head_width"], values["pad"])

    def names(self, prefix: str) -> list[str]:
        """The tensors of one role (`past`, `present`, `cross`), in the order of the cache."""
        return [f"{prefix}_{part}_{layer}" for layer in range(self.layers) for part in _PARTS]

    def no_past(self, rows: int) -> NDArray[np.float32]:
        """What is remembered before the first token."""
        return np.zeros((rows, self.heads, 0, self.head_width), dtype=np.float32)

    def fill_up(
        self, prompts: Sequence[Sequence[int]], *, left: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Prompts as tokens [B, T] and the mask [B, T] that is 1 where a token is a prompt's."""
        longest = max(map(len, prompts))
        tokens = np.full((len(prompts), longest), self.pad, dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, prompt in enumerate(prompts):
            place = slice(longest - len(prompt), None) if left else slice(len(prompt))
            tokens[row, place] = prompt
            mask[row, place] = 1
        return tokens, mask


def pad_left(array: NDArray[Any], axis: int, length: int) -> NDArray[Any]:
    """`array` with zeros before it, so that `axis` is `length` long."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = (length - array.shape[axis], 0)
    return np.pad(array, widths)
