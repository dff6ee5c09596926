"""Beam search against one that follows Whisper's own code, without cache, batch or arrays."""

from __future__ import annotations

import json
import runpy
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.programs.whisper.constraints import constraint
from model_repository.programs.whisper.decoding import decode
from model_repository.programs.whisper.rules import Options, Rules, Timestamps

Sentence = tuple[int, ...]
HUGGING_FACE = """
import json, sys
import numpy as np, torch
from pathlib import Path
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
sys.path.insert(0, sys.argv[1])
from model_repository.programs.common.answers import Settings
from model_repository.programs.whisper.decoding import decode
from model_repository.programs.whisper.engines import load_engine
from model_repository.programs.whisper.rules import Options, Rules
torch.set_num_threads(1)
checkpoint, variant = Path(sys.argv[2]), Path(sys.argv[3])
with np.load(sys.argv[4]) as stored:
    clips = [stored[name] for name in stored.files]
model = WhisperForConditionalGeneration.from_pretrained(checkpoint).eval()
extractor = WhisperFeatureExtractor.from_pretrained(checkpoint)
features = extractor(clips, sampling_rate=16000, return_tensors="pt").input_features
rules, engine = Rules.load(variant), load_engine(variant, Settings())
result = {}
for beams in (1, 5):
    options = Options(rules.prompt, beam_size=beams)
    ours = [list(one.tokens) for one in decode(engine, rules, options, features.numpy())]
    result[beams] = {"ours": ours}
    for stop in (False, True):
        chosen = {"num_beams": beams, "early_stopping": stop} if beams > 1 else {}
        with torch.inference_mode():
            found = model.generate(features, **chosen)
        rows = [[t for t in row.tolist() if t < rules.end_of_text] for row in found]
        result[beams][f"theirs {stop}"] = rows
Path(sys.argv[5]).write_text(json.dumps(result))
"""


@pytest.fixture(scope="module")
def toy() -> Any:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_decoder.py"))))


def slow(engine: Any, sound: int, rules: Rules, options: Options) -> tuple[Sentence, float]:
    """BeamSearchDecoder and the average log-probability, from the definition, for one sound."""
    size, end = options.beam_size, rules.end_of_text
    beams: dict[Sentence, float] = {(): 0.0}
    ended: dict[Sentence, float] = {}
    for _ in range(rules.max_length - len(options.prompt)):
        scores = {
            (*said, token): score + gain
            for said, score in beams.items()
            for token, gain in gains(engine, sound, rules, options, said).items()
        }
        beams = {}
        for said in ranked(scores):
            if said[-1] != end:
                beams[said] = scores[said]
                if len(beams) == size:
                    break
            elif len(ended) < size:
                ended[said] = scores[said]
        if len(ended) == size or not beams:
            break
    for said in ranked(beams)[: size - len(ended)]:
        ended[said] = beams[said]
    best = max(ended, key=lambda said: ended[said] / len(said))
    return tuple(token for token in best if token != end), ended[best] / len(best)


def ranked(scores: dict[Sentence, float]) -> list[Sentence]:
    return sorted(scores, key=lambda said: scores[said], reverse=True)


def gains(
    engine: Any, sound: int, rules: Rules, options: Options, said: Sentence
) -> dict[int, float]:
    """Log-probabilities of the next tokens, everything computed again."""
    tokens = np.array([[*options.prompt, *said]])
    state = engine.encode(np.full((1, 1, 1), sound, np.float32))
    logits, _ = engine.decode(tokens, state)
    allowed = constraint(rules, options)(logits[:, -1], np.array([said], np.int64))[0]
    allowed = allowed.astype(np.float64)
    total = np.log(np.exp(allowed - allowed.max()).sum()) + allowed.max()
    # Each beam offers one more token than there are beams, as theirs does.
    best = np.argsort(-allowed, kind="stable")[: options.beam_size + 1].tolist()
    return {token: allowed[token] - total for token in best if np.isfinite(allowed[token])}


@settings(max_examples=80, deadline=None)
@given(
    sounds=st.lists(st.integers(0, 49), min_size=1, max_size=5),
    seed=st.integers(0, 20),
    beams=st.integers(2, 8),
    longest=st.integers(1, 9),
    bias=st.sampled_from([-9.0, -1.0, 0.0, 1.5, 4.0]),
    memory=st.sampled_from([0.0, 1.0]),
)
def test_batch_equals_plain_beam_search(
    toy: Any,
    sounds: list[int],
    seed: int,
    beams: int,
    longest: int,
    bias: float,
    memory: float,
) -> None:
    engine = toy.TableEngine(seed, bias, memory=memory)
    rules = toy.rules(longest)
    options = Options(rules.prompt, beam_size=beams)
    decoded = decode(engine, rules, options, toy.features(sounds))
    for sound, found in zip(sounds, decoded, strict=True):
        said, average = slow(engine, sound, rules, options)
        assert found.average_log_probability == pytest.approx(average, abs=1e-4)
        assert found.tokens == said


@settings(max_examples=40, deadline=None)
@given(
    sounds=st.lists(st.integers(0, 49), min_size=1, max_size=4),
    seed=st.integers(0, 20),
    beams=st.integers(1, 4),
)
def test_with_timestamps_every_beam_follows_its_own_times(
    toy: Any, sounds: list[int], seed: int, beams: int
) -> None:
    engine = toy.TableEngine(seed, memory=0.5, size=24)
    times = Timestamps(begin=16, count=8, max_initial=2)
    # END is 0 here, so texts cannot be told from specials by their ids: a text stays allowed.
    rules = toy.rules(9, size=24, prompt=(13, 14), no_timestamps=15, timestamps=times)
    options = Options((13, 14), timestamps=True, beam_size=beams)
    for sound, found in zip(
        sounds, decode(engine, rules, options, toy.features(sounds)), strict=True
    ):
        said, average = slow(engine, sound, rules, options)
        assert found.tokens == said
        assert found.average_log_probability == pytest.approx(average, abs=1e-4)
        assert times.begin <= found.tokens[0] <= times.begin + times.max_initial
        spoken = [token for token in found.tokens if token >= times.begin]
        assert spoken == sorted(spoken)


def test_beams_find_what_greedy_misses(toy: Any) -> None:
    engine, rules = toy.TableEngine(2, memory=1.0), toy.rules()
    sounds = toy.features(list(range(20)))
    wide = decode(engine, rules, Options(rules.prompt, beam_size=8), sounds)
    greedy = decode(engine, rules, rules.options, sounds)
    better = [
        a.average_log_probability - b.average_log_probability
        for a, b in zip(wide, greedy, strict=True)
    ]
    assert max(better) > 0.01
    assert [one.tokens for one in wide] != [one.tokens for one in greedy]


def test_sound_and_prompt_are_computed_once(toy: Any) -> None:
    engine, rules = toy.TableEngine(4, -2.0, memory=1.0), toy.rules(7)
    decode(engine, rules, Options(rules.prompt, beam_size=3), toy.features([1, 2, 3, 4]))
    assert engine.encoded == 4
    assert engine.calls[0] == (4, len(rules.prompt))
    assert engine.calls[1] == (12, 1)
    assert {new for _, new in engine.calls[1:]} == {1}


def test_complete_searches_leave_the_batch(toy: Any) -> None:
    engine, rules = toy.TableEngine(4, 2.0), toy.rules(12)
    sounds = toy.features(list(range(16)))
    decode(engine, rules, Options(rules.prompt, beam_size=2), sounds)
    rows = [rows for rows, _ in engine.calls[1:]]
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] <= 16 < rows[0] == 32


def test_a_vocabulary_that_runs_out_leaves_no_beam_without_an_end(toy: Any) -> None:
    engine, rules = toy.TableEngine(6), toy.rules(6)
    rules.allowed[2:] = -np.inf
    rules.allowed_at_start[2:] = -np.inf
    options = Options(rules.prompt, beam_size=8)
    for found in decode(engine, rules, options, toy.features([1, 2])):
        assert set(found.tokens) == {1}
        assert np.isfinite(found.average_log_probability)


@pytest.mark.engine
def test_equals_transformers_on_real_clips(
    grid_variants: dict[str, Any], checkpoints: Any, tmp_path: Path
) -> None:
    """Theirs stops by another rule and ranks by the same score; on speech twice as fast as any
    that the model knows, beams find more than greedy search does."""
    clips = grid_clips(checkpoints.GRID, 50)
    np.savez(tmp_path / "clips.npz", *clips, *(clip[::2] for clip in clips[:24]))
    script = tmp_path / "compare.py"
    script.write_text(HUGGING_FACE)
    checkpoints.run_converter(
        script,
        str(checkpoints.GRID.parents[1]),
        str(checkpoints.GRID / "models" / "whisper-grid"),
        str(grid_variants["onnx-fp32"].folder),
        str(tmp_path / "clips.npz"),
        str(tmp_path / "result.json"),
    )
    result = json.loads((tmp_path / "result.json").read_text())
    for answers in result.values():
        assert answers["ours"] == answers["theirs False"] == answers["theirs True"]
    assert result["5"]["ours"] != result["1"]["ours"]


def grid_clips(grid: Path, count: int) -> list[Any]:
    clips = []
    for path in sorted((grid / "data" / "evaluation" / "audio").glob("*.wav"))[:count]:
        with wave.open(str(path), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        clips.append(samples.astype(np.float32) / np.float32(32_768))
    return clips
