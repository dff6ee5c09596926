"""Beam search: the most probable continuations of several, step by step, for a whole batch.

As Whisper's BeamSearchDecoder (Radford et al. 2022, `whisper/decoding.py`, patience 1): a
sequence's search ends when as many hypotheses have ended as there are beams, or at the longest
length. The best is the one of highest average log-probability, end-of-text counted among its
tokens, as it is reported; Whisper's own ranking divides the same sum by the tokens without it,
which has no answer for an empty transcript. Equal scores go to the earlier beam and the lower id.

The prompt is computed once for each sequence and then multiplied; later steps reorder the keys
and values of earlier tokens alone, because beams of one sequence hear the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .greedy import Hypothesis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .constraints import Constraint
    from .engines import Engine, State


def search(
    engine: Engine,
    constraint: Constraint,
    logits: NDArray[np.float32],
    state: State,
    *,
    end_of_text: int,
    longest: int,
    beam_size: int,
) -> list[Hypothesis]:
    """Go on from the prompt's last logits [B, vocabulary] and `state`, at most `longest` tokens.

    The vocabulary has more tokens than `beam_size`. Raises RuntimeError when the engine computes
    something that is not a number.
    """
    beams = _Beams(len(logits), beam_size, end_of_text)
    for step in range(longest):
        parents = beams.extend(constraint(logits, beams.said))
        if beams.is_complete or step == longest - 1:
            break
        state, tokens = _follow(state, beams, parents)
        found, state = engine.decode(tokens, state)
        logits = found[:, -1]
    return beams.best()


def _follow(
    state: State, beams: _Beams, parents: NDArray[np.int64]
) -> tuple[State, NDArray[np.int64]]:
    """The state of the beams after `parents`, and their new tokens [rows, 1]."""
    kept = beams.drop_complete()
    if kept is not None or beams.is_first:
        state = state.select(parents if kept is None else parents[kept])
    elif not np.array_equal(parents, np.arange(len(parents))):
        state = state.reorder(parents)
    return state, beams.said[:, -1:]


class _Beams:
    """Beams of the sequences that are still searched, and what has ended of all of them."""

    def __init__(self, size: int, beam_size: int, end_of_text: int) -> None:
        self._size, self._end_of_text = beam_size, end_of_text
        self._ended: list[list[Hypothesis]] = [[] for _ in range(size)]
        self._sequences = np.arange(size)
        self._scores = np.zeros(size, dtype=np.float64)
        self.said = np.zeros((size, 0), dtype=np.int64)
        """Tokens so far, [sequences x beams, steps]; one beam each before the first step."""

    @property
    def is_first(self) -> bool:
        """Whether the beams are those of the first step, made of one row a sequence."""
        return self.said.shape[1] == 1

    @property
    def is_complete(self) -> bool:
        """Whether no sequence can still gain an ended hypothesis."""
        return not self._open().any()

    def extend(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Replace the beams by their best continuations; returns the row that each came from.

        `logits` [rows, vocabulary] are the constrained ones after the beams so far.
        """
        count, width = len(self._sequences), len(logits) // len(self._sequences)
        tokens, gains = _best_tokens(logits, self._size + 1, self._end_of_text)
        scores = (self._scores[:, None] + gains).reshape(count, -1)
        order = np.argsort(-scores, axis=1, kind="stable")
        scores = np.take_along_axis(scores, order, axis=1)
        chosen = np.take_along_axis(tokens.reshape(count, -1), order, axis=1)
        parents = np.arange(count)[:, None] * width + order // (self._size + 1)
        ends = chosen == self._end_of_text
        going_on = np.cumsum(~ends, axis=1)
        # Only what ranks before the last beam that goes on has ended; worse ends are forgotten.
        for row, column in zip(*np.nonzero(ends & (going_on < self._size)), strict=True):
            self._end(row, self.said[parents[row, column]], scores[row, column], 1)
        kept = ~ends & (going_on <= self._size)
        rows: NDArray[np.int64] = parents[kept]
        self._scores = scores[kept]
        self.said = np.concatenate([self.said[rows], chosen[kept][:, None]], axis=1)
        return rows

    def drop_complete(self) -> NDArray[np.int64] | None:
        """Let complete sequences leave when they are half or more; returns the rows that stay."""
        live = np.flatnonzero(self._open())
        if 2 * len(live) > len(self._sequences):
            return None
        rows = (live[:, None] * self._size + np.arange(self._size)).ravel()
        self._sequences = self._sequences[live]
        self._scores, self.said = self._scores[rows], self.said[rows]
        return rows

    def best(self) -> list[Hypothesis]:
        """The best hypothesis of each sequence; where too few ended, unfinished ones count too."""
        for row, score in enumerate(self._scores):
            self._end(row // self._size, self.said[row], score, 0)
        return [max(found, key=lambda one: one.average_log_probability) for found in self._ended]

    def _end(self, row: int, said: NDArray[np.int64], score: float, more: int) -> None:
        found = self._ended[self._sequences[row]]
        if len(found) < self._size and np.isfinite(score):
            chosen = len(said) + more
            found.append(Hypothesis(tuple(said.tolist()), float(score) / chosen, chosen))

    def _open(self) -> NDArray[np.bool_]:
        """Sequences [rows] that have beams and too few ended hypotheses."""
        alive = np.isfinite(self._scores).reshape(len(self._sequences), -1).any(1)
        wanting = np.array([len(self._ended[number]) < self._size for number in self._sequences])
        return np.asarray(alive & wanting, dtype=np.bool_)


def _best_tokens(
    logits: NDArray[np.float32], count: int, end_of_text: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `count` best tokens of each row and their log-probabilities, [rows, count].

    Minus infinity, with a token that does not end the text, where fewer may be chosen.
    """
    left = logits.copy()
    peak = left.max(-1)
    if np.isnan(peak).any() or np.isposinf(peak).any():
        raise RuntimeError("the model computed logits that are not numbers")
    # A beam that may say nothing has no peak; it stays at minus infinity.
    peak = np.where(np.isfinite(peak), peak, 0)
    total = np.exp(left - peak[:, None]).sum(-1, dtype=np.float64)
    tokens = np.empty((len(logits), count), dtype=np.int64)
    values = np.empty((len(logits), count), dtype=np.float64)
    rows = np.arange(len(left))
    # A few passes of argmax are several times faster than sorting or partitioning a vocabulary.
    for rank in range(count):
        tokens[:, rank] = left.argmax(-1)
        values[:, rank] = left[rows, tokens[:, rank]]
        left[rows, tokens[:, rank]] = -np.inf
    tokens[~np.isfinite(values)] = 0 if end_of_text else 1
    return tokens, values - peak[:, None] - np.log(np.maximum(total, 1e-300))[:, None]
