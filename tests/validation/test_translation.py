"""BLEU, chrF and TER are sacrebleu's to the last bit, for whole sets and for resamples."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from validation.translation import translation_measures

VOCABULARY = (
    "the",
    "a",
    "dog",
    "cat",
    "Runs",
    "runs",
    "don't",
    "(fast)",
    "3.5",
    "&",
    "é",
    "日本",
    ".",
)
sentences = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=12).map(" ".join)
changed = st.one_of(sentences, st.just(""), st.text(max_size=8))
pairs = st.lists(
    st.one_of(st.tuples(sentences, changed), sentences.map(lambda one: (one, one))),
    min_size=1,
    max_size=6,
)


def library() -> dict[str, BLEU | CHRF | TER]:
    return {"bleu": BLEU(force=True), "chrf": CHRF(), "ter": TER()}


@given(pairs, st.integers(0, 99))
@settings(max_examples=150, deadline=None)
@example([("a", "b")], 0)
@example([("the dog", "")], 0)
@example([("the cat runs fast .", "the cat runs .")], 0)
def test_values_are_sacrebleus(rows: list[tuple[str, str]], seed: int) -> None:
    references, hypotheses = [left for left, _ in rows], [right for _, right in rows]
    measures = translation_measures(references, hypotheses)
    drawn = np.random.default_rng(seed).integers(0, len(rows), (4, len(rows)))
    for name, metric in library().items():
        measure = measures[name]
        assert measure.value == metric.corpus_score(hypotheses, [references]).score
        resampled = measure.of(measure.statistics[drawn].sum(axis=1))
        for value, members in zip(resampled, drawn, strict=True):
            again = [hypotheses[row] for row in members], [[references[row] for row in members]]
            assert value == metric.corpus_score(*again).score


def test_signatures_are_sacrebleus() -> None:
    found = translation_measures(["the dog runs"], ["a dog runs"])
    for name, metric in library().items():
        metric.corpus_score(["a dog runs"], [["the dog runs"]])
        assert found[name].signature.split("|", 1)[1] == str(metric.get_signature())
        assert f"version:{sacrebleu.__version__}" in found[name].signature


def test_it_is_what_the_functions_of_the_library_say() -> None:
    references = ["The dog runs fast .", "A cat, a dog!"] * 3
    hypotheses = ["The dog runs quickly .", "a cat and a dog!"] * 3
    found = translation_measures(references, hypotheses)
    assert found["bleu"].value == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert found["chrf"].value == sacrebleu.corpus_chrf(hypotheses, [references]).score
    assert found["ter"].value == sacrebleu.corpus_ter(hypotheses, [references]).score


@pytest.mark.parametrize("answer", ["", "a b c"])
def test_without_a_reference_there_is_no_value(answer: str) -> None:
    for measure in translation_measures(["", ""], [answer, ""]).values():
        assert np.isnan(measure.value)


def test_better_is_more_but_for_errors() -> None:
    measures = translation_measures(["the dog"], ["the dog"])
    assert {name: one.better for name, one in measures.items()} == {
        "bleu": "higher",
        "chrf": "higher",
        "ter": "lower",
    }
    assert {one.unit for one in measures.values()} == {"points"}
    assert not any(one.is_ratio for one in measures.values())
