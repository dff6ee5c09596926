"""A rollout played through in a world where everything goes well, to see what it would do.

The same `next_action`, `decide` and fold as in a real rollout, on entries that are written nowhere
and observations of an ideal world: every revision gets ready and is admitted, both releases err
alike, and there is always traffic enough. Nothing is asked and nothing is changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from canary.blocks import Observation
from canary.decide import decide
from canary.decisions import DecisionName
from canary.effects import (
    AdmitRevision,
    Done,
    NumberedEffect,
    Observe,
    Perform,
    Record,
    SetAlias,
    StartRevision,
    StopRevision,
    WriteRoute,
)
from canary.fold import advance
from canary.next_action import next_action
from canary.pairs import DISAGREEMENT, SIGNALS, PairCounts
from canary.ports import ArmCounters, RevisionState, RevisionStatus
from canary.states import Outcome, Phase
from registry.errors import PermanentEngineError
from registry.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.effects import Effect
    from canary.plan import RolloutPlan
    from canary.states import ModelServing, Rollout

MOST_ACTIONS = 10_000
"""A rehearsal of more would be one that never ends."""

REQUESTS_PER_LOOK = 1_000_000
PAIRS_PER_LOOK = 100_000
BAD_SHARE = 0.001
"""Errors and slow answers of both releases: some, since none would be no evidence of anything."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One thing that the rollout would do, or wait for."""

    kind: str
    """`effect`, `watch` (time and traffic must pass), or `person` (somebody must ask)."""
    what: str
    phase: str
    after_s: float
    """Seconds from the start at the earliest, with loading taken for nothing."""
    effect: Mapping[str, Any] = field(default_factory=dict)
    """The effect as the journal would name it, without its number."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Everything in order, and how it ends when all goes well."""

    candidate: int
    baseline: int | None
    planned: tuple[Planned, ...]
    outcome: str
    reason: str
    least_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def rehearse(serving: ModelServing, candidate: int, plan: RolloutPlan) -> Rehearsal:
    """What moving the traffic from the live release to `candidate` by `plan` would do.

    `serving` is what the journal says now; it must have no rollout under way, and `candidate`
    must not be live. Raises PermanentEngineError when the rollout would not come to an end.
    """
    play = _Play(replace(serving, claimed=False, starts={}, failure="", given_up=frozenset()))
    body = {
        "rollout": serving.next_rollout,
        "candidate": candidate,
        "baseline": serving.live,
        "plan": plan.model_dump(mode="json"),
    }
    play.record("rollout-started", body)
    done = play.through()
    return Rehearsal(
        candidate=candidate,
        baseline=serving.live,
        planned=tuple(play.planned),
        outcome=done.outcome.value,
        reason=done.reason,
        least_s=play.now,
    )


@dataclass
class _Play:
    """The state so far. Time is in seconds since the rehearsal's start."""

    serving: ModelServing
    now: float = 0.0
    planned: list[Planned] = field(default_factory=list)
    counters: dict[int, ArmCounters] = field(default_factory=dict)

    def record(self, kind: str, body: Mapping[str, Any], actor: str = "rehearsal") -> None:
        """Fold in an entry that nobody writes."""
        sequence, model = self.serving.sequence + 1, self.serving.model
        entry = Entry(sequence, model, kind, self.now, actor, body, "", "")
        self.serving = advance(self.serving, entry)

    def plan(self, kind: str, what: str, effect: NumberedEffect | None = None) -> None:
        """Remember that this would happen now."""
        rollout = self.serving.rollout
        named = {} if effect is None else effect.to_json()
        named.pop("effect", None)
        phase = "" if rollout is None else _place(rollout)
        self.planned.append(Planned(kind, what, phase, self.now, named))

    def through(self) -> Done:
        """Do what is next until nothing is."""
        ended = len(self.serving.history)
        for _ in range(MOST_ACTIONS):
            if len(self.serving.history) > ended:
                latest = self.serving.history[-1]
                return Done(latest.outcome, latest.reason)
            action = next_action(self.serving, self.now)
            if isinstance(action, Perform):
                self._perform(action.effect)
            elif isinstance(action, Observe):
                self._observe(action)
            elif isinstance(action, Record):
                self._enter(action)
            elif action.outcome is Outcome.PAUSED:
                self.plan("person", f"waits for `sluice resume`: {action.reason}")
                self.record("resume-requested", {})
            else:
                return action
        raise PermanentEngineError(
            f"the rollout did not end within {MOST_ACTIONS:,} actions",
            where=self.serving.model,
            remedy="look at the plan's margin and steps",
        )

    def _perform(self, numbered: NumberedEffect) -> None:
        self.plan("effect", described(numbered.effect), numbered)
        self.record("effect-started", numbered.to_json())
        admitted = isinstance(numbered.effect, AdmitRevision)
        observed: dict[str, Any] = {"admitted": True, "checks": []} if admitted else {}
        self.record("effect-confirmed", {"effect": numbered.number, "observed": observed})

    def _enter(self, action: Record) -> None:
        self.record(action.kind, action.body)
        rollout = self.serving.rollout
        if rollout is None or rollout.held_from is None:
            return
        requests = "" if rollout.phase is Phase.BAKING else _volume(rollout)
        self.plan("watch", f"at least {_hold_s(rollout):g} s{requests}")

    def _observe(self, wanted: Observe) -> None:
        if wanted.counters:
            self._traffic()
        ready = {
            release: RevisionStatus(RevisionState.READY)
            for release in wanted.releases
            if self.serving.belief(release) is not None
        }
        seen = Observation(
            self.now,
            ready,
            dict(self.counters) if wanted.counters else None,
            pairs=_good_pairs(self.now) if wanted.pairs else None,
        )
        decision, known = decide(self.serving, seen), self.serving.beliefs
        self.record("decided", {**decision.to_json(), "observation": seen.to_json()})
        rollout = self.serving.rollout
        if rollout is not None and rollout.waits:
            self._let_go_on(rollout)
        elif decision.name is DecisionName.HOLD and self.serving.beliefs == known:
            self._wait()

    def _let_go_on(self, rollout: Rollout) -> None:
        """Say the word that a manual step waits for, as the first of those who may."""
        who = rollout.current.who
        self.plan("person", f"waits for `sluice resume` by {' or '.join(who) or 'anybody'}")
        actor = who[0] if who else "rehearsal"
        self.record("resume-requested", {"step": rollout.step, "role": ""}, actor)

    def _traffic(self) -> None:
        for share in self.serving.route or ():
            before = self.counters.get(share.release, ArmCounters())
            more = REQUESTS_PER_LOOK * share.weight // 100
            bad = int(more * BAD_SHARE)
            self.counters[share.release] = replace(
                before,
                requests=before.requests + more,
                errors=before.errors + bad,
                slow=before.slow + bad,
            )

    def _wait(self) -> None:
        """Until the hold ends, or one tick where more is waited for than time."""
        rollout = self.serving.rollout
        if rollout is None:
            self.now += 1.0
            return
        held = rollout.held_from
        left = 0.0 if held is None else held + _hold_s(rollout) - self.now
        self.now += left if left > 0 else rollout.plan.tick_s


def _good_pairs(now: float) -> PairCounts:
    """Answers to the same inputs that never differ, each of another session."""
    alike = ((0, 1, PAIRS_PER_LOOK),)
    return PairCounts(
        pairs=PAIRS_PER_LOOK,
        sessions=PAIRS_PER_LOOK,
        until=now,
        values=dict.fromkeys((*SIGNALS, DISAGREEMENT), alike),
        outputs=dict.fromkeys(SIGNALS, (0, 0)),
        disagreement=(0.0, PAIRS_PER_LOOK),
    )


def described(effect: Effect) -> str:
    """An effect in a few words."""
    if isinstance(effect, StartRevision):
        return f"load release {effect.release}"
    if isinstance(effect, AdmitRevision):
        return f"check release {effect.release}: files, version, golden answers"
    if isinstance(effect, StopRevision):
        return f"stop release {effect.release}"
    if isinstance(effect, SetAlias):
        return f"point the alias {effect.alias} at release {effect.release}"
    return f"route {_shares(effect)}"


def _shares(effect: WriteRoute) -> str:
    shown = [f"release {share.release} {share.weight} %" for share in effect.shares]
    if effect.mirror is not None:
        shown.append(f"copies of {effect.mirror.percent} % to release {effect.mirror.release}")
    if effect.retry_to is not None:
        shown.append(f"failures again to release {effect.retry_to}")
    return ", ".join(shown)


def _place(rollout: Rollout) -> str:
    if rollout.phase is Phase.SHIFTING:
        return f"step {rollout.step + 1}"
    return rollout.phase.value


def _hold_s(rollout: Rollout) -> float:
    hold_s = rollout.current.hold_s
    return hold_s + rollout.plan.bake_s if rollout.phase is Phase.BAKING else hold_s


def _volume(rollout: Rollout) -> str:
    step = rollout.current
    if step.until == "evidence":
        return " and until harm beyond the margin is ruled out"
    if step.min_pairs:
        return f" and {step.min_pairs} requests answered by both"
    needed = step.min_requests
    return f" and {needed} answers of release {rollout.candidate}" if needed else ""
