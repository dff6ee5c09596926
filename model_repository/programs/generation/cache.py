"""What a decoder remembers: keys and values of each layer, [B, H, P, W].

Their names and shapes, and how rows of several batches become one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..common.sessions import Session

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


@dataclass(frozen=True)
class Part:
    """Some `rows` of a batch, and the `columns` that any of them uses."""

    rows: NDArray[np.int64]
    columns: slice

    @classmethod
    def of(cls, mask: NDArray[np.int64], rows: NDArray[np.int64]) -> Part:
        """Rows of a batch whose `mask` [B, P] is 1 where a column is a row's own."""
        used = np.flatnonzero(mask[rows].any(axis=0))
        return cls(rows, slice(used[0], used[-1] + 1) if len(used) else slice(0, 0))


def gather(
    arrays: Sequence[NDArray[Any]], parts: Sequence[Part], axis: int, *, left: bool
) -> NDArray[Any]:
    """The parts of batches as one array, which holds their columns on `axis`.

    It has as many as the widest part; others have zeros on the `left` of theirs, or on the right.
    """
    between: tuple[Any, ...] = (slice(None),) * (axis - 1)
    pieces = [
        array[(part.rows, *between, part.columns)]
        for array, part in zip(arrays, parts, strict=True)
    ]
    if len(pieces) == 1:
        return pieces[0]
    shape = list(pieces[0].shape)
    shape[0], shape[axis] = sum(map(len, pieces)), max(piece.shape[axis] for piece in pieces)
    gathered = np.empty(shape, dtype=pieces[0].dtype)
    row = 0
    for piece in pieces:
        place = gathered[row : row + len(piece)]
        width = piece.shape[axis]
        padding = shape[axis] - width
        own, empty = slice(padding, None), slice(padding)
        if not left:
            own, empty = slice(width), slice(width, None)
        place[(slice(None), *between, own)] = piece
        place[(slice(None), *between, empty)] = 0
        row += len(piece)
    return gathered


def gather_tensors(
    session: Session[Any], batches: Sequence[tuple[Any, ...]], parts: Sequence[Part], *, left: bool
) -> tuple[Any, ...]:
    """The same of each of a session's tensors [B, H, P, W], which every batch has."""
    return tuple(
        session.tensor(gather([session.array(tensor) for tensor in same], parts, 2, left=left))
        for same in zip(*batches, strict=True)
    )
