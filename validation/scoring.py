"""Answers joined with references: for each metric, two numbers an utterance, in the set's order.

An answer that the engine refused counts as an empty text, so every word of it is deleted, or as
noise that was left in: a model cannot look better by failing on what is hard.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from validation.words import count_characters, count_words, normalise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from validation.answers import Answer
    from validation.dataset import Dataset, Utterance

    Column = NDArray[np.float64]

_NAMES_SHOWN = 3
NOISE_BEFORE, NOISE_AFTER = "noise_before", "noise_after"
IMPROVEMENT = "si_sdr_improvement"
"""Signals that cleaned sound is judged by; `validation.cleaning` measures them."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A metric as a ratio of sums; float64 [utterances] each, none of them negative."""

    over: Column
    under: Column


@dataclass(frozen=True, slots=True)
class Scores:
    """What one system's answers over a set come to.

    `rates` are what limits and margins are about, by metric; the first is the one that margins
    compare. `counts`, float64 [utterances] each, are summed for the report, `numbers` are of the
    whole set. Texts are as the normaliser sees them.
    """

    rates: Mapping[str, Rate]
    failed: NDArray[np.bool_]
    counts: Mapping[str, Column] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    hypotheses: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """The metric that margins compare."""
        return next(iter(self.rates))

    @property
    def compared(self) -> Rate:
        """Its numbers."""
        return self.rates[self.metric]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Answers and utterances do not meet one to one; `reason` names the first that do not."""

    reason: str


def score_answers(
    dataset: Dataset, answers: Sequence[Answer], normaliser: str
) -> Scores | Mismatch:
    """Score `answers`, which may come in any order but one for each utterance."""
    by_id = {answer.id: answer for answer in answers}
    ids = [utterance.id for utterance in dataset.utterances]
    if reason := _mismatch(ids, [answer.id for answer in answers]):
        return Mismatch(reason)
    ordered = [by_id[name] for name in ids]
    if dataset.kind == "noisy-speech":
        return _score_sound(ordered)
    return _score_texts(dataset, ordered, normaliser)


def _score_texts(dataset: Dataset, answers: Sequence[Answer], normaliser: str) -> Scores:
    references = tuple(normalise(one.text, normaliser) for one in dataset.utterances)
    hypotheses = tuple(
        "" if answer.failed else normalise(answer.text, normaliser) for answer in answers
    )
    pairs = list(zip(references, hypotheses, strict=True))
    counted = [count_words(*pair) for pair in pairs]
    characters = [count_characters(*pair) for pair in pairs]
    words = _column([count.reference_length for count in counted])
    spoken = _column([length > 0 for length in words])
    return Scores(
        rates={
            "wer": Rate(_column([count.errors for count in counted]), words),
            "cer": Rate(
                _column([count.errors for count in characters]),
                _column([count.reference_length for count in characters]),
            ),
            "wrong": Rate(_column([count.errors > 0 for count in counted]), spoken),
            "empty": Rate(_column([bool(ref) and not hyp for ref, hyp in pairs]), spoken),
        },
        failed=np.array([answer.failed for answer in answers]),
        counts={
            "substitutions": _column([count.substitutions for count in counted]),
            "deletions": _column([count.deletions for count in counted]),
            "insertions": _column([count.insertions for count in counted]),
            "words": words,
        },
        numbers=_corpus_scores(references, hypotheses) if dataset.kind == "text" else {},
        references=references,
        hypotheses=hypotheses,
    )


def _score_sound(answers: Sequence[Answer]) -> Scores:
    before = [answer.signals.get(NOISE_BEFORE, 1.0) for answer in answers]
    after = [
        noise if answer.failed else answer.signals[NOISE_AFTER]
        for answer, noise in zip(answers, before, strict=True)
    ]
    heard = [answer.signals[IMPROVEMENT] for answer in answers if not answer.failed]
    return Scores(
        rates={"noise_left": Rate(_column(after), _column(before))},
        failed=np.array([answer.failed for answer in answers]),
        numbers={IMPROVEMENT: float(np.mean(heard))} if heard else {},
    )


def _corpus_scores(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """BLEU (Papineni et al. 2002) and chrF (Popovic 2015) by sacrebleu, 0 to 100."""
    import sacrebleu

    return {
        "bleu": sacrebleu.corpus_bleu(list(hypotheses), [list(references)]).score,
        "chrf": sacrebleu.corpus_chrf(list(hypotheses), [list(references)]).score,
    }


def worst_first(scores: Scores, utterances: Sequence[Utterance]) -> list[int]:
    """Positions of the utterances with any error, most of it first, then by id."""
    errors = scores.compared.over
    order = sorted(range(errors.size), key=lambda row: (-errors[row], utterances[row].id))
    return [row for row in order if errors[row]]


def _column(values: Sequence[float]) -> Column:
    return np.array(values, dtype=np.float64)


def _mismatch(expected: list[str], given: list[str]) -> str:
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
