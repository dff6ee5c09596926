"""A set on disk that tests break, and sets, policies and answers in memory."""

from __future__ import annotations

import hashlib
import json
import wave
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from registry.files import canonical_json
from validation.answers import Answer
from validation.dataset import Dataset, Utterance
from validation.policy import GatePolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHA256 = "ab" * 32
WORDS = ("bin", "blue", "at", "f", "two", "now")


class SetOnDisk:
    """A small set that tests break in one way at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        (folder / "audio").mkdir(parents=True)
        for number in range(4):
            name = f"clip-{number}"
            self.write_clip(name, np.full(1600 + number, 1000 * number - 500, np.int16))
            self.rows.append(
                {
                    "id": name,
                    "audio_filepath": f"audio/{name}.wav",
                    "duration": (1600 + number) / 16000,
                    "text": "bin blue at f two now",
                    "speaker": f"speaker-{number // 2}",
                    "noise": "clean" if number % 2 else "noisy",
                }
            )
        self.write_manifest()
        self.seal()

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.jsonl"

    def write_clip(
        self, name: str, samples: np.ndarray, *, rate: int = 16000, channels: int = 1
    ) -> Path:
        path = self.folder / f"audio/{name}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(samples.dtype.itemsize)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())
        return path

    def write_manifest(self) -> None:
        self.manifest.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def seal(self, **facts: Any) -> str:
        """Write `dataset.json` for what is there now, and return the hash."""
        pairs = sorted(
            [path.relative_to(self.folder).as_posix(), _sha256(path.read_bytes())]
            for path in self.folder.rglob("*")
            if path.is_file() and path.name != "dataset.json"
        )
        digest = _sha256(canonical_json(pairs))
        header = {"name": "tiny", "kind": "speech", "sample_rate": 16000}
        header |= {"count": len(self.rows), "sha256": digest} | facts
        (self.folder / "dataset.json").write_text(json.dumps(header))
        return digest


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def disk(tmp_path: Path) -> SetOnDisk:
    return SetOnDisk(tmp_path / "set")


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """A set in memory: `speakers` x `each` six-word utterances, half of them noisy."""

    def make(speakers: int = 32, each: int = 14, text: str = " ".join(WORDS)) -> Dataset:
        utterances = tuple(
            Utterance(
                id=f"s{speaker:03d}-{number:02d}",
                file=Path(f"audio/s{speaker:03d}-{number:02d}.wav"),
                text=text,
                duration_s=1.5,
                columns=MappingProxyType(
                    {
                        "speaker": f"s{speaker:03d}",
                        "noise": "noisy" if number % 2 else "clean",
                    }
                ),
            )
            for speaker in range(speakers)
            for number in range(each)
        )
        nothing: MappingProxyType[str, str] = MappingProxyType({})
        return Dataset(Path("set"), "memory", "speech", 16000, SHA256, utterances, nothing)

    return make


@pytest.fixture
def make_policy() -> Callable[..., GatePolicy]:
    def make(**settings: Any) -> GatePolicy:
        defaults: dict[str, Any] = {"dataset": "set", "sha256": SHA256, "limits": {"wer": 0.05}}
        return GatePolicy.model_validate(defaults | settings)

    return make


@pytest.fixture
def answer_all() -> Callable[..., tuple[Answer, ...]]:
    """Answers with `errors[i]` words of utterance i replaced; None is the engine's failure."""

    def answer(dataset: Dataset, errors: Sequence[int | None]) -> tuple[Answer, ...]:
        return tuple(
            _answer(utterance, wrong)
            for utterance, wrong in zip(dataset.utterances, errors, strict=True)
        )

    return answer


def _answer(utterance: Utterance, wrong: int | None) -> Answer:
    words = utterance.text.split()
    text = "" if wrong is None else " ".join(["wrong"] * wrong + words[wrong:])
    error = "out of memory" if wrong is None else ""
    return Answer(utterance.id, text, {"average_log_probability": -0.1}, 5.0, error)
