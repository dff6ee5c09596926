"""A state that was kept and gone on with is the state of the whole history, whatever it holds."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from canary.fold import fold
from canary.standing import last_only
from drift.case import fold as fold_drift
from pipelines import model_states
from pipelines.model_states import ModelState, read_states, shown_drift
from registry.catalog import Catalog
from registry.database import transaction
from registry.errors import IntegrityError
from registry.journal import Journal
from registry.tables import CHECKPOINTS
from tests.canary.world import Behaviour, MemoryWorld
from tests.rollout.happenings import PLANS
from tests.rollout.stage import MODEL, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.journal import Entry

LATER = {
    "bad": Behaviour(error_share=0.5),
    "slow": Behaviour(slow_share=0.6),
    "broken": Behaviour(fails=True),
    "good": Behaviour(memory_mb=200),
}
HISTORIES = (
    ("shadow", "good"),
    ("by half", "bad"),
    ("cap", "slow"),
    ("copied", "broken"),
    ("held back", "good"),
    ("experiment", "good"),
)
SPAN = {"since": 0.0, "until": 5.0}
OPENED = {
    "case": 1,
    "release": 1,
    "severity": "act",
    "columns": ["snr_db"],
    "reason": "snr",
    "alpha": 0.01,
    **SPAN,
}


def tell(stage: Stage, kind: str, body: dict[str, Any]) -> None:
    stage.journal.append(MODEL, kind, body, actor="watch", at=stage.world.clock())


@cache
def history(plan: str, behaviour: str) -> tuple[Entry, ...]:
    """A release that serves, another that is rolled out, a drift case, and a way back."""
    stage = Stage.in_memory(MemoryWorld(requests_per_s=100))
    for release in (1, 2, 3):
        tell(stage, "release-published", published(release))
    stage.controller().promote(MODEL, 1, PLANS["at once"])
    judged = {"outcome": "alarm", "reason": "snr", "release": 1, "distances": None, **SPAN}
    tell(stage, "window-judged", judged)
    tell(stage, "alarm-raised", OPENED)
    stage.world.behaviours[2] = LATER[behaviour]
    stage.controller().promote(MODEL, 2, PLANS[plan])
    tell(stage, "alarm-acknowledged", {"case": 1})
    stage.controller().resume(MODEL)
    tell(stage, "alarm-cleared", {"case": 1, "reason": "quiet"})
    if stage.serving.previous is not None:
        stage.controller("ann").rollback(MODEL, reason="complaints")
    stage.controller().promote(MODEL, 3, PLANS["by half"], replace=True)
    return stage.entries()


def published(release: int) -> dict[str, Any]:
    digests = ("variant_digest", "artifact", "report_digest", "manifest_digest")
    named = dict.fromkeys(digests, f"{release:064d}")
    return named | {"release": release, "variant": f"onnx-{release}"}


def state_of(entries: tuple[Entry, ...], begun: ModelState | None = None) -> ModelState:
    state = begun or ModelState.begun(MODEL)
    left = entries[state.sequence :]
    return state.after(left) if left else state


@settings(max_examples=60, deadline=None)
@given(
    which=st.sampled_from(HISTORIES),
    share=st.floats(0, 1),
)
def test_from_any_entry_on_it_comes_to_the_same(which: tuple[str, str], share: float) -> None:
    entries = history(*which)
    kept = state_of(entries[: int(share * len(entries))])
    while kept.serving.pending is not None:
        kept = kept.after(entries[kept.sequence :][:1])
    again = ModelState.from_text(kept.to_text())
    assert again == kept
    whole = state_of(entries, again)
    assert whole.serving == last_only(fold(entries, model=MODEL))
    assert whole.drift == shown_drift(fold_drift(entries, model=MODEL))
    assert len(whole.serving.history) == min(1, len(fold(entries).history))
    releases = Catalog.fold(entries).releases
    assert whole.variants == {number: one.variant for number, one in releases.items()}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """With the entries of one history, and another model's few."""
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    with closing(journal):
        for entry in history("by half", "bad"):
            journal.append(MODEL, entry.kind, entry.body, actor=entry.actor, at=entry.at)
        journal.append("few", "release-published", published(1), actor="ci", at=1.0)
        yield journal


def reads(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each read of the journal gave."""
    counts: list[int] = []
    real_read, real_after = journal.read, journal.read_after

    def read(*arguments: Any, **named: Any) -> tuple[Entry, ...]:
        found = real_read(*arguments, **named)
        counts.append(len(found))
        return found

    def read_after(marks: dict[str, int]) -> Iterator[tuple[str, list[Entry]]]:
        for model, found in real_after(marks):
            counts.append(len(found))
            yield model, found

    monkeypatch.setattr(journal, "read", read)
    monkeypatch.setattr(journal, "read_after", read_after)
    return counts


def test_a_history_is_read_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [MODEL, "few", "nobody"]
    whole = state_of(journal.read(MODEL))
    counts = reads(journal, monkeypatch)
    first = read_states(journal, names)
    assert first[MODEL] == whole
    assert first["nobody"] == ModelState.begun("nobody")
    assert sum(counts) == whole.sequence + 1
    counts.clear()
    assert read_states(journal, names) == first
    assert sum(counts) == 1, "only a history too short to be kept is read again"
    journal.append(MODEL, "release-published", published(4), actor="ci", at=1.0)
    counts.clear()
    again = read_states(journal, names)[MODEL]
    assert (again.sequence, again.variants[4]) == (whole.sequence + 1, "onnx-4")
    assert sum(counts) == 2
    assert journal.verify(MODEL) == again.sequence


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_a_long_history_is_read_in_parts(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(model_states, "_PAGE", limit)
    monkeypatch.setattr(model_states, "_FEW", 0)
    assert read_states(journal, [MODEL])[MODEL] == state_of(journal.read(MODEL))


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "0" * 64},
        {"sequence": 3},
        {"sequence": 10**6},
        {"state": "{}"},
        {"state": "no JSON"},
        {"version": "another"},
        {"model": "few"},
    ],
)
@pytest.mark.parametrize("grown", [False, True])
def test_a_checkpoint_that_does_not_fit_is_made_again(
    journal: Journal, change: dict[str, Any], grown: bool
) -> None:
    read_states(journal, [MODEL])
    with transaction(journal.engine) as connection:
        assert connection.scalar(select(CHECKPOINTS.c.model)) == MODEL
        connection.execute(update(CHECKPOINTS).values(**change))
    if grown:
        journal.append(MODEL, "release-published", published(5), actor="ci", at=1.0)
    found = read_states(journal, [MODEL, "few"])
    assert found[MODEL] == state_of(journal.read(MODEL))
    assert found["few"].variants == {1: "onnx-1"}


def test_the_checkpoint_of_a_history_that_was_replaced_does_not_count(
    journal: Journal, tmp_path: Path
) -> None:
    read_states(journal, [MODEL])
    with closing(Journal(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        for entry in (*history("shadow", "good"), *history("by half", "bad")[:0]):
            other.append(MODEL, entry.kind, entry.body, actor=entry.actor, at=entry.at)
        with transaction(journal.engine) as one, transaction(other.engine) as two:
            row = one.execute(select(CHECKPOINTS)).one()
            two.execute(CHECKPOINTS.insert().values(**row._asdict()))
        assert read_states(other, [MODEL])[MODEL] == state_of(other.read(MODEL))


def test_who_may_not_write_or_would_have_to_wait_still_reads(journal: Journal) -> None:
    whole = state_of(journal.read(MODEL))
    with transaction(journal.engine) as writer:
        writer.execute(text("SELECT 1"))
        assert read_states(journal, [MODEL])[MODEL] == whole
    with transaction(journal.engine) as connection:
        assert connection.scalar(select(CHECKPOINTS.c.model)) is None


def test_an_impossible_history_is_refused_by_a_kept_state_too(journal: Journal) -> None:
    read_states(journal, [MODEL])
    journal.append(MODEL, "rollout-ended", {"outcome": "settled"}, actor="x", at=1.0)
    with pytest.raises(IntegrityError, match="rollout-ended"):
        read_states(journal, [MODEL])


def test_any_change_of_a_fold_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = model_states.version()
    assert len(before) == 64
    model_states.version.cache_clear()
    changed = SimpleNamespace(__file__=model_states.__file__)
    monkeypatch.setattr(model_states, "drift_fold", changed)
    try:
        assert model_states.version() != before
    finally:
        model_states.version.cache_clear()
