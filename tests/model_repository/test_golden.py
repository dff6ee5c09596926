from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_repository.golden import GoldenSet
from registry.errors import IntegrityError, UserError
from validation.answers import Answer, encode_samples

if TYPE_CHECKING:
    from pathlib import Path


ROW = (
    b'{"requests": [{"id": "a", "question": {"array": "%s"}, "text": "", '
    b'"probability": 0, "samples": "", "tolerance": 1}]}'
)


def answer(number: int, text: str = "bin blue", score: float = -0.1, error: str = "") -> Answer:
    signals = {} if error else {"average_log_probability": score}
    return Answer(f"u{number:03}", text, signals, 5.0, error)


def sound(number: int) -> Any:
    samples = np.random.default_rng(number).integers(-32768, 32768, 100 + number)
    return samples.astype(np.float32) / 32768


@pytest.fixture
def dataset() -> Any:
    """What choosing needs of a dataset."""
    utterances = [SimpleNamespace(id=f"u{number:03}") for number in range(40)]
    return SimpleNamespace(
        name="grid", utterances=utterances, question=lambda one: sound(int(one.id[1:]))
    )


def test_chosen_from_the_surer_half_and_spread(dataset: Any) -> None:
    answers = [answer(n, score=-0.1 if n % 2 else -2.0) for n in range(40)]
    golden = GoldenSet.choose(dataset, answers, count=5)
    numbers = [int(request.id[1:]) for request in golden.requests]
    assert len(set(numbers)) == 5
    assert all(number % 2 for number in numbers)
    assert (numbers[0], numbers[-1]) == (1, 39)


def test_failed_empty_and_foreign_answers_are_never_chosen(dataset: Any) -> None:
    answers = [answer(0, error="timeout"), answer(1, text=""), answer(2), answer(99)]
    golden = GoldenSet.choose(dataset, answers)
    assert [request.id for request in golden.requests] == ["u002"]


@pytest.mark.parametrize("answers", [[], [answer(0, error="x")], [answer(0, text="")]])
def test_no_transcript_is_no_golden_set(dataset: Any, answers: list[Answer]) -> None:
    with pytest.raises(UserError, match="no answer"):
        GoldenSet.choose(dataset, answers)


def test_round_trip_keeps_every_sample(dataset: Any, tmp_path: Path) -> None:
    golden = GoldenSet.choose(dataset, [answer(n) for n in range(40)], count=3)
    (tmp_path / "golden.json").write_bytes(golden.to_json())
    loaded = GoldenSet.load(tmp_path / "golden.json")
    assert loaded.to_json() == golden.to_json()
    for request in loaded.requests:
        waveform = request.question
        assert waveform.dtype == np.float32
        assert np.array_equal(waveform, sound(int(request.id[1:])))


def test_same_answers_have_no_difference(dataset: Any) -> None:
    answers = [answer(n) for n in range(8)]
    golden = GoldenSet.choose(dataset, answers)
    assert golden.differences(answers) == ()
    assert golden.differences(list(reversed(answers))) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "bin red"}, "answered 'bin red' instead of 'bin blue'"),
        ({"signals": {"average_log_probability": -0.5}}, "off by 0.400, allowed is 0.05"),
        ({"signals": {"average_log_probability": float("nan")}}, "off by nan"),
        ({"error": "deadline exceeded"}, "deadline exceeded"),
        ({"id": "other"}, "was not answered"),
    ],
)
def test_differences_are_named(dataset: Any, change: dict[str, Any], reason: str) -> None:
    answers = [answer(n) for n in range(8)]
    golden = GoldenSet.choose(dataset, answers)
    answers[3] = dataclasses.replace(answers[3], **change)
    (found,) = golden.differences(answers)
    assert found.startswith("u003: ")
    assert reason in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"requests": [{"id": "a"}]}',
        ROW % b"A",
        ROW % b"!!!!",
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden.json").write_bytes(content)
    with pytest.raises(IntegrityError, match="holds no golden requests"):
        GoldenSet.load(tmp_path / "golden.json")
    with pytest.raises(IntegrityError):
        GoldenSet.load(tmp_path / "absent.json")


def cleaned(number: int, change: float = 0.0) -> Answer:
    waveform = 0.5 * sound(number)
    return Answer(f"u{number:03}", "", samples=encode_samples(waveform + np.float32(change)))


def test_sound_is_compared_by_its_energy(dataset: Any, tmp_path: Path) -> None:
    answers = [cleaned(n) for n in range(8)]
    (tmp_path / "golden.json").write_bytes(GoldenSet.choose(dataset, answers).to_json())
    golden = GoldenSet.load(tmp_path / "golden.json")
    assert golden.differences(answers) == ()
    assert golden.differences([cleaned(n, 0.001) for n in range(8)]) == ()
    answers[3] = cleaned(3, 0.1)
    answers[4] = dataclasses.replace(cleaned(5), id="u004")
    first, second = golden.differences(answers)
    assert "u003: the sound is off by" in first
    assert "u004: answered 105 samples instead of 104" in second


def test_a_text_is_asked_as_it_was(dataset: Any, tmp_path: Path) -> None:
    dataset.question = lambda one: np.array([f"añadir {one.id}".encode()], dtype=np.object_)
    golden = GoldenSet.choose(dataset, [answer(n) for n in range(8)], count=2)
    (tmp_path / "golden.json").write_bytes(golden.to_json())
    loaded = GoldenSet.load(tmp_path / "golden.json")
    assert [one.question[0].decode() for one in loaded.requests] == [
        f"añadir {request.id}" for request in golden.requests
    ]
