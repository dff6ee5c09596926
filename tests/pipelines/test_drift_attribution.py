"""Cases told apart in an in-memory world: the release before answers the same inputs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from canary.ports import Mirror
from canary.rollout import RolloutPlan, Step
from drift.case_steps import clear
from drift.comparison import BEGUN, COUNTED, comparisons
from pipelines.assembly import Platform
from pipelines.drift_attribution import attribute
from pipelines.drift_cases import state_of, write_down
from pipelines.drift_comparison import Sessions, find_or_begin
from pipelines.drift_standing import count_standing
from pipelines.model_config import load_model_config
from pipelines.narration import sentence
from registry.errors import UserError
from registry.workspace import Workspace
from tests.canary.world import Behaviour
from tests.rollout.stage import Stage

from .drift_world import MODEL, POLICY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drift.standing import Standing
    from pipelines.drift_attribution import Attributed
    from pipelines.rollout.controller import Controller

QUICK = RolloutPlan(
    steps=(Step(weight=50, hold_s=1, min_requests=10), Step(weight=100)), bake_s=1, load_timeout_s=5
)


class Killed(BaseException):
    """Nothing that anybody catches."""


class StagedPlatform(Platform):
    """A real workspace and journal, and engines in memory, in virtual time."""

    def __init__(self, root: Path, rollback: str = "automatic") -> None:
        (root / "sluice.toml").write_text("")
        (root / "models").mkdir()
        policy = f'{POLICY}rollback = "{rollback}"\n'
        (root / "models" / f"{MODEL}.toml").write_text(policy)
        super().__init__(Workspace(root), actor="ann")
        self.stage = stage = Stage.at(root)
        self.__dict__ |= {
            "journal": stage.journal,
            "leases": stage.leases,
            "fleet": stage.world.fleet,
            "router": stage.world.router,
            "telemetry": stage.world.telemetry,
        }
        for release in (1, 2):
            assert stage.controller().promote(MODEL, release, QUICK).outcome == "settled"
        stage.world.unanswered = 0

    def controller(self, *, sleep: Callable[[float], None], **_: object) -> Controller:
        return self.stage.controller("ann", sleep=sleep)

    def behave(self, **shares: dict[int, float]) -> None:
        releases = {release for by in shares.values() for release in by}
        self.stage.world.behaviours = {
            release: Behaviour(**{name: by.get(release, 0.0) for name, by in shares.items()})
            for release in releases
        }

    def open_case(self, release: int = 2) -> None:
        at = self.stage.world.clock()
        body = {
            "case": state_of(self, MODEL).next_case,
            "severity": "act",
            "columns": ["rms"],
            "reason": "it is louder",
            "release": release,
            "alpha": 0.01,
            "since": at - 60,
            "until": at,
        }
        self.append(MODEL, "alarm-raised", body)

    def attribute(self, **named: Any) -> Attributed:
        named = {"longest_s": 60.0, "sleep": self.stage.world.sleep, **named}
        return attribute(self, MODEL, clock=self.stage.world.clock, **named)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.journal.read(MODEL)]


@pytest.fixture
def platform(tmp_path: Path) -> StagedPlatform:
    return StagedPlatform(tmp_path)


def test_a_release_that_is_worse_is_left(platform: StagedPlatform) -> None:
    platform.behave(empty_share={1: 0.04, 2: 0.08})
    platform.open_case()
    found = platform.attribute()
    assert (found.finding, found.rolled_back_to, found.release) == ("model", 1, 2)
    assert found.e_value >= 100
    assert platform.serving(MODEL).live == 1
    assert platform.stage.weights == {1: 100}
    state = state_of(platform, MODEL)
    assert state.case is None
    assert "traffic went back to release 1" in state.ended[-1].end
    assert [made.to for made in state.rollbacks] == [1]
    (whole,) = comparisons(platform.journal.read(MODEL), 1)
    assert whole.attribution.pairs == found.pairs
    platform.journal.verify(MODEL)
    words = [sentence(entry) for entry in platform.journal.read(MODEL)]
    assert any("asks release 1 what release 2 is asked" in line for line in words)


def test_copies_give_no_traffic_until_it_is_decided(platform: StagedPlatform) -> None:
    platform.behave(empty_share={1: 0.04, 2: 0.12})
    platform.open_case()
    platform.stage.world.calls.clear()
    platform.attribute()
    routes = [argument for name, argument in platform.stage.world.calls if name == "route"]
    weights = [{share.release: share.weight for share in route.shares} for route in routes]  # type: ignore[attr-defined]
    assert weights == [{2: 100}, {2: 100}, {1: 100}]
    assert [route.mirror for route in routes] == [Mirror(1, 100), None, None]  # type: ignore[attr-defined]
    assert platform.stage.world.unanswered == 0


def test_once_the_evidence_is_there_only_routes_are_written(platform: StagedPlatform) -> None:
    """MLflow and stopping what is not needed take seconds: they come before, or after."""
    platform.behave(empty_share={1: 0.04, 2: 0.12})
    platform.open_case()
    platform.attribute()
    entries = platform.journal.read(MODEL)
    evidence = next(entry.sequence for entry in entries if entry.kind == "skip-requested")
    effects = [
        entry.body
        for entry in entries
        if entry.kind == "effect-started" and entry.sequence > evidence
    ]
    assert [effect["name"] for effect in effects[:2]] == ["WriteRoute", "WriteRoute"]
    assert effects[1]["arguments"]["shares"] == [[1, 100]]


def test_a_world_that_changed_keeps_the_release(platform: StagedPlatform) -> None:
    """Without records of before nobody knows what is usual, so no word but `neither` is said."""
    platform.behave(empty_share={1: 0.12, 2: 0.12})
    platform.open_case()
    found = platform.attribute()
    assert (found.finding, found.rolled_back_to) == ("neither", None)
    assert platform.serving(MODEL).live == 2
    assert state_of(platform, MODEL).case is None


@pytest.mark.parametrize("usual", [(40, 1000), None])
def test_worse_than_usual_on_both_sides_is_the_data(
    platform: StagedPlatform, usual: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drift.comparison import Usual

    known = Usual(usual[1], usual[0]) if usual else Usual()
    monkeypatch.setattr("pipelines.drift_comparison.usual_answers", lambda *_: known)
    platform.behave(empty_share={1: 0.2, 2: 0.2})
    platform.open_case()
    found = platform.attribute()
    assert found.finding == ("data" if usual else "neither")
    assert platform.serving(MODEL).live == 2
    case = state_of(platform, MODEL).case
    assert (case.attribution if case else "ended") == ("data" if usual else "ended")


def test_too_few_pairs_say_how_many_more_and_the_next_goes_on(platform: StagedPlatform) -> None:
    platform.behave(empty_share={1: 0.04, 2: 0.08})
    platform.stage.world.requests_per_s = 20
    platform.open_case()
    first = platform.attribute(longest_s=10.0)
    assert first.finding == "not enough"
    assert 0 < first.pairs < 300
    assert first.pairs_more > 0
    assert first.seconds_more == pytest.approx(first.pairs_more / 20, rel=0.5)
    assert platform.serving(MODEL).live == 2
    assert platform.serving(MODEL).rollout is None
    platform.stage.world.requests_per_s = 400
    again = platform.attribute()
    assert (again.finding, again.rolled_back_to) == ("model", 1)
    assert again.pairs > first.pairs
    assert platform.kinds().count(BEGUN) == 1


def test_advice_moves_nothing(tmp_path: Path) -> None:
    platform = StagedPlatform(tmp_path, rollback="advise")
    platform.behave(empty_share={1: 0.04, 2: 0.1})
    platform.open_case()
    found = platform.attribute()
    assert (found.finding, found.rolled_back_to) == ("model", None)
    assert 'rollback = "advise"' in found.not_rolled_back
    assert platform.serving(MODEL).live == 2
    case = state_of(platform, MODEL).case
    assert case is not None
    assert case.attribution == "model"


def test_a_release_that_failed_before_is_never_gone_back_to(platform: StagedPlatform) -> None:
    platform.behave(empty_share={1: 0.04, 2: 0.1})
    platform.open_case()
    assert platform.attribute().rolled_back_to == 1
    assert platform.stage.controller().promote(MODEL, 3, QUICK).outcome == "settled"
    platform.open_case(release=3)
    platform.behave(empty_share={1: 0.04, 3: 0.1})
    found = platform.attribute()
    assert (found.finding, found.rolled_back_to) == ("model", None)
    assert "1 of 1 automatic rollbacks a day were made" in found.not_rolled_back
    assert platform.serving(MODEL).live == 3


def test_a_first_release_has_nobody_to_be_compared_with(platform: StagedPlatform) -> None:
    platform.stage.controller().rollback(MODEL, 1, "a test")
    platform.open_case(release=1)
    found = platform.attribute()
    assert (found.finding, found.pairs_more) == ("not enough", 0)
    assert "no healthy release before it" in found.reason


def test_what_cannot_be_compared_is_said_before_anything_moves(platform: StagedPlatform) -> None:
    with pytest.raises(UserError, match="no drift case is open"):
        platform.attribute()
    platform.open_case(release=1)
    calls = list(platform.stage.world.calls)
    found = platform.attribute()
    assert found.reason == "the case is about release 1, and 2 serves"
    assert platform.stage.world.calls == calls


def test_a_comparison_that_was_killed_goes_on(platform: StagedPlatform) -> None:
    platform.behave(empty_share={1: 0.04, 2: 0.08})
    platform.open_case()
    counted = 0

    def sleep(seconds: float) -> None:
        nonlocal counted
        counted = platform.kinds().count(COUNTED)
        if counted >= 2:
            raise Killed
        platform.stage.world.sleep(seconds)

    with pytest.raises(Killed):
        platform.attribute(sleep=sleep)
    before = {entry.sequence for entry in platform.journal.read(MODEL) if entry.kind == COUNTED}
    found = platform.attribute()
    assert (found.finding, found.rolled_back_to) == ("model", 1)
    blocks = [entry for entry in platform.journal.read(MODEL) if entry.kind == COUNTED]
    assert before < {entry.sequence for entry in blocks}
    sessions = sum(entry.body["block"]["sessions"] for entry in blocks)
    assert sessions == found.pairs, "no session was counted twice"


def test_a_way_back_that_was_killed_is_gone_to_its_end(platform: StagedPlatform) -> None:
    platform.behave(empty_share={1: 0.04, 2: 0.1})
    platform.open_case()

    def no_controller(*_: object, **__: object) -> object:
        raise Killed

    real = platform.stage.controller
    asked = 0

    def controller(*arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        return real(*arguments, **named) if asked == 1 else no_controller()

    platform.stage.controller = controller  # type: ignore[method-assign]
    with pytest.raises(Killed):
        platform.attribute()
    assert platform.serving(MODEL).live == 2
    platform.stage.controller = real  # type: ignore[method-assign]
    found = platform.attribute()
    assert (found.rolled_back_to, platform.serving(MODEL).live) == (1, 1)
    assert state_of(platform, MODEL).case is None


def test_a_case_that_somebody_ended_meanwhile_moves_nothing(platform: StagedPlatform) -> None:
    platform.behave(empty_share={1: 0.04, 2: 0.1})
    platform.open_case()
    ended = False

    def sleep(seconds: float) -> None:
        nonlocal ended
        if not ended and platform.serving(MODEL).rollout is not None:
            write_down(platform, MODEL, lambda state, _: clear(state, "known"), 1_000_100.0)
            ended = True
        platform.stage.world.sleep(seconds)

    found = platform.attribute(sleep=sleep)
    assert found.not_rolled_back == "somebody ended the case meanwhile"
    assert platform.serving(MODEL).live == 2


def test_the_previous_release_that_does_not_start_is_not_gone_back_to(
    platform: StagedPlatform,
) -> None:
    platform.stage.world.vanish(1)
    platform.stage.world.behaviours = {1: Behaviour(fails=True), 2: Behaviour(empty_share=0.5)}
    platform.open_case()
    found = platform.attribute()
    assert (found.finding, found.rolled_back_to) == ("not enough", None)
    assert platform.serving(MODEL).live == 2
    assert platform.stage.weights == {2: 100}


def count(platform: StagedPlatform) -> Standing | None:
    return count_standing(platform, MODEL, platform.stage.world.clock())


def copy_standing(platform: StagedPlatform, percent: int = 50) -> None:
    plan = QUICK.model_copy(update={"standing_copies": percent})
    assert platform.controller(sleep=platform.stage.world.sleep).promote(MODEL, 3, plan).live == 3


def test_standing_copies_are_counted_once_and_a_case_goes_on_with_them(
    platform: StagedPlatform,
) -> None:
    assert count(platform) is None  # nobody answers copies
    copy_standing(platform)
    platform.behave(empty_share={2: 0.04, 3: 0.10})
    platform.stage.world.sleep(2)
    first = count(platform)
    assert first is not None
    assert first.pairs > 50
    again = count(platform)
    assert again is not None
    assert again.pairs == first.pairs
    platform.stage.world.sleep(2)
    second = count(platform)
    assert second is not None
    assert second.pairs > first.pairs
    pairs = platform.stage.world.mirrored
    assert second.pairs == len({pair.request for pair in pairs if pair.at <= second.until})
    platform.open_case(release=3)
    found = platform.attribute()
    assert (found.finding, found.rolled_back_to) == ("model", 2)
    (whole,) = comparisons(platform.journal.read(MODEL), 1)
    assert whole.attribution.continued is not None
    assert whole.attribution.continued.log_e > whole.attribution.fresh.log_e
    assert found.e_value == pytest.approx(math.exp(whole.attribution.log_e), rel=1e-4)
    platform.journal.verify(MODEL)


def test_a_session_that_standing_copies_told_of_is_no_news_to_the_case(
    platform: StagedPlatform,
) -> None:
    copy_standing(platform, percent=100)
    platform.stage.world.sleep(2)
    assert count(platform) is not None
    platform.open_case(release=3)
    clock = platform.stage.world.clock
    policy = load_model_config(platform.workspace, MODEL).drift
    case = state_of(platform, MODEL).case
    assert case is not None
    comparison = find_or_begin(platform, MODEL, case, 2, policy, clock())
    platform.stage.world.sleep(1)
    seen = Sessions(platform.telemetry, MODEL).block(comparison)
    assert seen.pairs > 0
    platform.stage.world.mirrored.append(
        replace(platform.stage.world.mirrored[0], request="later", at=clock())
    )
    again = Sessions(platform.telemetry, MODEL).block(comparison)
    assert again.pairs == seen.pairs


def test_the_same_block_is_not_written_by_two_watches(platform: StagedPlatform) -> None:
    copy_standing(platform, percent=100)
    platform.stage.world.sleep(2)
    read = platform.telemetry.pairs

    def reads_late(*asked: Any) -> Any:
        platform.telemetry.pairs = read  # type: ignore[method-assign]
        assert count(platform) is not None  # another watch, meanwhile
        return read(*asked)

    platform.telemetry.pairs = reads_late  # type: ignore[method-assign]
    assert count(platform) is not None
    assert platform.kinds().count("standing-pairs") == 1
