"""A rollout as a pure state machine: the names that the rest of Sluice uses.

    serving = fold(journal.read(model))     what is so
    action = next_action(serving, now)      what to do next
    decision = decide(serving, observation) what was seen means

Who drives it writes down first, then acts, then confirms by looking; see
`pipelines.rollout.controller`. After a crash at any point the same three calls go on from there.
"""

from __future__ import annotations

from canary.blocks import Observation
from canary.decide import decide, says_something
from canary.decisions import Decision, DecisionName
from canary.effects import (
    Action,
    AdmitRevision,
    Done,
    Effect,
    NumberedEffect,
    Observe,
    Perform,
    Record,
    SetAlias,
    StartRevision,
    StopRevision,
    WriteRoute,
)
from canary.fold import advance, fold
from canary.next_action import next_action
from canary.plan import RolloutPlan, Step
from canary.states import Belief, EndedRollout, ModelServing, Outcome, Phase, Rollout

__all__ = [
    "Action",
    "AdmitRevision",
    "Belief",
    "Decision",
    "DecisionName",
    "Done",
    "Effect",
    "EndedRollout",
    "ModelServing",
    "NumberedEffect",
    "Observation",
    "Observe",
    "Outcome",
    "Perform",
    "Phase",
    "Record",
    "Rollout",
    "RolloutPlan",
    "SetAlias",
    "StartRevision",
    "Step",
    "StopRevision",
    "WriteRoute",
    "advance",
    "decide",
    "fold",
    "next_action",
    "says_something",
]
