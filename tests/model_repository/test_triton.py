"""Converted variants in a real Triton: answers, refusals, batches, warm-up and prediction log."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.dataset as ds
import pytest

from model_repository.config import Batching
from model_repository.layout import NO_BYTECODE
from model_repository.publishing import build_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipelines.conversion.child import ConvertedVariant

pytestmark = [pytest.mark.engine, pytest.mark.timeout(280)]

# Long enough that requests sent together are one batch on a busy machine too.
PATIENT = Batching(max_batch_size=8, queue_delay_us=400_000)

GENERATE = """
import json, sys
import numpy as np
import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration
model = WhisperForConditionalGeneration.from_pretrained(sys.argv[1]).eval()
extractor = WhisperFeatureExtractor.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
stored = np.load(sys.argv[2])
waveforms = [stored[name] for name in stored.files]
features = extractor(waveforms, sampling_rate=16000, return_tensors="pt").input_features
with torch.inference_mode():
    tokens = model.generate(features)
texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
print(json.dumps([text.strip() for text in texts]))
"""


@pytest.fixture(scope="module")
def expected(checkpoints: Any, triton: Any, tmp_path_factory: Any) -> list[str]:
    """What Transformers' own `generate` says about eight sentences."""
    folder = tmp_path_factory.mktemp("generate")
    np.savez(folder / "sounds.npz", *triton.sentences(checkpoints.GRID, 8))
    script = folder / "generate.py"
    script.write_text(GENERATE)
    said = checkpoints.run_converter(
        script, str(checkpoints.GRID / "models" / "whisper-grid"), str(folder / "sounds.npz")
    )
    texts: list[str] = json.loads(said.splitlines()[-1])
    assert len(set(texts)) == 8
    return texts


def repository(folder: Path, variant: ConvertedVariant, batching: Batching = PATIENT) -> Path:
    return build_private(
        folder / "repository", variant.folder, "grid", kind="whisper", batching=batching
    )


@pytest.fixture(scope="module")
def logged(
    variants: dict[str, ConvertedVariant], triton: Any, tmp_path_factory: Any
) -> Iterator[tuple[Any, Path]]:
    """A server with a prediction log, shared by the tests that only ask."""
    folder = tmp_path_factory.mktemp("logged")
    root = repository(folder, variants["onnx-fp32"])
    predictions = folder / "predictions"
    with triton.serving(root, folder / "triton.log", predictions=predictions) as server:
        yield server, predictions


def rows(predictions: Path, wanted: int) -> list[dict[str, Any]]:
    """The log's rows, once there are enough of them."""
    deadline = time.monotonic() + 15
    found: list[dict[str, Any]] = []
    while time.monotonic() < deadline and len(found) < wanted:
        time.sleep(0.1)
        if predictions.exists():
            found = ds.dataset(predictions, format="parquet").to_table().to_pylist()
    return found


@pytest.mark.parametrize("name", ["onnx-fp32", "onnx-int8", "openvino-fp16", "openvino-int8"])
def test_variant_answers_over_both_protocols(
    grid_variants: dict[str, ConvertedVariant],
    checkpoints: Any,
    triton: Any,
    expected: list[str],
    tmp_path: Path,
    name: str,
) -> None:
    root = repository(tmp_path, grid_variants[name])
    sounds = triton.sentences(checkpoints.GRID, 8)
    with triton.serving(root, tmp_path / "triton.log") as server:
        by_http = server.ask(sounds[3], protocol="http")
        by_grpc = server.ask(sounds[3])
        assert by_http == by_grpc
        assert {key: value.shape for key, value in by_grpc.items()} == dict.fromkeys(
            by_grpc, (1, 1)
        )
        assert by_grpc["average_log_probability"].dtype == np.float32
        assert by_grpc["token_count"].dtype == np.int32
        assert -10 < by_grpc["average_log_probability"][0, 0] < 0
        assert 0 < by_grpc["no_speech_probability"][0, 0] < 1

        answers = server.ask_together(sounds)
        texts = [answer["transcript"][0, 0].decode() for answer in answers]
        assert server.batches().get(8), "different lengths share one execution"
        alike = sum(text == said for text, said in zip(texts, expected, strict=True))
        assert alike == 8 if name in {"onnx-fp32", "openvino-fp16"} else alike >= 7
    # Without the variable nothing is recorded, and Python leaves no bytecode in a release.
    assert not list(tmp_path.rglob("*.parquet"))
    assert all(path.is_file() for path in root.rglob(NO_BYTECODE))


REFUSALS = [
    (np.array([0.1, np.nan], np.float32), {}, "NaN or infinity"),
    (np.array([np.inf], np.float32), {}, "NaN or infinity"),
    (np.zeros(0, np.float32), {}, "waveform is empty"),
    (np.zeros(48_001, np.float32), {}, "48001 samples"),
    (np.full(10, 3e4, np.float32), {}, "not audio in [-1, 1]"),
    (np.zeros(10, np.float32), {"parameters": {"sample_rate": 8000}}, "sample_rate is 8000"),
    (np.zeros(10, np.float32), {"parameters": {"sample_rate": "CD"}}, "sample_rate is CD"),
    (np.zeros(10, np.float64), {"kind": "FP64"}, "expects 'FP32'"),
    (np.zeros((1, 5, 5), np.float32), {}, "unexpected shape"),
]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(("waveform", "values", "reason"), REFUSALS)
def test_bad_input_is_refused_as_such(
    logged: tuple[Any, Path], waveform: Any, values: dict[str, Any], reason: str, protocol: str
) -> None:
    message = logged[0].error(waveform, protocol=protocol, **values)
    assert message.startswith(("StatusCode.INVALID_ARGUMENT", "400"))
    assert reason in message


def test_right_sample_rate_may_be_told(logged: tuple[Any, Path]) -> None:
    waveform = np.zeros(100, np.float32)
    answer = logged[0].ask(waveform, parameters={"sample_rate": 16000})
    assert answer == logged[0].ask(waveform, parameters={"sample_rate": "16000"})


def test_bad_request_fails_alone_in_its_batch(logged: tuple[Any, Path], triton: Any) -> None:
    server, _ = logged
    good = triton.sounds(7, seed=4)
    alone = [server.ask(sound)["transcript"] for sound in good]
    before = server.batches().get(8, 0)
    bad = np.array([np.nan], np.float32)
    answers = server.ask_together([*good[:3], bad, *good[3:]])
    assert server.batches().get(8, 0) == before + 1, "all eight were one execution"
    assert "NaN or infinity" in answers.pop(3)
    assert [answer["transcript"] for answer in answers] == alone


def test_request_with_several_rows(logged: tuple[Any, Path], triton: Any) -> None:
    server, _ = logged
    one, other = triton.sounds(8, seed=2)[5:7]
    both = server.ask(np.stack([one[:20_000], other[:20_000]]))
    assert both["transcript"].shape == (2, 1)
    assert both["transcript"][0] == server.ask(one[:20_000])["transcript"][0]
    assert both["transcript"][1] == server.ask(other[:20_000])["transcript"][0]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_served_request_is_recorded_with_its_headers(
    logged: tuple[Any, Path], protocol: str, variants: dict[str, ConvertedVariant]
) -> None:
    server, predictions = logged
    waveform = (0.1 * np.ones(8_000)).astype(np.float32)
    name = f"headers-{protocol}"
    headers = {"x-session-id": name, "x-request-id": "r1", "x-other": "no"}
    headers["x-sluice-shadow"] = "1"
    answer = server.ask(waveform, protocol=protocol, headers=headers)
    with pytest.raises(AssertionError, match="session"):
        assert_recorded(predictions, "session of nobody", timeout_s=0.0)
    (row,) = assert_recorded(predictions, name)
    assert row["request"] == "r1"
    assert (row["model"], row["release"], row["variant"]) == ("grid", 1, "onnx-fp32")
    assert row["duration_s"] == 0.5
    assert row["sample_rate"] == 16_000
    assert row["token_count"] == answer["token_count"][0, 0]
    assert row["average_log_probability"] == pytest.approx(
        answer["average_log_probability"][0, 0], abs=1e-6
    )
    assert row["error"] is None
    assert (row["shadow"], row["pinned"]) == (True, False)
    rules = json.loads((variants["onnx-fp32"].folder / "decoding.json").read_bytes())
    longest = rules["max_length"] - len(rules["prompt"])
    assert row["fallback"] is (row["token_count"] == longest)
    assert row["entropy"] > 0
    assert (row["text_hash"] is None) is row["empty"]
    assert 0 < row["latency_ms"] < 10_000
    assert abs(row["at"].timestamp() - time.time()) < 60


def test_refused_request_is_recorded_with_its_reason(logged: tuple[Any, Path]) -> None:
    server, predictions = logged
    server.error(np.array([np.nan], np.float32), headers={"x-session-id": "refused"})
    (row,) = assert_recorded(predictions, "refused")
    assert "NaN" in row["error"]
    assert row["token_count"] is None


def test_looking_is_not_recorded(logged: tuple[Any, Path]) -> None:
    server, predictions = logged
    waveform = np.zeros(100, np.float32)
    probe = {"x-sluice-probe": True}
    server.ask(waveform, headers={"x-session-id": "probe"}, parameters=probe)
    server.ask(waveform, headers={"x-session-id": "after-probe"})
    assert_recorded(predictions, "after-probe")
    assert not [row for row in rows(predictions, 1) if row["session"] == "probe"]


def test_warm_up_is_not_recorded(
    variants: dict[str, ConvertedVariant], triton: Any, tmp_path: Path
) -> None:
    root = repository(tmp_path, variants["onnx-fp32"], Batching(max_batch_size=4))
    predictions = tmp_path / "predictions"
    with triton.serving(root, tmp_path / "log", predictions=predictions) as server:
        for _ in range(3):
            server.ask(np.zeros(100, np.float32))
        assert len(rows(predictions, 3)) == 3
        time.sleep(1.5)
        assert {row["duration_s"] for row in rows(predictions, 3)} == {100 / 16_000}
        assert len(rows(predictions, 3)) == 3


def test_broken_variant_is_never_ready(
    variants: dict[str, ConvertedVariant], triton: Any, tmp_path: Path
) -> None:
    root = repository(tmp_path, variants["onnx-fp32"])
    path = root / "grid" / "1" / "variant" / "decoder.onnx"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:1000])
    with (
        pytest.raises(AssertionError, match="Protobuf parsing failed"),
        triton.serving(root, tmp_path / "log"),
    ):
        pass


def assert_recorded(predictions: Path, session: str, timeout_s: float = 10.0) -> list[Any]:
    deadline = time.monotonic() + timeout_s
    while True:
        found = [row for row in rows(predictions, 1) if row["session"] == session]
        if found or time.monotonic() > deadline:
            assert found, f"{session} is not in the log"
            return found
