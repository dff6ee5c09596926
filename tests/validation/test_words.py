"""Counts are jiwer's for any text, and normalisers settle."""

from __future__ import annotations

import jiwer
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from validation.words import (
    NORMALISERS,
    ErrorCounts,
    count_characters,
    count_errors,
    count_words,
    normalise,
    total,
)

# Few different words, so that alignments are ambiguous; and any Unicode, so that none is special.
ambiguous = st.lists(st.sampled_from(["a", "b", "ab", "é", "日本", "😀"]), max_size=9).map(" ".join)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
texts = st.one_of(ambiguous, anything)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=5)


@given(pairs)
@settings(max_examples=400, deadline=None)
@example([("", "a b")])
@example([("a b", "")])
@example([("", "")])
def test_word_counts_are_jiwers(rows: list[tuple[str, str]]) -> None:
    clean = [(normalise(left, "none"), normalise(right, "none")) for left, right in rows]
    expected = jiwer.process_words([left for left, _ in clean], [right for _, right in clean])
    found = total(count_words(left, right) for left, right in clean)
    assert (found.substitutions, found.deletions, found.insertions) == (
        expected.substitutions,
        expected.deletions,
        expected.insertions,
    )
    if found.reference_length:
        assert found.rate == pytest.approx(expected.wer, abs=0)


@given(pairs)
@settings(max_examples=400, deadline=None)
def test_character_counts_are_jiwers(rows: list[tuple[str, str]]) -> None:
    clean = [(normalise(left, "none"), normalise(right, "none")) for left, right in rows]
    expected = jiwer.process_characters([left for left, _ in clean], [right for _, right in clean])
    found = total(count_characters(left, right) for left, right in clean)
    assert (found.substitutions, found.deletions, found.insertions) == (
        expected.substitutions,
        expected.deletions,
        expected.insertions,
    )
    if found.reference_length:
        assert found.rate == pytest.approx(expected.cer, abs=0)


@given(texts)
@settings(max_examples=500, deadline=None)
@example("e'\u0301")
@example("\u1e9e\u0345 \ufb03\u2026")
def test_normalising_twice_changes_nothing(text: str) -> None:
    for name in NORMALISERS:
        once = normalise(text, name)
        assert normalise(once, name) == once
        assert once == " ".join(once.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Bin\tBLUE \n at  ", "bin blue at"),
        ("Don't stop; well-known!", "dont stop well known"),
        ("don\u2019t", "dont"),
        ("Straße ÉCOLE cafe\u0301", "strasse école café"),
        ("ﬁve \uff12 km²", "five 2 km2"),
        ("zero\u200bwidth", "zerowidth"),
        ("50% $3 <unk>", "50 3 unk"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),
        ("?!…", ""),
    ],
)
def test_basic_normaliser(text: str, expected: str) -> None:
    assert normalise(text, "basic") == expected


def test_none_keeps_case_and_punctuation() -> None:
    assert normalise(" Don't  STOP! ", "none") == "Don't STOP!"


def test_kinds_of_errors_are_told_apart() -> None:
    assert count_words("a b c", "a x c") == ErrorCounts(1, 0, 0, 3)
    assert count_words("a b c", "a c") == ErrorCounts(0, 1, 0, 3)
    assert count_words("a b c", "a b b c") == ErrorCounts(0, 0, 1, 3)
    assert count_errors("A, b.", "a B c", "basic") == ErrorCounts(0, 0, 1, 2)


def test_corpus_rate_weighs_words_not_utterances() -> None:
    counts = [count_words("a", "b"), count_words("a b c", "a b c")]
    assert total(counts).rate == 0.25


def test_no_rate_without_reference_words() -> None:
    with pytest.raises(ValueError, match="at least one reference token"):
        _ = count_words("", "a").rate


def test_unknown_normaliser_is_refused() -> None:
    with pytest.raises(KeyError):
        normalise("a", "whisper")
