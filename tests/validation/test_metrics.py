"""Numbers of a report follow the measures, slice by slice, and the worst utterances come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from validation.answers import Answer
from validation.evidence import Check
from validation.metrics import WORST_SHOWN, metrics_of, worst_utterances
from validation.scoring import Scores, score_answers
from validation.slices import slices_of, whole
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from validation.dataset import Dataset
    from validation.policy import GatePolicy

    MakeDataset = Callable[..., Dataset]
    AnswerAll = Callable[..., tuple[Answer, ...]]


def scored(dataset: Dataset, answers: tuple[Answer, ...]) -> Scores:
    found = score_answers(dataset, answers, "basic")
    assert isinstance(found, Scores)
    return found


def test_measures_and_counts_of_every_slice(
    make_dataset: MakeDataset, answer_all: AnswerAll, make_policy: Callable[..., GatePolicy]
) -> None:
    dataset = make_dataset(2, 4)
    answers = answer_all(dataset, [1, 0, 1, 0, None, 0, 0, 0])
    metrics = metrics_of(
        scored(dataset, answers), slices_of(make_policy(slices=("noise",)), dataset), ()
    )
    assert metrics["wer"] == pytest.approx(8 / 48, abs=1e-9)
    assert metrics["wer.noise.clean"] == pytest.approx(8 / 24, abs=1e-9)
    assert metrics["wer.noise.noisy"] == 0
    assert metrics["wrong"] == 3 / 8
    assert metrics["empty.noise.clean"] == 1 / 4
    assert metrics["failed"] == 1 / 8
    assert metrics["deletions"] == 6
    assert metrics["substitutions.noise.clean"] == 2
    assert (metrics["utterances"], metrics["clusters"]) == (8, 2)
    assert metrics["looping"] == 0


def test_a_measure_without_a_value_is_left_out(
    make_dataset: MakeDataset, answer_all: AnswerAll
) -> None:
    dataset = make_dataset(2, 2, text="")
    metrics = metrics_of(scored(dataset, answer_all(dataset, [0] * 4)), (whole(dataset),), ())
    assert "wer" not in metrics
    assert metrics["wrong"] == 0


def test_differences_are_those_of_checks(make_dataset: MakeDataset, answer_all: AnswerAll) -> None:
    dataset = make_dataset(2, 2)
    checks = [
        Check("wer_over_parent", "all", Verdict.PASS, "", value=0.25),
        Check("wer_over_parent", "noise=clean", Verdict.PASS, "", value=0.5),
        Check("wer", "all", Verdict.PASS, "", value=0.75),
    ]
    found = metrics_of(scored(dataset, answer_all(dataset, [0] * 4)), (whole(dataset),), checks)
    assert found["wer_over_parent"] == 0.25
    assert found["wer"] == 0


def test_the_worst_come_first_with_their_counts(
    make_dataset: MakeDataset, answer_all: AnswerAll
) -> None:
    dataset = make_dataset(4, 4)
    answers = answer_all(dataset, [0, 1, None, 3] + [1] * 12)
    scores = scored(dataset, answers)
    found = worst_utterances(dataset.utterances, scores)
    assert len(found) == WORST_SHOWN
    assert [one.id for one in found[:3]] == ["s000-02", "s000-03", "s000-01"]
    assert (found[0].deletions, found[0].words, found[0].error) == (6, 6, "out of memory")
    assert found[1].hypothesis == "wrong wrong wrong f two now"
    assert (found[1].substitutions, found[1].error) == (3, "")


def test_a_number_that_is_none_is_the_reason_shown(
    make_dataset: MakeDataset, answer_all: AnswerAll
) -> None:
    dataset = make_dataset(1, 2)
    answers = answer_all(dataset, [0, 0])
    broken = Answer(answers[0].id, answers[0].text, {"average_log_probability": float("nan")})
    answers = (broken, answers[1])
    (found,) = worst_utterances(dataset.utterances, scored(dataset, answers))
    assert found.error == "the answer's average_log_probability is nan"
