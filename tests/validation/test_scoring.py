"""Answers become measures: what is counted, what failed, and what could not be measured."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from registry.errors import UserError
from validation.answers import Answer
from validation.dataset import Dataset, Utterance
from validation.scoring import Mismatch, Scores, score_answers, worst_first

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCES = ("bin blue at f two now", "lay red by k nine soon", "", "place white in z one again")


def a_set(texts: Sequence[str], kind: str = "speech", sample_rate: int = 16000) -> Dataset:
    columns = MappingProxyType({"speaker": "a"})
    utterances = tuple(
        Utterance(f"u{row}", None, text, 1.0, columns) for row, text in enumerate(texts)
    )
    nothing: MappingProxyType[str, str] = MappingProxyType({})
    return Dataset(Path(), "memory", kind, sample_rate, "ab" * 32, utterances, nothing)  # type: ignore[arg-type]


def said(*texts: str) -> list[Answer]:
    return [Answer(f"u{row}", text) for row, text in enumerate(texts)]


def scored(dataset: Dataset, answers: Sequence[Answer], normaliser: str = "basic") -> Scores:
    found = score_answers(dataset, answers, normaliser)
    assert isinstance(found, Scores)
    return found


def values(scores: Scores) -> dict[str, float]:
    return {name: measure.value for name, measure in scores.measures.items()}


def test_every_measure_of_transcripts() -> None:
    heard = said("Bin, blue at F two now.", "lay lay lay lay lay lay", "noise", "")
    scores = scored(a_set(REFERENCES), heard)
    found = values(scores)
    assert scores.metric == "wer"
    assert list(found) == ["wer", "cer", "wrong", "empty", "looping"]
    # Five words replaced, one word where there was none, six words left out, of eighteen.
    assert found["wer"] == 12 / 18
    assert {name: column.sum() for name, column in scores.counts.items()} == {
        "substitutions": 5,
        "deletions": 6,
        "insertions": 1,
        "words": 18,
    }
    assert found["wrong"] == 3 / 4
    assert found["empty"] == 1 / 3
    assert found["looping"] == 1 / 4
    assert all(measure.is_ratio for measure in scores.measures.values())
    assert scores.references[0] == scores.hypotheses[0] == "bin blue at f two now"


def test_any_order_but_one_for_each() -> None:
    dataset, heard = a_set(REFERENCES), said(*REFERENCES)
    assert values(scored(dataset, heard[::-1])) == values(scored(dataset, heard))
    for given, reason in (
        (heard[:2], "2 without an answer: u2, u3"),
        ([*heard, Answer("u9", "")], "1 answered but not in the set: u9"),
        ([*heard, heard[0]], "1 answered more than once: u0"),
        ([*heard[:3], heard[0]], "1 without an answer: u3; 1 answered more than once: u0"),
    ):
        assert score_answers(dataset, given, "basic") == Mismatch(reason)


def test_a_failure_is_an_empty_answer_whatever_it_says() -> None:
    heard = said(*REFERENCES)
    heard[0] = replace(heard[0], error="out of memory")
    scores = scored(a_set(REFERENCES), heard)
    assert scores.failed.tolist() == [True, False, False, False]
    assert scores.errors[0] == "out of memory"
    assert scores.counts["deletions"].tolist() == [6, 0, 0, 0]
    assert values(scores)["empty"] == 1 / 3


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_a_failure_with_a_reason(number: float) -> None:
    heard = said(*REFERENCES)
    heard[1] = replace(heard[1], signals={"token_count": 4.0, "average_log_probability": number})
    scores = scored(a_set(REFERENCES), heard)
    assert scores.failed.tolist() == [False, True, False, False]
    assert scores.errors[1] == f"the answer's average_log_probability is {number}"
    assert values(scores)["wer"] == 6 / 18


def test_references_without_words_have_no_rate() -> None:
    scores = scored(a_set(["", "?!"]), said("", "…"))
    found = values(scores)
    assert math.isnan(found["wer"])
    assert math.isnan(found["empty"])
    assert found["wrong"] == 0
    assert values(scored(a_set(["", ""]), said("a", "")))["wrong"] == 0.5


def test_an_unknown_normaliser_is_refused() -> None:
    with pytest.raises(UserError, match="no normaliser 'whisper'"):
        score_answers(a_set(REFERENCES), said(*REFERENCES), "whisper")


def test_translations_are_scored_as_they_came() -> None:
    references = ["The dog runs.", "A cat, a dog!", "Where is it?"]
    heard = ["the dog runs", "A cat and a dog!", "Where is it?"]
    scores = scored(a_set(references, "text"), said(*heard))
    found = scores.measures
    assert list(found)[-3:] == ["bleu", "chrf", "ter"]
    assert found["bleu"].value == BLEU().corpus_score(heard, [references]).score
    assert found["wrong"].value == 1 / 3
    failed = [replace(one, error="no") for one in said(*heard)]
    assert scored(a_set(references, "text"), failed).measures["bleu"].value == 0


def test_most_errors_come_first() -> None:
    dataset = a_set(REFERENCES)
    heard = said("bin blue at f two", "", "a", "place white in z one again")
    assert worst_first(scored(dataset, heard), dataset.utterances) == [1, 0, 2]


SOUND = {"noise_before": 0.5, "noise_after": 0.1, "si_sdr_improvement": 6.0}
SOUND |= {"snr_improvement": 7.0, "pesq": 3.0, "stoi": 0.9}


def sounds(*signals: dict[str, float]) -> list[Answer]:
    return [Answer(f"u{row}", "", one) for row, one in enumerate(signals)]


def test_every_measure_of_cleaned_sound() -> None:
    dataset = a_set(["", ""], "noisy-speech")
    scores = scored(dataset, sounds(SOUND, SOUND | {"noise_after": 0.3, "pesq": 2.0}))
    found = values(scores)
    assert scores.metric == "noise_left"
    assert found == pytest.approx(
        {
            "noise_left": 0.4,
            "si_sdr_improvement": 6.0,
            "snr_improvement": 7.0,
            "pesq": 2.5,
            "stoi": 0.9,
        }
    )
    assert not scores.unmeasured
    assert scores.measures["noise_left"].is_ratio
    assert {name: one.better for name, one in scores.measures.items() if name != "noise_left"} == (
        dict.fromkeys(["si_sdr_improvement", "snr_improvement", "pesq", "stoi"], "higher")
    )
    assert "P.862.2" in scores.measures["pesq"].signature
    assert "utterances:2/2" in scores.measures["stoi"].signature


def test_a_failed_cleaning_left_the_noise_in() -> None:
    dataset = a_set(["", ""], "noisy-speech")
    failed = replace(sounds({}, {"noise_before": 0.5})[1], error="no")
    found = values(scored(dataset, [sounds(SOUND)[0], failed]))
    assert found["noise_left"] == pytest.approx(0.6)
    assert found["si_sdr_improvement"] == 3.0
    assert found["pesq"] == pytest.approx((3.0 + 0.999) / 2)
    assert found["stoi"] == pytest.approx(0.45)


@pytest.mark.parametrize("name", sorted(SOUND))
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_no_broken_number_is_averaged(name: str, number: float) -> None:
    dataset = a_set(["", ""], "noisy-speech")
    scores = scored(dataset, sounds(SOUND, SOUND | {name: number}))
    assert scores.failed.tolist() == [False, True]
    assert scores.errors[1] == f"the answer's {name} is {number}"
    assert all(np.isfinite(one.statistics).all() for one in scores.measures.values())
    assert values(scores)["snr_improvement"] == 3.5


def test_what_was_not_measured_says_why() -> None:
    short = {name: SOUND[name] for name in SOUND if name != "pesq"}
    for sample_rate, reason in ((44100, "44100 Hz"), (16000, "pip install pesq")):
        dataset = a_set(["", ""], "noisy-speech", sample_rate)
        scores = scored(dataset, sounds(short, short))
        assert "pesq" not in scores.measures
        assert reason in scores.unmeasured["pesq"]
    scores = scored(a_set(["", ""], "noisy-speech"), sounds(SOUND, short))
    assert values(scores)["pesq"] == 3.0
    assert "utterances:1/2" in scores.measures["pesq"].signature


def test_an_answer_that_nobody_measured_has_failed() -> None:
    scores = scored(a_set(["", ""], "noisy-speech"), sounds(SOUND, {}))
    assert scores.failed.tolist() == [False, True]
    assert "not measured" in scores.errors[1]
