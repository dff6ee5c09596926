"""Why a rollout went as it did: its decisions made again, its evidence over time, its steps.

The journal keeps every observation that a decision was made on, so folding it entry by entry and
deciding again must give the same decisions. Where it does not, what acted was another program than
this one, or the journal was changed. Reads entries and gives values; it changes and asks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canary.blocks import Block, Observation
from canary.decide import decide
from canary.explanation import Choice, Curve, Explanation, Replayed, StepAccount
from canary.fold import advance, fold
from canary.states import ModelServing, Phase
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from canary.states import Rollout
    from registry.journal import Entry


def explain(entries: Sequence[Entry], rollout: int | None = None) -> Explanation:
    """Replay one rollout of one model's whole journal, by default the latest.

    Raises UserError when there is no such rollout, IntegrityError for an impossible journal.
    """
    number = _chosen(fold(entries), rollout)
    story, serving = _Story(number), ModelServing("")
    for entry in entries:
        before, serving = serving, advance(serving, entry)
        story.add(before, entry, serving)
    return story.told(serving)


def _chosen(serving: ModelServing, number: int | None) -> int:
    known = [ended.number for ended in serving.history]
    if serving.rollout is not None:
        known.append(serving.rollout.number)
    if not known:
        raise UserError("there was no rollout yet", where=serving.model)
    if number is not None and number not in known:
        raise UserError(
            f"there is no rollout {number}",
            where=serving.model,
            remedy=f"the journal has rollouts {known[0]} to {known[-1]}",
        )
    return known[-1] if number is None else number


@dataclass
class _Open:
    """The stretch that is under way."""

    title: str
    began_at: float
    rollout: Rollout


@dataclass
class _Story:
    """Collects what belongs to one rollout."""

    number: int
    last: Rollout | None = None
    open: _Open | None = None
    decisions: list[Replayed] = field(default_factory=list)
    steps: list[StepAccount] = field(default_factory=list)
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    acts_at: dict[str, float] = field(default_factory=dict)

    def add(self, before: ModelServing, entry: Entry, after: ModelServing) -> None:
        """One entry, with the state before and after it."""
        was, now = self._mine(before), self._mine(after)
        if was is not None and entry.kind == "decided":
            self.decisions.append(_replayed(before, was, entry))
        if now is not None:
            if was is None or (now.evidence, now.pairs) != (was.evidence, was.pairs):
                self._plot(now, entry.at)
            self.last = now
        self._follow(was, entry, now)

    def _mine(self, serving: ModelServing) -> Rollout | None:
        rollout = serving.rollout
        return rollout if rollout is not None and rollout.number == self.number else None

    def _plot(self, rollout: Rollout, at: float) -> None:
        for name, log_e, acts_at in _tests(rollout):
            # Some tests are told from their first block on; every bet begins at 1.
            self.points.setdefault(name, [(rollout.started_at, 0.0)]).append((at, log_e))
            self.acts_at[name] = acts_at

    def _follow(self, was: Rollout | None, entry: Entry, now: Rollout | None) -> None:
        title = None if now is None else _title(now)
        if self.open is not None and title != self.open.title:
            left_by, rule, reason = _why(was, entry)
            end = now or was or self.open.rollout
            self.steps.append(_account(self.open, end, entry.at, left_by, rule, reason))
            self.open = None
        if self.open is None and title and now is not None:
            self.open = _Open(title, entry.at, now)

    def told(self, serving: ModelServing) -> Explanation:
        """The rollout as the last entry left it."""
        ended = next((one for one in serving.history if one.number == self.number), None)
        last = self.last
        if last is None:
            raise UserError(f"there is no rollout {self.number}", where=serving.model)
        steps = list(self.steps)
        if self.open is not None:
            steps.append(_account(self.open, last, None, "", "", ""))
        return Explanation(
            model=serving.model,
            rollout=self.number,
            candidate=last.candidate,
            baseline=last.baseline,
            alpha=last.plan.alpha,
            outcome=ended.outcome.value if ended else last.phase.value,
            reason=ended.reason if ended else last.reason,
            started_at=last.started_at,
            ended_at=ended.ended_at if ended else None,
            decisions=tuple(self.decisions),
            curves=tuple(
                Curve(name, self.acts_at[name], tuple(points))
                for name, points in self.points.items()
            ),
            steps=tuple(steps),
        )


def _replayed(before: ModelServing, rollout: Rollout, entry: Entry) -> Replayed:
    body = entry.body
    again = decide(before, Observation.from_json(body["observation"]))
    return Replayed(
        sequence=entry.sequence,
        at=entry.at,
        weight=rollout.weight,
        recorded=Choice(body["decision"], body["reason"], body["rule"]),
        again=Choice(again.name.value, again.reason, again.rule),
        evidence_differs_by=_difference(body["evidence"], again.evidence),
    )


def _difference(recorded: Mapping[str, Any], again: Mapping[str, Any]) -> float:
    one, other = _log_e_values(recorded), _log_e_values(again)
    shared = [name for name in one if name in other]
    return max((abs(one[name]["log_e"] - other[name]["log_e"]) for name in shared), default=0.0)


def _log_e_values(told: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """All tests of a decision's evidence by name, those on pairs with a part of alpha included."""
    tests = {**told.get("tests", {})}
    pairs = told.get("pairs", {}).get("tests", {})
    if "pairs" in pairs:
        tests |= pairs
    if told.get("split", {}).get("log_e"):
        tests["split"] = told["split"]
    return tests


def _tests(rollout: Rollout) -> tuple[tuple[str, float, float], ...]:
    told = {**rollout.evidence.to_json(), "pairs": rollout.pairs.to_json()}
    tests = _log_e_values(told)
    return tuple((name, test["log_e"], test["acts_at"]) for name, test in tests.items())


_TITLES = {
    Phase.LOADING: "loading",
    Phase.LOADED: "loading",
    Phase.PROMOTED: "baking",
    Phase.BAKING: "baking",
    Phase.PAUSED: "paused",
    Phase.ROLLING_BACK: "going back",
    Phase.REJECTED: "rejecting",
    Phase.HALTED: "halted",
    Phase.RETURNING: "going back",
}


def _title(rollout: Rollout) -> str:
    """The stretch that a rollout is in, empty when nothing is left but to tidy up."""
    if rollout.phase is Phase.SETTLED:
        return ""
    return _TITLES.get(rollout.phase) or f"step {rollout.step + 1}"


def _why(was: Rollout | None, entry: Entry) -> tuple[str, str, str]:
    """What ended a stretch: the decision or the kind of entry, the rule, the reason."""
    body = entry.body
    if entry.kind == "decided":
        return body["decision"], body["rule"], body["reason"]
    if entry.kind == "phase-entered":
        paused = body["phase"] == Phase.PAUSED.value
        wish = was.pause_wanted if was is not None and paused else ""
        return body["phase"], "", wish or _NEXT_PHASE.get(body["phase"], "")
    if entry.kind == "step-skipped" and was is not None and was.skip is not None:
        return "skipped", "", f"{was.skip.by}: {was.skip.reason}"
    if entry.kind == "rollout-ended":
        return body["outcome"], "", "route and revisions are as wanted"
    return entry.kind, "", f"{entry.actor}: {body.get('reason') or 'asked for'}"


_NEXT_PHASE = {
    Phase.SHIFTING.value: "loaded and admitted",
    Phase.PROMOTED.value: "loaded and admitted",
    Phase.SETTLED.value: "it has all the traffic",
}


def _account(
    begun: _Open, end: Rollout, at: float | None, left_by: str, rule: str, reason: str
) -> StepAccount:
    before, after = begun.rollout.evidence.seen, end.evidence.seen
    return StepAccount(
        title=begun.title,
        weight=begun.rollout.weight,
        shadow=_shadow(begun.rollout),
        began_at=begun.began_at,
        ended_at=at,
        candidate_requests=_gained(after, before, "candidate"),
        baseline_requests=_gained(after, before, "baseline"),
        pairs=end.pairs.seen.pairs - begun.rollout.pairs.seen.pairs,
        evidence=_tests(end),
        left_by=left_by,
        rule=rule,
        reason=reason,
    )


def _shadow(rollout: Rollout) -> float:
    """Percent mirrored in a shadow step, 0 in any other."""
    if rollout.phase is not Phase.SHIFTING:
        return 0.0
    return float(rollout.current.shadow)


def _gained(after: Block, before: Block, arm: str) -> int:
    return int(getattr(after, arm).requests - getattr(before, arm).requests)
