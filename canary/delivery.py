"""How well releases are delivered: the four measures of DORA, from ended rollouts alone.

(Forsgren, Humble and Kim, "Accelerate", 2018; dora.dev/guides/dora-metrics.) A deployment is a
rollout whose candidate got traffic. It failed when the candidate was turned back, at once or by a
later rollback. Experiments are no deployments: they promise to give the traffic back.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from canary.phases import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from canary.states import EndedRollout

DAY_S = 86_400.0
WINDOW_S = 30 * DAY_S
_MOVED = (Outcome.SETTLED, Outcome.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The four measures over a window. None: nothing happened that it could be measured by."""

    deployments: int
    days: float
    failures: int
    lead_s: float | None
    """Median seconds from an artifact's registration to all of the traffic."""
    restore_s: float | None
    """Median seconds from the first evidence against a release to traffic on another one."""

    @property
    def per_day(self) -> float:
        """Deployments a day."""
        return self.deployments / self.days

    @property
    def failure_share(self) -> float | None:
        """The part of the deployments that failed, 0 to 1."""
        return self.failures / self.deployments if self.deployments else None


def delivery(
    history: Sequence[EndedRollout],
    registered_at: Mapping[int, float],
    *,
    now: float,
    window_s: float = WINDOW_S,
) -> Delivery:
    """What `history` says of the `window_s` seconds before `now` (UTC epoch seconds).

    `registered_at` is when each release's artifact was registered; one that is not known there
    counts for everything but the lead time.
    """
    moved = [one for one in history if one.outcome in _MOVED and one.ended_at > now - window_s]
    settled = [one for one in moved if one.outcome is Outcome.SETTLED]
    # Going back long after is a rollout of its own, away from a release that was deployed before.
    deployed = {one.candidate for one in history if one.outcome is Outcome.SETTLED}
    back = [one for one in moved if one.outcome is Outcome.ROLLED_BACK]
    undone = {one.candidate for one in back if one.candidate in deployed}
    early = [one for one in back if one.candidate not in deployed]
    leads = [
        one.ended_at - registered_at[one.candidate]
        for one in settled
        if one.candidate in registered_at
    ]
    return Delivery(
        deployments=len(settled) + len(early),
        days=window_s / DAY_S,
        failures=len(early) + len(undone & {one.candidate for one in settled}),
        lead_s=_median(leads),
        restore_s=_median(one.ended_at - _known_at(one) for one in back),
    )


def _known_at(rollout: EndedRollout) -> float:
    """When it was first known that something is wrong: by evidence, else by a person's word."""
    return rollout.first_evidence_at or rollout.decided_at or rollout.started_at


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None
