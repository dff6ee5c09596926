"""Where a model stands when a rollout has ended, as the entry of that end tells it.

A fold need not begin before it: what moves traffic reads what came since, not years. The entry is
part of the chain like any other, and whoever folds the whole checks each of them.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

from canary.effects import NumberedEffect, shares_from_json, shares_to_json
from canary.ending import ended
from canary.memory import MemoryWatch
from canary.phases import Outcome
from canary.ports import Mirror, RevisionState
from canary.states import Belief, EndedRollout, ModelServing
from registry.journal_fold import illegal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.journal import Entry

STANDING = "standing"
"""The key of the body."""
_PLAIN = (
    "live",
    "retry_to",
    "claimed",
    "alias",
    "effects",
    "failure",
    "keep_previous",
    "standing_copies",
    "load_timeout_s",
)
_ENDED = (
    "number",
    "candidate",
    "baseline",
    "target",
    "reason",
    "started_at",
    "first_evidence_at",
    "decided_at",
)


def with_standing(serving: ModelServing, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `rollout-ended`, with where `serving` then stands."""
    return {**body, STANDING: _to_json(ended(serving, Outcome(body["outcome"]), at=0.0))}


def last_only(serving: ModelServing) -> ModelServing:
    """Without rollouts before the last ended one."""
    return serving if len(serving.history) < 2 else replace(serving, history=serving.history[-1:])


def agrees(told: ModelServing, folded: ModelServing) -> bool:
    """Whether an end says what its history comes to.

    What the statistics made of counts is passed over: another version may make another thing of
    them, and an old journal is none the worse for it.
    """
    folded = replace(last_only(folded), model=told.model, sequence=told.sequence)
    return _facts(told) == _facts(folded)


def _facts(serving: ModelServing) -> ModelServing:
    return replace(
        serving,
        beliefs=tuple(replace(belief, memory=None) for belief in serving.beliefs),
        history=tuple(replace(one, first_evidence_at=None) for one in serving.history),
    )


def serving_at(entry: Entry) -> ModelServing | None:
    """What the fold comes to with this `rollout-ended`, but for rollouts before it.

    None when it does not tell. Raises IntegrityError for a body that cannot be read.
    """
    told = entry.body.get(STANDING)
    if told is None:
        return None
    try:
        return _from_json(told, entry)
    except (KeyError, TypeError, ValueError) as error:
        raise illegal(entry, f"cannot be read ({type(error).__name__}: {error})") from error


def skip_ahead(serving: ModelServing, entries: Sequence[Entry]) -> tuple[ModelServing, int]:
    """Where folding `entries` after `serving` may begin: the state there, and how many that passes.

    The state has every rollout that ended on the way. None is passed where an end does not tell.
    """
    ends = [number for number, entry in enumerate(entries) if entry.kind == "rollout-ended"]
    told = [at for number in ends if (at := serving_at(entries[number])) is not None]
    if not told or len(told) < len(ends):
        return serving, 0
    history = (*serving.history, *(one for at in told for one in at.history))
    return replace(told[-1], history=history), ends[-1] + 1


def _to_json(serving: ModelServing) -> dict[str, Any]:
    return {
        **{name: getattr(serving, name) for name in _PLAIN},
        "served": list(serving.served),
        "withdrawn": sorted(serving.withdrawn),
        "given_up": sorted(serving.given_up),
        "route": None if serving.route is None else shares_to_json(serving.route),
        "mirror": None if serving.mirror is None else list(astuple(serving.mirror)),
        "pending": None if serving.pending is None else serving.pending.to_json(),
        "beliefs": [_belief_to_json(belief) for belief in serving.beliefs],
        "ended": {name: getattr(serving.history[-1], name) for name in _ENDED},
    }


def _from_json(told: Mapping[str, Any], entry: Entry) -> ModelServing:
    latest = EndedRollout(
        **{name: told["ended"][name] for name in _ENDED},
        outcome=Outcome(entry.body["outcome"]),
        ended_at=entry.at,
    )
    return ModelServing(
        entry.model,
        entry.sequence,
        **{name: told[name] for name in _PLAIN},
        served=tuple(told["served"]),
        withdrawn=frozenset(told["withdrawn"]),
        given_up=frozenset(told["given_up"]),
        route=None if told["route"] is None else shares_from_json(told["route"]),
        mirror=None if told["mirror"] is None else Mirror(*told["mirror"]),
        pending=None if told["pending"] is None else NumberedEffect.from_json(told["pending"]),
        beliefs=tuple(_belief_from_json(belief) for belief in told["beliefs"]),
        history=(latest,),
    )


def _belief_to_json(belief: Belief) -> dict[str, Any]:
    memory = belief.memory
    return {
        "release": belief.release,
        "state": belief.state.value,
        "admitted": belief.admitted,
        "trouble": belief.trouble,
        "started_at": belief.started_at,
        "restarts": belief.restarts,
        "memory": None if memory is None else list(astuple(memory)),
    }


def _belief_from_json(told: Mapping[str, Any]) -> Belief:
    memory = told["memory"]
    return Belief(
        release=told["release"],
        state=RevisionState(told["state"]),
        admitted=told["admitted"],
        trouble=told["trouble"],
        started_at=told["started_at"],
        restarts=told["restarts"],
        memory=None if memory is None else MemoryWatch(*memory),
    )
