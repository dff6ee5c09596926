"""Decoding over an engine whose next logits follow from the tokens and the sound alone."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.programs.whisper.decoding import decode
from model_repository.programs.whisper.rules import Options, Rules, Timestamps


@pytest.fixture(scope="module")
def toy() -> Any:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_decoder.py"))))


def one_by_one(
    engine: Any, sound: int, rules: Rules
) -> tuple[tuple[int, ...], float, float, float]:
    """The same greedy decoding, written plainly for one sound."""
    tokens: list[int] = list(rules.prompt)
    scores: list[float] = []
    entropies: list[float] = []
    while len(tokens) < rules.max_length:
        logits = engine.table[sound, len(tokens) - 1, tokens[-1]].astype(np.float64)
        logits = logits + (rules.allowed if scores else rules.allowed_at_start)
        best = int(logits.argmax())
        shares = np.exp(logits) / np.exp(logits).sum()
        scores.append(float(np.log(shares[best])))
        entropies.append(-float(sum(p * np.log(p) for p in shares if p)))
        tokens.append(best)
        if best == rules.end_of_text:
            break
    first = engine.table[sound, 0, rules.prompt[0]].astype(np.float64)
    silence = float(np.exp(first[rules.no_speech]) / np.exp(first).sum())
    said = tuple(token for token in tokens[len(rules.prompt) :] if token != rules.end_of_text)
    return said, float(np.mean(scores)), silence, float(np.mean(entropies))


@settings(max_examples=80, deadline=None)
@given(
    sounds=st.lists(st.integers(0, 49), min_size=1, max_size=9),
    seed=st.integers(0, 20),
    longest=st.integers(1, 12),
    bias=st.sampled_from([-9.0, 0.0, 1.5]),
)
def test_batch_equals_plain_greedy_decoding(
    toy: Any, sounds: list[int], seed: int, longest: int, bias: float
) -> None:
    engine = toy.TableEngine(seed, bias)
    limits = toy.rules(longest)
    decoded = decode(engine, limits, limits.options, toy.features(sounds))
    for sound, found in zip(sounds, decoded, strict=True):
        said, average, silence, entropy = one_by_one(engine, sound, limits)
        assert found.tokens == said
        assert found.average_log_probability == pytest.approx(average, abs=1e-5)
        assert found.average_log_probability <= 0
        assert found.no_speech_probability == pytest.approx(silence, abs=1e-6)
        ended = len(said) + len(limits.prompt) < limits.max_length
        assert found.chosen == len(said) + ended
        assert found.is_cut_off is not ended
        assert found.entropy == pytest.approx(entropy, abs=1e-5)


def test_prompt_is_one_call_and_ended_sequences_leave(toy: Any) -> None:
    engine = toy.TableEngine(3, 1.5)
    limits = toy.rules(12)
    decode(engine, limits, limits.options, toy.features(list(range(16))))
    assert engine.calls[0] == (16, len(limits.prompt))
    assert {new for _, new in engine.calls[1:]} == {1}
    rows = [rows for rows, _ in engine.calls]
    assert rows == sorted(rows, reverse=True)
    assert min(rows) <= 8


def test_suppressed_tokens_are_never_chosen(toy: Any) -> None:
    engine, limits = toy.TableEngine(5), toy.rules()
    engine.table[..., list(limits.prompt)] += 50
    for found in decode(engine, limits, limits.options, toy.features(list(range(9)))):
        assert not set(limits.prompt) & set(found.tokens)
        assert found.tokens, "end-of-text is suppressed at the start"


def test_without_such_a_token_no_speech_is_zero(toy: Any) -> None:
    limits = toy.rules(no_speech=None)
    (found,) = decode(toy.TableEngine(1), limits, limits.options, toy.features([1]))
    assert found.no_speech_probability == 0


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(toy: Any, value: float, beams: int) -> None:
    engine, limits = toy.TableEngine(1), toy.rules()
    engine.table[1, 1:, :, 4] = value
    with pytest.raises(RuntimeError, match="not numbers"):
        decode(engine, limits, Options(limits.prompt, beam_size=beams), toy.features([0, 1]))


VALUES: dict[str, Any] = {
    "prompt": [8, 9, 10, 7],
    "start": 8,
    "languages": {"de": 6, "en": 9},
    "language": "en",
    "tasks": {"transcribe": 10, "translate": 5},
    "task": "transcribe",
    "no_timestamps": 7,
    "timestamps": {"begin": 8, "count": 3, "max_initial": 1},
    "end_of_text": 0,
    "no_speech": None,
    "suppressed": [9, 10],
    "suppressed_at_start": [0],
    "max_length": 10,
    "vocabulary_size": 12,
}


def read(tmp_path: Path, **changes: Any) -> Rules:
    (tmp_path / "decoding.json").write_text(json.dumps(VALUES | changes))
    return Rules.load(tmp_path)


def test_rules_are_read(tmp_path: Path) -> None:
    rules = read(tmp_path)
    assert rules.options == Options((8, 9, 10, 7))
    assert rules.timestamps == Timestamps(8, 3, 1)
    assert np.isneginf(rules.allowed).nonzero()[0].tolist() == [9, 10]
    assert np.isneginf(rules.allowed_at_start).nonzero()[0].tolist() == [0, 9, 10]


def test_prompts_follow_what_is_asked(tmp_path: Path) -> None:
    rules = read(tmp_path)
    assert rules.prompt_of(None, None, timestamps=False) == (8, 9, 10, 7)
    assert rules.prompt_of("en", "transcribe", timestamps=False) == (8, 9, 10, 7)
    assert rules.prompt_of("de", None, timestamps=False) == (8, 6, 10, 7)
    assert rules.prompt_of(None, "translate", timestamps=True) == (8, 9, 5)
    assert rules.prompt_of(None, None, timestamps=True) == (8, 9, 10)


def test_a_model_without_tasks_gets_a_language_alone(tmp_path: Path) -> None:
    rules = read(tmp_path, prompt=[8, 9], tasks={}, task=None, no_timestamps=None, timestamps=None)
    assert rules.prompt_of("de", None, timestamps=False) == (8, 6)
