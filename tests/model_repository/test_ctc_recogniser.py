"""The CTC program offline: what it feeds a network, what it refuses, and what it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.environments.locks import CONVERTER, SERVING
from model_repository.programs.common.answers import Settings
from model_repository.programs.ctc_speech.inputs import Inputs, Padding
from model_repository.programs.ctc_speech.recogniser import Recogniser
from pipelines.conversion.ctc_speech.kind import KIND
from validation.dataset import Dataset

from ..conversion import ctc_checkpoints as ctc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TESTS = Path(__file__).resolve().parents[1]
RATE, WINDOW = 1600, 640
TOKENS = ["", "|", "a", "b"]
SCORED = 96
"""Evaluation clips that every variant is asked."""


class Echo:
    """A network whose frames are the samples: a sample k chooses the token k, and surely."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        values = feed["input_values"]
        assert values.shape == (len(values), WINDOW)
        self.batches.append(len(values))
        return {"logits": 9 * np.eye(len(TOKENS), dtype=np.float32)[values.astype(int)]}


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    preprocessor = {"input": "waveform", "sample_rate": RATE, "window_samples": WINDOW}
    preprocessor |= {"normalise": False, "mask": False}
    characters = {"tokens": TOKENS, "delimiter": "|", "lower_case": False}
    (tmp_path / "preprocessor.json").write_text(json.dumps(preprocessor))
    (tmp_path / "characters.json").write_text(json.dumps(characters))
    (tmp_path / "decoding.json").write_text(json.dumps({"blank": 0, "vocabulary_size": 4}))
    return tmp_path


def sound(*samples: float) -> NDArray[np.float32]:
    return np.array(samples, dtype=np.float32)


def test_a_batch_is_one_call_of_the_network(variant: Path) -> None:
    network = Echo()
    recogniser = Recogniser(variant, Settings(network=network))
    outcomes = recogniser.answer([sound(2, 2, 0, 2, 1, 3), sound(0), sound(3)], [{}, {}, {}])
    assert network.batches == [3]
    assert [one.outputs["transcript"] for one in outcomes] == ["aa b", "", "b"]
    assert [one.outputs["token_count"] for one in outcomes] == [4, 0, 1]
    assert [one.record["empty"] for one in outcomes] == [False, True, False]
    assert outcomes[0].record["length_chars"] == 4
    assert outcomes[0].record["chars_per_s"] == pytest.approx(4 * RATE / 6)
    for one in outcomes:
        expected = -np.log(1 + 3 * np.exp(-9))
        assert one.outputs["average_log_probability"] == pytest.approx(expected, abs=1e-6)


def test_outputs_are_those_of_the_interface(variant: Path) -> None:
    recogniser = Recogniser(variant, Settings(network=Echo()))
    (outcome,) = recogniser.answer([sound(2)], [{}])
    assert set(outcome.outputs) == {one.name for one in KIND.interface.outputs}


def test_without_a_network_nothing_is_loaded(variant: Path) -> None:
    with pytest.raises(RuntimeError, match="needs the release's network"):
        Recogniser(variant, Settings())


@pytest.mark.parametrize(
    ("waveform", "parameters", "reason"),
    [
        (np.zeros(0, np.float32), {}, "is empty"),
        (np.zeros(WINDOW + 1, np.float32), {}, "at most 640"),
        (sound(0.1, np.nan), {}, "NaN or infinity"),
        (sound(0.1, -np.inf), {}, "NaN or infinity"),
        (sound(32_000), {}, "not audio"),
        (sound(0.1), {"sample_rate": 8000}, "hears 1600 Hz"),
        (sound(0.1), {"sample_rate": "1600"}, ""),
        (np.zeros(WINDOW, np.float32), {}, ""),
    ],
)
def test_refusals(
    variant: Path, waveform: NDArray[np.float32], parameters: dict[str, Any], reason: str
) -> None:
    recogniser = Recogniser(variant, Settings(network=Echo()))
    found = recogniser.refusal(waveform, parameters)
    assert reason in found
    assert bool(found) == bool(reason)
    assert recogniser.describe(waveform)["duration_s"] == waveform.size / RATE


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
    st.floats(-0.5, 0.5),
    st.sampled_from([0.0, 1e-4, 1.0]),
    st.booleans(),
)
def test_padding_normalises_what_is_heard_and_nothing_else(
    sizes: list[int], offset: float, level: float, mask: bool
) -> None:
    random = np.random.default_rng(1)
    sounds = [(offset + level * random.standard_normal(n)).astype(np.float32) for n in sizes]
    feed = Padding(50, normalise=True, mask=mask)(sounds)
    assert feed["input_values"].dtype == np.float32
    assert ("attention_mask" in feed) == mask
    for row, one in enumerate(sounds):
        exact = one.astype(np.float64)
        expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-7)
        assert feed["input_values"][row, : one.size] == pytest.approx(expected, abs=1e-5)
        assert not feed["input_values"][row, one.size :].any()
        if mask:
            assert feed["attention_mask"][row].tolist() == [1] * one.size + [0] * (50 - one.size)


@pytest.fixture(scope="module")
def evaluation(checkpoints: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of the evaluation set from all of its speakers, as an .npz."""
    dataset = Dataset.load(checkpoints.GRID / "data" / "evaluation")
    chosen = dataset.utterances[:: len(dataset.utterances) // SCORED][:SCORED]
    path = tmp_path_factory.mktemp("evaluation") / "clips.npz"
    ctc.save_sounds(path, {one.id: dataset.question(one) for one in chosen})
    return path


@pytest.fixture(scope="module")
def expected(evaluation: Path) -> dict[str, str]:
    return dict(ctc.source_transcripts(ctc.MODEL, evaluation))


@pytest.mark.engine
@pytest.mark.parametrize("name", KIND.variants)
def test_transcripts_are_those_of_the_source(
    checkpoints: Any, shared: Path, evaluation: Path, expected: dict[str, str], name: str
) -> None:
    variant = checkpoints.all_variants(KIND.name, ctc.MODEL, shared)[name]
    answers = ctc.program_answers(variant.folder, evaluation)
    same = [answers[one]["transcript"] == text for one, text in expected.items()]
    assert len(same) == SCORED
    assert np.mean(same) >= (1.0 if variant.recipe.precision != "int8" else 0.94)
    for answer in answers.values():
        assert answer["average_log_probability"] <= 0
        assert answer["token_count"] >= len(answer["transcript"])


@pytest.mark.engine
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_inputs_are_those_of_transformers(
    checkpoints: Any, shared: Path, tmp_path: Path, norm: str
) -> None:
    source = ctc.tiny_wav2vec2(shared, norm)
    (variant,) = checkpoints.convert_here(KIND.name, source, ("onnx-fp32",), tmp_path / "out")
    random = np.random.default_rng(2)
    sounds = {
        f"noise-{n}": (0.2 + 0.1 * random.standard_normal(n)).astype(np.float32)
        for n in (1, 400, 16_000, 48_000)
    }
    ctc.save_sounds(tmp_path / "sounds.npz", sounds)
    paths = (source, tmp_path / "sounds.npz", tmp_path / "inputs.npz")
    ctc.run(CONVERTER, "-c", ctc.EXTRACTED, *map(str, paths))
    found = Inputs.load(variant.folder)(list(sounds.values()))
    with np.load(tmp_path / "inputs.npz") as theirs:
        assert set(found) == set(theirs.files)
        for name in theirs.files:
            assert found[name].dtype == theirs[name].dtype
            assert found[name] == pytest.approx(theirs[name], abs=2e-5)


PIECES = """
import json, sys
from pathlib import Path
from tokenizers import Tokenizer, decoders, models
from model_repository.programs.ctc_speech.spelling import load_spelling
words = {"<pad>": 0, "\u2581xin": 1, "\u2581ch": 2, "\u00e0o": 3}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
tokenizer.add_special_tokens(["<pad>"])
tokenizer.decoder = decoders.Metaspace()
tokenizer.save(sys.argv[1] + "/tokenizer.json")
print(json.dumps(load_spelling(Path(sys.argv[1]))([(1, 2, 3), (0,), ()])))
"""


@pytest.mark.engine
def test_pieces_are_written_by_the_checkpoints_tokenizer(tmp_path: Path) -> None:
    found = json.loads(ctc.run(SERVING, "-c", PIECES, str(tmp_path)))
    assert found == ["xin ch\u00e0o", "", ""]


@pytest.mark.engine
def test_the_program_imports_in_the_serving_environment() -> None:
    modules = ("inputs", "recogniser", "spelling")
    names = [f"model_repository.programs.ctc_speech.{name}" for name in modules]
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    ctc.run(SERVING, "-c", program, *names)
