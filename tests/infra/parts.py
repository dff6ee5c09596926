"""Toy releases of several Triton models: a network of its own, or a stream."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from infra.environments.locks import CONVERTER
from model_repository.config import Batching, render_program
from model_repository.layout import NO_BYTECODE, ReleaseLayout
from registry.files import canonical_json
from registry.quiet import QUIET_ENVIRONMENT

from .toys import INTERFACE, KIND

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).parent
WIDTH = 16
FILES = {"onnxruntime": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
_NETWORK = """
name: "{name}"
backend: "{backend}"
max_batch_size: {max_batch_size}
version_policy {{ specific {{ versions: [{release}] }} }}
input [{{ name: "x" data_type: TYPE_FP32 dims: [{width}] }}]
output [
  {{ name: "y" data_type: TYPE_FP32 dims: [4] }},
  {{ name: "s" data_type: TYPE_FP32 dims: [1] }}
]
instance_group [{{ kind: KIND_CPU count: {instances} }}]
model_warmup [{{
  name: "one" batch_size: 1
  inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: [{width}] zero_data: true }} }}
}}]
"""
_STREAM = """
name: "{name}"
backend: "python"
max_batch_size: 0
version_policy {{ specific {{ versions: [{release}] }} }}
model_transaction_policy {{ decoupled: true }}
input [{{ name: "waveform" data_type: TYPE_FP32 dims: [-1] }}]
output [{{ name: "transcript" data_type: TYPE_STRING dims: [1] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
"""


@dataclasses.dataclass(frozen=True)
class Networks:
    """Files of toy networks, and what a session of their runtime answers to `questions`."""

    folder: Path

    @property
    def questions(self) -> NDArray[np.float32]:
        return self._load("questions")

    def answers(self, backend: str, output: str) -> NDArray[np.float32]:
        return self._load(f"{backend}.{output}")

    def _load(self, name: str) -> NDArray[np.float32]:
        return np.asarray(np.load(self.folder / f"{name}.npy"))


def make_networks(folder: Path) -> Networks:
    """Have the converter's environment make and run them."""
    subprocess.run(
        [CONVERTER.python, HERE / "toy_networks.py", folder],
        check=True,
        env=QUIET_ENVIRONMENT | {"PATH": str(CONVERTER.python.parent)},
        timeout=60,
    )
    return Networks(folder)


def lay_out_network(
    repository: Path,
    name: str,
    release: int,
    networks: Networks,
    backend: str,
    *,
    file: str = "",
    max_batch_size: int = 8,
    instances: int = 1,
    parameters: dict[str, str] | None = None,
    more: str = "",
) -> Path:
    """A Triton model that is one network; `file` takes the place of its model file."""
    folder = repository / name / str(release)
    folder.mkdir(parents=True)
    for own in FILES[backend]:
        shutil.copy(networks.folder / (file if file and own != "model.bin" else own), folder / own)
    text = _NETWORK.format(
        name=name,
        backend=backend,
        max_batch_size=max_batch_size,
        release=release,
        width=WIDTH,
        instances=instances,
    )
    threads = {"intra_op_thread_count": "1", "INFERENCE_NUM_THREADS": "1"}
    padding = {"ENABLE_BATCH_PADDING": "YES"}
    for key, value in (threads | padding | (parameters or {})).items():
        text += f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
    _configure(repository, name, release, text + more)
    _describe(folder)
    return folder


def lay_out_caller(
    repository: Path, model: str, release: int, *, warm_up: bool = False, cache_mb: int = 0
) -> None:
    """The model that clients ask, over a network that `lay_out_network` made as MODEL.network."""
    folder = repository / model / str(release)
    folder.mkdir(parents=True)
    shutil.copy(HERE / "toy_caller.py", folder / "model.py")
    text = render_program(
        model,
        release,
        interface=INTERFACE,
        batching=Batching(max_batch_size=1, queue_delay_us=0),
        longest=[WIDTH] if warm_up else None,
        parameters={},
    )
    _configure(repository, model, release, text)
    _describe(folder, cache_mb)


def lay_out_stream(repository: Path, model: str, release: int) -> None:
    """The part MODEL.stream of a release."""
    name = f"{model}.stream"
    folder = repository / name / str(release)
    folder.mkdir(parents=True)
    shutil.copy(HERE / "toy_stream.py", folder / "model.py")
    _configure(repository, name, release, _STREAM.format(name=name, release=release))


def network_of(repository: Path, model: str, release: int) -> Path:
    return ReleaseLayout(repository, model, release, "network").folder


def _configure(repository: Path, name: str, release: int, text: str) -> None:
    configs = repository / name / "configs"
    configs.mkdir(exist_ok=True)
    (configs / f"r{release}.pbtxt").write_text(text)


def _describe(folder: Path, cache_mb: int = 0) -> None:
    (folder / NO_BYTECODE).touch()
    description = {"kind": KIND, "serve": {"response_cache_mb": cache_mb}}
    (folder / "release.json").write_bytes(canonical_json(description))
