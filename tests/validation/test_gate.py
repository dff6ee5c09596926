"""From answers to verdicts: every way to pass, to fail and not to know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from registry.errors import UserError
from validation.contracts import ContractReport, ExpectationOutcome
from validation.gate import Check, GateReport, judge
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from validation.answers import Answer
    from validation.dataset import Dataset
    from validation.policy import GatePolicy


class Bench:
    """One set, and everything that judging it takes."""

    def __init__(self, make_dataset: Any, make_policy: Any, answer_all: Any) -> None:
        self.make_dataset, self.make_policy, self.answer_all = make_dataset, make_policy, answer_all
        self.dataset: Dataset = make_dataset()
        self.size = len(self.dataset.utterances)

    def policy(self, **settings: Any) -> GatePolicy:
        policy: GatePolicy = self.make_policy(**settings)
        return policy

    def answers(
        self, rate: float, fixed: Mapping[str, int | None] | None = None, *, seed: int = 0
    ) -> tuple[Answer, ...]:
        """Word errors at `rate`; utterances of `fixed` (by id) have exactly those."""
        drawn: list[int | None] = list(
            map(int, np.random.default_rng(seed).binomial(6, rate, self.size))
        )
        names = [utterance.id for utterance in self.dataset.utterances]
        for name, errors in (fixed or {}).items():
            drawn[names.index(name)] = errors
        answers: tuple[Answer, ...] = self.answer_all(self.dataset, drawn)
        return answers

    def judge(self, candidate: tuple[Answer, ...], **settings: Any) -> GateReport:
        given = {
            name: settings.pop(name)
            for name in ("parent", "production", "production_error", "contract", "digests")
            if name in settings
        }
        return judge(self.policy(**settings), self.dataset, candidate, **given)


@pytest.fixture
def bench(make_dataset: Any, make_policy: Any, answer_all: Any) -> Bench:
    return Bench(make_dataset, make_policy, answer_all)


def find(report: GateReport, name: str, part: str = "all") -> Check:
    (check,) = [one for one in report.checks if (one.name, one.slice) == (name, part)]
    return check


def verdicts(report: GateReport) -> dict[tuple[str, str], str]:
    return {(check.name, check.slice): check.verdict.label for check in report.checks}


def test_a_good_model_passes(bench: Bench) -> None:
    report = bench.judge(bench.answers(0.01), limits={"wer": 0.05, "cer": 0.06, "empty": 0.01})
    assert report.verdict is Verdict.PASS
    assert [check.name for check in report.checks] == ["failed", "wer", "cer", "empty"]
    wer = find(report, "wer")
    assert wer.low is not None
    assert wer.value is not None
    assert wer.high is not None
    assert 0 <= wer.low < wer.value < wer.high < 0.05
    assert wer.p_value is not None
    assert wer.p_value < 0.025


def test_a_bad_model_fails_and_a_middling_one_is_inconclusive(bench: Bench) -> None:
    answers = bench.answers(0.05)
    measured = bench.judge(answers).metrics["wer"]
    assert bench.judge(answers, limits={"wer": 0.6 * measured}).verdict is Verdict.FAIL
    near = bench.judge(answers, limits={"wer": 1.05 * measured})
    assert near.verdict is Verdict.INCONCLUSIVE
    assert "clusters" in find(near, "wer").reason
    assert "would do" in find(near, "wer").reason
    beyond = bench.judge(answers, limits={"wer": 0.95 * measured})
    assert beyond.verdict is Verdict.INCONCLUSIVE
    assert "a pass is unlikely" in find(beyond, "wer").reason


def test_metrics_are_plain_corpus_numbers(bench: Bench) -> None:
    answers = bench.answers(0.0, {"s000-00": 3, "s000-01": None})
    metrics = bench.judge(answers, max_failed=0.1).metrics
    assert metrics["wer"] == pytest.approx(9 / (6 * 448))
    assert metrics["substitutions"] == 3
    assert metrics["deletions"] == 6
    assert metrics["utterances"] == 448
    assert metrics["clusters"] == 32
    assert metrics["failed"] == metrics["empty"] == pytest.approx(1 / 448, rel=1e-6)
    assert metrics["wer.noise.clean"] == pytest.approx(3 / (6 * 224), rel=1e-6)
    assert metrics["wer.noise.noisy"] == pytest.approx(6 / (6 * 224), rel=1e-6)


def test_a_failed_answer_counts_as_deletions_and_as_a_failure(bench: Bench) -> None:
    report = bench.judge(bench.answers(0.0, {"s003-05": None}))
    failed = find(report, "failed")
    assert (failed.verdict, report.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "1 of 448" in failed.reason
    assert find(report, "wer").value == pytest.approx(6 / (6 * 448), rel=1e-6)
    tolerated = bench.judge(bench.answers(0.0, {"s003-05": None}), max_failed=0.01)
    assert tolerated.verdict is Verdict.PASS


def test_text_of_a_failed_answer_is_not_scored(bench: Bench) -> None:
    answers = list(bench.answers(0.0))
    answers[7] = replace(answers[7], error="cancelled")
    report = bench.judge(tuple(answers), max_failed=0.01)
    assert report.metrics["deletions"] == 6


def test_an_engine_that_answers_nothing_is_an_error_not_a_bad_model(bench: Bench) -> None:
    nothing = bench.answer_all(bench.dataset, [None] * bench.size)
    report = bench.judge(nothing)
    assert report.verdict is Verdict.ERROR
    assert "out of memory" in report.checks[0].reason
    assert not report.metrics


def test_empty_answers_are_a_check_of_their_own(bench: Bench) -> None:
    answers = tuple(
        replace(answer, text="") if number % 14 == 0 else answer
        for number, answer in enumerate(bench.answers(0.0))
    )
    report = bench.judge(answers, limits={"wer": 0.5, "empty": 0.02})
    assert find(report, "empty").verdict is Verdict.FAIL
    assert find(report, "wer").verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda answers: answers[2:], "2 without an answer: s000-00, s000-01"),
        (
            lambda answers: (*answers, replace(answers[0], id="x")),
            "1 answered but not in the set: x",
        ),
        (lambda answers: (*answers, answers[5]), "1 answered more than once: s000-05"),
        (lambda _: (), "448 without an answer"),
    ],
)
def test_answers_that_do_not_meet_the_set_are_an_error(
    bench: Bench, change: Callable[[Any], Any], word: str
) -> None:
    report = bench.judge(change(bench.answers(0.0)))
    assert report.verdict is Verdict.ERROR
    assert word in report.checks[0].reason


def test_order_of_answers_does_not_matter(bench: Bench) -> None:
    answers = bench.answers(0.03)
    assert bench.judge(answers[::-1]).to_json() == bench.judge(answers).to_json()


def test_an_equal_candidate_passes_both_margins_and_all_slices(bench: Bench) -> None:
    same = bench.answers(0.03)
    report = bench.judge(
        same, parent=same, production=same, margins={"parent": 0.01, "production": 0.01}
    )
    expected = {("failed", "all"), ("wer", "all")} | {
        (f"wer_over_{name}", part)
        for name in ("parent", "production")
        for part in ("all", "noise=clean", "noise=noisy")
    }
    assert set(verdicts(report)) == expected
    assert report.verdict is Verdict.PASS
    over = find(report, "wer_over_parent")
    assert over.value == 0
    # Identical transcripts are not proof that none would ever differ.
    assert over.high is not None
    assert 0 < over.high < 0.01


def test_a_worse_candidate_fails_the_margin_though_it_keeps_the_limit(bench: Bench) -> None:
    report = bench.judge(
        bench.answers(0.06),
        parent=bench.answers(0.01, seed=1),
        margins={"parent": 0.01},
        limits={"wer": 0.5},
    )
    assert find(report, "wer").verdict is Verdict.PASS
    assert find(report, "wer_over_parent").verdict is Verdict.FAIL


def test_certainly_worse_within_the_margin_passes(bench: Bench) -> None:
    slightly = {f"s{speaker:03d}-00": 1 for speaker in range(32)}
    report = bench.judge(
        bench.answers(0.0, slightly), parent=bench.answers(0.0), margins={"parent": 0.05}
    )
    over = find(report, "wer_over_parent")
    assert over.low is not None
    assert over.low > 0
    assert over.verdict is Verdict.PASS


def test_a_regression_in_one_slice_is_found(bench: Bench) -> None:
    noisy = [utterance.columns["noise"] == "noisy" for utterance in bench.dataset.utterances]
    errors = [int(bad and number % 4 == 1) for number, bad in enumerate(noisy)]
    errors = [3 * wrong for wrong in errors]
    candidate = bench.answer_all(bench.dataset, errors)
    report = bench.judge(
        candidate,
        parent=bench.answers(0.0),
        limits={},
        margins={"parent": 0.2},
        slice_margins={"parent": 0.1},
    )
    assert verdicts(report) == {
        ("failed", "all"): "pass",
        ("wer_over_parent", "all"): "pass",
        ("wer_over_parent", "noise=clean"): "pass",
        ("wer_over_parent", "noise=noisy"): "fail",
    }


def test_slices_may_have_limits_of_their_own(bench: Bench) -> None:
    report = bench.judge(bench.answers(0.03), slice_limits={"wer": 0.10})
    assert verdicts(report)["wer", "noise=noisy"] == "pass"
    assert verdicts(report)["wer", "noise=clean"] == "pass"


def test_a_margin_without_its_answers_is_an_error_for_the_parent_only(bench: Bench) -> None:
    report = bench.judge(bench.answers(0.01), margins={"parent": 0.01, "production": 0.01})
    assert find(report, "wer_over_parent").verdict is Verdict.ERROR
    assert report.verdict is Verdict.ERROR
    assert not [check for check in report.checks if check.name == "wer_over_production"]
    assert report.provenance["answers"]["production"] is None


def test_nothing_to_compare_with_and_no_limit_is_never_a_pass(bench: Bench) -> None:
    report = bench.judge(bench.answers(0.0), limits={}, margins={"production": 0.01})
    assert find(report, "quality").verdict is Verdict.ERROR
    assert report.verdict is Verdict.ERROR


def test_a_baseline_that_failed_flatters_nobody(bench: Bench) -> None:
    candidate = bench.answers(0.02)
    lame = bench.answers(0.02, {"s000-00": None, "s000-01": None})
    report = bench.judge(candidate, parent=lame, margins={"parent": 0.01})
    assert find(report, "wer_over_parent").verdict is Verdict.ERROR
    tolerated = bench.judge(candidate, parent=lame, margins={"parent": 0.01}, max_failed=0.01)
    over = find(tolerated, "wer_over_parent")
    assert over.value == 0
    assert over.verdict is Verdict.PASS


def test_a_baseline_with_other_ids_is_an_error(bench: Bench) -> None:
    answers = bench.answers(0.01)
    report = bench.judge(answers, parent=answers[1:], margins={"parent": 0.01})
    assert "parent: 1 without an answer" in find(report, "wer_over_parent").reason
    assert report.verdict is Verdict.ERROR


def test_baselines_without_a_margin_are_not_judged(bench: Bench) -> None:
    answers = bench.answers(0.01)
    report = bench.judge(answers, parent=answers[1:], production=answers)
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("speakers", "each", "words"),
    [
        (5, 40, "needs 15 more clusters (speaker)"),
        (32, 2, "needs 36 more utterances"),
        (1, 30, "needs 70 more utterances and 19 more clusters"),
    ],
)
def test_too_little_data_is_inconclusive_and_says_how_much_is_missing(
    bench: Bench, speakers: int, each: int, words: str
) -> None:
    bench.dataset = bench.make_dataset(speakers, each)
    bench.size = speakers * each
    report = bench.judge(bench.answers(0.0))
    check = find(report, "wer")
    assert check.verdict is report.verdict is Verdict.INCONCLUSIVE
    assert words in check.reason
    assert (check.low, check.p_value) == (None, None)


def test_references_without_words_are_an_error(bench: Bench) -> None:
    bench.dataset = bench.make_dataset(text="?!")
    answers = tuple(replace(answer, text="a word") for answer in bench.answers(0.0))
    report = bench.judge(answers)
    assert "no reference has a word" in find(report, "wer").reason
    assert report.verdict is Verdict.ERROR


def test_an_utterance_without_a_reference_is_an_error(bench: Bench) -> None:
    first, *rest = bench.dataset.utterances
    bench.dataset = replace(bench.dataset, utterances=(replace(first, text=" "), *rest))
    answers = bench.answer_all(bench.dataset, [0] * bench.size)
    report = bench.judge(answers)
    assert report.verdict is Verdict.ERROR
    assert "1 of 448 utterances have no reference, such as s000-00" in (
        find(report, "references").reason
    )


def test_an_empty_set_is_an_error(bench: Bench) -> None:
    bench.dataset = replace(bench.dataset, utterances=())
    report = bench.judge(())
    assert report.verdict is Verdict.ERROR
    assert "the set holds no utterance" in find(report, "answers").reason


def test_one_speaker_is_inconclusive_whatever_the_policy_allows(bench: Bench) -> None:
    bench.dataset, bench.size = bench.make_dataset(1, 200), 200
    check = find(bench.judge(bench.answers(0.0), min_clusters=2), "wer")
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "needs 1 more clusters (speaker)" in check.reason
    assert check.power is None


def test_production_that_cannot_be_scored_is_an_error(bench: Bench) -> None:
    report = bench.judge(
        bench.answers(0.01),
        margins={"production": 0.01},
        production_error="release 3 does not load",
    )
    check = find(report, "wer_over_production")
    assert (check.verdict, report.verdict) == (Verdict.ERROR, Verdict.ERROR)
    assert "production: release 3 does not load" in check.reason


def test_a_metric_that_the_set_has_not_is_an_error(bench: Bench) -> None:
    report = bench.judge(bench.answers(0.01), floors={"bleu": 30})
    assert find(report, "bleu").verdict is Verdict.ERROR
    assert "this set has wer, cer" in find(report, "bleu").reason


def test_a_margin_for_a_slice_without_utterances_is_an_error(bench: Bench) -> None:
    same = bench.answers(0.01)
    report = bench.judge(
        same,
        parent=same,
        margins={"parent": 0.02},
        slice_margins={"noise=babble": {"parent": 0.05}},
    )
    assert find(report, "slice", "noise=babble").verdict is Verdict.ERROR
    assert report.verdict is Verdict.ERROR


def test_a_margin_that_nothing_could_break_is_an_error(bench: Bench) -> None:
    same = bench.answers(0.01)
    report = bench.judge(same, parent=same, margins={"parent": 5})
    assert "wer is a share" in find(report, "wer_over_parent").reason
    assert report.verdict is Verdict.ERROR


def test_a_budget_without_a_measurement_is_an_error(bench: Bench) -> None:
    report = bench.judge(bench.answers(0.01), budgets={"p95_ms": 100})
    assert find(report, "p95_ms").verdict is Verdict.ERROR
    assert report.verdict is Verdict.ERROR


def test_several_metrics_may_have_margins(bench: Bench) -> None:
    report = bench.judge(
        bench.answers(0.02),
        parent=bench.answers(0.02, seed=1),
        margins={"parent": {"wer": 0.03, "cer": 0.04, "empty": 0.03}},
        slices=[],
    )
    assert [check.metric for check in report.checks if check.baseline] == ["wer", "cer", "empty"]
    assert report.verdict is Verdict.PASS


def test_buckets_by_length_are_slices(bench: Bench) -> None:
    one, *rest = bench.dataset.utterances
    short = tuple(replace(row, text="bin blue") for row in rest[:200])
    utterances = (one, *short, *rest[200:])
    bench.dataset = replace(bench.dataset, utterances=utterances)
    answers = bench.answer_all(bench.dataset, [0] * bench.size)
    report = bench.judge(
        answers,
        parent=answers,
        slices=[],
        buckets={"words": [4, 10], "duration_s": [1]},
        margins={"parent": 0.5},
        min_clusters=10,
    )
    found = [check.slice for check in report.checks if check.baseline]
    assert found == ["all", "words=under 4", "words=4 to 10", "duration_s=1 and more"]
    with pytest.raises(UserError, match="no number for a bucket"):
        bench.judge(answers, slices=[], buckets={"noise": [4]})


def test_a_set_too_small_for_its_margin_says_how_large_it_should_be(bench: Bench) -> None:
    report = bench.judge(
        bench.answers(0.05),
        parent=bench.answers(0.05, seed=1),
        limits={},
        slices=[],
        margins={"parent": 0.005},
    )
    check = find(report, "wer_over_parent")
    assert report.verdict is Verdict.INCONCLUSIVE
    assert check.power is not None
    assert check.power.passes_if_equal is not None
    assert check.power.passes_if_equal < 0.5
    assert check.power.clusters_needed is not None
    assert check.power.clusters_needed > 32
    assert check.power.utterances_needed == pytest.approx(
        14 * check.power.clusters_needed, rel=0.05
    )
    assert f"{check.power.clusters_needed} clusters" in check.reason


def test_a_pass_by_luck_on_a_set_too_small_is_inconclusive(bench: Bench) -> None:
    """The candidate looks better than it can be known to be: the interval ends below the margin."""
    parent = bench.answers(0.05, seed=1)
    settings: dict[str, Any] = {"limits": {}, "slices": [], "margins": {"parent": 0.008}}
    lucky = next(
        report
        for seed in range(200)
        if (report := bench.judge(bench.answers(0.045, seed=seed), parent=parent, **settings))
        and 0 <= (find(report, "wer_over_parent").high or -1) < 0.008
        and "luck" in find(report, "wer_over_parent").reason
    )
    assert lucky.verdict is Verdict.INCONCLUSIVE
    answers = next(
        found
        for seed in range(200)
        if (found := bench.answers(0.045, seed=seed))
        and bench.judge(found, parent=parent, **settings).to_json() == lucky.to_json()
    )
    assert bench.judge(answers, parent=parent, min_power=0, **settings).verdict is Verdict.PASS


def test_a_candidate_shown_to_be_better_needs_no_power(bench: Bench) -> None:
    report = bench.judge(
        bench.answers(0.0),
        parent=bench.answers(0.10),
        limits={},
        slices=[],
        margins={"parent": 0.002},
    )
    check = find(report, "wer_over_parent")
    assert check.high is not None
    assert check.high < 0
    assert report.verdict is Verdict.PASS


def test_a_slice_fails_only_after_correction_for_all(bench: Bench) -> None:
    """A slice just beyond its margin among many: 95 % surely alone, but not as one of forty."""
    utterances = tuple(
        replace(row, columns={**row.columns, "room": f"{number % 7}"})
        for number, row in enumerate(bench.dataset.utterances)
    )
    bench.dataset = replace(bench.dataset, utterances=utterances)
    parent = bench.answers(0.0)
    settings: dict[str, Any] = {"slices": ["room"], "limits": {}, "min_utterances": 20}
    settings |= {"margins": {"parent": 0.9}, "slice_margins": {"parent": 0.02}, "parent": parent}
    seen = set()
    for seed in range(20):
        harmed = {
            row.id: int(np.random.default_rng([seed, number]).random() < 0.35)
            for number, row in enumerate(bench.dataset.utterances)
            if row.columns["room"] == "3"
        }
        answers = bench.answers(0.0, harmed)
        alone = find(bench.judge(answers, correction="none", **settings), NAME, "room=3")
        among = find(bench.judge(answers, **settings), NAME, "room=3")
        assert (alone.low, alone.p_value) == (among.low, among.p_value)
        assert alone.adjusted_p is not None
        assert among.adjusted_p is not None
        assert among.adjusted_p >= alone.adjusted_p
        seen.add((alone.verdict, among.verdict))
    assert (Verdict.FAIL, Verdict.INCONCLUSIVE) in seen
    assert (Verdict.INCONCLUSIVE, Verdict.FAIL) not in seen


NAME = "wer_over_parent"


@pytest.mark.parametrize("method", ["bootstrap", "randomisation"])
def test_both_methods_find_what_is_plain(bench: Bench, method: str) -> None:
    settings: dict[str, Any] = {"margins": {"parent": 0.02}, "limits": {}, "method": method}
    parent = bench.answers(0.01, seed=1)
    worse = bench.judge(bench.answers(0.10), parent=parent, **settings)
    assert worse.verdict is Verdict.FAIL
    assert bench.judge(parent, parent=parent, **settings).verdict is Verdict.PASS
    assert method in worse.provenance["method"]


def test_columns_that_the_set_lacks_are_the_users_mistake(bench: Bench) -> None:
    for settings in ({"slices": ["accent"]}, {"cluster": "room"}):
        with pytest.raises(UserError, match="columns are noise, speaker"):
            bench.judge(bench.answers(0.0), **settings)


def test_a_set_that_is_not_the_pinned_one_is_refused(bench: Bench) -> None:
    with pytest.raises(UserError, match="the policy pins cdcdcdcdcdcd"):
        bench.judge(bench.answers(0.0), sha256="cd" * 32)


def test_a_broken_contract_is_an_error(bench: Bench) -> None:
    broken = ContractReport(
        (
            ExpectationOutcome(
                "column_values_to_be_unique", "id", passed=False, failures=2, failing=("a", "b")
            ),
        ),
        "great_expectations 1",
    )
    report = bench.judge(bench.answers(0.0), contract=broken)
    assert report.verdict is Verdict.ERROR
    assert "column_values_to_be_unique(id)" in find(report, "contract").reason
    assert report.contract[0]["failing"] == ["a", "b"]
    empty = bench.judge(bench.answers(0.0), contract=ContractReport((), "great_expectations 1"))
    assert empty.verdict is Verdict.ERROR


def test_worst_utterances_come_first_and_end_at_ten(bench: Bench) -> None:
    wrong: dict[str, int | None] = {"s020-03": 5, "s010-09": None}
    wrong |= {f"s{speaker:03d}-00": 1 for speaker in range(15)}
    report = bench.judge(bench.answers(0.0, wrong))
    worst = report.worst_utterances
    assert [row.id for row in worst[:3]] == ["s010-09", "s020-03", "s000-00"]
    assert len(worst) == 10
    assert (worst[0].deletions, worst[0].error, worst[0].hypothesis) == (6, "out of memory", "")
    assert (worst[1].substitutions, worst[1].words) == (5, 6)


def test_a_perfect_model_has_no_worst_utterance(bench: Bench) -> None:
    assert bench.judge(bench.answers(0.0)).worst_utterances == ()


def test_a_score_has_floors_and_margins_the_other_way_round(bench: Bench) -> None:
    bench.dataset = replace(bench.dataset, kind="text")
    good, bad = bench.answers(0.02), bench.answers(0.15, seed=1)
    settings: dict[str, Any] = {"limits": {}, "slices": [], "floors": {"bleu": 85, "chrf": 80}}
    settings["margins"] = {"parent": {"bleu": 3, "chrf": 2}}
    better = bench.judge(good, parent=bad, **settings)
    assert better.verdict is Verdict.PASS
    worse = bench.judge(bad, parent=good, **settings)
    floor, margin = find(worse, "bleu"), find(worse, "bleu_over_parent")
    assert (floor.verdict, margin.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert (floor.better, floor.unit, floor.limit, margin.limit) == ("higher", "points", 85, -3)
    assert floor.value == pytest.approx(worse.metrics["bleu"])
    assert floor.low is not None
    assert floor.high is not None
    assert floor.low < (floor.value or 0) < floor.high < 85
    assert margin.value == pytest.approx(worse.metrics["bleu"] - better.metrics["bleu"])
    assert margin.high is not None
    assert margin.high < -3
    assert "BLEU" in worse.signatures["bleu"]


def test_an_answer_with_a_number_that_is_none_has_failed(bench: Bench) -> None:
    first, *rest = bench.answers(0.0)
    broken = replace(first, signals={"average_log_probability": float("nan")})
    report = bench.judge((broken, *rest))
    assert report.verdict is Verdict.FAIL
    assert "1 of 448 utterances: the answer's average_log_probability is nan" in (
        find(report, "failed").reason
    )


def test_a_measure_without_a_number_is_an_error(bench: Bench) -> None:
    """No reference has a word in one slice, so its rate is none."""
    utterances = tuple(
        replace(row, text="?!") if row.columns["noise"] == "noisy" else row
        for row in bench.dataset.utterances
    )
    bench.dataset = replace(bench.dataset, utterances=utterances)
    answers = bench.answer_all(bench.dataset, [0] * bench.size)
    report = bench.judge(answers, slice_limits={"wer": 0.5})
    assert find(report, "wer", "noise=clean").verdict is Verdict.PASS
    assert find(report, "wer", "noise=noisy").verdict is Verdict.ERROR
