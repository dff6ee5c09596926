"""BLEU, chrF and TER as sacrebleu computes them, held as numbers that can be summed.

Its own metric classes count each utterance; its formulas are here once more over many sums at a
time, because a resampled interval asks for thousands of corpus scores. They see texts as they
came: what they do to case and punctuation is in their signatures, not in the policy's normaliser.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from validation.measures import Measure, Numbers, quotient

if TYPE_CHECKING:
    from collections.abc import Sequence

_ORDERS = 4
_CHARACTER_ORDERS = 6
_BETA_SQUARED = 4
_LOG_OF_ZERO = -9999999999.0

# Python's own logarithm and power of e, not NumPy's: only so is every last bit sacrebleu's.
_EXP = np.frompyfunc(math.exp, 1, 1)
_LOG = np.frompyfunc(math.log, 1, 1)


def translation_measures(
    references: Sequence[str], hypotheses: Sequence[str]
) -> dict[str, Measure]:
    """BLEU (Papineni et al. 2002), chrF (Popovic 2015) and TER (Snover et al. 2006).

    In points: 0 to 100 for BLEU and chrF, higher is better; TER, lower is better, has no upper
    end. One reference an utterance.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    # `force` only keeps it from warning about texts that look tokenised.
    metrics: dict[str, tuple[Any, Any]] = {
        "bleu": (BLEU(force=True), bleu_of),
        "chrf": (CHRF(), chrf_of),
        "ter": (TER(), ter_of),
    }
    measures = {}
    for name, (metric, of) in metrics.items():
        statistics = _segment_statistics(metric, references, hypotheses)
        measures[name] = Measure(
            statistics,
            of,
            better="lower" if name == "ter" else "higher",
            unit="points",
            signature=f"{metric.__class__.__name__}|{metric.get_signature()}",
        )
    return measures


def _segment_statistics(
    metric: Any, references: Sequence[str], hypotheses: Sequence[str]
) -> Numbers:
    """What sacrebleu sums for its corpus score, [utterances, K]; each pair is counted once."""
    pairs = list(zip(hypotheses, references, strict=True))
    distinct = list(dict.fromkeys(pairs))
    rows = metric._extract_corpus_statistics(  # noqa: SLF001 - the documented way loses the parts
        [hypothesis for hypothesis, _ in distinct], [[reference for _, reference in distinct]]
    )
    found = dict(zip(distinct, rows, strict=True))
    return np.array([found[pair] for pair in pairs], dtype=np.float64)


def bleu_of(sums: Numbers) -> Numbers:
    """Corpus BLEU with exponential smoothing of sums [..., 10]: [...], 0 to 100.

    The sums are the lengths of answers and references, then n-grams found and n-grams there, for
    n of 1 to 4. NaN without a reference token.
    """
    ours, theirs = sums[..., 0], sums[..., 1]
    found, there = sums[..., 2 : 2 + _ORDERS], sums[..., 2 + _ORDERS :]
    smoothing, logarithms = np.ones_like(ours), np.zeros_like(ours)
    going = np.ones(ours.shape, dtype=np.bool_)
    for order in range(_ORDERS):
        hits, all_of_them = found[..., order], there[..., order]
        going = going & (all_of_them > 0)
        smoothing = np.where(going & (hits == 0), smoothing * 2, smoothing)
        divisor = np.where(going, np.where(hits == 0, smoothing * all_of_them, all_of_them), 1.0)
        precision = np.where(hits == 0, 100.0, 100.0 * hits) / divisor
        logarithm = np.asarray(_LOG(np.where(going, precision, 1.0)), np.float64)
        logarithms = logarithms + np.where(going, logarithm, _LOG_OF_ZERO)
    short = (ours < theirs) & (ours > 0)
    exponent = np.where(short, 1 - theirs / np.where(ours > 0, ours, 1.0), 0.0)
    penalty = np.where((ours < theirs) & (ours == 0), 0.0, np.asarray(_EXP(exponent), np.float64))
    score = penalty * np.asarray(_EXP(logarithms / _ORDERS), np.float64)
    score = np.where(found.any(axis=-1), score, 0.0)
    return np.where(theirs > 0, score, np.nan)


def chrf_of(sums: Numbers) -> Numbers:
    """Corpus chrF2 of sums [..., 18]: [...], 0 to 100.

    For n of 1 to 6 the sums are the character n-grams of answers, of references, and in both. NaN
    without a reference character.
    """
    parts = sums.reshape(*sums.shape[:-1], _CHARACTER_ORDERS, 3)
    shape = sums.shape[:-1]
    precisions, recalls, orders = (np.zeros(shape) for _ in range(3))
    for order in range(_CHARACTER_ORDERS):
        ours, theirs, both = (parts[..., order, column] for column in range(3))
        counted = (ours > 0) & (theirs > 0)
        precisions = precisions + np.where(counted, both / np.where(counted, ours, 1.0), 0.0)
        recalls = recalls + np.where(counted, both / np.where(counted, theirs, 1.0), 0.0)
        orders = orders + counted
    divisor = np.maximum(orders, 1.0)
    precision, recall = precisions / divisor, recalls / divisor
    product = (1 + _BETA_SQUARED) * precision * recall
    below = _BETA_SQUARED * precision + recall
    score = np.where(below > 0, 100 * (product / np.where(below > 0, below, 1.0)), 0.0)
    return np.where(parts[..., 0, 1] > 0, score, np.nan)


def ter_of(sums: Numbers) -> Numbers:
    """Corpus TER of sums [..., 2], edits and reference tokens: [...], from 0; NaN without any."""
    return 100 * quotient(sums)
