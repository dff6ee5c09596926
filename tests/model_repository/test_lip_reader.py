"""The lip-reading program offline: what it refuses, what it asks a network, and what it answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from model_repository.programs.common.answers import Settings
from model_repository.programs.lip_reading import video
from model_repository.programs.lip_reading.reader import LipReader
from pipelines.conversion.lip_reading.kind import KIND

from ..conversion import lip_folders as lips

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TESTS = Path(__file__).resolve().parents[1]
FRAMES, ROWS, COLUMNS = 6, 2, 3
TOKENS = ["<blank>", "▁a", "b", "▁c"]
WORST_RATE = {"onnx-int8": 0.01, "openvino-int8": 0.01, "openvino-int8-full": 0.03}
"""Word error rate that a quantised variant may lose against Keras."""
SCORED = 32
"""Evaluation clips that every variant is asked."""


class Echo:
    """A network whose tokens are the greys of each frame's first pixel, in thirds."""

    def __init__(self, certainty: float = 0.97) -> None:
        self.batches: list[int] = []
        self.certainty = certainty

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        clips = feed["clip"]
        assert clips.dtype == np.float32
        assert clips.shape == (len(clips), FRAMES, ROWS, COLUMNS, 1)
        self.batches.append(len(clips))
        chosen = np.rint(clips[:, :, 0, 0, 0] * 3).astype(int)
        rest = (1 - self.certainty) / (len(TOKENS) - 1)
        sure = np.eye(len(TOKENS)) * (self.certainty - rest) + rest
        return {"probabilities": sure[chosen].astype(np.float32)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variant")
    tensors = {
        "inputs": [{"name": "clip", "data_type": "TYPE_FP32", "dims": [FRAMES, ROWS, COLUMNS, 1]}],
        "outputs": [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [FRAMES, 4]}],
    }
    (folder / "network.json").write_text(json.dumps(tensors))
    vocabulary = {"tokens": TOKENS, "blank": 0, "word_delimiter": "▁"}
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary))
    return folder


@pytest.fixture
def network() -> Echo:
    return Echo()


@pytest.fixture
def reader(folder: Path, network: Echo) -> LipReader:
    return LipReader(folder, Settings(network=network))


def clip(tokens: list[int]) -> NDArray[np.float32]:
    """A clip whose frames make the echo choose these tokens."""
    frames = np.full((FRAMES, ROWS, COLUMNS, 1), 0.5, np.float32)
    frames[:, 0, 0, 0] = np.array(tokens, np.float32) / 3
    return frames


def test_repeats_and_blanks_make_words(reader: LipReader, network: Echo) -> None:
    questions = [clip([1, 1, 0, 2, 3, 3]), clip([0] * 6), clip([1, 0, 1, 1, 0, 1])]
    found = reader.answer(questions, [{}] * 3)
    assert [one.outputs["transcript"] for one in found] == ["ab c", "", "a a a"]
    assert [one.outputs["token_count"] for one in found] == [3, 0, 3]
    assert network.batches == [3]
    for one in found:
        assert one.outputs["average_log_probability"] == pytest.approx(math.log(0.97), abs=1e-5)


def test_outputs_are_those_of_the_interface(reader: LipReader) -> None:
    (one,) = reader.answer([clip([1, 1, 2, 0, 3, 0])], [{}])
    assert list(one.outputs) == [tensor.name for tensor in KIND.interface.outputs]
    assert one.record == {
        "length_chars": 4,
        "token_count": 3,
        "compression_ratio": one.outputs["compression_ratio"],
        "average_log_probability": one.outputs["average_log_probability"],
        "empty": False,
        "looping": False,
        "entropy": pytest.approx(-0.97 * math.log(0.97) - 0.03 * math.log(0.01), abs=1e-5),
        "fallback": None,
        "text_hash": None,
        "chars_per_s": 4 / (FRAMES / 25),
    }


def test_certain_zeros_stay_numbers(folder: Path) -> None:
    reader = LipReader(folder, Settings(network=Echo(certainty=1.0)))
    (one,) = reader.answer([clip([1] * 6)], [{}])
    assert one.outputs["average_log_probability"] == pytest.approx(0, abs=1e-6)


def test_network_that_computes_no_numbers(folder: Path) -> None:
    def broken(feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"probabilities": np.full((len(feed["clip"]), FRAMES, 4), np.nan, np.float32)}

    reader = LipReader(folder, Settings(network=broken))
    with pytest.raises(RuntimeError, match="not numbers"):
        reader.answer([clip([1] * 6)], [{}])


def test_no_network_no_reader(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="needs the release's network"):
        LipReader(folder, Settings())


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (np.zeros((FRAMES, ROWS, COLUMNS), np.float32), "clip is 6 x 2 x 3; this model sees"),
        (np.zeros((FRAMES + 1, ROWS, COLUMNS, 1), np.float32), "clip is 7 x 2 x 3 x 1"),
        (np.zeros((0, ROWS, COLUMNS, 1), np.float32), "clip is 0 x 2 x 3 x 1"),
        (np.zeros((), np.float32), "clip is a single number"),
        (np.full((FRAMES, ROWS, COLUMNS, 1), np.nan, np.float32), "NaN or infinity"),
        (np.full((FRAMES, ROWS, COLUMNS, 1), np.inf, np.float32), "NaN or infinity"),
        (np.full((FRAMES, ROWS, COLUMNS, 1), 1.01, np.float32), "greys from 1.01 to 1.01"),
        (np.full((FRAMES, ROWS, COLUMNS, 1), 200, np.float32), "divided by 255"),
        (np.full((FRAMES, ROWS, COLUMNS, 1), -0.1, np.float32), "greys from -0.1"),
    ],
)
def test_clip_that_is_refused(
    reader: LipReader, question: NDArray[np.float32], reason: str
) -> None:
    message = reader.refusal(question, {})
    assert reason in message
    assert "\n" not in message
    described = reader.describe(question)
    assert described["frames"] == (question.shape[0] if question.ndim else 0)
    assert all(math.isfinite(value) for value in described.values())


def test_other_frame_rate_is_refused(reader: LipReader) -> None:
    assert reader.refusal(clip([0] * 6), {"frames_per_second": 25}) == ""
    assert reader.refusal(clip([0] * 6), {"frames_per_second": "25"}) == ""
    message = reader.refusal(clip([0] * 6), {"frames_per_second": 30})
    assert message == "frames_per_second is 30, this model sees 25; resample the video"


def test_brightness_and_motion() -> None:
    frames = np.zeros((4, 2, 2, 1), np.float32)
    frames[1::2] = 1
    assert video.describe(frames) == {
        "frames": 4,
        "duration_s": 0.16,
        "brightness": 0.5,
        "motion": 1.0,
    }
    assert video.describe(frames[:1])["motion"] == 0.0


@settings(max_examples=60, deadline=None)
@given(tokens=st.lists(st.integers(0, 3), min_size=FRAMES, max_size=FRAMES))
def test_any_path_is_read_as_by_hand(folder: Path, tokens: list[int]) -> None:
    reader = LipReader(folder, Settings(network=Echo()))
    assert reader.refusal(clip(tokens), {}) == ""
    (one,) = reader.answer([clip(tokens)], [{}])
    kept, before = [], 0
    for token in tokens:
        if token not in (before, 0):
            kept.append(TOKENS[token])
        before = token
    assert one.outputs["transcript"] == "".join(kept).replace("▁", " ").strip()
    assert one.outputs["token_count"] == len(kept)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp().parent


@pytest.fixture(scope="module")
def clips(shared: Path) -> tuple[Path, dict[str, str]]:
    """Evaluation clips as a file, and what is said in each."""
    folder = lips.GRID / "data" / "lips-evaluation"
    rows = lips.rows(folder)[::3][:SCORED]
    path = shared / f"{folder.name}-{SCORED}.npz"
    lips.save_clips(path, {row["id"]: lips.clip(folder, row) for row in rows})
    return path, {row["id"]: row["text"] for row in rows}


@pytest.fixture(scope="module")
def expected(clips: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return dict(lips.source_transcripts(lips.MODEL, clips[0]))


def rate(said: Mapping[str, str], texts: Mapping[str, str]) -> float:
    errors = sum(
        Levenshtein.distance(text.split(), said[name].split()) for name, text in texts.items()
    )
    return errors / sum(len(text.split()) for text in texts.values())


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_every_variant_says_what_keras_says(
    shared: Path,
    clips: tuple[Path, dict[str, str]],
    expected: dict[str, str],
    name: str,
) -> None:
    path, texts = clips
    folder = lips.all_variants(lips.MODEL, shared)[name].folder
    answers = lips.program_answers(folder, path)
    said = {name: answer["transcript"] for name, answer in answers.items()}
    if name in WORST_RATE:
        assert rate(said, texts) <= rate(expected, texts) + WORST_RATE[name]
    else:
        same = sum(said[clip] == expected[clip] for clip in texts) / len(texts)
        assert same >= (1.0 if name == "onnx-fp32" else 0.95)
    assert all(answer["average_log_probability"] <= 0 for answer in answers.values())


@pytest.mark.engine
def test_keras_reads_lips(clips: tuple[Path, dict[str, str]], expected: dict[str, str]) -> None:
    assert rate(expected, clips[1]) <= 0.05
