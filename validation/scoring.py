"""Answers joined with references: one measure a metric, in the set's order.

An answer that the engine refused counts as an empty text, so every word of it is deleted, or as
noise that was left in: a model cannot look better by failing on what is hard. An answer whose
numbers are NaN or infinite has failed, and says why.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from validation.cleaning import checked, sound_measures
from validation.looping import RULE, is_looping
from validation.measures import Measure
from validation.normalisers import normaliser_of
from validation.translation import translation_measures
from validation.words import count_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from validation.answers import Answer
    from validation.dataset import Dataset, Utterance

    Column = NDArray[np.float64]

_NAMES_SHOWN = 3
COUNTED = ("substitutions", "deletions", "insertions", "words")


@dataclass(frozen=True, slots=True)
class Scores:
    """What one system's answers over a set come to.

    `measures` are what limits, floors and margins are about, by metric; the first is the one that
    a margin without a metric compares. `unmeasured` says of a metric that the set could have why
    it has none. `errors` are the reasons of answers that failed, empty for the others, one an
    utterance. `counts`, float64 [utterances] each, are summed for the report. Texts are as the
    normaliser sees them.
    """

    measures: Mapping[str, Measure]
    errors: tuple[str, ...]
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Column] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    hypotheses: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """The metric that a margin compares when it names none."""
        return next(iter(self.measures))

    @property
    def compared(self) -> Measure:
        """Its measure."""
        return self.measures[self.metric]

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Whether the engine failed on each utterance, bool [utterances]."""
        return np.array([bool(error) for error in self.errors], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Answers and utterances do not meet one to one; `reason` names the first that do not."""

    reason: str


def score_answers(
    dataset: Dataset, answers: Sequence[Answer], normaliser: str
) -> Scores | Mismatch:
    """Score `answers`, which may come in any order but one for each utterance.

    Raises UserError for a normaliser that there is not.
    """
    by_id = {answer.id: answer for answer in answers}
    ids = [utterance.id for utterance in dataset.utterances]
    if reason := _mismatch(ids, [answer.id for answer in answers]):
        return Mismatch(reason)
    ordered = [_sane(by_id[name]) for name in ids]
    if dataset.kind == "noisy-speech":
        return _score_sound(dataset, [checked(answer) for answer in ordered])
    return _score_texts(dataset, ordered, normaliser)


def worst_first(scores: Scores, utterances: Sequence[Utterance]) -> list[int]:
    """Positions of the utterances with any error, most of it first, then by id.

    Where the first measure is no ratio of faults, every utterance counts, the lowest value first
    when higher is better.
    """
    measure = scores.compared
    if measure.is_ratio:
        badness = measure.statistics[:, 0]
    else:
        values = measure.of(measure.statistics)
        badness = np.nan_to_num(values if measure.better == "lower" else -values, nan=-np.inf)
    order = sorted(range(badness.size), key=lambda row: (-badness[row], utterances[row].id))
    return [row for row in order if badness[row] or not measure.is_ratio]


def _sane(answer: Answer) -> Answer:
    """The answer, or its failure when a number that came with it is none."""
    if all(map(math.isfinite, answer.signals.values())):
        return answer
    broken = {name: one for name, one in answer.signals.items() if not math.isfinite(one)}
    kept = {name: one for name, one in answer.signals.items() if name not in broken}
    name, value = next(iter(broken.items()))
    return replace(answer, signals=kept, error=answer.error or f"the answer's {name} is {value}")


def _score_sound(dataset: Dataset, answers: Sequence[Answer]) -> Scores:
    measures, unmeasured = sound_measures(answers, dataset.sample_rate)
    return Scores(measures, tuple(answer.error for answer in answers), unmeasured)


def _score_texts(dataset: Dataset, answers: Sequence[Answer], normaliser: str) -> Scores:
    said = [one.text for one in dataset.utterances]
    heard = ["" if answer.failed else answer.text for answer in answers]
    clean = normaliser_of(normaliser)
    seen = {text: clean(text) for text in {*said, *heard}}
    references = tuple(seen[text] for text in said)
    hypotheses = tuple(seen[text] for text in heard)
    words = count_all(references, hypotheses, "words")
    measures = _text_measures(words, references, hypotheses)
    if dataset.kind == "text":
        measures |= translation_measures(said, heard)
    return Scores(
        measures=measures,
        errors=tuple(answer.error for answer in answers),
        counts=dict(zip(COUNTED, words.T, strict=True)),
        references=references,
        hypotheses=hypotheses,
    )


def _text_measures(
    words: NDArray[np.float64], references: Sequence[str], hypotheses: Sequence[str]
) -> dict[str, Measure]:
    characters = count_all(references, hypotheses, "characters")
    errors, spoken = words[:, :3].sum(axis=1), words[:, 3] > 0
    silent = np.array([not text for text in hypotheses], dtype=np.bool_)
    looping = np.array(list(map(is_looping, hypotheses, references)), dtype=np.bool_)
    every = np.ones(len(references))
    return {
        "wer": Measure.ratio(errors, words[:, 3]),
        "cer": Measure.ratio(characters[:, :3].sum(axis=1), characters[:, 3]),
        "wrong": Measure.ratio(errors > 0, every),
        "empty": Measure.ratio(silent & spoken, spoken),
        "looping": Measure.ratio(looping, every, signature=RULE),
    }


def _mismatch(expected: list[str], given: list[str]) -> str:
    if len(expected) == len(given) and set(expected) == set(given):
        return ""
    findings = {
        "without an answer": sorted(set(expected) - set(given)),
        "answered but not in the set": sorted(set(given) - set(expected)),
        "answered more than once": sorted(
            name for name, times in Counter(given).items() if times > 1
        ),
    }
    return "; ".join(
        f"{len(names)} {finding}: {', '.join(names[:_NAMES_SHOWN])}"
        for finding, names in findings.items()
        if names
    )
