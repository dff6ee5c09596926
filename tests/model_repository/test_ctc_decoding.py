"""Greedy CTC decoding against the sum over nothing but the best path, written out plainly."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.programs.common.ctc import best_paths
from model_repository.programs.ctc_speech.spelling import Characters, load_spelling

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCHES = st.tuples(
    st.integers(1, 4), st.integers(1, 9), st.integers(2, 5), st.integers(0, 10_000), st.data()
)


def drawn(batch: int, frames: int, vocabulary: int, seed: int) -> NDArray[np.float32]:
    """Logits that repeat themselves often, as real ones do."""
    random = np.random.default_rng(seed)
    logits = 3 * random.standard_normal((batch, frames, vocabulary))
    held = random.random((batch, frames)) < 0.4
    for frame in range(1, frames):
        logits[held[:, frame], frame] = logits[held[:, frame], frame - 1]
    return logits.astype(np.float32)


def plainly(logits: NDArray[np.float32], blank: int) -> tuple[list[int], float, float]:
    """One sound, frame by frame, in Python's own arithmetic."""
    tokens: list[int] = []
    spoken: list[tuple[float, float]] = []
    silent: list[tuple[float, float]] = []
    before = blank
    for frame in logits.tolist():
        top = max(frame)
        chosen = frame.index(top)
        total = math.fsum(math.exp(value - top) for value in frame)
        shares = [math.exp(value - top) / total for value in frame]
        entropy = -math.fsum(share * math.log(share) for share in shares)
        (silent if chosen == blank else spoken).append((-math.log(total), entropy))
        if chosen not in (blank, before):
            tokens.append(chosen)
        before = chosen
    scores, entropies = zip(*(spoken or silent), strict=True)
    return tokens, math.fsum(scores) / len(scores), math.fsum(entropies) / len(entropies)


@settings(max_examples=200, deadline=None)
@given(sizes=BATCHES)
def test_batch_equals_each_sound_written_plainly(
    sizes: tuple[int, int, int, int, Any],
) -> None:
    batch, frames, vocabulary, seed, data = sizes
    blank = data.draw(st.integers(0, vocabulary - 1))
    logits = drawn(batch, frames, vocabulary, seed)
    for path, sound in zip(best_paths(logits, blank), logits, strict=True):
        tokens, average, entropy = plainly(sound, blank)
        assert list(path.tokens) == tokens
        assert path.average_log_probability == pytest.approx(average, abs=1e-5)
        assert path.average_log_probability <= 0
        assert path.entropy == pytest.approx(entropy, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(2, 3), st.integers(0, 10_000), st.data())
def test_path_is_the_most_probable_of_all(
    frames: int, vocabulary: int, seed: int, data: Any
) -> None:
    """Every path there is, by brute force: the tokens are those of the most probable one."""
    blank = data.draw(st.integers(0, vocabulary - 1))
    logits = drawn(1, frames, vocabulary, seed).astype(np.float64)
    scores = logits[0] - np.log(np.exp(logits[0]).sum(-1, keepdims=True))
    best = max(
        itertools.product(range(vocabulary), repeat=frames),
        key=lambda path: sum(scores[frame, token] for frame, token in enumerate(path)),
    )
    collapsed = [token for token, _ in itertools.groupby(best) if token != blank]
    (found,) = best_paths(logits.astype(np.float32), blank)
    assert list(found.tokens) == collapsed


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=12), st.integers(0, 1000))
def test_what_is_aligned_is_read_back(tokens: list[int], seed: int) -> None:
    """Any spelling, held for any number of frames, with blanks where CTC needs them."""
    random = np.random.default_rng(seed)
    path = [0] * int(random.integers(3))
    for before, token in zip([0, *tokens], tokens, strict=False):
        path += [0] * int(random.integers(1 if before == token else 0, 3))
        path += [token] * int(random.integers(1, 4))
    path += [0] * int(random.integers(not path, 3))
    logits = 9 * np.eye(5, dtype=np.float32)[path][None]
    (found,) = best_paths(logits, 0)
    assert list(found.tokens) == tokens


def test_silence_around_the_speech_does_not_change_the_score() -> None:
    speech = drawn(1, 8, 5, 4)
    speech[0, :, 0] = -9
    silence = np.zeros((1, 40, 5), np.float32)
    silence[..., 0] = 20
    (alone,) = best_paths(speech, 0)
    (within,) = best_paths(np.concatenate([silence, speech, silence], axis=1), 0)
    assert within == alone


def test_nothing_but_blanks_is_an_empty_answer_with_a_score() -> None:
    logits = np.zeros((1, 10, 4), np.float32)
    logits[..., 2] = 1
    (found,) = best_paths(logits, 2)
    assert found.tokens == ()
    assert found.average_log_probability == pytest.approx(1 - math.log(3 + math.e), abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(value: float) -> None:
    logits = drawn(2, 6, 5, 1)
    logits[1, 3, 2] = value
    with pytest.raises(RuntimeError, match="not numbers"):
        best_paths(logits, 0)


def write_characters(folder: Path, **values: Any) -> Characters:
    content = {"tokens": ["", "", "|", "A", "B", "ch"], "delimiter": "|", "lower_case": False}
    (folder / "characters.json").write_text(json.dumps(content | values))
    spelling = load_spelling(folder)
    assert isinstance(spelling, Characters)
    return spelling


def test_characters_are_joined_and_words_are_apart(tmp_path: Path) -> None:
    spelling = write_characters(tmp_path)
    assert spelling([(2, 3, 1, 3, 2, 2, 4, 5, 2), (), (2, 2)]) == ["AA Bch", "", ""]
    assert write_characters(tmp_path, lower_case=True)([(3, 2, 4)]) == ["a b"]
    assert write_characters(tmp_path, delimiter="A")([(4, 3, 4)]) == ["B B"]
