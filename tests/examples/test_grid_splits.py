"""The held-out splits: the same bytes each time, and nobody in two of them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from speech.dataset import FULL_WINDOW, NOISE_DECIBELS, SHORT_WINDOW, folder_digest
from speech.grammar import SLOTS
from speech.speakers import evaluation_speakers, live_speakers, training_voices

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
SPLITS = ("evaluation", "live")


def rows_of(folder: Path) -> list[dict[str, str | float]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_split_is_the_same_bytes_twice(data: Path, tmp_path: Path) -> None:
    (tmp_path / "stale").mkdir()
    (tmp_path / "stale" / "left-over.wav").write_bytes(b"old")
    command = [sys.executable, "-m", "speech", "live", str(tmp_path / "stale")]
    subprocess.run(command, cwd=GRID, check=True, capture_output=True, timeout=120)
    assert folder_digest(tmp_path / "stale") == folder_digest(data / "live")
    assert not (tmp_path / "stale" / "left-over.wav").exists()


@pytest.mark.parametrize("split", SPLITS)
def test_dataset_json_holds_the_digest_of_all_other_files(data: Path, split: str) -> None:
    facts = json.loads((data / split / "dataset.json").read_text())
    assert facts == {
        "name": split,
        "kind": "speech",
        "sample_rate": 16_000,
        "count": len(rows_of(data / split)),
        "sha256": folder_digest(data / split),
    }


def test_one_changed_sample_changes_the_digest(data: Path, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    clip = tmp_path / "audio" / "a.wav"
    clip.write_bytes(next((data / "live" / "audio").iterdir()).read_bytes())
    before = folder_digest(tmp_path)
    clip.write_bytes(clip.read_bytes()[:-1] + b"\x7f")
    assert folder_digest(tmp_path) != before


@pytest.mark.parametrize(("split", "clips"), [("evaluation", 448), ("live", 160)])
def test_the_manifest_describes_every_clip(data: Path, split: str, clips: int) -> None:
    folder = data / split
    rows = rows_of(folder)
    assert len(rows) == clips
    assert [row["id"] for row in rows] == sorted({row["id"] for row in rows})
    listed = {str(row["audio_filepath"]) for row in rows}
    assert listed == {f"audio/{path.name}" for path in (folder / "audio").iterdir()}
    for row in rows:
        words = str(row["text"]).split()
        assert all(word in slot for word, slot in zip(words, SLOTS, strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_audio_is_what_the_manifest_says(data: Path, split: str) -> None:
    for row in rows_of(data / split):
        with wave.open(str(data / split / str(row["audio_filepath"]))) as clip:
            shape = (clip.getframerate(), clip.getnchannels(), clip.getsampwidth())
            assert shape == (16_000, 1, 2)
            assert clip.getnframes() / 16_000 == row["duration"]
            samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2")
        assert 15_000 < np.abs(samples.astype(int)).max() < 32_767


def test_every_evaluation_clip_fits_the_short_window(data: Path) -> None:
    durations = [float(row["duration"]) for row in rows_of(data / "evaluation")]
    assert max(durations) < SHORT_WINDOW
    assert min(durations) > 0.8


def test_slow_talkers_outlast_the_short_window_only(data: Path) -> None:
    rows = rows_of(data / "live")
    for row in rows:
        outlasts = float(row["duration"]) > SHORT_WINDOW
        assert outlasts == (row["rate"] == "slow")
        assert float(row["duration"]) <= FULL_WINDOW
    share = sum(row["rate"] == "slow" for row in rows) / len(rows)
    assert share == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("split", SPLITS)
def test_half_of_the_clips_are_noisy(data: Path, split: str) -> None:
    noises = [row["noise"] for row in rows_of(data / split)]
    assert noises.count("noisy") == noises.count("clean") == len(noises) / 2
    assert NOISE_DECIBELS == 15.0


def test_no_voice_is_in_two_splits(data: Path) -> None:
    evaluation = {(speaker.accent, speaker.timbre) for speaker in evaluation_speakers()}
    live = {(speaker.accent, speaker.timbre) for speaker in live_speakers()}
    training = set(training_voices())
    assert (len(evaluation), len(live), len(training)) == (32, 32, 128)
    assert len(evaluation | live | training) == 32 + 32 + 128
    named = [{row["speaker"] for row in rows_of(data / split)} for split in SPLITS]
    assert [len(names) for names in named] == [32, 32]
    assert not named[0] & named[1]


def test_no_clip_is_in_a_split_twice_or_in_both(data: Path) -> None:
    clips = [path.read_bytes() for split in SPLITS for path in (data / split / "audio").iterdir()]
    assert len({hashlib.sha256(clip).digest() for clip in clips}) == len(clips) == 608
