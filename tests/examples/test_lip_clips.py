"""The drawn clips: nobody in two splits, mouths that speak."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lip_reading.mouth import Light, draw
from lip_reading.sentences import LETTERS, SLOTS, draw_sentence
from lip_reading.speakers import ACCENTS, HELD_OUT, Speaker, speaker
from lip_reading.timing import SAMPLES_PER_SECOND, Phoneme
from lip_reading.visemes import REST, VisemeError, track, words_seen
from speech.grammar import SLOTS as GRAMMAR

from infra.environments.locks import KERAS

from ..warm_python import run

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
MODEL = GRID / "models" / "lips-grid"
SPLITS = {"lips-evaluation": (26, 8), "lips-calibration": (16, 6)}
OPENING, WIDTH, PRESS, TUCK = 0, 1, 3, 4


@pytest.fixture(scope="module")
def splits(data: Path) -> dict[str, Path]:
    return {split: data / split for split in SPLITS}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def said(*phonemes: tuple[str, float], end: float) -> list[Phoneme]:
    """Phonemes and the seconds at which they begin, then silence from `end` on."""
    timed = [*phonemes, ("", end)]
    return [
        Phoneme(name, round(second * SAMPLES_PER_SECOND), number)
        for number, (name, second) in enumerate(timed)
    ]


def at(features: Any, seconds: float) -> Any:
    return features[round(seconds * 25)]


def test_splits_are_whole(splits: dict[str, Path]) -> None:
    for name, (speakers, clips_each) in SPLITS.items():
        rows = rows_of(splits[name])
        assert len({row["speaker"] for row in rows}) == speakers
        assert len({row["id"] for row in rows}) == len(rows) == speakers * clips_each
        facts = json.loads((splits[name] / "dataset.json").read_text())
        assert (facts["name"], facts["kind"], facts["sample_rate"]) == (name, "video", 25)
        assert facts["count"] == len(rows)
        lights = [row["light"] for row in rows]
        assert lights.count("bright") == lights.count("dim")


def test_clips_are_frames_of_greys(splits: dict[str, Path]) -> None:
    light: dict[str, list[float]] = {"bright": [], "dim": []}
    for row in rows_of(splits["lips-calibration"]):
        with np.load(splits["lips-calibration"] / row["video_filepath"]) as stored:
            assert stored.files == ["frames"]
            frames = stored["frames"]
        assert (frames.shape, frames.dtype) == ((75, 46, 140), np.uint8)
        assert row["duration"] == 3.0
        light[row["light"]].append(float(frames.mean()))
    assert np.mean(light["dim"]) == pytest.approx(np.mean(light["bright"]) / 2, rel=0.15)


def test_nobody_and_nothing_is_in_two_splits(splits: dict[str, Path]) -> None:
    rows = [rows_of(folder) for folder in splits.values()]
    for column in ("speaker", "text", "id"):
        first, second = ({row[column] for row in part} for part in rows)
        assert not first & second
    texts = [row["text"] for part in rows for row in part]
    assert len(set(texts)) == len(texts)
    numbers = {int(row["speaker"][-4:]) for part in rows for row in part}
    assert max(numbers) < HELD_OUT
    clips = [path.read_bytes() for folder in splits.values() for path in folder.glob("video/*")]
    assert len({hashlib.sha256(clip).digest() for clip in clips}) == len(clips) == 304


def test_sentences_are_grid_sentences_without_the_letters_that_look_alike() -> None:
    assert SLOTS[:3] + SLOTS[4:] == GRAMMAR[:3] + GRAMMAR[4:]
    assert set(GRAMMAR[3]) - set(LETTERS) == set("knpqtxz")
    random, taken = np.random.default_rng(1), set[str]()
    texts = [draw_sentence(random, taken) for _ in range(500)]
    assert len(set(texts)) == 500 == len(taken)


def test_every_word_has_visemes_in_every_accent() -> None:
    program = """
from lip_reading.sentences import SLOTS
from lip_reading.speakers import ACCENTS
from lip_reading.timing import phonemes
from lip_reading.visemes import track
from speech.grammar import spoken
for voice in ACCENTS.values():
    for number in range(18):
        words = " ".join(slot[number % len(slot)] for slot in SLOTS)
        track(phonemes(spoken(words), voice, 140), 0.2, strength=1)
"""
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=GRID, check=True, capture_output=True, timeout=60)
    assert len(ACCENTS) == 6


def test_lips_close_for_b_and_open_for_a() -> None:
    features = track(said(("a", 0.2), ("b", 0.6), ("a", 0.7), end=1.1), 0.5, strength=1)
    assert at(features, 0.9)[OPENING] > 0.8
    closed = features[26:31]
    assert closed[:, OPENING].min() < 0.2
    assert closed[:, PRESS].max() > 0.8
    assert features[0] == pytest.approx(features[-1])


def test_a_vowel_rounds_the_consonant_beside_it() -> None:
    round_one = track(said(("t", 0.2), ("u", 0.3), end=0.6), 0.5, strength=1)
    spread_one = track(said(("t", 0.2), ("i", 0.3), end=0.6), 0.5, strength=1)
    assert at(round_one, 0.76)[WIDTH] < 0 < at(spread_one, 0.76)[WIDTH]


def test_f_tucks_the_lip_and_rest_is_rest() -> None:
    features = track(said(("f", 0.2), end=0.4), 0.5, strength=1)
    assert at(features, 0.8)[TUCK] > 0.8
    assert features[0] == pytest.approx(np.array([REST.opening, 0, 0, REST.press, 0, 0, 0, 0]))


def test_frames_know_their_word() -> None:
    words = words_seen(said(("a", 0.2), ("b", 0.6), end=1.0), 0.5).tolist()
    assert words == [-1] * 17 + [0] * 10 + [1] * 11 + [-1] * 37


def test_speech_must_fit_and_be_known() -> None:
    with pytest.raises(ValueError, match="after the clip"):
        track(said(("a", 0.0), end=2.0), 1.5, strength=1)
    with pytest.raises(VisemeError, match="'xyz'"):
        track(said(("xyz", 0.0), end=1.0), 0.5, strength=1)


def picture(who: Speaker, **changes: float) -> Any:
    """One frame of a still mouth whose features are changed by position."""
    features = np.zeros((75, 8))
    for name, value in changes.items():
        features[:, {"opening": OPENING, "width": WIDTH, "teeth": 5}[name]] = value
    random = np.random.Generator(np.random.PCG64(3))
    return draw(features, who, Light(1.0, 0), random)[40].astype(int)


def test_an_open_mouth_is_dark_inside_and_teeth_are_bright() -> None:
    who = speaker(1)
    dark = [
        (picture(who, opening=opening) < (who.inside + who.lip) / 2).sum()
        for opening in (0, 0.3, 0.6, 1.0)
    ]
    assert dark == sorted(dark)
    assert dark[-1] > dark[0] + 300
    brighter = picture(who, opening=0.6, teeth=1.0) - picture(who, opening=0.6)
    assert (brighter > 60).sum() > 50
    assert brighter.min() >= 0


def test_a_round_mouth_is_narrower_than_a_spread_one() -> None:
    who = speaker(2)
    columns = [
        int((np.abs(picture(who, width=width)[14:26] - who.lip) < 8).any(axis=0).sum())
        for width in (-1.0, 0.0, 1.0)
    ]
    assert columns[0] < columns[1] < columns[2]


def test_edges_are_anti_aliased() -> None:
    column = picture(speaker(3))[:, 50]
    assert len(np.unique(column)) > 5


def test_frames_of_a_still_mouth_differ_by_noise_and_sway_only() -> None:
    features = np.zeros((75, 8))
    random = np.random.Generator(np.random.PCG64(3))
    frames = draw(features, speaker(4), Light(1.0, 2), random).astype(int)
    assert 0 < np.abs(np.diff(frames, axis=0)).mean() < 6


def test_speakers_are_always_the_same_and_all_different() -> None:
    people = [speaker(number) for number in range(80)]
    assert people == [speaker(number) for number in range(80)]
    assert len({person.name for person in people}) == 80
    assert len({person.half_width for person in people}) == 80


def test_the_checkpoint_is_two_small_plain_files() -> None:
    paths = list(MODEL.iterdir())
    assert {path.name for path in paths} == {"model.keras", "vocabulary.json"}
    assert all(path.is_file() and not path.is_symlink() for path in paths)
    assert sum(path.stat().st_size for path in paths) < 8_000_000
    vocabulary = json.loads((MODEL / "vocabulary.json").read_text(encoding="utf-8"))
    words = sorted({word for slot in SLOTS for word in slot})
    assert vocabulary["tokens"] == ["<blank>", *(f"▁{word}" for word in words)]
    assert (vocabulary["blank"], vocabulary["word_delimiter"]) == (0, "▁")


@pytest.mark.engine
def test_word_error_rate_on_evaluation(splits: dict[str, Path]) -> None:
    if not KERAS.is_complete():
        pytest.skip("the Keras environment is not made")
    program = """
import sys
from pathlib import Path
import keras
from lip_reading.scoring import score
network = keras.models.load_model(sys.argv[1], compile=False)
print(score(network, Path(sys.argv[2]))["all"].rate)
"""
    arguments = (str(MODEL / "model.keras"), str(splits["lips-evaluation"]))
    said = run(KERAS, "-c", program, *arguments, folder=GRID)
    assert float(said.split()[-1]) <= 0.03
