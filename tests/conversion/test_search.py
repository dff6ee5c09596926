from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversion.kind import Kind, Recipe
from pipelines.conversion.kinds import KINDS
from pipelines.conversion.ladder import identity, ladder, ladders, named
from pipelines.conversion.search import Budget, search
from pipelines.conversion.search_report import COLUMNS, Measured, Refused, SearchReport
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE = Recipe("onnx-fp32", "onnx", "fp32")
DYNAMIC = Recipe("onnx-int8", "onnx", "int8", {"method": "dynamic", "per_channel": True})
STATIC = Recipe("onnx-int8-static", "onnx", "int8", {"method": "static"})
HALF = Recipe("openvino-fp16", "openvino", "fp16")
OWN = (REFERENCE, DYNAMIC, STATIC, HALF)
LADDERS = tuple(ladder(recipe, OWN) for recipe in OWN[1:])


@dataclass
class Bench:
    """A workshop whose answers are looked up, and whose work takes time by its own clock."""

    outcomes: Mapping[str, Measured | Refused] = field(default_factory=dict)
    default: Measured | Refused = field(default_factory=lambda: Refused("unknown"))
    takes: float = 1.0
    ranking: tuple[str, ...] = ("a", "b", "c")
    now: float = 100.0
    made: list[str] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def make(self, recipe: Recipe, seconds: float) -> Measured | Refused:
        self.begun.append(self.now)
        self.made.append(recipe.variant)
        self.now += min(self.takes, seconds)
        return self.outcomes.get(recipe.variant, self.default)

    def rank(self, _: Recipe, seconds: float) -> tuple[str, ...]:
        self.now += min(self.takes, seconds)
        return self.ranking


def measured(loss: float, size: int, time: float = 5.0, width: float = 0.001) -> Measured:
    return Measured(loss, loss - width, loss + width, size, time)


PARENT = measured(0.0, 4000, 5.0, width=0.0)
BAD = measured(0.5, 1000)


def run(bench: Bench, **changes: Any) -> SearchReport:
    bench.outcomes = {"onnx-fp32": PARENT, **bench.outcomes}
    budget = Budget(changes.pop("budget_s", 100.0), changes.pop("most", None))
    arguments: dict[str, Any] = {"margin": 0.01, "objective": "size"} | changes
    return search(REFERENCE, LADDERS, bench, clock=bench.clock, budget=budget, **arguments)


def test_smallest_that_holds_is_chosen() -> None:
    found = {DYNAMIC.variant: measured(0.002, 1500), HALF.variant: measured(0.0, 2000)}
    report = run(Bench(found, default=BAD))
    assert report.chosen == DYNAMIC
    assert "62% smaller than onnx-fp32, the most of 2 that hold" in report.why
    assert "at most 0.003, the margin is 0.01" in report.why


def test_fastest_is_chosen_when_asked() -> None:
    found = {DYNAMIC.variant: measured(0, 1500, 4.0), HALF.variant: measured(0, 2000, 3.0)}
    assert run(Bench(found, default=BAD), objective="latency").chosen == HALF
    assert run(Bench(found, default=BAD)).chosen == DYNAMIC


def test_bound_counts_and_not_the_estimate() -> None:
    wide = measured(0.002, 1000, width=0.02)
    bench = Bench({DYNAMIC.variant: wide, HALF.variant: measured(0.004, 2000)}, default=wide)
    report = run(bench)
    assert report.chosen == HALF
    assert {one.verdict for one in report.candidates} == {"holds", "beyond"}


def test_parent_is_kept_when_nothing_holds() -> None:
    report = run(Bench(default=measured(0.3, 1000)))
    assert report.chosen == REFERENCE
    assert re.match(r"none of \d+ holds: the best loses up to 0.301", report.why)


def test_parent_is_kept_when_nothing_is_better() -> None:
    report = run(Bench(default=measured(0, 5000)))
    assert report.chosen == REFERENCE
    assert report.why == "of 3 that hold, none is smaller than it"


def test_parent_is_kept_when_nothing_can_be_made() -> None:
    report = run(Bench())
    assert report.chosen == REFERENCE
    assert report.why == "none of 3 could be made or measured"
    assert set(report.untried.values()) == {"unknown"}


def test_parent_that_cannot_be_measured_is_said() -> None:
    report = run(Bench({"onnx-fp32": Refused("it does not load")}))
    assert report.chosen == REFERENCE
    assert report.why == "the parent could not be measured: it does not load"


def test_every_ladder_gets_its_first_rung_before_any_gets_a_second() -> None:
    bench = Bench(default=measured(0.5, 1000))
    run(bench)
    firsts = [one.rungs[0].recipe.variant for one in LADDERS]
    assert bench.made[1:4] == firsts


def test_ladder_that_came_closest_is_climbed_first() -> None:
    near, far = (one.rungs[0].recipe.variant for one in LADDERS[1::-1])
    bench = Bench({near: measured(0.02, 1000), far: measured(0.3, 1000)}, measured(0.5, 1000))
    run(bench)
    assert bench.made[4] == LADDERS[1].rungs[1].recipe.variant


def test_last_rungs_keep_the_most_sensitive_layers() -> None:
    bench = Bench(default=measured(0.5, 1000), ranking=tuple("abcde"))
    report = run(bench)
    kept = [
        one.recipe.parameters["keep"]
        for one in report.candidates
        if one.recipe.variant.startswith("onnx-int8-static-k")
    ]
    assert kept == ["a", "a,b", "a,b,c,d"]
    because = [one.because for one in report.candidates if "-k2-" in one.recipe.variant]
    assert because[0].endswith("2 most sensitive layers kept; the rung before lost too much")


def test_layers_are_kept_on_the_rung_that_lost_least() -> None:
    best = LADDERS[1].rungs[2].recipe
    bench = Bench({best.variant: measured(0.2, 1000)}, default=BAD, ranking=tuple("abc"))
    kept = [one.recipe for one in run(bench).candidates if "static-k" in one.recipe.variant]
    assert [one.parameters for one in kept] == [
        {**best.parameters, "keep": "a"},
        {**best.parameters, "keep": "a,b"},
    ]


def test_ladder_that_could_not_win_is_left() -> None:
    small, large = (one.rungs[0].recipe.variant for one in LADDERS[:2])
    bench = Bench({small: measured(0, 900), large: measured(0.5, 1000)}, measured(0, 2000))
    report = run(bench)
    assert report.untried == {"onnx-int8-static": f"it would not be smaller than {small}"}
    assert large not in {one.recipe.variant for one in report.candidates if one.holds}


def test_time_that_is_spent_ends_the_search() -> None:
    bench = Bench(default=measured(0.5, 1000), takes=10.0)
    report = run(bench, budget_s=35.0)
    assert len(report.candidates) == 3
    assert report.spent_s == 30.0
    assert set(report.untried.values()) == {"the time was spent"}


def test_enough_recipes_end_the_search() -> None:
    report = run(Bench(default=measured(0.5, 1000)), most=2)
    assert len(report.candidates) == 3  # the parent is none of them
    assert set(report.untried.values()) == {"enough were tried"}


def test_no_time_at_all_leaves_the_parent() -> None:
    report = run(Bench(default=measured(0, 1)), budget_s=0.0)
    assert report.chosen == REFERENCE
    assert report.why == "nothing else could be tried in the time"


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_figures_that_are_no_numbers_are_refused(odd: float) -> None:
    report = run(Bench(default=Measured(odd, odd, odd, 10, 1.0)))
    assert report.chosen == REFERENCE
    assert {one.verdict for one in report.candidates[1:]} == {"refused"}


def test_interval_that_does_not_hold_its_estimate_is_refused() -> None:
    report = run(Bench(default=Measured(0.5, 0.0, 0.001, 10, 1.0)))
    assert report.chosen == REFERENCE


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_margin_must_be_a_number(margin: float) -> None:
    with pytest.raises(UserError, match="the margin is"):
        run(Bench(), margin=margin)


losses = st.floats(-0.02, 0.05, allow_nan=False)
outcome = st.one_of(
    st.builds(
        lambda loss, width, size, time: Measured(loss, loss - width, loss + width, size, time),
        losses,
        st.floats(0, 0.02),
        st.integers(1, 6000),
        st.floats(0.1, 10),
    ),
    st.just(Refused("cannot")),
    st.just(Measured(math.nan, 0.0, 0.0, 1, 0.1)),
)


@dataclass
class Scripted(Bench):
    """Answers in the order that a test gives, each taking the time that it gives."""

    script: list[tuple[Measured | Refused, float]] = field(default_factory=list)

    def make(self, recipe: Recipe, seconds: float) -> Measured | Refused:
        self.begun.append(self.now)
        self.made.append(recipe.variant)
        found, takes = self.script[len(self.made) % len(self.script)]
        self.now += min(takes, seconds)
        return PARENT if recipe == REFERENCE else found


SCRIPTS = st.lists(st.tuples(outcome, st.floats(0, 5)), min_size=1, max_size=20)


@settings(max_examples=200, deadline=None)
@given(SCRIPTS, st.floats(0, 40), st.floats(0, 0.03), st.sampled_from(["size", "latency"]))
def test_search_never_chooses_beyond_the_margin_nor_beyond_its_time(
    script: list[tuple[Measured | Refused, float]], budget_s: float, margin: float, objective: Any
) -> None:
    def searched() -> tuple[SearchReport, Scripted]:
        bench = Scripted(script=script)
        report = run(bench, budget_s=budget_s, margin=margin, objective=objective)
        return report, bench

    report, bench = searched()
    assert report == searched()[0]
    assert report.spent_s <= budget_s + 1e-9
    assert all(begun - 100.0 < max(budget_s, 1e-9) for begun in bench.begun)
    assert len({one.recipe.variant for one in report.candidates}) == len(report.candidates)
    chosen = next(one for one in report.candidates if one.recipe == report.chosen)
    if report.chosen != REFERENCE:
        assert isinstance(chosen.outcome, Measured)
        assert chosen.outcome.loss_high <= margin
        better = [
            one.outcome
            for one in report.candidates
            if isinstance(one.outcome, Measured) and one.holds
        ]
        figure = "size_bytes" if objective == "size" else "p50_ms"
        assert getattr(chosen.outcome, figure) == min(getattr(one, figure) for one in better)
    assert SearchReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_report_goes_through_json_and_fits_a_terminal() -> None:
    long = Recipe("openvino-int8-full", "openvino", "int8", {"method": "full", "preset": "mixed"})
    steps = ladder(long, (REFERENCE, long))
    bench = Bench(
        {"onnx-fp32": replace(PARENT, size_bytes=400_000_000)},
        default=measured(0.5, 123_450_000, 1234.5),
        ranking=tuple("abcdefghij"),
    )
    report = search(
        REFERENCE,
        [steps],
        bench,
        margin=0.01,
        objective="size",
        budget=Budget(99),
        clock=bench.clock,
    )
    assert SearchReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    rows = [COLUMNS, *report.rows()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    assert sum(widths) + 2 * (len(widths) - 1) <= 80
    assert rows[1][0] == "> onnx-fp32 *"
    assert any("-k8-" in row[0] for row in rows)
    assert report.points()[0].chosen


NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_rung_of_every_kind_has_a_name_of_its_own(kind: Kind) -> None:
    made = ladders(kind, calibrated=True)
    recipes = {
        identity(rung.recipe): rung.recipe
        for one in made
        for rung in (
            *one.rungs,
            one.kept(one.rungs[0].recipe, ("a",), 1),
            one.kept(one.rungs[0].recipe, "ab", 2),
        )
    }
    names = [one.variant for one in recipes.values()]
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) for name in names)
    own = {recipe.variant: recipe for recipe in kind.recipes}
    for recipe in recipes.values():
        if recipe.variant in own:
            assert own[recipe.variant] == recipe
    assert {one.name for one in ladders(kind, calibrated=False)} <= {one.name for one in made}
    assert not any(
        rung.recipe.is_calibrated for one in ladders(kind, calibrated=False) for rung in one.rungs
    )


def test_names_are_stable_and_say_what_was_kept() -> None:
    kept = LADDERS[1].kept(STATIC, ("encoder:a", "encoder:b"), 2).recipe
    assert re.fullmatch(r"onnx-int8-static-k2-[0-9a-f]{8}", kept.variant)
    assert kept == LADDERS[1].kept(STATIC, ("encoder:a", "encoder:b", "c"), 2).recipe
    assert kept.variant != LADDERS[1].kept(STATIC, ("encoder:b", "encoder:a"), 2).recipe.variant
    assert named("a", replace(DYNAMIC, variant="x")) == named("a", replace(DYNAMIC, variant="y"))


def test_recipe_of_the_kind_keeps_its_name_on_a_ladder() -> None:
    assert [rung.recipe.variant for rung in LADDERS[0].rungs][1] == "onnx-int8"
    assert LADDERS[0].rungs[1].recipe == DYNAMIC
    assert LADDERS[0].rungs[0].recipe.variant.startswith("onnx-int8-")
