"""A CTC release in a real Triton: program and network, requests of all lengths in one batch."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.dataset as ds
import pytest
import tritonclient.grpc as grpcclient

from model_repository.config import Batching
from model_repository.publishing import build_private
from pipelines.conversion.ctc_speech.kind import KIND
from validation.dataset import Dataset

from ..conversion import ctc_checkpoints as ctc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = [pytest.mark.engine, pytest.mark.timeout(280)]

MODEL = "grid"
CLIPS = 24


@pytest.fixture(scope="module", params=["onnx-fp32", "openvino-int8-full"])
def served(
    request: pytest.FixtureRequest,
    checkpoints: Any,
    shared: Path,
    triton: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Any, Path, Path]]:
    """A server of one variant, its prediction log, and the variant."""
    variant = checkpoints.all_variants(KIND.name, ctc.MODEL, shared)[request.param].folder
    folder = tmp_path_factory.mktemp("served")
    # Long enough that requests sent together are one batch on a busy machine too.
    patient = Batching(max_batch_size=8, queue_delay_us=400_000)
    repository = build_private(
        folder / "repository", variant, MODEL, kind=KIND.name, batching=patient
    )
    predictions = folder / "predictions"
    with triton.serving(repository, folder / "log", predictions=predictions) as server:
        yield server, predictions, variant


def ask(server: Any, waveform: NDArray[np.float32]) -> dict[str, Any]:
    given = grpcclient.InferInput("waveform", [1, waveform.size], "FP32")
    given.set_data_from_numpy(waveform[None])
    result = server.grpc.infer(MODEL, [given], client_timeout=60)
    found = {one.name: result.as_numpy(one.name)[0, 0] for one in KIND.interface.outputs}
    return found | {"transcript": found["transcript"].decode()}


def test_answers_are_those_of_the_program_offline(
    served: tuple[Any, Path, Path], checkpoints: Any, tmp_path: Path
) -> None:
    server, predictions, variant = served
    dataset = Dataset.load(checkpoints.GRID / "data" / "evaluation")
    chosen = dataset.utterances[:: len(dataset.utterances) // CLIPS][:CLIPS]
    sounds = {one.id: dataset.question(one) for one in chosen}
    ctc.save_sounds(tmp_path / "sounds.npz", sounds)
    expected = ctc.program_answers(variant, tmp_path / "sounds.npz")
    with ThreadPoolExecutor(CLIPS) as pool:
        answers = list(pool.map(lambda sound: ask(server, sound), sounds.values()))
    assert max(server.batches()) > 1
    same = []
    for name, answer in zip(sounds, answers, strict=True):
        same.append(answer["transcript"] == expected[name]["transcript"])
        assert answer["average_log_probability"] == pytest.approx(
            expected[name]["average_log_probability"], abs=0.05
        )
    # Quantised activations may be scaled by the batch they come in.
    assert np.mean(same) >= (0.9 if "int8" in variant.name else 1.0)
    logged = wait_for_rows(predictions, CLIPS)
    assert {row["error"] for row in logged} == {None}
    assert {row["variant"] for row in logged} == {variant.name}
    assert sorted(row["length_chars"] for row in logged) == sorted(
        len(answer["transcript"]) for answer in answers
    )


def test_bad_questions_are_refused_and_the_next_one_is_answered(
    served: tuple[Any, Path, Path],
) -> None:
    server, _, _ = served
    assert "at most 48000" in server.error(np.zeros(48_001, np.float32))
    assert "NaN" in server.error(np.full(100, np.nan, np.float32))
    assert ask(server, np.zeros(16_000, np.float32))["transcript"] == ""


def wait_for_rows(predictions: Path, wanted: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    rows: list[dict[str, Any]] = []
    while len(rows) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)
        files = [str(path) for path in predictions.rglob("*.parquet")]
        rows = ds.dataset(files).to_table().to_pylist() if files else []
    return rows
