"""Ours on simulated traffic: against the core, its alpha, sessions; the traffic; the benchmark."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from benchmarks import canary_rules
from benchmarks.canary_field import page
from benchmarks.canary_field.naive import Naive
from benchmarks.canary_field.serving import serve
from benchmarks.canary_field.sluice import Sluice
from benchmarks.canary_field.traces import (
    BOUNDS,
    ERRORS,
    EXTRA_ERRORS,
    HORIZON_S,
    OVER_1000_MS,
    REQUESTS,
    Cell,
    Trace,
    draw,
)
from canary.blocks import Block
from canary.metrics import Evidence
from canary.plan import RolloutPlan, Step
from canary.ports import ArmCounters

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.canary_field.serving import Outcome
    from benchmarks.canary_field.traces import Counts


def most_by_chance(runs: int, alpha: float) -> float:
    """Four standard deviations above alpha: a false alarm of the test once in 30,000."""
    return alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)


PLANS = (
    RolloutPlan(bake_s=120),
    RolloutPlan(
        steps=(Step(weight=10, hold_s=30, min_requests=400), Step(weight=100)),
        requests_per_session=2,
        bake_s=60,
    ),
)


@pytest.mark.parametrize("plan", PLANS, ids=["default", "sessions"])
@pytest.mark.parametrize("fault", ["none", "step", "ramp"])
def test_ours_is_what_the_core_decides(plan: RolloutPlan, fault: str) -> None:
    (trace,) = draw([Cell(20.0, 0.03, fault)], runs=6, seed=5)
    outcome = Sluice(plan).roll_out(trace)
    expected = [by_the_core(trace, run, plan) for run in range(trace.runs)]
    assert outcome.seconds.tolist() == expected
    assert (fault == "none") == all(math.isinf(second) for second in expected)


def by_the_core(trace: Trace, run: int, plan: RolloutPlan) -> float:
    """One run by `Evidence` and `Block`, in the order of `canary.decide`: when it goes back."""
    evidence, block, step = Evidence.none(plan), Block(), 0
    opened = held_from = 0.0
    answers = 0
    for end, counts in zip(trace.ends.tolist(), trace.counts, strict=True):
        last = step == len(plan.steps) - 1
        if last and end >= held_from + plan.bake_s:
            break
        block += gained(counts[:, :, run], plan.steps[step].weight)
        seen = evidence.seen.candidate.requests
        if block.complete(compared=not last, seen=seen, seconds=end - opened):
            evidence, answers = evidence.after(block), answers + block.candidate.requests
            block, opened = Block(), end
        assert not evidence.baseline_sick
        if evidence.harmful or (last and evidence.sick):
            return float(end)
        enough = answers + block.candidate.requests >= max(plan.steps[step].min_requests, 10)
        enough |= answers + block.candidate.requests >= 10 and evidence.harmless
        held = end - held_from >= plan.steps[step].hold_s
        if not last and held and enough and not evidence.in_doubt:
            evidence = evidence.after(block)
            block, opened, held_from, answers, step = Block(), end, end, 0, step + 1
    return math.inf


def test_an_outage_of_both_arms_turns_no_candidate_back_while_both_answer() -> None:
    """The candidate is seen to be sick first, for the baseline has more good answers."""
    well = Block(ArmCounters(20), ArmCounters(1980))
    outage = Block(ArmCounters(100, 90), ArmCounters(1900, 1710))
    evidence = Evidence.none(RolloutPlan()).after(well).after(outage)
    assert evidence.sick
    assert not evidence.baseline_sick
    assert not evidence.harmful


def gained(counts: Counts, weight: int) -> Block:
    """One tick of one run as a block; counts have the shape (kinds, bounds)."""
    one = counts[:, BOUNDS.index(weight)]
    other = counts[:, -1] - one
    bad = int(one[ERRORS] + one[EXTRA_ERRORS])
    return Block(
        ArmCounters(int(one[REQUESTS]), bad, int(one[OVER_1000_MS])),
        ArmCounters(int(other[REQUESTS]), int(other[ERRORS]), int(other[OVER_1000_MS])),
    )


def turned_back(outcome: Outcome) -> float:
    return float(outcome.turned_back.mean())


def test_ours_keeps_its_alpha_where_the_naive_rule_is_mostly_false() -> None:
    runs = 200
    (trace,) = draw([Cell(20.0, 0.01)], runs=runs, seed=3)
    assert turned_back(Sluice().roll_out(trace)) <= most_by_chance(runs, RolloutPlan().alpha)
    assert turned_back(serve(trace, Naive())) > 0.2


def test_sessions_break_alpha_when_their_requests_are_counted_one_by_one() -> None:
    runs = 150
    (trace,) = draw([Cell(20.0, 0.01, session_mean=5.0)], runs=runs, seed=4)
    chance = most_by_chance(runs, RolloutPlan().alpha)
    assert turned_back(Sluice().roll_out(trace)) > chance
    assert turned_back(Sluice(by_sessions=True).roll_out(trace)) <= chance
    tempered = RolloutPlan(requests_per_session=25)
    assert turned_back(Sluice(tempered).roll_out(trace)) <= chance


def test_a_fault_changes_nothing_but_the_candidates_answers() -> None:
    cells = [Cell(20.0, 0.01, fault) for fault in ("none", "step", "rare")]
    none, *faults = draw(cells, runs=5, seed=1)
    assert not none.counts[:, EXTRA_ERRORS].any()
    for trace in faults:
        assert (trace.counts[:, :EXTRA_ERRORS] == none.counts[:, :EXTRA_ERRORS]).all()
        answered = trace.counts[:, [ERRORS, EXTRA_ERRORS]].sum(axis=1)
        assert (answered <= trace.counts[:, REQUESTS]).all()
    share = faults[0].counts[:, EXTRA_ERRORS, -1].sum() / none.counts[:, REQUESTS, -1].sum()
    assert share == pytest.approx(0.04, rel=0.05)


def test_the_same_seed_gives_the_same_figures() -> None:
    once, again, other = (
        next(draw([Cell(20.0, 0.01, "step")], runs=8, seed=seed)) for seed in (1, 1, 2)
    )
    assert (once.counts == again.counts).all()
    assert (once.counts != other.counts).any()
    outcomes = [Sluice().roll_out(trace) for trace in (once, again)]
    assert (outcomes[0].seconds == outcomes[1].seconds).all()
    assert (outcomes[0].harmed == outcomes[1].harmed).all()


def test_minutes_hold_all_that_the_ticks_held() -> None:
    (trace,) = draw([Cell(20.0, 0.01)], runs=2, seed=6)
    assert trace.minutes.shape[0] == HORIZON_S // 60
    assert (trace.minutes.sum(axis=0) == trace.counts.sum(axis=0)).all()
    first = trace.counts[trace.ends <= 60].sum(axis=0)
    assert (trace.minutes[0] == first).all()
    assert all(after > before for before, after in pairwise(trace.ends))


def test_the_benchmark_ends_with_one_json_object_and_draws_its_figure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = tmp_path / "figure.svg"
    canary_rules.main(["--seed", "1", "--runs", "3", "--traffic", "20", "--out", str(figure)])
    lines = capsys.readouterr().out.strip().splitlines()
    result = json.loads(lines[-1])
    assert len(result["rows"]) == len(lines) - 1
    assert {row["rule"] for row in result["rows"]} >= {"flagger", "argo", "kayenta", "naive"}
    assert set(result["rows"][0]) >= {*canary_rules.COLUMNS, "rule", "traffic_rps", "fault"}
    assert "Kayenta" in figure.read_text()
    write_twice(result, tmp_path / "page.md")


def write_twice(result: dict[str, object], path: Path) -> None:
    """The measured part is replaced, and what stands around it is kept."""
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write(result, path)
    once = path.read_text()
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert "Sluice, default plan" in once
    page.write(result, path)
    assert path.read_text() == once
    path.write_text("no marks")
    with pytest.raises(ValueError, match="must have one"):
        page.write(result, path)
