"""A cleaner in a real Triton: program and network, requests of all lengths in one batch."""

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
from validation.dataset import Dataset
from validation.enhancement import si_sdr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.child import ConvertedVariant

pytestmark = [pytest.mark.engine, pytest.mark.timeout(280)]

MODEL = "grid"
OUTPUTS = ("cleaned", "input_rms", "output_rms", "attenuation_db")


@pytest.fixture(scope="module", params=["onnx-int8", "openvino-int8-full"])
def served(
    request: pytest.FixtureRequest,
    checkpoints: Any,
    shared: Path,
    triton: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Any, Path]]:
    """A server of one variant, and its prediction log."""
    source = checkpoints.MODELS / "cleaner-grid"
    variant: ConvertedVariant = checkpoints.all_variants("voice-cleaning", source, shared)[
        request.param
    ]
    folder = tmp_path_factory.mktemp("served")
    # Long enough that requests sent together are one batch on a busy machine too.
    patient = Batching(max_batch_size=8, queue_delay_us=400_000)
    repository = build_private(
        folder / "repository", variant.folder, MODEL, kind="voice-cleaning", batching=patient
    )
    predictions = folder / "predictions"
    with triton.serving(repository, folder / "log", predictions=predictions) as server:
        yield server, predictions


def ask(server: Any, waveform: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    given = grpcclient.InferInput("waveform", [1, waveform.size], "FP32")
    given.set_data_from_numpy(waveform[None])
    result = server.grpc.infer(MODEL, [given], client_timeout=60)
    return {name: result.as_numpy(name)[0] for name in OUTPUTS}


def test_requests_of_all_lengths_are_answered_in_one_batch(
    served: tuple[Any, Path], checkpoints: Any
) -> None:
    server, predictions = served
    dataset = Dataset.load(checkpoints.GRID / "data" / "cleaning-evaluation")
    chosen = dataset.utterances[::32]
    sounds = [dataset.question(one) for one in chosen]
    with ThreadPoolExecutor(len(sounds)) as pool:
        together = list(pool.map(lambda sound: ask(server, sound), sounds))
    assert max(server.batches()) > 1
    for one, sound, answer in zip(chosen, sounds, together, strict=True):
        assert answer["cleaned"].shape == sound.shape
        assert answer["cleaned"].dtype == np.float32
        rms = np.sqrt(np.mean(answer["cleaned"].astype(np.float64) ** 2))
        assert answer["output_rms"][0] == pytest.approx(rms, rel=1e-5)
        assert si_sdr(dataset.clean(one), answer["cleaned"]) > si_sdr(dataset.clean(one), sound)
        # Quantised activations may be scaled by the batch they come in.
        alone = ask(server, sound)
        assert float(si_sdr(alone["cleaned"], answer["cleaned"])) > 20
    logged = wait_for_rows(predictions, 2 * len(sounds))
    assert {row["error"] for row in logged} == {None}
    assert min(row["speech_ratio"] for row in logged) > 0


def test_bad_questions_are_refused_by_name(served: tuple[Any, Path]) -> None:
    server, _ = served
    message = server.error(np.zeros(48_001, np.float32))
    assert "at most 48000" in message
    assert "NaN" in server.error(np.full(100, np.nan, np.float32))


def wait_for_rows(predictions: Path, wanted: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    rows: list[dict[str, Any]] = []
    while len(rows) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)
        files = [str(path) for path in predictions.rglob("*.parquet")]
        rows = ds.dataset(files).to_table().to_pylist() if files else []
    return rows
