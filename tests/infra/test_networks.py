"""The stand-ins for Triton's native ONNX Runtime and OpenVINO backends, on the real server."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from infra.environments.locks import CHECKOUT, SERVING
from infra.local.private_revision import PrivateRevision
from registry.errors import PermanentEngineError
from registry.quiet import QUIET_ENVIRONMENT

from .parts import WIDTH, lay_out_network
from .toys import in_parallel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .parts import Networks

pytestmark = pytest.mark.engine
BACKENDS = ("onnxruntime", "openvino")
BATCHED = "dynamic_batching { max_queue_delay_microseconds: 5000 }"


def ask(revision: PrivateRevision, array: NDArray[Any], *outputs: str) -> Any:
    import tritonclient.grpc as grpcclient

    kind = {"float32": "FP32", "int64": "INT64"}[str(array.dtype)]
    tensor = grpcclient.InferInput("x", list(array.shape), kind)
    tensor.set_data_from_numpy(array)
    wanted = [grpcclient.InferRequestedOutput(name) for name in outputs] or None
    with grpcclient.InferenceServerClient(revision.grpc_address) as client:
        return client.infer("net", [tensor], outputs=wanted, client_timeout=30)


@pytest.mark.parametrize("backend", BACKENDS)
def test_answers_are_those_of_a_session(tmp_path: Path, networks: Networks, backend: str) -> None:
    lay_out_network(tmp_path, "net", 1, networks, backend, more=BATCHED, instances=2)
    questions = networks.questions
    expected = {name: networks.answers(backend, name) for name in ("y", "s")}
    edges = [
        (0, 1),
        (1, 4),
        (4, 12),
        (12, 14),
        (14, 21),
        *((row, row + 1) for row in range(21, 40)),
    ]

    def check(index: int) -> bool:
        first, last = edges[index]
        result = ask(revision, questions[first:last])
        return all(
            np.allclose(result.as_numpy(name), expected[name][first:last], atol=1e-5)
            for name in expected
        )

    with PrivateRevision(tmp_path, "net", log=tmp_path / "log") as revision:
        assert all(in_parallel(len(edges), 8, check))
        alone = ask(revision, questions[:2], "s")
        assert [output.name for output in alone.get_response().outputs] == ["s"]
        assert revision.devices == ("CPU",)
    assert "sluice: net version 1 is answered by CPU" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("backend", BACKENDS)
def test_requests_share_runs(tmp_path: Path, networks: Networks, backend: str) -> None:
    lay_out_network(tmp_path, "net", 1, networks, backend, more=BATCHED)
    with PrivateRevision(tmp_path, "net", log=tmp_path / "log") as revision:
        in_parallel(160, 16, lambda index: ask(revision, networks.questions[index % 40][None]))
        url = f"{revision.http_url}/v2/models/net/stats"
        statistics = httpx.get(url, trust_env=False).json()["model_stats"][0]
    assert statistics["inference_count"] >= 160
    assert statistics["execution_count"] < 100
    assert max(int(row["batch_size"]) for row in statistics["batch_stats"]) > 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "kind", "reason"),
    [
        ((1, WIDTH), np.int64, "data-type is 'INT64'"),
        ((1, WIDTH - 1), np.float32, "unexpected shape"),
        ((9, WIDTH), np.float32, "batch-size must be <= 8"),
    ],
)
def test_wrong_tensors_are_refused(
    plain: dict[str, PrivateRevision], backend: str, shape: tuple[int, ...], kind: Any, reason: str
) -> None:
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match=reason):
        ask(plain[backend], np.zeros(shape, dtype=kind))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, networks: Networks) -> Any:
    root = tmp_path_factory.mktemp("plain")
    for backend in BACKENDS:
        lay_out_network(root / backend, "net", 1, networks, backend)
    with (
        PrivateRevision(root / "onnxruntime", "net", log=root / "onnx.log") as onnx,
        PrivateRevision(root / "openvino", "net", log=root / "openvino.log") as openvino,
    ):
        yield {"onnxruntime": onnx, "openvino": openvino}


def reason_of(root: Path) -> str:
    with (
        pytest.raises(PermanentEngineError) as caught,
        PrivateRevision(root, "net", log=root / "log"),
    ):
        pytest.fail("it loaded")
    return caught.value.what


@pytest.mark.parametrize(
    ("backend", "changes", "reason"),
    [
        ("onnxruntime", {"file": "future.onnx"}, "operator set 99 is newer than ONNX Runtime"),
        ("onnxruntime", {"file": "fixed.onnx"}, "'x' of model.onnx has a fixed batch of 2"),
        ("onnxruntime", {"file": "questions.npy"}, "model.onnx"),
        ("onnxruntime", {"parameters": {"intra_op_thread_count": "-2"}}, "intra_op_thread_count"),
        ("openvino", {"parameters": {"TARGET_DEVICE": "GPU"}}, "TARGET_DEVICE GPU: this machine"),
        (
            "openvino",
            {"parameters": {"ENABLE_BATCH_PADDING": "NO"}},
            "needs parameter ENABLE",
        ),
        ("openvino", {"parameters": {"PERFORMANCE_HINT": "FAST"}}, "PERFORMANCE_HINT must be one"),
        ("openvino", {"max_batch_size": 0}, "shape [-1, 16] in model.xml and [16]"),
    ],
)
def test_what_cannot_be_served_is_not(
    tmp_path: Path, networks: Networks, backend: str, changes: dict[str, Any], reason: str
) -> None:
    lay_out_network(tmp_path, "net", 1, networks, backend, **changes)
    found = reason_of(tmp_path)
    assert reason in found
    assert "\n" not in found
    assert "initialize" not in found


def test_missing_devices_are_left_out(tmp_path: Path, networks: Networks) -> None:
    asked = {"TARGET_DEVICE": "AUTO:NPU,GPU,CPU"}
    lay_out_network(tmp_path, "net", 1, networks, "openvino", parameters=asked)
    with PrivateRevision(tmp_path, "net", log=tmp_path / "log") as revision:
        assert "CPU" in revision.devices
        answer = ask(revision, networks.questions[:3]).as_numpy("y")
    assert np.allclose(answer, networks.answers("openvino", "y")[:3], atol=1e-5)


def test_a_padded_batch_has_the_same_answers(networks: Networks) -> None:
    """What an accelerator would get, on the processor that every machine has."""
    program = """
import sys
from pathlib import Path
import numpy as np, openvino
from infra.local.backends.config import NetworkConfig, TensorSpec
from infra.local.backends.openvino_network import OpenVinoNetwork
folder = Path(sys.argv[1])
config = NetworkConfig("net", "1", folder, "model.xml", 8, False,
    (TensorSpec("x", "TYPE_FP32", (16,)),), (TensorSpec("y", "TYPE_FP32", (4,)),), {}, {})
core = openvino.Core()
core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
network = OpenVinoNetwork(config, core, "AUTO:CPU")
questions = np.load(folder / "questions.npy")
for rows in (1, 3, 8):
    (found,) = network.run({"x": questions[:rows]}, ["y"])
    assert found.shape == (rows, 4), found.shape
    assert np.allclose(found, np.load(folder / "openvino.y.npy")[:rows], atol=1e-5)
assert network.device() == "CPU", network.device()
"""
    subprocess.run(
        [SERVING.python, "-c", program, networks.folder],
        check=True,
        cwd=CHECKOUT,
        env=QUIET_ENVIRONMENT | {"PATH": str(SERVING.python.parent)},
        timeout=60,
    )
