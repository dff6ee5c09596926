"""Requests as few runs: what the stand-ins do between Triton and a runtime, without either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.backends.batches import Refusal, answer
from infra.local.backends.config import NetworkConfig, TensorSpec, UnservableError
from infra.local.backends.devices import devices_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

POISON = -1.0


def config(max_batch_size: int, dims: tuple[int, ...] = (-1,)) -> NetworkConfig:
    return NetworkConfig(
        name="net",
        version="1",
        folder=Path("/"),
        file_name="model.onnx",
        max_batch_size=max_batch_size,
        on_gpu=False,
        inputs=(TensorSpec("x", "TYPE_FP32", dims),),
        outputs=(TensorSpec("y", "TYPE_FP32", (1,)),),
        parameters={},
        optimization={},
    )


class Recorder:
    """Sums each row, and fails on a batch that holds a poisoned one."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        batch = inputs["x"]
        if (batch == POISON).any():
            raise ValueError("poisoned\nrow")
        self.rows.append(len(batch))
        return [batch.reshape(len(batch), -1).sum(axis=1, keepdims=True)]


requests_strategy = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans()), max_size=12
)


@given(requests_strategy, st.integers(4, 8))
def test_every_request_gets_its_own_answer(
    shapes: list[tuple[int, int, bool]], max_batch_size: int
) -> None:
    requests = []
    for number, (rows, width, poisoned) in enumerate(shapes):
        array = np.full((rows, width), number, dtype=np.float32)
        if poisoned:
            array[0, 0] = POISON
        requests.append({"x": array})
    run = Recorder()
    outcomes = answer(requests, config(max_batch_size), run)
    assert len(outcomes) == len(requests)
    for request, (_, _, poisoned), outcome in zip(requests, shapes, outcomes, strict=True):
        if poisoned:
            assert outcome == Refusal("the network failed: poisoned row", invalid=False)
        else:
            assert not isinstance(outcome, Refusal)
            assert np.array_equal(outcome[0], request["x"].sum(axis=1, keepdims=True))
    assert all(rows <= max_batch_size for rows in run.rows)


def test_requests_of_one_shape_are_one_run() -> None:
    run = Recorder()
    answer([{"x": np.ones((1, 3), dtype=np.float32)}] * 8, config(8), run)
    assert run.rows == [8]


def test_without_a_batch_each_request_is_a_run() -> None:
    run = Recorder()
    found = answer([{"x": np.ones((3, 2), dtype=np.float32)}] * 2, config(0, (3, 2)), run)
    assert len(found) == 2
    assert run.rows == [3, 3]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((1, 3), dtype=np.float64), "is float64, not float32"),
        (np.zeros((1, 4), dtype=np.float32), "has shape [1, 4], not [batch, 3]"),
        (np.zeros(3, dtype=np.float32), "has shape [3], not [batch, 3]"),
        (np.zeros((0, 3), dtype=np.float32), "the batch holds 0 rows, not 1 to 4"),
        (np.zeros((5, 3), dtype=np.float32), "the batch holds 5 rows, not 1 to 4"),
    ],
)
def test_a_wrong_request_is_refused_and_the_others_are_answered(
    array: NDArray[Any], reason: str
) -> None:
    sound = {"x": np.ones((1, 3), dtype=np.float32)}
    outcomes = answer([sound, {"x": array}, {}, sound], config(4, (3,)), Recorder())
    refused, missing = outcomes[1], outcomes[2]
    assert isinstance(refused, Refusal)
    assert reason in refused.reason
    assert refused.invalid
    assert missing == Refusal("input 'x' is missing", invalid=True)
    assert not any(isinstance(outcomes[index], Refusal) for index in (0, 3))


def test_a_network_that_loses_rows_is_an_error_of_its_requests() -> None:
    sound = {"x": np.ones((1, 3), dtype=np.float32)}
    outcomes = answer([sound, sound], config(4), lambda _: [np.zeros((1, 1))])
    assert all(isinstance(outcome, Refusal) and not outcome.invalid for outcome in outcomes)


@pytest.mark.parametrize(
    ("target", "available", "devices"),
    [
        ("CPU", ["CPU"], "CPU"),
        ("cpu", ["CPU"], "CPU"),
        ("GPU", ["CPU", "GPU.0", "GPU.1"], "GPU"),
        ("AUTO", ["CPU"], "CPU"),
        ("AUTO", ["CPU", "GPU"], "AUTO:CPU,GPU"),
        ("AUTO:NPU,GPU,CPU", ["CPU"], "CPU"),
        ("AUTO:NPU,GPU,CPU", ["CPU", "GPU"], "AUTO:GPU,CPU"),
        ("HETERO:GPU.1,CPU", ["CPU", "GPU.0", "GPU.1"], "HETERO:GPU.1,CPU"),
    ],
)
def test_devices_are_those_that_are_there(target: str, available: list[str], devices: str) -> None:
    assert devices_of(target, available) == devices


@pytest.mark.parametrize("target", ["GPU", "AUTO:NPU,GPU", "CPU.1"])
def test_no_device_is_an_error(target: str) -> None:
    with pytest.raises(UnservableError, match="this machine has CPU only"):
        devices_of(target, ["CPU"])
