"""Requests that the engine steps together: greedy choice, and who stays in the batch.

Ended rows leave the engine's state once they are half of it, cancelled ones at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from .jobs import CANCELLED, Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .engines import Engine
    from .jobs import Job
    from .rules import Rules

S = TypeVar("S")


@dataclass
class Batch(Generic[S]):
    """Jobs row by row, the token [B] that each is to go on from, and the engine's state of them."""

    jobs: list[Job]
    tokens: NDArray[np.int64]
    state: S

    def keep_live(self, engine: Engine[S]) -> None:
        """Let all ended rows leave."""
        live = np.flatnonzero([job.is_live for job in self.jobs])
        if len(live) == len(self.jobs):
            return
        self.jobs = [self.jobs[row] for row in live]
        self.tokens = self.tokens[live]
        if self.jobs:
            self.state = engine.select(self.state, live)


class Group(Generic[S]):
    """A batch from its start, which is one call of the engine, to its end.

    Whatever the engine raises passes through; the group is of no use then.
    """

    def __init__(
        self,
        engine: Engine[S],
        rules: Rules,
        is_stopped: Callable[[Sequence[int]], bool],
        jobs: Sequence[Job],
    ) -> None:
        self._engine, self._rules, self._is_stopped = engine, rules, is_stopped
        logits, state = engine.start([job.question.prompt for job in jobs])
        self.batch = Batch(list(jobs), np.zeros(len(jobs), dtype=np.int64), state)
        self._choose(logits)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Those that are live."""
        return tuple(job for job in self.batch.jobs if job.is_live)

    def step(self) -> None:
        """Compute one more token of each live job."""
        batch = self.batch
        logits, batch.state = self._engine.step(batch.tokens, batch.state)
        self._choose(logits)

    def leave(self) -> None:
        """Let cancelled rows leave at once, and all ended ones when they are half or more."""
        cancelled = [job for job in self.jobs if job.cancelled]
        for job in cancelled:
            job.end(Ending.CANCELLED, CANCELLED)
        if cancelled or 2 * len(self.jobs) <= len(self.batch.jobs):
            self.batch.keep_live(self._engine)

    def join(self, others: Sequence[Group[S]]) -> None:
        """Take the live rows of `others`, which must not be used again."""
        batches = [group.batch for group in (self, *others) if group.jobs]
        for batch in batches:
            batch.keep_live(self._engine)
        if len(batches) > 1:
            self.batch = Batch(
                [job for batch in batches for job in batch.jobs],
                np.concatenate([batch.tokens for batch in batches]),
                self._engine.join([batch.state for batch in batches]),
            )
        elif batches:
            self.batch = batches[0]

    def _choose(self, logits: NDArray[np.float32]) -> None:
        """Add the most probable token of each row of `logits` [B, vocabulary] to its job."""
        with np.errstate(invalid="ignore"):  # infinity less infinity is found below
            logits = logits + self._rules.allowed
        tokens = np.asarray(logits.argmax(-1), dtype=np.int64)
        best = np.take_along_axis(logits, tokens[:, None], axis=-1)
        sound = np.isfinite(best[:, 0])
        scores = np.zeros(len(logits))
        scores[sound] = -np.log(np.exp(logits[sound] - best[sound]).sum(-1, dtype=np.float64))
        self.batch.tokens = tokens
        for row, job in enumerate(self.batch.jobs):
            if job.is_live and not sound[row]:
                job.end(Ending.FAILED, "the model computed logits that are not numbers")
            elif job.is_live:
                self._add(job, int(tokens[row]), float(scores[row]))

    def _add(self, job: Job, token: int, score: float) -> None:
        job.add(token, score, ends=token in self._rules.end)
        if job.is_live and self._is_stopped(job.tokens()):
            job.end(Ending.ANSWERED)
