"""The whole program on real engines, offline: batches, requests' wishes, long audio, devices."""

from __future__ import annotations

import json
import subprocess
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from infra.environments.locks import SERVING
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from model_repository.programs.common.sessions import present_devices
from validation.words import count_words, total

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Ask = Callable[[Sequence[dict[str, Any]], dict[str, Any]], list[dict[str, Any]]]

HERE = Path(__file__).parent
GRID = HERE.parents[1] / "examples" / "grid" / "data" / "evaluation"
RATE = 16_000
CHUNK = {"long_audio": "chunk"}
SIGNALS = ("average_log_probability", "no_speech_probability", "compression_ratio")
pytestmark = pytest.mark.engine


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    def asked(calls: Sequence[dict[str, Any]], clips: dict[str, Any]) -> list[dict[str, Any]]:
        paths = [tmp_path / name for name in ("calls.json", "clips.npz", "answers.json")]
        paths[0].write_text(json.dumps(calls, default=str))
        np.savez(paths[1], **clips)
        command = [SERVING.python, HERE / "transcribe_offline.py", HERE.parents[1], *paths]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return list(json.loads(paths[2].read_text()))

    return asked


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Clips of the evaluation set, every seventh, by several speakers."""
    lines = (GRID / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][::7]


@pytest.fixture(scope="module")
def clips(rows: list[dict[str, Any]]) -> dict[str, NDArray[np.float32]]:
    return {row["id"]: read(GRID / row["audio_filepath"]) for row in rows}


@pytest.fixture(scope="session")
def timed(checkpoints: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timed")
    maker = HERE / "make_timed_whisper.py"
    checkpoints.run_converter(maker, str(HERE.parents[1]), str(folder))
    return folder


def read(path: Path) -> NDArray[np.float32]:
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples.astype(np.float32) / np.float32(32_768)


def test_wishes_of_one_batch_are_answered_as_each_alone(
    grid_variants: dict[str, Any], clips: dict[str, Any], ask: Ask
) -> None:
    wishes = [{}, {"beam_size": 4}, {"language": "en"}, {"task": "translate"}, {"beam_size": 2}]
    names = list(clips)[:10]
    parameters = wishes * 2
    variant = grid_variants["onnx-fp32"].folder
    calls = [{"variant": variant, "clips": names, "parameters": parameters}]
    pairs = zip(names, parameters, strict=True)
    calls += [{"variant": variant, "clips": [name], "parameters": [wish]} for name, wish in pairs]
    together, *alone = ask(calls, clips)
    assert not any(together["refusals"])
    for found, single in zip(together["outputs"], alone, strict=True):
        (expected,) = single["outputs"]
        assert found["transcript"] == expected["transcript"]
        assert found["token_count"] == expected["token_count"]
        for name in SIGNALS:
            assert found[name] == pytest.approx(expected[name], abs=1e-4)
        assert found["segments"] == "[]"


def test_records_are_those_of_the_prediction_log(
    grid_variants: dict[str, Any], clips: dict[str, Any], ask: Ask
) -> None:
    name = next(iter(clips))
    (found,) = ask([{"variant": grid_variants["onnx-int8"].folder, "clips": [name]}], clips)
    (record,), (described,) = found["records"], found["described"]
    assert set(record) | set(described) <= set(PREDICTION_SCHEMA.names)
    assert record["chars_per_s"] == pytest.approx(record["length_chars"] / clips[name].size * RATE)
    assert not record["empty"]


@pytest.mark.parametrize("variant", ["onnx-int8", "openvino-int8"])
def test_long_recordings_are_answered_as_well_as_their_parts(
    grid_variants: dict[str, Any],
    rows: list[dict[str, Any]],
    clips: dict[str, Any],
    ask: Ask,
    variant: str,
) -> None:
    random = np.random.default_rng(2)
    order = [rows[number] for number in random.permutation(len(rows))]
    groups = [order[begin : begin + 5] for begin in range(0, len(order) - 4, 5)]
    pause = np.zeros(int(0.3 * RATE), np.float32)
    parts = [[piece for row in group for piece in (clips[row["id"]], pause)] for group in groups]
    long = {f"long-{number}": np.concatenate(part[:-1]) for number, part in enumerate(parts)}
    seconds = [one.size / RATE for one in long.values()]
    assert 6 < min(seconds) < max(seconds) < 20
    folder = grid_variants[variant].folder
    calls = [
        {"variant": folder, "clips": list(long), "options": CHUNK},
        {"variant": folder, "clips": [row["id"] for group in groups for row in group]},
        {"variant": folder, "clips": list(long)[:1]},
    ]
    stitched, alone, refused = ask(calls, clips | long)
    wanted = [" ".join(row["text"] for row in group) for group in groups]
    whole = total(list(map(count_words, wanted, transcripts(stitched))))
    texts = [row["text"] for group in groups for row in group]
    single = total(list(map(count_words, texts, transcripts(alone))))
    assert whole.errors / whole.reference_length < single.errors / single.reference_length + 0.03
    assert all(found["average_log_probability"] > -0.5 for found in stitched["outputs"])
    assert "this model hears at most 48000 (3 s)" in refused["refusals"][0]


def transcripts(found: dict[str, Any]) -> list[str]:
    return [outputs["transcript"] for outputs in found["outputs"]]


def test_long_audio_is_bounded(
    grid_variants: dict[str, Any], clips: dict[str, Any], ask: Ask
) -> None:
    sounds = clips | {"minute": np.zeros(61 * RATE, np.float32), "two": np.zeros(8, np.float32)}
    folder = grid_variants["onnx-int8"].folder
    tight = CHUNK | {"longest_s": "4"}
    calls = [
        {"variant": folder, "clips": ["minute", "two"], "options": CHUNK},
        {"variant": folder, "clips": ["minute"], "options": tight},
        {"variant": folder, "clips": [], "options": CHUNK | {"overlap_s": "2"}},
    ]
    default, tighter, wrong = ask(calls, sounds)
    assert default["refusals"] == [
        "waveform has 976000 samples, 61.00 s; this model hears at most 960000 (60 s)",
        "",
    ]
    assert tighter["refusals"][0].endswith("this model hears at most 64000 (4 s)")
    assert wrong["error"] == "overlap_s is '2'; give seconds from 0 to 1.5"


def test_times_and_beams_are_those_of_transformers(timed: Path, ask: Ask) -> None:
    with np.load(timed / "expected.npz") as stored:
        expected = {name: stored[name] for name in stored.files}
    clips = {str(number): sound for number, sound in enumerate(expected["waveforms"])}
    wish = {"language": "de", "task": "translate", "timestamps": True}
    calls = [
        {
            "variant": timed / "variant",
            "clips": list(clips),
            "parameters": [wish | {"beam_size": beams}] * len(clips),
        }
        for beams in (1, 3)
    ]
    rules = json.loads((timed / "variant" / "decoding.json").read_text())
    for beams, found in zip((1, 3), ask(calls, clips), strict=True):
        for outputs, tokens in zip(found["outputs"], expected[f"beams{beams}"], strict=True):
            said = [token for token in tokens.tolist() if token != rules["end_of_text"]]
            assert json.loads(outputs["segments"]) == segments_of(
                said, rules["timestamps"]["begin"]
            )
            words = [token for token in said if token < rules["timestamps"]["begin"]]
            assert outputs["transcript"] == " ".join(f"w{token - 1}" for token in words)


def segments_of(tokens: list[int], begin: int) -> list[dict[str, Any]]:
    found, start, words = [], 0.0, []
    for token in [*tokens, begin + 150]:
        if token < begin:
            words.append(f"w{token - 1}")
            continue
        now = round((token - begin) * 0.02, 2)
        if words:
            found.append({"start": start, "end": now, "text": " ".join(words)})
        start, words = now, []
    return found


def test_what_the_model_lacks_is_refused(
    grid_variants: dict[str, Any], clips: dict[str, Any], ask: Ask
) -> None:
    names = list(clips)[:3]
    wishes = [{"timestamps": True}, {}, {"language": "cy"}]
    call = {"variant": grid_variants["onnx-int8"].folder, "clips": names, "parameters": wishes}
    (found,) = ask([call], clips)
    assert found["refusals"] == [
        "timestamps are not offered, this model has no tokens for times; leave it out",
        "",
        "language is 'cy'; this model knows en",
    ]
    assert len(found["outputs"]) == 1


def test_the_device_that_answers_is_said(
    grid_variants: dict[str, Any], clips: dict[str, Any], ask: Ask
) -> None:
    folder = grid_variants["openvino-int8"].folder
    name = next(iter(clips))
    devices = ("CPU", "AUTO:NPU,GPU,CPU", "AUTO", "MYRIAD")
    calls = [{"variant": folder, "clips": [name], "device": device} for device in devices]
    calls.append({"variant": grid_variants["onnx-int8"].folder, "clips": [name]})
    cpu, order, automatic, unknown, onnx = ask(calls, clips)
    assert cpu["devices"] == onnx["devices"] == ["CPU"]
    assert order["devices"]
    assert automatic["devices"]
    assert transcripts(cpu) == transcripts(order)
    assert unknown["error"].startswith("device is 'MYRIAD', this machine has CPU")


@pytest.mark.parametrize(
    ("device", "available", "found"),
    [
        ("CPU", ["CPU"], "CPU"),
        ("AUTO:NPU,GPU,CPU", ["CPU"], "CPU"),
        ("AUTO:NPU,GPU,CPU", ["CPU", "GPU"], "AUTO:GPU,CPU"),
        ("AUTO:NPU,GPU,CPU", ["CPU", "GPU.0", "GPU.1", "NPU"], "AUTO:NPU,GPU,CPU"),
        ("GPU.1", ["CPU", "GPU.0", "GPU.1"], "GPU.1"),
        ("AUTO", ["CPU"], "CPU"),
    ],
)
def test_an_order_is_of_devices_that_are_there(
    device: str, available: list[str], found: str
) -> None:
    assert present_devices(device, available) == found


@pytest.mark.parametrize("device", ["GPU", "AUTO:NPU,GPU", "AUTO:", "cpu", "CPU.1"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="this machine has CPU; name one of them"):
        present_devices(device, ["CPU"])
