"""What Triton's response cache is safe for: a network that only its own program asks.

Its key is the model's name, its version and the bytes of the inputs, nothing else, and it keeps
errors as answers without outputs. So a program, which reads parameters and refuses questions,
must not have one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from canary.ports import RevisionState
from infra.local.private_revision import PrivateRevision
from infra.local.revisions import RevisionRecords
from infra.local.triton_api import CacheStatistics, cache_statistics

from .parts import lay_out_caller, lay_out_network
from .toys import BROKEN, REFUSED, await_state, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .parts import Networks
    from .toys import Door

pytestmark = pytest.mark.engine
CACHED = "response_cache { enable: true }"


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRevision]:
    """A program with a cache, as no release has it."""
    root = tmp_path_factory.mktemp("cached")
    lay_out(root, "toy", 1, numbered=True, cache_mb=1)
    config = root / "toy" / "configs" / "r1.pbtxt"
    text = config.read_text().replace("max_batch_size: 1\n", "max_batch_size: 4\n")
    config.write_text(text if "response_cache" in text else text + CACHED)
    with PrivateRevision(root, "toy", log=root / "log") as revision:
        yield revision


def infer(
    revision: PrivateRevision, data: list[float], *, shape: list[int] | None = None, **more: Any
) -> httpx.Response:
    tensor = {"name": "waveform", "datatype": "FP32", "shape": shape or [1, len(data)]}
    headers = more.pop("headers", {})
    body = {"inputs": [tensor | {"data": data}], **more}
    url = f"{revision.http_url}/v2/models/toy/infer"
    return httpx.post(url, json=body, headers=headers, trust_env=False)


def outputs(response: httpx.Response) -> dict[str, Any]:
    return {output["name"]: output["data"][0] for output in response.json()["outputs"]}


def test_parameters_and_headers_are_not_in_the_key(cached: PrivateRevision) -> None:
    def ask(note: str, session: str) -> str:
        headers = {"x-session-id": session}
        response = infer(cached, [0, 0, 1], parameters={"note": note}, headers=headers)
        return str(outputs(response)["transcript"])

    first = ask("mine", "me")
    assert " me mine " in first
    assert ask("yours", "you") == first


def test_the_shape_is_not_in_the_key(cached: PrivateRevision) -> None:
    assert outputs(infer(cached, [0, 0, 2, 2], shape=[1, 4]))["token_count"] == 4
    assert outputs(infer(cached, [0, 0, 2, 2], shape=[2, 2]))["token_count"] == 4


def test_the_outputs_asked_for_are_not_in_the_key(cached: PrivateRevision) -> None:
    some = infer(cached, [0, 0, 3], outputs=[{"name": "token_count"}])
    assert outputs(some).keys() == {"token_count"}
    assert outputs(infer(cached, [0, 0, 3])).keys() == {"token_count"}


@pytest.mark.parametrize("outcome", [REFUSED, BROKEN])
def test_an_error_is_kept_as_an_empty_answer(cached: PrivateRevision, outcome: int) -> None:
    assert infer(cached, [0, outcome]).status_code >= 400
    again = infer(cached, [0, outcome])
    assert again.status_code == 200
    assert outputs(again) == {}


def ask(revision: PrivateRevision, question: Any) -> tuple[str, int]:
    import tritonclient.grpc as grpcclient

    tensor = grpcclient.InferInput("waveform", [1, len(question)], "FP32")
    tensor.set_data_from_numpy(question[None])
    with grpcclient.InferenceServerClient(revision.grpc_address) as client:
        result = client.infer("toy", [tensor], client_timeout=30)
    return result.as_numpy("transcript")[0, 0].decode(), int(result.as_numpy("token_count")[0, 0])


def test_a_cached_network_spares_the_network_and_not_its_program(
    tmp_path: Path, networks: Networks
) -> None:
    lay_out_network(tmp_path, "toy.network", 1, networks, "onnxruntime", more=CACHED)
    lay_out_caller(tmp_path, "toy", 1, cache_mb=1)
    expected = networks.answers("onnxruntime", "s")
    with PrivateRevision(tmp_path, "toy", log=tmp_path / "log") as revision:
        for call, row in enumerate([0, 1, 0, 0, 1], start=1):
            text, calls = ask(revision, networks.questions[row])
            assert text == f"release 1 sum {expected[row, 0]:.3f}"
            assert calls == call
        assert revision.cache("toy.network") == CacheStatistics(hits=3, misses=2)
        assert revision.cache("toy") == CacheStatistics()
        url = f"{revision.http_url}/v2/models/toy.network/stats"
        statistics = httpx.get(url, trust_env=False).json()["model_stats"][0]
    # Two of the questions, and the warm-up, which asks the network past the cache.
    assert statistics["execution_count"] == 3


def test_releases_share_no_cache(door: Door, model: str, networks: Networks) -> None:
    repository = door.workspace.repository
    for release in (1, 2):
        name = f"{model}.network"
        lay_out_network(repository, name, release, networks, "onnxruntime", more=CACHED)
        lay_out_caller(repository, model, release, cache_mb=1)
        door.fleet.start(model, release)
    records = RevisionRecords(door.workspace.run)
    question = np.ascontiguousarray(networks.questions[0]).tolist()
    tensor = {"name": "waveform", "datatype": "FP32", "shape": [1, len(question)]}
    for release in (1, 2):
        await_state(door.fleet, model, release, RevisionState.READY)
        endpoints = records.find(model, release)
        assert endpoints is not None
        for _ in range(2):
            response = httpx.post(
                f"{endpoints.http_url}/v2/models/{model}/infer",
                json={"inputs": [tensor | {"data": question}]},
                trust_env=False,
            )
            assert outputs(response)["transcript"].startswith(f"release {release} ")
        found = cache_statistics(endpoints, f"{model}.network")
        assert found == CacheStatistics(hits=1, misses=1)
        door.fleet.stop(model, release)


def test_a_release_without_a_cache_has_none(tmp_path: Path) -> None:
    lay_out(tmp_path, "toy", 1, numbered=True)
    with PrivateRevision(tmp_path, "toy", log=tmp_path / "log") as revision:
        answers = {outputs(infer(revision, [0, 0]))["transcript"] for _ in range(3)}
        assert revision.cache("toy") == CacheStatistics()
    assert len(answers) == 3
