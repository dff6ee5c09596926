"""A rollout explained: replayed exactly, drawn within its width, told on a page of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from canary.explain import explain
from canary.explain_page import render_html
from canary.explain_plot import Frame, curve_view, text_chart
from canary.explain_words import e_value, replayed, title
from canary.rollout import RolloutPlan, Step
from canary.standing import STANDING
from registry.errors import UserError
from tests.rollout.stage import MODEL, QUICK, Stage, after

from .world import Behaviour, MemoryWorld

if TYPE_CHECKING:
    from pathlib import Path

    from canary.explanation import Explanation
    from registry.journal import Entry

BEHAVIOURS = {
    "good": Behaviour(error_share=0.01),
    "harmful": Behaviour(error_share=0.3),
    "slow": Behaviour(slow_share=0.4),
    "never loads": Behaviour(fails=True),
    "unfit": Behaviour(unfit=True),
}


def rolled_out(folder: Path, *behaviours: Behaviour, plan: RolloutPlan = QUICK) -> Stage:
    """Release 1 serves; each behaviour is one more release that is rolled out."""
    stage = Stage.at(folder, MemoryWorld(behaviours={1: Behaviour(error_share=0.01)}))
    stage.controller().promote(MODEL, 1, plan)
    for release, behaviour in enumerate(behaviours, start=2):
        stage.world.behaviours[release] = behaviour
        stage.controller().promote(MODEL, release, plan)
    return stage


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_every_decision_comes_out_the_same(tmp_path: Path, name: str) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS[name])
    explanation = explain(stage.entries())
    assert len(explanation.decisions) >= 1
    assert explanation.disagreements == ()
    assert all(one.evidence_differs_by == 0 for one in explanation.decisions)
    ended = stage.serving.history[-1]
    assert (explanation.outcome, explanation.reason) == (ended.outcome, ended.reason)
    assert explanation.to_json()["agrees"] is True


def test_people_who_step_in_are_told_and_change_no_replay(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path)
    controller = stage.controller("ann")
    pausing = after(stage, 6, lambda: controller.request_pause(MODEL, "lunch"))
    assert stage.controller(sleep=pausing).promote(MODEL, 2, QUICK).outcome == "paused"
    going_back = after(stage, 6, lambda: controller.rollback(MODEL, reason="complaints"))
    with pytest.raises(Exception, match="lease"):
        stage.controller(sleep=going_back).resume(MODEL)
    explanation = explain(stage.entries())
    assert explanation.disagreements == ()
    reasons = [(step.title, step.left_by, step.reason) for step in explanation.steps]
    assert ("step 1", "paused", "lunch") in reasons
    assert ("paused", "resume-requested", "ci: asked for") in reasons
    assert any(left == "rollback-requested" and "complaints" in why for _, left, why in reasons)


def test_a_changed_decision_is_named(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["harmful"])
    changed = changing(stage.entries(), "roll-back", reason="a whim", rule="health")
    (one,) = explain(changed).disagreements
    assert one.recorded.reason == "a whim"
    assert one.again.decision == "roll-back"
    assert "more errors" in one.again.reason
    assert replayed(explain(changed)).startswith("1 of ")


def test_a_changed_observation_is_noticed(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["harmful"])
    entries = stage.entries()
    last = next(one for one in entries if one.body.get("decision") == "roll-back")
    observation = last.body["observation"]
    milder = {release: [arm[0], 0, 0] for release, arm in observation["counters"].items()}
    changed = changing(entries, "roll-back", observation={**observation, "counters": milder})
    (one,) = explain(changed).disagreements
    assert one.recorded.decision == "roll-back"
    assert one.again.decision != "roll-back"


def changing(entries: tuple[Entry, ...], decision: str, **body: object) -> list[Entry]:
    """The journal with another body in its first such decision, and no word of where it led."""
    number = next(i for i, one in enumerate(entries) if one.body.get("decision") == decision)
    entry = entries[number]
    return [
        *entries[:number],
        replace(entry, body={**entry.body, **body}),
        *(replace(one, body=without_standing(one)) for one in entries[number + 1 :]),
    ]


def without_standing(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in entry.body.items() if name != STANDING}


def test_the_steps_add_up_to_the_evidence(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["good"])
    explanation = explain(stage.entries())
    titles = [step.title for step in explanation.steps]
    assert titles == ["loading", "step 1", "step 2", "baking"]
    assert [step.weight for step in explanation.steps] == [0, 10, 50, 100]
    told = explanation.moments[-1]
    entry = next(one for one in stage.entries() if one.sequence == told.sequence)
    requests = entry.body["evidence"]["candidate"][0]
    assert sum(step.candidate_requests for step in explanation.steps) == requests
    assert all(step.ended_at is not None for step in explanation.steps)
    assert explanation.steps[1].candidate_requests >= 50
    assert "no evidence of harm after 2 s" in explanation.steps[1].reason


def test_a_curve_ends_where_the_journal_says(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["harmful"])
    explanation = explain(stage.entries())
    entry = next(one for one in stage.entries() if one.body.get("decision") == "roll-back")
    curve = next(one for one in explanation.curves if one.name == "errors")
    recorded = entry.body["evidence"]["tests"]["errors"]
    assert curve.points[-1] == (entry.at, recorded["log_e"])
    assert curve.acts_at == recorded["acts_at"]
    assert curve.reached
    assert curve.points[0][1] == 0


def test_a_shadow_step_shows_its_pairs(tmp_path: Path) -> None:
    plan = RolloutPlan(
        steps=(Step(shadow=50, hold_s=1), Step(weight=10, hold_s=1), Step(weight=100)),
        bake_s=1,
        no_traffic_s=2,
        load_timeout_s=5,
    )
    stage = rolled_out(tmp_path, BEHAVIOURS["good"], plan=plan)
    explanation = explain(stage.entries(), 2)
    assert explanation.disagreements == ()
    assert explanation.steps[1].shadow == 50
    assert {"pairs", "no_more_bad"} <= {curve.name for curve in explanation.curves}


def test_any_rollout_can_be_named(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["good"], BEHAVIOURS["harmful"])
    assert [explain(stage.entries(), number).candidate for number in (1, 2, 3)] == [1, 2, 3]
    assert explain(stage.entries()).rollout == 3
    with pytest.raises(UserError, match="rollouts 1 to 3"):
        explain(stage.entries(), 9)
    with pytest.raises(UserError, match="no rollout yet"):
        explain([])


def test_one_under_way_is_explained_so_far(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["good"])
    entries = stage.entries()
    advanced = next(i for i, one in enumerate(entries) if one.body.get("decision") == "advance")
    explanation = explain(entries[: advanced + 1])
    assert (explanation.outcome, explanation.ended_at) == ("shifting", None)
    assert explanation.steps[-1].ended_at is None
    assert "Under way" in render_html(explanation)


@pytest.fixture
def harmful(tmp_path: Path) -> Explanation:
    return explain(rolled_out(tmp_path, BEHAVIOURS["harmful"]).entries())


@pytest.mark.parametrize(("width", "height"), [(80, 8), (40, 5), (120, 12)])
def test_a_chart_is_plain_and_fits(harmful: Explanation, width: int, height: int) -> None:
    for curve in harmful.curves:
        lines = text_chart(curve, harmful, width=width, height=height)
        assert len(lines) == height + 1
        assert all(line.isascii() and len(line) <= width for line in lines)
    errors = next(curve for curve in harmful.curves if curve.name == "errors")
    lines = text_chart(errors, harmful, width=width, height=height)
    assert lines[-1].endswith("R")
    threshold = next(number for number, line in enumerate(lines) if "---" in line)
    assert "*" in "".join(lines[: threshold + 1])
    assert e_value(errors.acts_at) in lines[threshold]


def test_places_on_the_scale(harmful: Explanation) -> None:
    curve = next(one for one in harmful.curves if one.name == "errors")
    frame = Frame.around(curve, harmful)
    assert frame.y(curve.highest) < frame.y(curve.acts_at) < frame.y(0.0) < frame.y(-99.0) == 1
    assert frame.x(harmful.started_at) == 0
    view = curve_view(curve, harmful)
    points = [tuple(map(float, pair.split(","))) for pair in view.line.split()]
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert (view.mood, view.status) == ("alarm", "harm")
    assert min(y for _, y in points) < view.acts < view.one


@pytest.mark.parametrize(
    ("log_e", "shown"), [(0.0, "1"), (5.298317, "200"), (2000.0, "10^869"), (-50.0, "10^-22")]
)
def test_e_values_are_readable(log_e: float, shown: str) -> None:
    assert e_value(log_e) == shown


def test_every_test_has_words(harmful: Explanation) -> None:
    for curve in harmful.curves:
        assert title(curve.name)[0].isupper()
        assert "_" not in title(curve.name)
    assert title("no_more_new_thing") == "No more new thing, beyond the margin"


class Page(HTMLParser):
    """Tags, and what they would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href", "srcset"}]


def test_the_page_loads_nothing_and_escapes_what_people_write(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["good"])
    stage.controller().rollback(MODEL, reason="<b>worse & slower</b>")
    page = render_html(explain(stage.entries()))
    read = Page(page)
    assert "script" not in read.tags
    assert read.loads == []
    assert not re.search(r"url\(|@import|https?://", page)
    assert "&lt;b&gt;worse &amp; slower&lt;/b&gt;" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_page_draws_each_test_and_lists_what_differs(tmp_path: Path) -> None:
    stage = rolled_out(tmp_path, BEHAVIOURS["harmful"])
    explanation = explain(stage.entries())
    page = render_html(explanation)
    assert page.count("<polyline") == len(explanation.curves)
    assert "come out otherwise" not in page
    changed = explain(changing(stage.entries(), "roll-back", reason="a whim"))
    assert "Decisions that come out otherwise" in render_html(changed)
