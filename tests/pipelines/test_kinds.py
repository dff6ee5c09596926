"""Every kind walks the path: registered, converted, gated, promoted, asked."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from tritonclient.utils import InferenceServerException

from model_repository.golden import SOUND_TOLERANCE, GoldenRequest
from pipelines.conversion.kinds import KINDS

from ..extent import whole_runs_only
from .kinds import EXAMPLES, GRID, Example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ASKED = 12


def test_every_kind_has_an_example_that_is_walked() -> None:
    assert set(EXAMPLES) | {"whisper"} == set(KINDS)


def quick(engines: Home, example: Example) -> None:
    """A policy for the example, with holds that a test can wait for."""
    evaluation, calibration = (
        str(GRID / "data" / name) for name in (example.evaluation, example.calibration)
    )
    engines.json(
        "init",
        str(engines.root),
        *("--model", example.model, "--kind", example.kind),
        *("--dataset", evaluation, "--calibration", calibration),
    )
    policy = engines.root / "models" / f"{example.model}.toml"
    text = policy.read_text().replace("hold_s = 3.0", "hold_s = 0.2")
    text = text.replace("bake_s = 5.0", "bake_s = 0.2")
    for least in ("min_requests = 10", "min_requests = 20", "min_requests = 40"):
        text = text.replace(least, "min_requests = 1")
    # The CTC example's interval reaches to 5.8 %.
    policy.write_text(text.replace("wer = 0.05", "wer = 0.08"))


def recorded(engines: Home, report_digest: str) -> dict[str, Any]:
    """What the gate's private revision answered, by utterance."""
    path = engines.root / ".sluice" / "reports" / report_digest / "answers.json"
    return {row["id"]: row for row in json.loads(path.read_text())}


@contextmanager
def asking(engines: Home, example: Example, question: NDArray[Any]) -> Iterator[None]:
    """A client that asks on and on, while there is something to ask."""
    ended = threading.Event()
    address = engines.front_door()

    def ask() -> None:
        while not ended.wait(0.05):
            with suppress(InferenceServerException):
                example.ask(address, question, "http")

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        ended.set()
        client.join(timeout=60)


EACH_TIME = {"lip-reading"}
"""Of Keras; `test_path` walks one of PyTorch."""


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(one, id=kind, marks=() if kind in EACH_TIME else whole_runs_only)
        for kind, one in EXAMPLES.items()
    ],
)
def test_from_a_folder_to_traffic(engines: Home, example: Example) -> None:
    quick(engines, example)
    engines.json("register", example.model, str(example.source))
    names = ("onnx-fp32", example.variant)
    chosen = (word for name in names for word in ("-v", name))
    converted = engines.json("convert", example.model, *chosen)
    assert {row["variant"] for row in converted["variants"]} == set(names)
    assert all(row["parity"]["agreement"] >= 0.8 for row in converted["variants"])

    dataset = example.dataset()
    gated = engines.json("gate", example.model, "-v", example.variant)
    assert gated["report"]["verdict"] == "pass", gated["report"]["checks"]
    assert gated["report"]["metrics"][example.metric] <= example.best
    with asking(engines, example, question=dataset.question(dataset.utterances[0])):
        engines.json("promote", example.model, "-v", example.variant)
    answers = recorded(engines, gated["report_digest"])
    for number, utterance in enumerate(dataset.utterances[:ASKED]):
        question = dataset.question(utterance)
        protocol = ("http", "grpc")[number % 2]
        answer, by = example.ask(engines.front_door(), question, protocol)
        assert by == 1
        row = answers[utterance.id]
        expected = GoldenRequest(utterance.id, question, row["text"], None, row["samples"])
        assert expected.difference(answer) == "", SOUND_TOLERANCE
