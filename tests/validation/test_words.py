"""Counts are jiwer's for any text, and NIST sclite's errors for any transcript worth reading."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import jiwer
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from validation.words import (
    ErrorCounts,
    count_all,
    count_characters,
    count_errors,
    count_words,
    normalise,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from validation.words import Tokens

    Count = Callable[[str, str], ErrorCounts]

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


@given(pairs)
@settings(max_examples=200, deadline=None)
def test_all_at_once_are_each_alone(rows: list[tuple[str, str]]) -> None:
    references, hypotheses = [left for left, _ in rows], [right for _, right in rows]
    both: tuple[tuple[Tokens, Count], ...] = (
        ("words", count_words),
        ("characters", count_characters),
    )
    for tokens, count in both:
        found = count_all(references, hypotheses, tokens)
        alone = [count(*row) for row in rows]
        expected = [
            (one.substitutions, one.deletions, one.insertions, one.reference_length)
            for one in alone
        ]
        assert found.tolist() == [list(map(float, row)) for row in expected]


def test_no_pairs_have_no_counts() -> None:
    assert count_all([], [], "words").shape == (0, 4)
    with pytest.raises(ValueError, match="shorter"):
        count_all(["a", "b"], ["a"], "words")


WORDS = ("bin", "lay", "place", "שלום", "日本", "straße", "don't", "é", "e\u0301", "well-known")


def misheard(chance: float, count: int = 1500) -> tuple[list[str], list[str]]:
    """References, and hypotheses with that chance of each kind of error at each word."""
    random = np.random.default_rng(3)
    references, hypotheses = [], []
    for _ in range(count):
        said = [str(word) for word in random.choice(WORDS, random.integers(4, 12))]
        heard = []
        for word in said:
            kind = random.random()
            if kind < chance:
                continue
            heard.append(str(random.choice(WORDS)) if kind < 2 * chance else word)
            if random.random() < chance:
                heard.append(str(random.choice(WORDS)))
        references.append(" ".join(said))
        hypotheses.append(" ".join(heard))
    return references, hypotheses


def sclite(folder: Path, references: list[str], hypotheses: list[str]) -> NDArray[np.int64]:
    """NIST sclite's substitutions, deletions, insertions and reference words: [pairs, 4]."""
    program = [shutil.which("sclite")] if shutil.which("sclite") else ["sctk", "sclite"]
    if not shutil.which(str(program[0])):
        pytest.skip("NIST sclite is not here: apt-get install -y sctk")
    for name, texts in (("ref", references), ("hyp", hypotheses)):
        lines = (f"{text} (s_{row:06d})\n" for row, text in enumerate(texts))
        (folder / f"{name}.trn").write_text("".join(lines))
    command = [*map(str, program), "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn"]
    command += ["-i", "rm", "-s", "-e", "utf-8", "-o", "pralign", "stdout"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    pattern = r"id: \(s_(\d+)\)\nScores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)"
    found = {int(row[0]): [int(one) for one in row[1:]] for row in re.findall(pattern, said)}
    assert len(found) == len(references)
    right, *wrong = np.array([found[row] for row in range(len(references))]).T
    return np.stack([*wrong, right + wrong[0] + wrong[1]], axis=1)


@pytest.mark.parametrize("chance", [0.01, 0.05])
def test_errors_of_each_utterance_are_sclites(tmp_path: Path, chance: float) -> None:
    references, hypotheses = misheard(chance)
    theirs = sclite(tmp_path, references, hypotheses)
    ours = count_all(references, hypotheses, "words")
    assert ours[:, :3].sum(axis=1).tolist() == theirs[:, :3].sum(axis=1).tolist()
    assert ours[:, 3].tolist() == theirs[:, 3].tolist()
    assert ours[:, :3].sum() > 100


def test_single_errors_are_sclites_by_kind(tmp_path: Path) -> None:
    references, hypotheses = misheard(0.03)
    ours = count_all(references, hypotheses, "words")
    kept = np.flatnonzero(ours[:, :3].sum(axis=1) == 1)
    texts = [references[row] for row in kept], [hypotheses[row] for row in kept]
    assert sclite(tmp_path, *texts).tolist() == ours[kept].tolist()
    assert (ours[kept, :3].sum(axis=0) > 20).all()


def test_sclite_differs_only_by_its_weights(tmp_path: Path) -> None:
    references, hypotheses = misheard(0.25)
    theirs = sclite(tmp_path, references, hypotheses)
    ours = count_all(references, hypotheses, "words")
    cheapest = [
        Levenshtein.distance(said.split(), heard.split(), weights=(3, 3, 4))
        for said, heard in zip(references, hypotheses, strict=True)
    ]
    assert (theirs[:, :3] @ [4, 3, 3]).tolist() == cheapest
    assert (ours[:, :3].sum(axis=1) <= theirs[:, :3].sum(axis=1)).all()
    assert (ours[:, :3] != theirs[:, :3]).any()
