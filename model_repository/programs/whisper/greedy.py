"""Greedy search: the most probable token each step, until every sequence of a batch has ended.

Sequences that have ended leave the batch once they are half of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..common.distributions import scores_and_entropies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .constraints import Constraint
    from .engines import Engine, State


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way to go on after the prompt.

    `tokens` leaves out end-of-text; `average_log_probability` is the mean natural logarithm over
    the chosen tokens, end-of-text included, at most 0; `chosen` is how many those were. `entropy`
    is the mean over them of the distributions that they were chosen from, in nats; None where a
    token is not chosen from one alone.
    """

    tokens: tuple[int, ...]
    average_log_probability: float
    chosen: int
    entropy: float | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether it came to the longest length before it ended."""
        return self.chosen == len(self.tokens)


def search(
    engine: Engine,
    constraint: Constraint,
    logits: NDArray[np.float32],
    state: State,
    *,
    end_of_text: int,
    longest: int,
) -> list[Hypothesis]:
    """Go on from the prompt's last logits [B, vocabulary] and `state`, at most `longest` tokens.

    Raises RuntimeError when the engine computes something that is not a number.
    """
    batch = _Batch(len(logits), end_of_text, longest)
    while True:
        batch.choose(constraint(logits, batch.said))
        if batch.is_over:
            return batch.hypotheses()
        state = batch.drop_ended(state)
        found, state = engine.decode(batch.last, state)
        logits = found[:, -1]


class _Batch:
    """Tokens and scores of the sequences that the engine still works on, a row each."""

    def __init__(self, size: int, end_of_text: int, longest: int) -> None:
        self._end_of_text = end_of_text
        self._found: list[Hypothesis | None] = [None] * size
        self._numbers = self._rows = np.arange(size)
        self._tokens = np.full((size, longest), end_of_text, dtype=np.int64)
        self._scores = np.zeros(size, dtype=np.float64)
        self._entropies = np.zeros(size, dtype=np.float64)
        self._ended = np.zeros(size, dtype=bool)
        self._live, self._step = size, 0

    @property
    def said(self) -> NDArray[np.int64]:
        """Tokens so far, [rows, steps]."""
        return self._tokens[:, : self._step]

    @property
    def last(self) -> NDArray[np.int64]:
        """The newest tokens, [rows, 1]."""
        return np.ascontiguousarray(self._tokens[:, self._step - 1 : self._step])

    @property
    def is_over(self) -> bool:
        """Whether every sequence has ended."""
        return not self._live or self._step == self._tokens.shape[1]

    def choose(self, logits: NDArray[np.float32]) -> None:
        """Take the best token of each row of `logits` [rows, vocabulary]."""
        chosen = logits.argmax(-1)
        best = logits[self._rows, chosen]
        # A batch of one costs its calls: these functions take half the time of the methods.
        if np.count_nonzero(np.isfinite(best)) < len(best):
            raise RuntimeError("the model computed logits that are not numbers")
        scores, entropies = scores_and_entropies(logits, best[:, None])
        self._scores += scores
        self._entropies += entropies
        self._tokens[:, self._step] = chosen
        self._step += 1
        ended = chosen == self._end_of_text
        if np.count_nonzero(ended):
            for row in np.flatnonzero(ended & ~self._ended).tolist():
                self._end(row)
            self._ended |= ended
            self._live = int(np.count_nonzero(~self._ended))

    def drop_ended(self, state: State) -> State:
        """Let ended rows leave when they are half or more; returns the state of those that stay."""
        if 2 * self._live > len(self._rows):
            return state
        live = np.flatnonzero(~self._ended)
        self._numbers, self._ended = self._numbers[live], self._ended[live]
        self._tokens, self._scores = self._tokens[live], self._scores[live]
        self._entropies = self._entropies[live]
        self._rows = np.arange(len(live))
        return state.select(live)

    def hypotheses(self) -> list[Hypothesis]:
        """What was decoded, in the order of the batch."""
        for row in np.flatnonzero(~self._ended).tolist():
            self._end(row)
        return [one for one in self._found if one is not None]

    def _end(self, row: int) -> None:
        """Keep what a row has said; what it says until it leaves the batch counts no more."""
        said = self._tokens[row, : self._step]
        tokens = tuple(said[said != self._end_of_text].tolist())
        average, entropy = self._scores[row] / self._step, self._entropies[row] / self._step
        self._found[self._numbers[row]] = Hypothesis(
            tokens, float(average), self._step, float(entropy)
        )
