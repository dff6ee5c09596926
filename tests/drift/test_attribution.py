"""What the pairs say: the release, the data, neither, or how much is missing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from benchmarks.drift_attribution import USUAL, WORLDS, run
from canary.betting import worse_bets
from canary.pairs import BAD
from canary.ports import Output, Pair
from drift.attribution import (
    Attribution,
    AttributionPlan,
    DataChanged,
    ModelWorse,
    NeitherWorse,
    NotEnough,
    usual_limit,
)
from drift.pair_blocks import UNSURE, PairBlock, count_block
from drift.policy import DriftPolicy

POLICY = DriftPolicy()
GOOD, EMPTY = Output(log_probability=-0.2), Output(empty=True, log_probability=-0.2)


def begun(alpha: float = 0.01, *, usual: tuple[int, int] | None = USUAL) -> Attribution:
    return Attribution.begun(AttributionPlan.of(POLICY, alpha, usual))


def pairs(previous: list[Output], current: list[Output], *, prefix: str = "s") -> list[Pair]:
    return [
        Pair(f"{prefix}{number}", f"{prefix}{number}", float(number), before, now)
        for number, (before, now) in enumerate(zip(previous, current, strict=True))
    ]


def mixed(rng: np.random.Generator, count: int, share: float) -> list[Output]:
    return [EMPTY if bad else GOOD for bad in rng.random(count) < share]


def test_a_worse_release_is_the_models_fault(rng: np.random.Generator) -> None:
    block = count_block(pairs(mixed(rng, 2500, 0.04), mixed(rng, 2500, 0.08)))
    found = begun().after(block).outcome(1.0)
    assert isinstance(found, ModelWorse)
    assert "worse on the same inputs" in found.reason


def test_a_worse_world_is_the_datas_fault(rng: np.random.Generator) -> None:
    """The same inputs are bad for both: no evidence against the release."""
    outputs = mixed(rng, 2500, 0.15)
    found = begun().after(count_block(pairs(outputs, outputs))).outcome(1.0)
    assert isinstance(found, DataChanged)


def test_nothing_wrong_closes_the_case(rng: np.random.Generator) -> None:
    block = count_block(pairs(mixed(rng, 6000, 0.02), mixed(rng, 6000, 0.02)))
    assert isinstance(begun().after(block).outcome(1.0), NeitherWorse)


def test_without_a_usual_rate_nothing_is_blamed_on_the_data(rng: np.random.Generator) -> None:
    outputs = mixed(rng, 3000, 0.4)
    found = begun(usual=None).after(count_block(pairs(outputs, outputs))).outcome(1.0)
    assert isinstance(found, NeitherWorse)


def test_too_few_pairs_say_how_many_and_how_long(rng: np.random.Generator) -> None:
    nothing = begun().outcome(0.5)
    assert isinstance(nothing, NotEnough)
    assert nothing.seconds == pytest.approx(2 * nothing.pairs_more)
    assert isinstance(begun().outcome(0.0), NotEnough)
    assert begun().outcome(0.0) == NotEnough(nothing.reason, nothing.pairs_more, None)
    some = begun().after(count_block(pairs(mixed(rng, 300, 0.04), mixed(rng, 300, 0.04))))
    found = some.outcome(1.0)
    assert isinstance(found, NotEnough)
    assert 0 < found.pairs_more < 8000


def test_the_forecast_is_about_right() -> None:
    """With about as many pairs as asked for, most cases without a difference end."""
    ended = 0
    for number in range(6):
        draw = np.random.default_rng(number)
        first = begun().after(count_block(pairs(mixed(draw, 200, 0.04), mixed(draw, 200, 0.04))))
        asked = first.outcome(1.0)
        assert isinstance(asked, NotEnough)
        more = round(1.5 * asked.pairs_more)
        rest = pairs(mixed(draw, more, 0.04), mixed(draw, more, 0.04), prefix="t")
        ended += not isinstance(first.after(count_block(rest)).outcome(1.0), NotEnough)
    assert ended >= 3


def test_a_case_that_no_number_of_pairs_tells_is_a_persons(rng: np.random.Generator) -> None:
    plan = AttributionPlan.of(POLICY.model_copy(update={"most_pairs": 200}), 0.01, None)
    block = count_block(pairs(mixed(rng, 200, 0.3), mixed(rng, 200, 0.32)))
    found = Attribution.begun(plan).after(block).outcome(1.0)
    assert isinstance(found, NotEnough)
    assert (found.pairs_more, found.seconds) == (0, None)


def test_a_session_is_one_unit_and_counted_once() -> None:
    loud = [Pair(f"r{number}", "one", 1.0, GOOD, EMPTY) for number in range(500)]
    block = count_block([*loud, Pair("r", "two", 2.0, GOOD, GOOD)])
    assert (block.pairs, block.sessions, block.until) == (501, 2, 2.0)
    assert block.differences[BAD] == ((0, 1, 1), (1, 1, 1))
    assert block.outputs[BAD] == (0, 500)
    assert count_block(loud, known={"one"}).sessions == 0
    assert not isinstance(begun().after(count_block(loud)).outcome(1.0), ModelWorse)


def test_low_log_probability_is_a_signal_of_its_own(rng: np.random.Generator) -> None:
    unsure = Output(log_probability=-3.0)
    told = pairs([GOOD] * 400, [unsure if x else GOOD for x in rng.random(400) < 0.2])
    assert UNSURE not in count_block(told).differences
    block = count_block(told, unsure_under=-2.0)
    assert block.outputs[UNSURE][1] > 50
    assert isinstance(begun().after(block).outcome(1.0), ModelWorse)
    silent = pairs([Output()] * 9, [Output()] * 9)  # no probability is no signal
    assert count_block(silent, unsure_under=-2.0).outputs[UNSURE] == (0, 0)


def test_blocks_survive_the_journal_and_add_up_to_the_same(rng: np.random.Generator) -> None:
    told = pairs(mixed(rng, 300, 0.1), mixed(rng, 300, 0.2))
    first, second = count_block(told[:120]), count_block(told[120:], unsure_under=-1.0)
    body = json.loads(json.dumps(first.to_json()))
    assert PairBlock.from_json(body) == first
    parts = begun().after(PairBlock.from_json(body)).after(second)
    whole = begun().after(count_block(told, unsure_under=-1.0))
    assert parts.log_e == pytest.approx(whole.log_e)
    assert json.loads(json.dumps(parts.to_json()))["pairs"] == 300


def test_a_margin_forgives_a_small_difference(rng: np.random.Generator) -> None:
    policy = DriftPolicy(worse_margin=0.05, tolerated=0.06)
    block = count_block(pairs(mixed(rng, 4000, 0.04), mixed(rng, 4000, 0.08)))
    strict, kind = (
        Attribution.begun(AttributionPlan.of(one, 0.01, USUAL)).after(block)
        for one in (POLICY, policy)
    )
    assert isinstance(strict.outcome(1.0), ModelWorse)
    assert not isinstance(kind.outcome(1.0), ModelWorse)
    for margin in (0.0, 0.3):  # no bet can lose everything with one value
        payoffs = worse_bets(margin).log_payoffs([(-1.0, 1)])
        assert np.isfinite(payoffs).all()


def test_a_standing_holdback_tells_sooner(rng: np.random.Generator) -> None:
    before = count_block(pairs(mixed(rng, 600, 0.04), mixed(rng, 600, 0.09)))
    after = count_block(pairs(mixed(rng, 500, 0.04), mixed(rng, 500, 0.09), prefix="t"))
    alone = begun().after(after)
    plan = AttributionPlan.of(POLICY, 0.01, USUAL)
    helped = Attribution.begun(plan, begun().after(before).fresh).after(after)
    assert helped.log_e > alone.log_e - math.log(2)
    assert isinstance(helped.outcome(1.0), ModelWorse)


def test_the_usual_limit_leaves_room_for_chance() -> None:
    limit = usual_limit(4, 100, 0.02)
    assert limit is not None
    assert 0.09 < limit < 0.13
    assert usual_limit(0, 0, 0.02) is None
    assert usual_limit(5, 5, 0.02) is None


def test_the_world_hardly_ever_rolls_back_and_a_worse_release_nearly_always() -> None:
    """`python -m benchmarks.drift_attribution` does this 2,000 times."""
    rng = np.random.default_rng(8)
    world = [run(rng, WORLDS["world changed"]) for _ in range(8)]
    assert sum("model" in one for one in world) <= 2
    assert sum("data" in one for one in world) >= 7
    worse = [run(rng, WORLDS["model worse"]) for _ in range(25)]
    assert sum("model" in one for one in worse) >= 24
    assert np.median([one["model"] for one in worse if "model" in one]) <= 1200
