"""Requests that the engine steps together: greedy choice, and who stays in the batch.

Ended rows leave the engine's state once they are half of it or others join, cancelled ones at
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from ..common.distributions import scores_and_entropies
from .jobs import CANCELLED, Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .engines import Engine
    from .jobs import Job
    from .rules import Rules

S = TypeVar("S")


@dataclass(frozen=True)
class Rows(Generic[S]):
    """Jobs row by row, the token [B] that each is to go on from, and the engine's state of them."""

    jobs: Sequence[Job]
    tokens: NDArray[np.int64]
    state: S


class Batch(Generic[S]):
    """The rows of one engine, none at first.

    Whatever the engine raises passes through. Then, unless it came from `start`, `drop` the rows.
    """

    def __init__(
        self,
        engine: Engine[S],
        rules: Rules,
        is_stopped: Callable[[Sequence[int]], bool],
    ) -> None:
        self._engine, self._rules, self._is_stopped = engine, rules, is_stopped
        self._rows: Rows[S] | None = None

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Those that are live."""
        return tuple(job for job in self._rows.jobs if job.is_live) if self._rows else ()

    def start(self, jobs: Sequence[Job]) -> Rows[S]:
        """Rows of new jobs, which are in no batch yet."""
        return Rows(jobs, *self._engine.start([job.question.prompt for job in jobs]))

    def join(self, new: Rows[S]) -> None:
        """Take rows in, and let ended ones leave."""
        self._gather(*self._live(), (new, np.arange(len(new.jobs))))

    def step(self) -> None:
        """Compute one more token of each live job."""
        rows = self._rows
        if rows is not None:
            logits, state = self._engine.step(rows.tokens, rows.state)
            self._rows = Rows(rows.jobs, self._choose(logits, rows.jobs), state)

    def leave(self) -> None:
        """Let cancelled rows leave at once, and all ended ones when they are half or more."""
        jobs = self.jobs
        cancelled = [job for job in jobs if job.cancelled]
        for job in cancelled:
            job.end(Ending.CANCELLED, CANCELLED)
        if self._rows and (cancelled or 2 * len(jobs) <= len(self._rows.jobs)):
            self._gather(*self._live())

    def drop(self) -> None:
        """Have no rows."""
        self._rows = None

    def _live(self) -> list[tuple[Rows[S], NDArray[np.int64]]]:
        """The numbers of the rows that are live, where there are any."""
        if self._rows is None:
            return []
        live = np.flatnonzero([job.is_live for job in self._rows.jobs])
        return [(self._rows, live)] if len(live) else []

    def _gather(self, *chosen: tuple[Rows[S], NDArray[np.int64]]) -> None:
        """Have those rows and no others."""
        if len(chosen) == 1 and len(chosen[0][1]) == len(chosen[0][0].jobs):
            self._rows = chosen[0][0]
        elif chosen:
            self._rows = Rows(
                [rows.jobs[number] for rows, numbers in chosen for number in numbers.tolist()],
                np.concatenate([rows.tokens[numbers] for rows, numbers in chosen]),
                self._engine.gather([(rows.state, numbers) for rows, numbers in chosen]),
            )
        else:
            self._rows = None

    def _choose(self, logits: NDArray[np.float32], jobs: Sequence[Job]) -> NDArray[np.int64]:
        """Add the most probable token of each row of `logits` [B, vocabulary] to its job."""
        with np.errstate(invalid="ignore"):  # infinity less infinity is found below
            logits = logits + self._rules.allowed
        tokens = np.asarray(logits.argmax(-1), dtype=np.int64)
        best = np.take_along_axis(logits, tokens[:, None], axis=-1)
        sound = np.isfinite(best[:, 0])
        scores, entropies = np.zeros(len(logits)), np.zeros(len(logits))
        scores[sound], entropies[sound] = scores_and_entropies(logits[sound], best[sound])
        for row, job in enumerate(jobs):
            if job.is_live and not sound[row]:
                job.end(Ending.FAILED, "the model computed logits that are not numbers")
            elif job.is_live:
                self._add(job, int(tokens[row]), float(scores[row]), float(entropies[row]))
        return tokens

    def _add(self, job: Job, token: int, score: float, entropy: float) -> None:
        job.add(token, score, entropy, ends=token in self._rules.end)
        if job.is_live and self._is_stopped(job.tokens()):
            job.end(Ending.ANSWERED)
