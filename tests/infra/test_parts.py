"""Releases of several Triton models: loaded together, judged together, one of them hidden."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from canary.ports import RevisionState
from infra.inference import score
from infra.local.private_revision import PrivateRevision
from model_repository.golden import GoldenRequest, GoldenSet
from registry.errors import PermanentEngineError

from .parts import WIDTH, lay_out_caller, lay_out_network, network_of
from .toys import INTERFACE, await_state, client, grpc_client, sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .parts import Networks
    from .toys import Door

pytestmark = pytest.mark.engine
ENDED = (RevisionState.FAILED, RevisionState.READY)


def lay_out(repository: Path, model: str, release: int, networks: Networks, **changes: Any) -> None:
    lay_out_network(repository, f"{model}.network", release, networks, "onnxruntime", **changes)
    lay_out_caller(repository, model, release)


def publish(door: Door, model: str, release: int, networks: Networks, **changes: Any) -> None:
    """A signed release of two parts, whose golden answer is its network's."""
    lay_out(door.workspace.repository, model, release, networks, **changes)
    total = networks.answers("onnxruntime", "s")[0, 0]
    expected = GoldenRequest(
        "golden", networks.questions[0], f"release {release} sum {total:.3f}", -0.25
    )
    folder = door.workspace.repository / model / str(release)
    (folder / "golden.json").write_bytes(GoldenSet((expected,)).to_json())
    sign(door.workspace, model, release)


def test_a_release_with_a_network_is_served_and_admitted(
    door: Door, model: str, networks: Networks
) -> None:
    publish(door, model, 1, networks)
    door.fleet.start(model, 1)
    status = await_state(door.fleet, model, 1, *ENDED)
    assert status.state is RevisionState.READY, status
    assert status.devices == ("CPU",)
    admission = door.fleet.admit(model, 1)
    assert admission.admitted, admission.checks
    details = {name: detail for name, _, detail in admission.checks}
    assert details["version"] == f"serves version 1 only of each of {model}.network, {model}"
    door.fleet.stop(model, 1)
    assert door.fleet.running(model) == ()


def test_a_network_that_does_not_load_fails_the_revision(
    door: Door, model: str, networks: Networks
) -> None:
    publish(door, model, 1, networks, file="future.onnx")
    door.fleet.start(model, 1)
    status = await_state(door.fleet, model, 1, *ENDED)
    assert status.state is RevisionState.FAILED
    assert status.detail.startswith(f"{model}.network: model.onnx: operator set 99 is newer than")
    assert not door.fleet.admit(model, 1).admitted
    door.fleet.stop(model, 1)


def test_a_part_that_lost_its_files_is_not_started(
    door: Door, model: str, networks: Networks
) -> None:
    lay_out(door.workspace.repository, model, 1, networks)
    (door.workspace.repository / f"{model}.network" / "configs" / "r1.pbtxt").unlink()
    with pytest.raises(PermanentEngineError, match="not published"):
        door.fleet.start(model, 1)
    lay_out(door.workspace.repository, model, 2, networks)
    sign(door.workspace, model, 2)
    shutil.rmtree(network_of(door.workspace.repository, model, 2))
    checks = door.fleet.admit(model, 2).checks
    assert [passed for _, passed, _ in checks] == [False]


def test_parts_of_two_releases_do_not_meet(tmp_path: Path, networks: Networks) -> None:
    for release in (1, 2):
        lay_out(tmp_path, "both", release, networks)
    question = ("one", networks.questions[0])
    with PrivateRevision(tmp_path, "both", 2, log=tmp_path / "log") as revision:
        (answer,) = score(revision.grpc_address, "both", INTERFACE, [question])
    assert answer.text.startswith("release 2 sum")


def test_a_warm_up_cannot_call_a_part(tmp_path: Path, networks: Networks) -> None:
    """Why a model with a network has no warm-up: the server serves nobody until all is loaded.

    It answers such a call with "Server not ready", or ends on the spot.
    """
    lay_out_network(tmp_path, "early.network", 1, networks, "onnxruntime")
    lay_out_caller(tmp_path, "early", 1, warm_up=True)
    with (
        pytest.raises(PermanentEngineError, match="early does not load"),
        PrivateRevision(tmp_path, "early", log=tmp_path / "log"),
    ):
        pytest.fail("it loaded")


@pytest.fixture(scope="module")
def hidden(door: Door, networks: Networks) -> Iterator[str]:
    """A routed model whose network nobody outside may ask."""
    lay_out(door.workspace.repository, "hidden", 1, networks)
    door.fleet.start("hidden", 1)
    await_state(door.fleet, "hidden", 1, RevisionState.READY)
    door.route("hidden", (1, 100))
    yield "hidden"
    door.fleet.stop("hidden", 1)


def test_a_network_has_no_path(door: Door, hidden: str) -> None:
    ends = ("", "/ready", "/config", "/infer", "/generate", "/generate_stream", "/versions/1/infer")
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": [0] * WIDTH}]}
    with client() as rest:
        for name in (f"{hidden}.network", f"{hidden}%2enetwork", f"{hidden}/../{hidden}.network"):
            for end in ends:
                request = rest.build_request("POST", door.url, json=body)
                request.url = request.url.copy_with(raw_path=f"/v2/models/{name}{end}".encode())
                assert rest.send(request).status_code in {400, 403, 404}, (name, end)
        assert rest.get(f"{door.url}/v2/models/{hidden}").status_code == 200


def infer_request(name: str) -> bytes:
    """A request that the network would answer, and whose first bytes name the model."""
    from tritonclient.grpc import service_pb2

    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP32", shape=[1, WIDTH]
    )
    zeros = np.zeros(WIDTH, dtype=np.float32).tobytes()
    request = service_pb2.ModelInferRequest(
        model_name=name, inputs=[tensor], raw_input_contents=[zeros]
    )
    return bytes(request.SerializeToString())


def field(name: str, tag: bytes = b"\x0a") -> bytes:
    return tag + bytes([len(name)]) + name.encode()


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize(
    "disguise",
    [
        lambda name: infer_request(f"{name}.network"),
        # The last of several counts.
        lambda name: field(name) + field("1", b"\x12") + infer_request(f"{name}.network"),
        # A group, which is skipped, before it.
        lambda name: field(name) + b"\x7b\x7c" + infer_request(f"{name}.network"),
        # A tag of more than 32 bits, of which the lower ones name the field.
        lambda name: infer_request(name) + field(f"{name}.network", b"\x8a\x80\x80\x80\x10"),
    ],
)
def test_a_network_is_not_reached_by_a_disguised_name(
    door: Door, hidden: str, method: str, compression: str, disguise: Any
) -> None:
    import grpc  # type: ignore[import-untyped]  # ships no types

    message = disguise(hidden)
    how = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
    with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        path = f"/inference.GRPCInferenceService/{method}"
        options = {"metadata": [("x-model", hidden)], "timeout": 10, "compression": how}
        if method == "ModelInfer":
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(message, **options)
        else:
            with pytest.raises(grpc.RpcError) as caught:
                list(channel.stream_stream(path)(iter([message]), **options))
    status = caught.value.code()
    assert status in {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        # Read to the end, it named the model itself, which has no input x.
        grpc.StatusCode.INVALID_ARGUMENT,
    }


def test_a_model_with_a_network_is_asked_as_any_other(door: Door, hidden: str) -> None:
    with client() as rest, grpc_client(door) as grpc:
        data = [0.0] * WIDTH
        tensor = {"name": "waveform", "datatype": "FP32", "shape": [1, WIDTH], "data": data}
        response = rest.post(f"{door.url}/v2/models/{hidden}/infer", json={"inputs": [tensor]})
        assert response.json()["outputs"][0]["data"] == ["release 1 sum 0.000"]
        assert grpc.get_model_config(hidden).config.name == hidden
