"""Intervals of scores that are no ratio, against sacrebleu's and scipy's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped] # scipy has no types

from validation.bootstrap import bootstrap_contrast
from validation.contrast import Contrast, by_cluster
from validation.estimate import Estimate, Method, estimate_difference, estimate_measure
from validation.measures import Measure, quotient
from validation.slices import Slice
from validation.translation import translation_measures

if TYPE_CHECKING:
    from numpy.typing import NDArray

SENTENCES = 150
EVERY = np.arange(SENTENCES)
ALONE = Slice("all", EVERY, EVERY)
WORDS = ("the", "a", "cat", "dog", "house", "sees", "takes", "red", "old", "under", "long", "river")


class Corpus:
    """References, and two systems that get some words wrong."""

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        self.references = [" ".join(random.choice(WORDS, 12)) for _ in range(SENTENCES)]
        self.first = [self._heard(text, 0.15, random) for text in self.references]
        self.second = [self._heard(text, 0.165, random) for text in self.references]

    @staticmethod
    def _heard(text: str, rate: float, random: np.random.Generator) -> str:
        words = [random.choice(WORDS) if random.random() < rate else word for word in text.split()]
        return " ".join(words)

    def measures(self, name: str) -> tuple[Measure, Measure]:
        return tuple(  # type: ignore[return-value] # of the two systems
            translation_measures(self.references, one)[name] for one in (self.first, self.second)
        )

    def sacrebleu(self, test: str) -> dict[str, Any]:
        """Results of sacrebleu's paired tests by metric, for the second system."""
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
        from sacrebleu.significance import PairedTest

        _, found = PairedTest(
            [("first", self.first), ("second", self.second)],
            {
                "bleu": BLEU(references=[self.references]),
                "chrf": CHRF(references=[self.references]),
            },
            references=None,
            test_type=test,
            n_samples=2000,
        )()
        return {"bleu": found["BLEU"], "chrf": found["chrF2"]}


CORPUS = Corpus()


def difference(name: str, method: str) -> Estimate:
    first, second = CORPUS.measures(name)
    chosen = Method(resamples=4000, name=method)  # type: ignore[arg-type] # one of the two
    return estimate_difference(second, first, ALONE, chosen)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_intervals_are_as_wide_as_sacrebleus(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    reference = CORPUS.sacrebleu("bs")[name]
    for measure, result in zip(CORPUS.measures(name), reference, strict=True):
        found = estimate_measure(measure, ALONE, Method(resamples=4000))
        assert -found.value == pytest.approx(result.score)
        assert (found.high - found.low) / 2 == pytest.approx(result.ci, rel=0.2)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
@pytest.mark.parametrize(("method", "test"), [("randomisation", "ar"), ("bootstrap", "bs")])
def test_p_values_are_near_sacrebleus(
    name: str, method: str, test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    _, second = CORPUS.sacrebleu(test)[name]
    found = difference(name, method).sampled
    one_sided = min(found.p_value(0.0), found.p_above(0.0))
    # sacrebleu centres its resamples after it took away their signs: half of a two-sided p-value.
    expected = second.p_value if test == "bs" else second.p_value / 2
    assert one_sided == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_standard_errors_are_those_of_a_jackknife(name: str) -> None:
    measure, other = CORPUS.measures(name)
    clusters = EVERY // 5
    ours, theirs = by_cluster(measure.statistics, clusters), by_cluster(other.statistics, clusters)
    contrast = Contrast(measure.of, ours, theirs)
    count = contrast.clusters
    left_out = contrast.values(1 - np.eye(count))
    jackknife = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    assert float(contrast.standard_errors(np.ones(count))) == pytest.approx(jackknife, rel=0.05)


def test_a_mean_is_scipys_studentised_bootstrap() -> None:
    """scipy has none, so its percentile interval of the t-statistic's own root."""
    values = np.random.default_rng(3).gamma(1.0, 2.0, 60)
    measure = Measure.mean(values, np.ones(60))
    contrast = Contrast(measure.of, measure.statistics)
    found = bootstrap_contrast(contrast, resamples=20_000, seed=1)

    def root(sample: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        error = sample.std(axis=axis, ddof=1) / np.sqrt(60)
        return np.asarray((sample.mean(axis=axis) - values.mean()) / error)

    reference = stats.bootstrap(
        (values,), root, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    )
    expected = reference.confidence_interval
    low, high = np.quantile(found.roots, [0.025, 0.975])
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.12)


def test_influences_of_a_ratio_are_its_residuals() -> None:
    random = np.random.default_rng(4)
    rows = np.column_stack([random.random(30), 1 + random.random(30)])
    sums = rows.sum(axis=0)
    expected = (rows[:, 0] - sums[0] / sums[1] * rows[:, 1]) / sums[1]
    found = Contrast(quotient, rows).influences(np.ones(30))
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-5)


def test_an_undefined_value_and_one_cluster_are_refused() -> None:
    with pytest.raises(ValueError, match="to be defined"):
        bootstrap_contrast(Contrast(quotient, np.zeros((5, 2))), resamples=200, seed=1)
    with pytest.raises(ValueError, match="two clusters"):
        bootstrap_contrast(Contrast(quotient, np.ones((1, 2))), resamples=200, seed=1)
