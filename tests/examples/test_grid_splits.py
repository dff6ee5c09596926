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
from ruamel.yaml import YAML
from speech.dataset import FULL_WINDOW, NOISE_DECIBELS, SHORT_WINDOW, folder_digest
from speech.grammar import SLOTS
from speech.speakers import evaluation_speakers, live_speakers, training_voices

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
SPLITS = ("evaluation", "live")


def rows_of(folder: Path) -> list[dict[str, str | float]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def dvc_directory_hash(folder: Path) -> str:
    """DVC's hash of a folder: the MD5 of its listing as JSON, sorted by path."""
    listing = [
        {
            "md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            "relpath": path.relative_to(folder).as_posix(),
        }
        for path in folder.rglob("*")
        if path.is_file()
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(listing, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_spoken_anew_is_what_the_lock_pins(spoken: Path, split: str) -> None:
    lock = YAML(typ="safe").load(GRID / "dvc.lock")
    (out,) = lock["stages"][split]["outs"]
    assert dvc_directory_hash(spoken / split) == out["md5"]


def test_a_split_is_the_same_bytes_twice(spoken: Path, tmp_path: Path) -> None:
    (tmp_path / "stale").mkdir()
    (tmp_path / "stale" / "left-over.wav").write_bytes(b"old")
    command = [sys.executable, "-m", "speech", "live", str(tmp_path / "stale")]
    subprocess.run(command, cwd=GRID, check=True, capture_output=True, timeout=120)
    assert dvc_directory_hash(tmp_path / "stale") == dvc_directory_hash(spoken / "live")


@pytest.mark.parametrize("split", SPLITS)
def test_dataset_json_holds_the_digest_of_all_other_files(spoken: Path, split: str) -> None:
    facts = json.loads((spoken / split / "dataset.json").read_text())
    assert facts == {
        "name": split,
        "kind": "speech",
        "sample_rate": 16_000,
        "count": len(rows_of(spoken / split)),
        "sha256": folder_digest(spoken / split),
    }


def test_one_changed_sample_changes_the_digest(spoken: Path, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    clip = tmp_path / "audio" / "a.wav"
    clip.write_bytes(next((spoken / "live" / "audio").iterdir()).read_bytes())
    before = folder_digest(tmp_path)
    clip.write_bytes(clip.read_bytes()[:-1] + b"\x7f")
    assert folder_digest(tmp_path) != before


@pytest.mark.parametrize(("split", "clips"), [("evaluation", 448), ("live", 160)])
def test_the_manifest_describes_every_clip(spoken: Path, split: str, clips: int) -> None:
    folder = spoken / split
    rows = rows_of(folder)
    assert len(rows) == clips
    assert [row["id"] for row in rows] == sorted({row["id"] for row in rows})
    listed = {str(row["audio_filepath"]) for row in rows}
    assert listed == {f"audio/{path.name}" for path in (folder / "audio").iterdir()}
    for row in rows:
        words = str(row["text"]).split()
        assert all(word in slot for word, slot in zip(words, SLOTS, strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_audio_is_what_the_manifest_says(spoken: Path, split: str) -> None:
    for row in rows_of(spoken / split):
        with wave.open(str(spoken / split / str(row["audio_filepath"]))) as clip:
            shape = (clip.getframerate(), clip.getnchannels(), clip.getsampwidth())
            assert shape == (16_000, 1, 2)
            assert clip.getnframes() / 16_000 == row["duration"]
            samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2")
        assert 15_000 < np.abs(samples.astype(int)).max() < 32_767


def test_every_evaluation_clip_fits_the_short_window(spoken: Path) -> None:
    durations = [float(row["duration"]) for row in rows_of(spoken / "evaluation")]
    assert max(durations) < SHORT_WINDOW
    assert min(durations) > 0.8


def test_slow_talkers_outlast_the_short_window_only(spoken: Path) -> None:
    rows = rows_of(spoken / "live")
    for row in rows:
        outlasts = float(row["duration"]) > SHORT_WINDOW
        assert outlasts == (row["rate"] == "slow")
        assert float(row["duration"]) <= FULL_WINDOW
    share = sum(row["rate"] == "slow" for row in rows) / len(rows)
    assert share == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("split", SPLITS)
def test_half_of_the_clips_are_noisy(spoken: Path, split: str) -> None:
    noises = [row["noise"] for row in rows_of(spoken / split)]
    assert noises.count("noisy") == noises.count("clean") == len(noises) / 2
    assert NOISE_DECIBELS == 15.0


def test_no_voice_is_in_two_splits(spoken: Path) -> None:
    evaluation = {(speaker.accent, speaker.timbre) for speaker in evaluation_speakers()}
    live = {(speaker.accent, speaker.timbre) for speaker in live_speakers()}
    training = set(training_voices())
    assert (len(evaluation), len(live), len(training)) == (32, 32, 128)
    assert len(evaluation | live | training) == 32 + 32 + 128
    named = [{row["speaker"] for row in rows_of(spoken / split)} for split in SPLITS]
    assert [len(names) for names in named] == [32, 32]
    assert not named[0] & named[1]


def test_no_clip_is_in_a_split_twice_or_in_both(spoken: Path) -> None:
    clips = [path.read_bytes() for split in SPLITS for path in (spoken / split / "audio").iterdir()]
    assert len({hashlib.sha256(clip).digest() for clip in clips}) == len(clips) == 608
