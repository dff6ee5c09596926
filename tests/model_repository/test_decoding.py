"""Greedy decoding over an engine whose next logits follow from the tokens and the sound alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_repository.programs.whisper.decoding import Rules, decode
from model_repository.programs.whisper.engines import Engine, State

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY, END, NO_SPEECH = 12, 0, 11
PROMPT = (9, 10)


class TableEngine(Engine[NDArray[np.int64]]):
    """Logits are drawn from a table by the row's sound, the position and the last token."""

    def __init__(self, seed: int, end_bias: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self.table = random.standard_normal((50, 40, VOCABULARY, VOCABULARY)).astype(np.float32)
        self.table[..., END] += end_bias
        self.batches: list[int] = []

    def encode(self, features: NDArray[np.float32]) -> State[NDArray[np.int64]]:
        sounds = features[:, 0, 0].astype(np.int64)
        return State((np.zeros((len(sounds), 0), np.int64),), (sounds,))

    def decode(
        self, tokens: NDArray[np.int64], state: State[NDArray[np.int64]]
    ) -> tuple[NDArray[np.float32], State[NDArray[np.int64]]]:
        (past,), (sounds,) = state.past, state.cross
        assert tokens.dtype == np.int64
        assert len(tokens) == len(past) == len(sounds)
        self.batches.append(len(tokens))
        positions = past.shape[1] + np.arange(tokens.shape[1])
        logits = self.table[sounds[:, None], positions, tokens]
        return logits, State((np.concatenate([past, tokens], axis=1),), state.cross)

    def select(
        self, state: State[NDArray[np.int64]], rows: NDArray[np.int64]
    ) -> State[NDArray[np.int64]]:
        return State((state.past[0][rows],), (state.cross[0][rows],))


def rules(max_new_tokens: int = 8, no_speech: int | None = NO_SPEECH) -> Rules:
    allowed = np.zeros(VOCABULARY, np.float32)
    allowed[list(PROMPT)] = -np.inf
    at_start = allowed.copy()
    at_start[END] = -np.inf
    return Rules(PROMPT, END, no_speech, max_new_tokens, allowed, at_start)


def features(sounds: list[int]) -> NDArray[np.float32]:
    return np.array(sounds, np.float32)[:, None, None]


def one_by_one(
    engine: TableEngine, sound: int, rules: Rules
) -> tuple[tuple[int, ...], float, float]:
    """The same greedy decoding, written plainly for one sound."""
    tokens: list[int] = list(rules.prompt)
    scores: list[float] = []
    while len(scores) < rules.max_new_tokens:
        logits = engine.table[sound, len(tokens) - 1, tokens[-1]].astype(np.float64)
        logits = logits + (rules.allowed if scores else rules.allowed_at_start)
        best = int(logits.argmax())
        scores.append(float(logits[best] - np.log(np.exp(logits).sum())))
        tokens.append(best)
        if best == rules.end_of_text:
            break
    first = engine.table[sound, 0, rules.prompt[0]].astype(np.float64)
    silence = float(np.exp(first[NO_SPEECH]) / np.exp(first).sum())
    said = tuple(token for token in tokens[len(rules.prompt) :] if token != rules.end_of_text)
    return said, float(np.mean(scores)), silence


@settings(max_examples=80, deadline=None)
@given(
    sounds=st.lists(st.integers(0, 49), min_size=1, max_size=9),
    seed=st.integers(0, 20),
    longest=st.integers(1, 12),
    bias=st.sampled_from([-9.0, 0.0, 1.5]),
)
def test_batch_equals_plain_greedy_decoding(
    sounds: list[int], seed: int, longest: int, bias: float
) -> None:
    engine = TableEngine(seed, bias)
    limits = rules(longest)
    for sound, found in zip(sounds, decode(engine, limits, features(sounds)), strict=True):
        said, average, silence = one_by_one(engine, sound, limits)
        assert found.tokens == said
        assert found.average_log_probability == pytest.approx(average, abs=1e-5)
        assert found.average_log_probability <= 0
        assert found.no_speech_probability == pytest.approx(silence, abs=1e-6)


def test_prompt_is_one_call_and_ended_sequences_leave() -> None:
    engine = TableEngine(3, 1.5)
    decode(engine, rules(12), features(list(range(16))))
    assert engine.batches[0] == 16
    assert engine.batches == sorted(engine.batches, reverse=True)
    assert min(engine.batches) <= 8


def test_suppressed_tokens_are_never_chosen() -> None:
    engine = TableEngine(5)
    engine.table[..., list(PROMPT)] += 50
    for found in decode(engine, rules(), features(list(range(9)))):
        assert not set(PROMPT) & set(found.tokens)
        assert found.tokens, "end-of-text is suppressed at the start"


def test_without_such_a_token_no_speech_is_zero() -> None:
    (found,) = decode(TableEngine(1), rules(no_speech=None), features([1]))
    assert found.no_speech_probability == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(value: float) -> None:
    engine = TableEngine(1)
    engine.table[1, 1:, :, 4] = value
    with pytest.raises(RuntimeError, match="not numbers"):
        decode(engine, rules(), features([0, 1]))


def test_rules_are_read(tmp_path: Path) -> None:
    values = {
        "prompt": [9, 10],
        "end_of_text": 0,
        "no_speech": None,
        "suppressed": [9, 10],
        "suppressed_at_start": [0],
        "max_new_tokens": 8,
        "vocabulary_size": 12,
    }
    (tmp_path / "decoding.json").write_text(json.dumps(values))
    read = Rules.load(tmp_path)
    assert read.prompt == PROMPT
    assert np.array_equal(read.allowed, rules().allowed)
    assert np.array_equal(read.allowed_at_start, rules().allowed_at_start)
