"""What the world should look like in each phase: the one table that all effects follow from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from canary.effects import Done, Observe, Record, WriteRoute, whole
from canary.ports import Mirror, Share
from canary.states import AT_FULL_TRAFFIC, Outcome, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canary.effects import Action
    from canary.states import ModelServing, Rollout


@dataclass(frozen=True, slots=True)
class Desired:
    """The aim of a phase, in the order in which it is brought about."""

    then: Action
    """What to do when everything else is so."""
    load: tuple[int, ...] = ()
    """Releases that must be ready and admitted before the route is written."""
    route: WriteRoute | None = None
    """The route; None leaves it as it is."""
    spare: int | None = None
    """Who takes all the traffic, if it can, while the route cannot be written or is not safe."""
    leaving: int | None = None
    """The release that traffic must leave as soon as possible."""
    stop: tuple[int, ...] = ()
    """Revisions to stop once the route is confirmed."""
    alias: int | None = None
    """The release that the production alias must name."""
    keep: tuple[int, ...] = ()
    """Releases to keep ready as well; whether that succeeds decides nothing."""


def desired_of(serving: ModelServing) -> Desired:
    """The aim of the state's phase, or of a model that only serves."""
    rollout = serving.rollout
    return _idle(serving) if rollout is None else _BY_PHASE[rollout.phase](serving, rollout)


def _idle(serving: ModelServing) -> Desired:
    live = serving.live
    if live is None:
        return Desired(then=Done(Outcome.IDLE, "no release is live"))
    previous = _kept(serving, serving.previous, live)
    return Desired(
        then=Done(Outcome.IDLE, f"release {live} serves"),
        load=(live,),
        route=WriteRoute(whole(live), _copies(serving, previous)),
        keep=previous,
        stop=_others(serving, (live, *previous)),
        alias=live,
    )


def _loading(_: ModelServing, rollout: Rollout) -> Desired:
    baseline = rollout.baseline
    load = (rollout.candidate,) if baseline is None else (baseline, rollout.candidate)
    one_step = len(rollout.plan.steps) == 1 and not rollout.plan.returns
    straight = baseline is None or one_step
    following = Phase.PROMOTED if straight else Phase.SHIFTING
    if rollout.phase is Phase.LOADING:
        following = Phase.LOADED
    return Desired(
        then=Record("phase-entered", {"phase": following.value}),
        load=load,
        route=None if baseline is None else WriteRoute(whole(baseline)),
        spare=baseline,
    )


def _shifting(_: ModelServing, rollout: Rollout) -> Desired:
    baseline, weight = rollout.baseline or 0, rollout.weight
    shadow = rollout.mirror is not None
    # Copies may be counted as the candidate's own requests, so in a shadow step only pairs are.
    look = Observe((baseline, rollout.candidate), counters=not shadow, pairs=shadow)
    body = {"step": rollout.step, "weight": weight}
    if rollout.mirror is not None:
        body["shadow"] = rollout.mirror.percent
    return Desired(
        then=Record("step-entered", body) if rollout.held_from is None else look,
        load=(baseline, rollout.candidate),
        route=_divided(rollout, weight),
        spare=baseline,
        # An experiment's way back is then a route alone.
        alias=baseline if rollout.plan.returns else None,
    )


def _divided(rollout: Rollout, weight: int) -> WriteRoute:
    """`weight` percent to the candidate and the rest to the baseline, which there must be."""
    baseline = rollout.baseline or 0
    if not weight:
        return WriteRoute(whole(baseline), rollout.mirror)
    return WriteRoute(
        (Share(baseline, 100 - weight), Share(rollout.candidate, weight)),
        retry_to=baseline if rollout.plan.retry_to_baseline else None,
    )


def _full(serving: ModelServing, rollout: Rollout) -> Desired:
    candidate, baseline = rollout.candidate, rollout.baseline
    settled = rollout.phase is Phase.SETTLED
    kept = _kept(serving, baseline, candidate) if settled else _one(baseline)
    held_back = not settled and rollout.plan.holdback and serving.admitted(baseline)
    return Desired(
        then=_after_full(rollout),
        load=(candidate,),
        route=(
            _divided(rollout, 100 - rollout.plan.holdback)
            if held_back
            else WriteRoute(whole(candidate), _copies(serving, kept) if settled else None)
        ),
        spare=baseline,
        alias=candidate,
        keep=kept,
        stop=_others(serving, (candidate, *kept)) if settled else (),
    )


def _after_full(rollout: Rollout) -> Action:
    if rollout.phase is Phase.SETTLED:
        return Record("rollout-ended", {"outcome": Outcome.SETTLED.value})
    if rollout.phase is Phase.BAKING and rollout.held_from is not None:
        return Observe((*_one(rollout.baseline), rollout.candidate), counters=True)
    return Record("phase-entered", {"phase": Phase.BAKING.value})


def _rolling_back(serving: ModelServing, rollout: Rollout) -> Desired:
    target = rollout.target or 0
    earlier = serving.served
    earlier = earlier[: earlier.index(target)] if target in earlier else ()
    healthy = [
        release
        for release in earlier
        if release not in serving.withdrawn and release != rollout.candidate
    ]
    kept = _kept(serving, healthy[-1] if healthy else None, target)
    return Desired(
        then=Record("rollout-ended", {"outcome": Outcome.ROLLED_BACK.value}),
        load=(target,),
        route=WriteRoute(whole(target)),
        spare=rollout.baseline,
        leaving=rollout.candidate,
        stop=_others(serving, (target, *kept)),
        alias=target,
    )


def _returning(serving: ModelServing, rollout: Rollout) -> Desired:
    """An experiment is over: everything as it was before it."""
    baseline = rollout.baseline or 0
    kept = _kept(serving, serving.previous, baseline)
    return Desired(
        then=Record("rollout-ended", {"outcome": Outcome.COMPARED.value}),
        load=(baseline,),
        route=WriteRoute(whole(baseline), _copies(serving, kept)),
        spare=baseline,
        leaving=rollout.candidate,
        stop=_others(serving, (baseline, *kept)),
        alias=baseline,
    )


def _rejected(serving: ModelServing, rollout: Rollout) -> Desired:
    baseline, serves = rollout.baseline, serving.admitted(rollout.baseline)
    return Desired(
        then=Record("rollout-ended", {"outcome": Outcome.REJECTED.value}),
        route=WriteRoute(whole(baseline)) if baseline is not None and serves else None,
        stop=(rollout.candidate,) if rollout.candidate in serving.warm else (),
    )


def _standing_still(serving: ModelServing, rollout: Rollout) -> Desired:
    """Paused or halted. A pause takes the candidate's traffic away: nobody watches it meanwhile.

    After the promotion it does not, since that would be rolling back; and a halt moves nothing.
    """
    outcome = Outcome.PAUSED if rollout.phase is Phase.PAUSED else Outcome.HALTED
    done = Done(outcome, rollout.reason)
    keep_route = rollout.phase is Phase.HALTED or rollout.resumes_in in AT_FULL_TRAFFIC
    if keep_route or not serving.admitted(rollout.baseline):
        return Desired(then=done)
    return Desired(then=done, route=WriteRoute(whole(rollout.baseline or 0)))


def _kept(serving: ModelServing, previous: int | None, live: int) -> tuple[int, ...]:
    return _one(previous) if serving.keep_previous and previous != live else ()


def _copies(serving: ModelServing, kept: tuple[int, ...]) -> Mirror | None:
    """What the release before answers too while nothing is rolled out, if it can."""
    healthy = bool(kept) and serving.admitted(kept[0])
    return Mirror(kept[0], serving.standing_copies) if serving.standing_copies and healthy else None


def _others(serving: ModelServing, kept: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(release for release in serving.warm if release not in kept)


def _one(release: int | None) -> tuple[int, ...]:
    return () if release is None else (release,)


_BY_PHASE: Mapping[Phase, Callable[[ModelServing, Rollout], Desired]] = {
    Phase.LOADING: _loading,
    Phase.LOADED: _loading,
    Phase.SHIFTING: _shifting,
    Phase.PROMOTED: _full,
    Phase.BAKING: _full,
    Phase.SETTLED: _full,
    Phase.PAUSED: _standing_still,
    Phase.ROLLING_BACK: _rolling_back,
    Phase.REJECTED: _rejected,
    Phase.HALTED: _standing_still,
    Phase.RETURNING: _returning,
}
