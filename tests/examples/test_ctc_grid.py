"""The CTC checkpoint and the calibration split: what lies there, and nothing heard twice."""

from __future__ import annotations

import hashlib
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctc_speech.vocabulary import BLANK, IDS, TOKENS, read, spell
from hypothesis import given
from hypothesis import strategies as st
from speech.dataset import SHORT_WINDOW, folder_digest
from speech.draws import training_sentences
from speech.grammar import WORDS
from speech.speakers import (
    calibration_speakers,
    evaluation_speakers,
    live_speakers,
    training_voices,
)

from infra.environments.locks import CONVERTER

from ..warm_python import run

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
MODEL = GRID / "models" / "ctc-grid"
FILES = {
    *("config.json", "model.safetensors", "preprocessor_config.json", "vocab.json"),
    *("tokenizer_config.json", "special_tokens_map.json"),
}
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)


def facts(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MODEL / file).read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def calibration(data: Path) -> Path:
    return data / "calibration"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_the_checkpoint_is_these_small_plain_files() -> None:
    paths = list(MODEL.iterdir())
    assert {path.name for path in paths} == FILES
    assert all(path.is_file() and not path.is_symlink() for path in paths)
    assert sum(path.stat().st_size for path in paths) < 5_000_000


def test_weights_are_float16_of_one_encoder_and_one_layer() -> None:
    content = (MODEL / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header.pop("__metadata__", None)
    assert {entry["dtype"] for entry in header.values()} == {"F16"}
    assert {name.split(".")[0] for name in header} == {"encoder", "lm_head"}
    assert header["lm_head.weight"]["shape"] == [len(IDS), 128]
    assert header["encoder.embed_positions.weight"]["shape"] == [150, 128]


def test_configuration_vocabulary_and_extractor_agree() -> None:
    config, extractor = facts("config.json"), facts("preprocessor_config.json")
    assert (config["model_type"], config["architectures"]) == ("whisper", ["WhisperForCTC"])
    assert config["vocab_size"] == len(facts("vocab.json")) == len(TOKENS)
    assert facts("vocab.json") == IDS
    assert config["pad_token_id"] == IDS[BLANK] == 0
    assert "|" in facts("tokenizer_config.json")["word_delimiter_token"]
    assert extractor["n_samples"] == 2 * 160 * config["max_source_positions"] == 48_000


@given(SENTENCES)
def test_a_spelling_is_read_back(text: str) -> None:
    path = [one for character in spell(text) for one in (character, character, IDS[BLANK])]
    assert read(path) == text
    assert read([]) == read([0, 0]) == ""


@pytest.mark.engine
def test_word_error_rate_on_evaluation(data: Path) -> None:
    if not CONVERTER.is_complete():
        pytest.skip("the converter's environment is not made")
    program = (
        "import sys; from pathlib import Path; from ctc_speech.scoring import score_network\n"
        "scores = score_network(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(scores['all'].rate, scores['all'].clips)"
    )
    said = run(CONVERTER, "-c", program, str(MODEL), str(data / "evaluation"), folder=GRID)
    rate, clips = said.split()
    assert int(clips) == 448
    assert float(rate) < 0.04


def test_calibration_describes_itself(calibration: Path) -> None:
    rows = rows_of(calibration)
    assert json.loads((calibration / "dataset.json").read_text()) == {
        "name": "calibration",
        "kind": "speech",
        "sample_rate": 16_000,
        "count": 96,
        "sha256": folder_digest(calibration),
    }
    assert len(rows) == len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == 96
    noises = [row["noise"] for row in rows]
    assert noises.count("noisy") == noises.count("clean") == 48
    for row in rows:
        with wave.open(str(calibration / row["audio_filepath"])) as clip:
            assert clip.getframerate() == 16_000
            assert clip.getnframes() / 16_000 == row["duration"] < SHORT_WINDOW


def test_calibration_shares_no_sentence_and_no_clip(calibration: Path, data: Path) -> None:
    held_out = [data / split for split in ("evaluation", "live")]
    said = {row["text"] for row in rows_of(calibration)}
    assert not said & training_sentences()
    for folder in held_out:
        assert not said & {row["text"] for row in rows_of(folder)}
    clips = [
        hashlib.sha256(path.read_bytes()).digest()
        for folder in (calibration, *held_out)
        for path in (folder / "audio").iterdir()
    ]
    assert len(set(clips)) == len(clips)


def test_calibration_has_voices_of_the_training(calibration: Path) -> None:
    voices = {(speaker.accent, speaker.timbre) for speaker in calibration_speakers()}
    assert len(voices) == len({row["speaker"] for row in rows_of(calibration)}) == 32
    assert voices <= set(training_voices())
    held_out = (*evaluation_speakers(), *live_speakers())
    assert not voices & {(speaker.accent, speaker.timbre) for speaker in held_out}
    accents = [accent for accent, _ in voices]
    assert np.unique(accents, return_counts=True)[1].tolist() == [4] * 8
