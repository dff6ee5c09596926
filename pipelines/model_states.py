"""What the journals of many models come to, for those who show it: read once, then what is new.

A history is folded from its last checkpoint on. One counts only where the chain has its hash, and
only for the code that made it: a change of any fold makes all of them anew. What moves traffic
does not come here; it folds its chain from the first entry.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canary import fold as serving_fold
from canary.standing import last_only
from canary.states import ModelServing
from drift import case as drift_fold
from drift.case import DriftState
from registry import journal_fold
from registry.checkpoints import Checkpoint, Checkpoints
from registry.journal_entry import GENESIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import TypeAdapter

    from registry.journal import Entry, Journal

VIEW = "overview"
_WORTH = 32
"""Entries that were folded before the state is worth keeping."""
_PAGE = 5000
"""Entries of one model that are held at a time; whoever is behind by more is read alone."""
_FEW = 200
_BATCH = 50
"""States that are kept in one transaction."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model after its entry `sequence`, whose hash is `hash`.

    Of what was, nobody shows more than the end: `serving` has the last ended rollout alone, which
    numbers the next one, `drift` the last ended case, no windows and no rollbacks. So a state is
    no larger after years. `variants` names, by release, the variant that was published.
    """

    serving: ModelServing
    drift: DriftState
    variants: dict[int, str] = field(default_factory=dict)
    sequence: int = 0
    hash: str = GENESIS

    @classmethod
    def begun(cls, model: str) -> ModelState:
        """Before the first entry."""
        return cls(ModelServing(model), DriftState(model))

    def after(self, entries: Sequence[Entry]) -> ModelState:
        """The state after some more. Raises IntegrityError for one that cannot be the next.

        Of rollouts that ended among them only the ends are read.
        """
        drift, variants = self.drift, self.variants
        for entry in entries:
            if entry.kind == "release-published":
                variants = {**variants, entry.body["release"]: entry.body["variant"]}
            drift = shown_drift(drift_fold.advance(drift, entry))
        serving, newest = serving_fold.advance_by_ends(self.serving, entries), entries[-1]
        return ModelState(last_only(serving), drift, variants, newest.sequence, newest.hash)

    def to_text(self) -> str:
        """JSON, as `from_text` reads it."""
        return json.dumps(_adapter().dump_python(self), default=sorted)

    @classmethod
    def from_text(cls, text: str) -> ModelState:
        """The state. Raises ValueError for what is none."""
        return _adapter().validate_json(text)


def shown_drift(drift: DriftState) -> DriftState:
    """Without windows, rollbacks, and cases before the last ended one."""
    if not (drift.windows or drift.estimates or drift.rollbacks or len(drift.ended) > 1):
        return drift
    return replace(drift, windows=(), estimates=(), rollbacks=(), ended=drift.ended[-1:])


def read_states(journal: Journal, models: Iterable[str]) -> dict[str, ModelState]:
    """The state of each model, and its checkpoint kept where many entries were new.

    Raises IntegrityError for a history that tells the impossible, EngineError when the database
    cannot be read.
    """
    heads = journal.heads()
    keeper = Checkpoints(journal.engine, VIEW, version())
    kept = keeper.load()
    states = {model: _begun(model, kept.get(model), heads.get(model)) for model in models}
    gaps = {
        model: heads.get(model, (_PAGE, ""))[0] - state.sequence
        for model, state in states.items()
        if heads.get(model) != (state.sequence, state.hash)
    }
    due: list[Checkpoint] = []
    for model, entries in journal.read_after(
        {model: states[model].sequence for model, gap in gaps.items() if gap <= _FEW}
    ):
        states[model] = _caught_up(journal, states[model], entries, due)
    for model in (model for model, gap in gaps.items() if gap > _FEW):
        states[model] = _caught_up(journal, states[model], _page(journal, states[model]), due)
        if len(due) >= _BATCH:
            keeper.save(due)
            due.clear()
    keeper.save(due)
    return states


@cache
def version() -> str:
    """Of the code that folds: any change of it makes all checkpoints anew."""
    found = hashlib.sha256()
    for room in (serving_fold, drift_fold):
        for path in sorted(Path(str(room.__file__)).parent.glob("*.py")):
            found.update(path.read_bytes())
    for file in (journal_fold.__file__, __file__):
        found.update(Path(file).read_bytes())
    return found.hexdigest()


def _begun(model: str, kept: Checkpoint | None, head: tuple[int, str] | None) -> ModelState:
    """Where to begin: at the checkpoint, unless the chain is known not to have it."""
    if kept is None or head is None or kept.sequence > head[0]:
        return ModelState.begun(model)
    if kept.sequence == head[0] and kept.hash != head[1]:
        return ModelState.begun(model)
    try:
        state = ModelState.from_text(kept.state)
    except ValueError:
        return ModelState.begun(model)
    fits = (state.sequence, state.hash, state.serving.model) == (kept.sequence, kept.hash, model)
    return state if fits else ModelState.begun(model)


def _caught_up(
    journal: Journal, state: ModelState, entries: list[Entry], due: list[Checkpoint]
) -> ModelState:
    """`state` after `entries` and what follows; `due` gets a checkpoint where it is worth one."""
    if entries and state.sequence and entries[0].previous != state.hash:
        state = ModelState.begun(state.serving.model)
        entries = _page(journal, state)
    before = state.sequence
    while entries:
        state = state.after(entries)
        entries = _page(journal, state) if len(entries) == _PAGE else []
    # An effect under way is not kept: it is soon over, and effects look alike as plain values.
    if state.sequence - before >= _WORTH and state.serving.pending is None:
        model = state.serving.model
        due.append(Checkpoint(model, state.sequence, state.hash, state.to_text()))
    return state


def _page(journal: Journal, state: ModelState) -> list[Entry]:
    return list(journal.read(state.serving.model, state.sequence, limit=_PAGE))


@cache
def _adapter() -> TypeAdapter[ModelState]:
    """Pydantic reads the classes' own annotations, whose names their modules import for it."""
    from collections.abc import Mapping

    from pydantic import TypeAdapter

    from canary import blocks, effects, memory, metrics, pair_evidence, plan, ports
    from drift import history, window_estimate, windows

    names: dict[str, Any] = {"Mapping": Mapping}
    for module in (
        blocks,
        effects,
        memory,
        metrics,
        pair_evidence,
        plan,
        ports,
        history,
        window_estimate,
        windows,
    ):
        names |= vars(module)
    adapter = TypeAdapter(ModelState)
    adapter.rebuild(force=True, _types_namespace=names)
    return adapter
