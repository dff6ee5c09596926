"""Reads pairs from the world as counts, one value a session, and never the same session twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.pairs import PairCounts, count_pairs, session_of
from registry.errors import FencedError, SluiceError

if TYPE_CHECKING:
    from canary.ports import Pair
    from canary.rollout import Rollout
    from pipelines.rollout.acting import World

MOST_SESSIONS = 1 << 20
"""Sessions that one rollout's pairs are counted of, about 100 MB; further ones say nothing new."""
LATE_S = 10.0
"""Pairs are read again for so long, because one may be told of after a younger one."""


class PairReader:
    """Knows which sessions of a rollout were counted. One lives as long as a turn.

    After a crash it learns them from the world again: those up to the last pair that was counted.
    """

    def __init__(self) -> None:
        self._rollout = 0
        self._counted = 0
        self._known: set[str] = set()
        self._open: tuple[Pair, ...] = ()

    def read(self, world: World, model: str, rollout: Rollout) -> tuple[PairCounts | None, str]:
        """Counts of the pairs that the journal does not have yet, or None and why not."""
        seen, baseline = rollout.pairs.seen, rollout.baseline
        if baseline is None or len(self._known) >= MOST_SESSIONS:
            return PairCounts(), ""
        resumed = self._rollout == rollout.number
        after = max(seen.until - LATE_S, rollout.started_at) if resumed else rollout.started_at
        try:
            pairs = world.retry(
                lambda: world.telemetry.pairs(model, baseline, rollout.candidate, after)
            )
        except FencedError:
            raise
        except SluiceError as error:
            return None, str(error)
        if not resumed:
            self._known = {session_of(pair) for pair in pairs if pair.at <= seen.until}
        elif self._counted != seen.sessions:
            self._known.update(map(session_of, self._open))
        self._rollout, self._counted, self._open = rollout.number, seen.sessions, pairs
        return count_pairs(pairs, self._known), ""
